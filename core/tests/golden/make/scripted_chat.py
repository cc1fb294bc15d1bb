#!/usr/bin/env python3
"""Makes core/conformance/models/scripted/ and scripted.gguf: a chat model of a few kilobytes that answers by heart, for the behaviour
suite. It needs no library:

    python3 core/tests/golden/make/scripted_chat.py

The model is a Llama whose attention and gated layer add nothing: which token comes next depends on the last one alone. Each
token has a code of ±1, and the output row of a token is the sum of the codes of those that it follows, so logits are the same
whole numbers on every machine. The template ends the prompt with a token for the script that the last message names; where no script
goes on, the answer ends.
"""

import json
import struct
from pathlib import Path

HERE = Path(__file__).resolve().parents[3] / "conformance" / "models" / "scripted"
WIDTH, HEAD, INNER, WINDOW = 128, 16, 16, 8192
GAIN = 0.25

# What each script says, token by token. No piece is in two places: what follows a token is always the same.
SCRIPTS = {
    "plain": ["The", " answer", " is", " forty", "-two", "."],
    "unicode": ["ni", b"\xc3", b"\xb1", "o ", b"\xf0\x9f", b"\x98\x80", " done"],
    "thought": ["<think>", "two", " plus", " two is", " four", "</think>", "\n\n", "Four", "!"],
    # The template opens this thought itself.
    "opened": ["<think>"],
    "weather": ["<tool_call>", '\n{"name": "', "weather", '", "arguments": {"', "city", '": "', "Lima", '"}}\n', "</tool_call>"],
    "both": [
        "Two calls. ", '<tool_call>\n{"name": "weather", ', '"arguments": {"city": "Lima"}}', "\n</tool_call>\n",
        '<tool_call>{"name": "clock", ', '"arguments": {}}', "</tool_call>\n",
    ],
    "unfinished": ['<tool_call>{"name": "weather"', ', "arguments": {"ci'],
    "unknown": ['<tool_call>{"name": "teleport", "arguments": {}}', "</tool_call> "],
    "record": ['{"city": "', "Arica", '", "people": ', "240000", "}"],
    "song": ["la "],
}
# Where a script goes on after its last piece.
GOES_ON = {"la ": "la ", "<think>": "two"}
SPECIAL = ["<|end|>", "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>", "<|tools|>"]
VISIBLE = ["<think>", "</think>", "<tool_call>", "</tool_call>"]


def byte_letters() -> list[str]:
    """GPT-2's letter for each byte."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters, more = {byte: chr(byte) for byte in shown}, 256
    for byte in range(256):
        if byte not in letters:
            letters[byte], more = chr(more), more + 1
    return [letters[byte] for byte in range(256)]


LETTERS = byte_letters()


def spelled(piece: str | bytes) -> str:
    return "".join(LETTERS[byte] for byte in (piece.encode() if isinstance(piece, str) else piece))


def vocabulary() -> tuple[dict[str, int], list[dict]]:
    """The tokens of the byte-pair model, and those added to it."""
    words = list(LETTERS)
    for script in SCRIPTS.values():
        words += [spelled(piece) for piece in script if piece not in VISIBLE and spelled(piece) not in words]
    added = SPECIAL + [f"<|{name}|>" for name in SCRIPTS] + VISIBLE
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    listed = [{"id": len(words) + at, "content": text, "special": text not in VISIBLE, **plain} for at, text in enumerate(added)]
    return {word: at for at, word in enumerate(words)}, listed


def followers(ids: dict[str, int]) -> dict[int, int]:
    end, found = ids["<|end|>"], {}
    name = lambda piece: ids[piece] if piece in VISIBLE else ids[spelled(piece)]
    for script, pieces in SCRIPTS.items():
        chain = [ids[f"<|{script}|>"], *map(name, pieces)]
        chain.append(name(GOES_ON[pieces[-1]]) if pieces[-1] in GOES_ON else end)
        for before, after in zip(chain, chain[1:]):
            assert found.setdefault(before, after) == after, (script, before)
    return found


def codes(count: int, follows: dict[int, int], end: int) -> tuple[list[list[int]], list[list[int]]]:
    """A row of a Hadamard matrix for each token that a script goes on from, the first row for all others: they end the answer.
    So the logit of what follows is WIDTH · GAIN, and every other one is 0."""
    assert len(follows) < WIDTH
    row_of = {token: row + 1 for row, token in enumerate(sorted(follows))}
    code = [[-1 if (row_of.get(token, 0) & column).bit_count() % 2 else 1 for column in range(WIDTH)] for token in range(count)]
    rows = [[0] * WIDTH for _ in range(count)]
    for before, after in [*follows.items(), (next(token for token in range(count) if token not in follows), end)]:
        rows[after] = [a + b for a, b in zip(rows[after], code[before])]
    return code, rows


def bf16(numbers: list[float]) -> bytes:
    halves = [struct.unpack("<I", struct.pack("<f", number))[0] for number in numbers]
    assert all(half % 65536 == 0 for half in halves)
    return b"".join(struct.pack("<H", half >> 16) for half in halves)


def safetensors(tensors: dict[str, tuple[list[int], list[float]]]) -> bytes:
    header, data = {}, b""
    for name, (shape, numbers) in tensors.items():
        part = bf16(numbers)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [len(data), len(data) + len(part)]}
        data += part
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def gguf_value(value: object) -> bytes:
    """A value of metadata, with its type."""
    if isinstance(value, str):
        return struct.pack("<I", 8) + gguf_text(value)
    if isinstance(value, int):
        return struct.pack("<II", 4, value)
    if isinstance(value, float):
        return struct.pack("<If", 6, value)
    items = b"".join(gguf_text(item) if isinstance(item, str) else struct.pack("<i", item) for item in value)
    kind = 5 if value and isinstance(value[0], int) else 8
    return struct.pack("<IIQ", 9, kind, len(value)) + items


def gguf_text(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


GGUF_NAMES = {
    "model.embed_tokens": "token_embd", "lm_head": "output", "model.norm": "output_norm", "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}


def gguf(tensors: dict[str, tuple[list[int], list[float]]], words: dict[str, int], added: list[dict]) -> bytes:
    """The same model as GGUF: weights in f16, which holds them exactly, vectors in f32."""
    tokens = list(words) + [token["content"] for token in added]
    kinds = [1] * len(words) + [3 if token["special"] else 4 for token in added]
    values = {
        "general.architecture": "llama", "llama.context_length": WINDOW, "llama.embedding_length": WIDTH, "llama.block_count": 1,
        "llama.feed_forward_length": INNER, "llama.attention.head_count": 1, "llama.attention.head_count_kv": 1,
        "llama.attention.key_length": HEAD, "llama.attention.value_length": HEAD, "llama.rope.dimension_count": HEAD,
        "llama.attention.layer_norm_rms_epsilon": 1e-6, "llama.rope.freq_base": 10000.0, "llama.vocab_size": len(tokens),
        "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "gpt-2", "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": kinds, "tokenizer.ggml.merges": [], "tokenizer.ggml.eos_token_id": tokens.index("<|end|>"),
        "tokenizer.chat_template": template(),
    }
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(values))
    head += b"".join(gguf_text(name) + gguf_value(value) for name, value in values.items())
    data = b""
    for name, (shape, numbers) in tensors.items():
        own = name.removesuffix(".weight").removeprefix("model.layers.0.")
        part = struct.pack(f"<{len(numbers)}{'e' if len(shape) > 1 else 'f'}", *numbers)
        place = ("blk.0." if "layers" in name else "") + GGUF_NAMES[own] + ".weight"
        dims = struct.pack(f"<I{len(shape)}Q", len(shape), *reversed(shape))
        head += gguf_text(place) + dims + struct.pack("<IQ", 1 if len(shape) > 1 else 0, len(data))
        data += part + b"\0" * (-len(part) % 32)
    return head + b"\0" * (-len(head) % 32) + data


TEMPLATE = """
{%- for message in messages -%}
<|{{ message.role }}|>
{%- if message.reasoning_content -%}<think>{{ message.reasoning_content }}</think>{%- endif -%}
{{- message.content -}}
{%- for call in message.tool_calls or [] -%}
<tool_call>{{ {"name": call.function.name, "arguments": call.function.arguments} | tojson }}</tool_call>
{%- endfor -%}<|end|>
{%- endfor -%}
{%- if tools -%}<|tools|>{{ tools | tojson }}{%- endif -%}
{%- if messages[-1].content == "refused" -%}{{ raise_exception("the template refuses this") }}{%- endif -%}
{%- if add_generation_prompt -%}<|assistant|>
{%- if style -%}{{ style }}{%- endif -%}
CHOICE
{%- endif -%}
"""


def template() -> str:
    choice = "".join(
        f"{{%- elif \"{name}\" in messages[-1].content -%}}<|{name}|>{'<think>' if name == 'opened' else ''}\n"
        for name in SCRIPTS if name != "thought"
    )
    thought = '{%- if "thought" in messages[-1].content -%}{%- if enable_thinking is false -%}<|plain|>{%- else -%}<|thought|>{%- endif -%}\n'
    return TEMPLATE.replace("CHOICE", thought + choice + "{%- endif -%}").strip()


def write(name: str, value: object) -> None:
    (HERE / name).write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n")


def main() -> None:
    HERE.mkdir(parents=True, exist_ok=True)
    words, added = vocabulary()
    ids = words | {token["content"]: token["id"] for token in added}
    count, end = len(ids), ids["<|end|>"]
    follows = followers(ids)
    code, rows = codes(count, follows, end)
    zeros = lambda *shape: (list(shape), [0.0] * (shape[0] * shape[1]))
    ones = ([WIDTH], [1.0] * WIDTH)
    layer = "model.layers.0."
    tensors = {
        "model.embed_tokens.weight": ([count, WIDTH], [float(number) for row in code for number in row]),
        "lm_head.weight": ([count, WIDTH], [number * GAIN for row in rows for number in row]),
        "model.norm.weight": ones, layer + "input_layernorm.weight": ones, layer + "post_attention_layernorm.weight": ones,
        layer + "self_attn.q_proj.weight": zeros(HEAD, WIDTH), layer + "self_attn.k_proj.weight": zeros(HEAD, WIDTH),
        layer + "self_attn.v_proj.weight": zeros(HEAD, WIDTH), layer + "self_attn.o_proj.weight": zeros(WIDTH, HEAD),
        layer + "mlp.gate_proj.weight": zeros(INNER, WIDTH), layer + "mlp.up_proj.weight": zeros(INNER, WIDTH),
        layer + "mlp.down_proj.weight": zeros(WIDTH, INNER),
    }
    (HERE / "model.safetensors").write_bytes(safetensors(tensors))
    HERE.with_suffix(".gguf").write_bytes(gguf(tensors, words, added))
    write("config.json", {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": count, "hidden_size": WIDTH, "head_dim": HEAD,
        "intermediate_size": INNER, "num_hidden_layers": 1, "num_attention_heads": 1, "num_key_value_heads": 1, "hidden_act": "silu",
        "max_position_embeddings": WINDOW, "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": False,
    })
    write("tokenizer.json", {
        "version": "1.0", "added_tokens": added, "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
        "post_processor": None, "decoder": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
            "fuse_unk": False, "byte_fallback": False, "vocab": words, "merges": []},
    })
    write("tokenizer_config.json", {"eos_token": "<|end|>", "chat_template": template()})
    write("generation_config.json", {"eos_token_id": end, "do_sample": False})


if __name__ == "__main__":
    main()
