"""Models of other sizes, and of every block format, with random weights and the tokenizer of the real one:
`random_models.py SmolLM2-135M-Instruct.Q4_1.gguf FOLDER`. Their answers make no sense; their speed is that of real ones."""

import sys
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter


@dataclass
class Shape:
    architecture: str
    hidden: int
    inner: int
    layers: int
    heads: int
    kv_heads: int
    vocabulary: int


QWEN_05B = Shape("qwen2", 896, 4864, 24, 14, 2, 151_936)
LLAMA_17B = Shape("llama", 2048, 8192, 24, 32, 32, 49_152)
# The same layers, few of them: one file for each block format, larger than any cache.
BLOCKS = Shape("llama", 2048, 8192, 3, 32, 32, 49_152)

SIZES = {"Qwen2.5-0.5B": (QWEN_05B, ["Q4_0", "Q8_0"]), "Llama-1.7B": (LLAMA_17B, ["Q4_0", "Q4_K"])}
BLOCK_FORMATS = [
    "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS", "MXFP4", "TQ2_0", "BF16",
]

# Where a block has its scales in f16, and what these are so that weights have a deviation of about 0.02 and a mean of
# about zero.
SCALES = {
    "Q4_0": {0: 4.3e-3}, "Q4_1": {0: 4.3e-3, 2: -3.2e-2}, "Q5_0": {0: 2.1e-3}, "Q5_1": {0: 2.1e-3, 2: -3.3e-2}, "Q8_0": {0: 2.7e-4},
    "Q2_K": {80: 2.4e-3, 82: 3.6e-3}, "Q3_K": {108: 4.8e-4}, "Q4_K": {0: 1.4e-4, 2: 1.0e-3}, "Q5_K": {0: 7e-5, 2: 1.1e-3},
    "Q6_K": {208: 1.5e-5}, "IQ4_NL": {0: 2.9e-4}, "IQ4_XS": {0: 1.6e-5}, "TQ2_0": {64: 2.5e-2},
}
# Blocks that differ; the rest repeats them.
DIFFERENT = 4096


def files() -> dict[str, tuple[Shape, str]]:
    """The name of each file, its shape and its format."""
    sizes = {f"{name}.{form}.gguf": (shape, form) for name, (shape, forms) in SIZES.items() for form in forms}
    return sizes | {f"blocks.{form}.gguf": (BLOCKS, form) for form in BLOCK_FORMATS}


def weights(rows: int, columns: int, form: str, random: numpy.random.Generator) -> numpy.ndarray:
    """The bytes of a matrix."""
    numbers, size = GGML_QUANT_SIZES[GGMLQuantizationType[form]]
    if form == "BF16":
        values = random.standard_normal(DIFFERENT * 64, dtype=numpy.float32) * numpy.float32(0.02)
        blocks = (values.view(numpy.uint32) >> 16).astype(numpy.uint16).view(numpy.uint8)
    else:
        blocks = random.integers(0, 256, (DIFFERENT, size), dtype=numpy.uint8)
        for place, scale in SCALES.get(form, {}).items():
            blocks[:, place : place + 2] = numpy.array([scale], dtype=numpy.float16).view(numpy.uint8)
        if form == "MXFP4":
            blocks[:, 0] = 120  # 2⁻⁷
        if form == "TQ2_0":
            blocks[:, :64] %= 3  # One of four numbers has no meaning.
        blocks = blocks.reshape(-1)
    return numpy.resize(blocks, rows * columns // numbers * size).reshape(rows, -1)


def add_tokenizer(writer: GGUFWriter, source: GGUFReader, size: int) -> None:
    """That of the real model, with tokens that stand for nothing after its own."""
    for field in source.fields.values():
        if not field.name.startswith("tokenizer."):
            continue
        kind, value = field.types[0], field.contents()
        if field.name == "tokenizer.ggml.tokens":
            value = value + [f"<|unused_{number}|>" for number in range(size - len(value))]
        if field.name == "tokenizer.ggml.token_type":
            value = value + [int(gguf.TokenType.UNUSED)] * (size - len(value))
        writer.add_key_value(field.name, value, kind, field.types[-1] if kind == GGUFValueType.ARRAY else None)


def write(target: Path, source: GGUFReader, shape: Shape, form: str) -> None:
    writer, random = GGUFWriter(target, shape.architecture), numpy.random.default_rng(7)
    writer.add_block_count(shape.layers)
    writer.add_context_length(8192)
    writer.add_embedding_length(shape.hidden)
    writer.add_feed_forward_length(shape.inner)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(100_000.0)
    writer.add_rope_dimension_count(shape.hidden // shape.heads)
    writer.add_vocab_size(shape.vocabulary)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q4_0)
    add_tokenizer(writer, source, shape.vocabulary)
    kv = shape.hidden // shape.heads * shape.kv_heads
    matrices = {
        "attn_q": (shape.hidden, shape.hidden), "attn_k": (kv, shape.hidden), "attn_v": (kv, shape.hidden),
        "attn_output": (shape.hidden, shape.hidden), "ffn_gate": (shape.inner, shape.hidden),
        "ffn_up": (shape.inner, shape.hidden), "ffn_down": (shape.hidden, shape.inner),
    }

    def add(name: str, rows: int, columns: int) -> None:
        writer.add_tensor(name, weights(rows, columns, form, random), raw_dtype=GGMLQuantizationType[form])

    add("token_embd.weight", shape.vocabulary, shape.hidden)
    for layer in range(shape.layers):
        for name, (rows, columns) in matrices.items():
            add(f"blk.{layer}.{name}.weight", rows, columns)
        for name in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{layer}.{name}.weight", numpy.ones(shape.hidden, dtype=numpy.float32))
        if shape.architecture == "qwen2":
            for name in ("attn_q", "attn_k", "attn_v"):
                writer.add_tensor(f"blk.{layer}.{name}.bias", numpy.zeros(matrices[name][0], dtype=numpy.float32))
    writer.add_tensor("output_norm.weight", numpy.ones(shape.hidden, dtype=numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main() -> int:
    source, folder = GGUFReader(sys.argv[1]), Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    for name, (shape, form) in files().items():
        if (folder / name).exists():
            continue
        part = folder / f"{name}.part"
        write(part, source, shape, form)
        part.rename(folder / name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
