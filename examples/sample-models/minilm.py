"""What all-MiniLM-L6-v2 says of texts: the teacher of both models, of which `make models` puts a copy into the cache."""

from __future__ import annotations

import functools
import json
import os
from pathlib import Path

import numpy

import drawings as source

CACHE = Path(os.environ.get("AYNI_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ayni")
FOLDER = CACHE / "models/all-minilm-l6-v2"


@functools.cache
def model():
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(FOLDER), device="cpu")


def vectors(texts: list[str]) -> numpy.ndarray:
    """Of unit length; kept in a file, since they are most of the work."""
    names, path = source.WORK / "teacher.json", source.WORK / "teacher.npy"
    known: dict[str, numpy.ndarray] = {}
    if names.is_file():
        known = dict(zip(json.loads(names.read_text(encoding="utf-8")), numpy.load(path).astype("float32")))
    missing = [text for text in dict.fromkeys(texts) if text not in known]
    if missing:
        known |= dict(zip(missing, model().encode(missing, batch_size=64, normalize_embeddings=True, show_progress_bar=False)))
        path.parent.mkdir(parents=True, exist_ok=True)
        numpy.save(path, numpy.stack(list(known.values())).astype("float16"))
        names.write_text(json.dumps(list(known)), encoding="utf-8")
    return numpy.stack([known[text] for text in texts])
