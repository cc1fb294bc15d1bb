#!/usr/bin/env python3
"""Writes encodings.json: seeded vectors in the encodings that vectors are stored in. Made with numpy 2.4.6."""

import json
from pathlib import Path

import numpy

WIDTH = 37

generator = numpy.random.default_rng(7)
vectors = generator.standard_normal((24, WIDTH)).astype(numpy.float32)
vectors *= numpy.float32(10.0) ** generator.integers(-9, 4, (24, 1)).astype(numpy.float32)
vectors[3] = 0
vectors[4, ::2] = 0
vectors[5, ::3] = -0.0

scales = numpy.abs(vectors).max(axis=1) / numpy.float32(127)
divisors = numpy.where(scales > 0, scales, numpy.float32(1))[:, None]
int8 = numpy.clip(numpy.rint(vectors / divisors), -127, 127).astype(numpy.int8)

golden = {
    "width": WIDTH,
    "f32_bits": vectors.view(numpy.uint32).ravel().tolist(),
    "f16_bits": vectors.astype(numpy.float16).view(numpy.uint16).ravel().tolist(),
    "int8": int8.ravel().tolist(),
    "scale_bits": scales.astype(numpy.float32).view(numpy.uint32).tolist(),
    "ubinary": numpy.packbits(vectors > 0, axis=1).ravel().tolist(),
}
(Path(__file__).parent.parent / "encodings.json").write_text(json.dumps(golden) + "\n")
