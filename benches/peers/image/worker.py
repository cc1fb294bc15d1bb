"""A library in a process of its own, driven by lines: `worker.py SIDE FOLDER THREADS`.

    run PART TIMES → time NANOSECONDS
    first          → first NANOSECONDS   (loads, encodes a prompt and does a step)
    memory         → memory PEAK         (bytes that ever were resident)

The folder is one that make.py made; `openvino.py` made OpenVINO's files beside it. A failure is answered with `failed WHY`."""

import sys
import time
from pathlib import Path

PROMPT = "a cat on the moon"


class Torch:
    """diffusers' own parts, images channels last."""

    def __init__(self, kind: str, folder: Path, threads: int):
        import torch

        torch.set_num_threads(threads)
        torch.set_grad_enabled(False)
        self.torch, self.folder, self.parts = torch, folder, {}
        self.dtype = torch.bfloat16 if kind == "bf16" else torch.float32
        self.is_xl = (folder / "text_encoder_2").exists()

    def part(self, name: str):
        if name not in self.parts:
            import diffusers
            import transformers

            kinds = {"unet": diffusers.UNet2DConditionModel, "vae": diffusers.AutoencoderKL, "text_encoder": transformers.CLIPTextModel}
            key = {"dtype": self.dtype} if name == "text_encoder" else {"torch_dtype": self.dtype}
            model = kinds[name].from_pretrained(self.folder / name, **key).eval()
            self.parts[name] = model if name == "text_encoder" else model.to(memory_format=self.torch.channels_last)
        return self.parts[name]

    def random(self, *shape: int):
        return self.torch.randn(*shape).to(self.dtype)

    def text(self):
        return self.part("text_encoder")(self.torch.full([1, 77], 49407)).last_hidden_state

    def step(self, rows: int, latent=None, timestep: float = 500.0, states=None):
        unet, torch = self.part("unet"), self.torch
        side, width = unet.config.sample_size, unet.config.cross_attention_dim
        latent = self.random(rows, 4, side, side) if latent is None else latent
        states = self.random(rows, 77, width) if states is None else states
        more = {"text_embeds": self.random(rows, 1280), "time_ids": self.random(rows, 6)} if self.is_xl else None
        return unet(latent, torch.tensor([timestep] * rows), encoder_hidden_states=states, added_cond_kwargs=more, return_dict=False)[0]

    def decode(self, latent=None):
        side = self.part("vae").config.sample_size // 8
        return self.part("vae").decode(self.random(1, 4, side, side) if latent is None else latent, return_dict=False)[0]

    def encode(self):
        side = self.part("vae").config.sample_size
        return self.part("vae").encode(self.random(1, 3, side, side)).latent_dist.mean


class OpenVino:
    """The same parts converted by `openvino.py`, which says how they were quantised."""

    def __init__(self, kind: str, folder: Path, threads: int):
        import numpy
        import openvino

        self.numpy, self.folder, self.kind = numpy, folder / "openvino", kind
        self.core, self.requests = openvino.Core(), {}
        # int8 layers of a bf16 graph: what is not quantised is bf16.
        self.settings = {"INFERENCE_PRECISION_HINT": "bf16", "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}

    def infer(self, name: str, *inputs):
        numpy = self.numpy
        if name not in self.requests:
            kind = self.kind if (self.folder / f"{name}_{self.kind}.xml").exists() else "bf16"
            compiled = self.core.compile_model(self.folder / f"{name}_{kind}.xml", "CPU", self.settings)
            self.requests[name] = compiled.create_infer_request()
        shapes = [model_input.shape for model_input in self.requests[name].model_inputs]
        given = list(inputs) + [None] * (len(shapes) - len(inputs))
        fill = [numpy.random.randn(*shape).astype(numpy.float32) if x is None else x for x, shape in zip(given, shapes)]
        return next(iter(self.requests[name].infer(fill).values()))

    def text(self):
        return self.infer("text", self.numpy.full([1, 77], 49407, dtype=self.numpy.int64))

    def step(self, rows: int, latent=None, timestep: float = 500.0, states=None):
        times = self.numpy.full([rows], timestep, dtype=self.numpy.float32)
        return self.infer(f"step{rows}", latent, times, states)

    def decode(self, latent=None):
        return self.infer("decode", latent)

    def encode(self):
        return self.infer("encode")


class Worker:
    def __init__(self, side: str, folder: Path, threads: int):
        library, kind = side.split("_")
        self.side, self.is_warm = {"torch": Torch, "openvino": OpenVino}[library](kind, folder, threads), set()

    def once(self, part: str):
        if part == "lcm":
            return self.image()
        if part == "alone4":
            return [self.image() for _ in range(4)]
        if part.startswith("step"):
            return self.side.step(int(part.removeprefix("step")))
        return getattr(self.side, part)()

    def image(self):
        """An image of four steps without guidance."""
        import torch
        from diffusers import LCMScheduler

        as_torch = isinstance(self.side, Torch)
        to, back = (lambda x: x.to(self.side.dtype), lambda x: x.float()) if as_torch else (lambda x: x.numpy(), torch.from_numpy)
        scheduler = LCMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
        scheduler.set_timesteps(4)
        states, latent = self.side.text(), torch.randn(1, 4, 64, 64)
        for timestep in scheduler.timesteps:
            predicted = back(self.side.step(1, to(latent), float(timestep), states))
            latent = scheduler.step(predicted, timestep, latent, return_dict=False)[0]
        return self.side.decode(to(latent / 0.18215))

    def answer(self, command: str, *words: str) -> str:
        if command == "memory":
            line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
            return f"memory {int(line.split()[1]) * 1024}"
        if command == "first":
            # Importing is not loading.
            from diffusers import AutoencoderKL, UNet2DConditionModel  # noqa: F401
            from transformers import CLIPTextModel  # noqa: F401

            start = time.perf_counter_ns()
            self.side.step(1, states=self.side.text())
            return f"first {time.perf_counter_ns() - start}"
        part, times = words
        if part not in self.is_warm:
            self.is_warm.add(part)
            self.once(part)
        start = time.perf_counter_ns()
        for _ in range(int(times)):
            self.once(part)
        return f"time {time.perf_counter_ns() - start}"


def main() -> int:
    if len(sys.argv) != 4:
        print(__doc__, file=sys.stderr)
        return 2
    # Libraries may print; what they print must not look like an answer.
    answers, sys.stdout = sys.stdout, sys.stderr
    worker = Worker(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
    for line in sys.stdin:
        try:
            answer = worker.answer(*line.split())
        except Exception as error:  # Whatever a library throws belongs into the report.
            answer = f"failed {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        print(answer, file=answers, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
