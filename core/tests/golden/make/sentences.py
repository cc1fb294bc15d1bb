#!/usr/bin/env python3
"""Writes sentences/vectors.bin: what sentence-transformers makes of the lines of sentences/texts.txt with the real
all-MiniLM-L6-v2, as rows of 384 little-endian f32.

usage: python core/tests/golden/make/sentences.py MODEL_FOLDER
`make models` says where the folder is; requirements.txt beside this file names the versions.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import SentenceTransformer

FOLDER = Path(__file__).resolve().parent.parent / "sentences"


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    torch.manual_seed(0)
    model = SentenceTransformer(sys.argv[1], device="cpu")
    texts = (FOLDER / "texts.txt").read_text(encoding="utf-8").splitlines()
    # One at a time: padding costs the last bits.
    vectors = np.stack([model.encode(text) for text in texts]).astype("<f4")
    assert vectors.shape == (len(texts), 384), vectors.shape
    vectors.tofile(FOLDER / "vectors.bin")
    print(f"{len(texts)} vectors")


if __name__ == "__main__":
    main()
