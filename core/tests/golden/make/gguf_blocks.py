#!/usr/bin/env python3
"""Writes core/kernels/src/gguf/tests/blocks.txt: blocks of the formats that candle does not know, with their numbers as the package
`gguf` reads them. Run again only to add a format; the result is committed and needs no library.

Made with gguf 0.19.0 and numpy 2.4.6 on Python 3.11:

    python core/tests/golden/make/gguf_blocks.py
"""

from pathlib import Path

import gguf
import numpy as np

TARGET = Path(__file__).resolve().parents[3] / "kernels" / "src" / "gguf" / "tests" / "blocks.txt"
# Where a block has its scale, in f16.
SCALES = {"IQ4_NL": 0, "IQ4_XS": 0, "TQ2_0": 64, "MXFP4": None}

random, lines = np.random.default_rng(7), []
for name, scale in SCALES.items():
    kind = gguf.GGMLQuantizationType[name]
    _, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = random.integers(0, 256, (2, size), dtype=np.uint8)
    if scale is None:
        blocks[:, 0] = [121, 1]
    else:
        blocks[:, scale : scale + 2] = np.array([[0.037], [-1.5]], dtype=np.float16).view(np.uint8)
    numbers = gguf.quants.dequantize(blocks.reshape(-1), kind).astype("<f4")
    lines.append(f"{name} {blocks.tobytes().hex()} {numbers.tobytes().hex()}\n")
TARGET.write_text("".join(lines))
