"""One library in a process of its own, driven by lines: `worker.py SIDE FILE THREADS`.

    prefill TOKENS              → took NANOSECONDS TOKENS
    decode CONTEXT TOKENS       → took NANOSECONDS TOKENS
    users COUNT CONTEXT TOKENS  → took NANOSECONDS TOKENS

Prompts are token ids, and no two are alike. A failure is answered with `failed WHY`."""

import os
import random
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# What answers lines is that of the suite `embed`.
sys.path.append(str(Path(__file__).resolve().parent.parent / "embed"))

from lines import serve


class LlamaCpp:
    """By llama.cpp's own C functions, without what its Python class does for every token."""

    MOST_SEQUENCES = 8

    def __init__(self, file: str, threads: int):
        import llama_cpp

        self.c = c = llama_cpp
        c.llama_backend_init()
        self.model = c.llama_model_load_from_file(file.encode(), c.llama_model_default_params())
        parameters = c.llama_context_default_params()
        parameters.n_ctx, parameters.n_batch, parameters.n_ubatch = 8192, 8192, 512
        parameters.n_threads = parameters.n_threads_batch = threads
        parameters.n_seq_max, parameters.kv_unified = self.MOST_SEQUENCES, True
        self.context = c.llama_init_from_model(self.model, parameters)
        if not self.context:
            raise RuntimeError("no context")
        self.greedy = c.llama_sampler_init_greedy()
        self.batch = c.llama_batch_init(8192, 0, 1)
        self.ids = c.llama_vocab_n_tokens(c.llama_model_get_vocab(self.model))

    def add(self, token: int, position: int, sequence: int, wants_logits: bool) -> None:
        batch, at = self.batch, self.batch.n_tokens
        batch.token[at], batch.pos[at], batch.n_seq_id[at] = token, position, 1
        batch.seq_id[at][0], batch.logits[at] = sequence, wants_logits
        batch.n_tokens = at + 1

    def compute(self) -> None:
        if self.c.llama_decode(self.context, self.batch) != 0:
            raise RuntimeError("llama_decode failed")

    def start(self, prompts: list[list[int]]) -> list[int]:
        """The first token of each answer."""
        self.c.llama_memory_clear(self.c.llama_get_memory(self.context), True)
        self.batch.n_tokens, last = 0, []
        for sequence, prompt in enumerate(prompts):
            for position, token in enumerate(prompt):
                self.add(token, position, sequence, position == len(prompt) - 1)
            last.append(self.batch.n_tokens - 1)
        self.compute()
        return [self.c.llama_sampler_sample(self.greedy, self.context, row) for row in last]

    def go_on(self, tokens: list[int], position: int) -> list[int]:
        self.batch.n_tokens = 0
        for sequence, token in enumerate(tokens):
            self.add(token, position, sequence, True)
        self.compute()
        return [self.c.llama_sampler_sample(self.greedy, self.context, row) for row in range(len(tokens))]

    def prefill(self, prompt: list[int]) -> int:
        return timed(lambda: self.start([prompt]))

    def decode(self, prompt: list[int], count: int) -> int:
        tokens = self.start([prompt])

        def rest():
            found = tokens
            for number in range(count):
                found = self.go_on(found, len(prompt) + number)

        return timed(rest)

    def users(self, prompts: list[list[int]], count: int) -> int:
        def all_of_it():
            tokens = self.start(prompts)
            for number in range(count - 1):
                tokens = self.go_on(tokens, len(prompts[0]) + number)

        return timed(all_of_it)


class OpenVino:
    """openvino-genai, which reads the same files."""

    def __init__(self, file: str, threads: int):
        import numpy
        import openvino
        import openvino_genai

        self.numpy, self.openvino, self.genai = numpy, openvino, openvino_genai
        scheduler = openvino_genai.SchedulerConfig()
        scheduler.cache_size, scheduler.max_num_seqs, scheduler.enable_prefix_caching = 1, 8, False
        scheduler.max_num_batched_tokens = 8192
        self.pipeline = openvino_genai.ContinuousBatchingPipeline(
            file, scheduler, "CPU", {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
        )
        self.ids = 49_000

    def generate(self, prompts: list[list[int]], count: int) -> tuple[int, int]:
        """Nanoseconds until the first token of the first answer, and in all."""
        config = self.genai.GenerationConfig()
        config.max_new_tokens, config.ignore_eos, config.do_sample = count, True, False
        tensors = [self.openvino.Tensor(self.numpy.array([prompt], dtype=self.numpy.int64)) for prompt in prompts]
        handles = [self.pipeline.add_request(number, tensor, config) for number, tensor in enumerate(tensors)]
        start, first = time.perf_counter_ns(), None
        while self.pipeline.has_non_finished_requests():
            self.pipeline.step()
            first = first or time.perf_counter_ns()
        end = time.perf_counter_ns()
        for handle in handles:
            handle.read_all()
        return first - start, end - start

    def prefill(self, prompt: list[int]) -> int:
        return self.generate([prompt], 1)[1]

    def decode(self, prompt: list[int], count: int) -> int:
        first, total = self.generate([prompt], count + 1)
        return total - first

    def users(self, prompts: list[list[int]], count: int) -> int:
        return self.generate(prompts, count)[1]


class MistralRs:
    """mistral.rs, which reads the same files. It takes texts, and tells how many tokens they had."""

    def __init__(self, file: str, threads: int):
        from mistralrs import CompletionRequest, Runner, Which

        folder, name = os.path.split(file)
        self.request = CompletionRequest
        which = Which.GGUF(tok_model_id=None, quantized_model_id=folder, quantized_filename=name)
        self.runner = Runner(which=which, max_seqs=8, prefix_cache_n=0)
        self.ids = 49_000

    def ask(self, prompt: list[int], count: int):
        text = " ".join(WORDS[token % len(WORDS)] for token in prompt)
        request = self.request(prompt=text, model="default", max_tokens=count, temperature=0.0, ignore_eos=True)
        return self.runner.send_completion_request(request).usage

    def prefill(self, prompt: list[int]) -> tuple[int, int]:
        start = time.perf_counter_ns()
        usage = self.ask(prompt, 1)
        return time.perf_counter_ns() - start, usage.prompt_tokens

    def decode(self, prompt: list[int], count: int) -> int:
        return round(self.ask(prompt, count).total_completion_time_sec * 1e9)

    def users(self, prompts: list[list[int]], count: int) -> int:
        with ThreadPoolExecutor(len(prompts)) as pool:
            return timed(lambda: list(pool.map(lambda prompt: self.ask(prompt, count), prompts)))


# Words of a token each.
WORDS = "river house green music paper stone light water night table garden summer letter window street market".split()


def timed(work) -> int:
    start = time.perf_counter_ns()
    work()
    return time.perf_counter_ns() - start


SIDES = {"llama_cpp": LlamaCpp, "openvino": OpenVino, "mistral_rs": MistralRs}


class Worker:
    def __init__(self, side: str, file: str, threads: str):
        self.side, self.random = SIDES[side](file, int(threads)), random.Random(7)
        # The first call compiles and wakes.
        self.side.decode(self.prompt(16), 2)

    def prompt(self, tokens: int) -> list[int]:
        return [self.random.randrange(300, self.side.ids - 300) for _ in range(tokens)]

    def prefill(self, tokens: str) -> str:
        found = self.side.prefill(self.prompt(int(tokens)))
        taken, tokens = found if isinstance(found, tuple) else (found, tokens)
        return f"took {taken} {tokens}"

    def decode(self, context: str, tokens: str) -> str:
        return f"took {self.side.decode(self.prompt(int(context)), int(tokens))} {tokens}"

    def users(self, count: str, context: str, tokens: str) -> str:
        taken = self.side.users([self.prompt(int(context)) for _ in range(int(count))], int(tokens))
        return f"took {taken} {int(count) * int(tokens)}"


if __name__ == "__main__":
    sys.exit(serve(__doc__, SIDES, Worker))
