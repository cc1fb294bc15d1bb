"""Embedding in bulk: picklable callables that load their model in each worker, once.

For Ray Data the class itself is the callable: ``dataset.map_batches(EmbedBatch, fn_constructor_kwargs={"config": …})``, or an
instance of it. For Spark :func:`predict_function` is what ``predict_batch_udf`` wants.

>>> import pickle
>>> import numpy as np
>>> embed = pickle.loads(pickle.dumps(EmbedBatch({"backend": "scripted"})))
>>> embed({"text": np.array(["hola", "hello"])})["embedding"].shape
(2, 16)
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from typing import Any

try:
    import numpy as np
except ImportError as _error:
    raise ImportError("ayni.batch needs numpy: pip install 'ayni[numpy]'", name="numpy") from _error

from ayni import Embedder, InvalidRequest

__all__ = ["EmbedBatch", "predict_function"]

_LOADED: dict[str, Embedder] = {}
_LOADING = threading.Lock()


def loaded(config: str | Mapping[str, Any]) -> Embedder:
    """The embedder of a configuration in this process: opened when it is first asked for, and shared."""
    name = json.dumps(config, sort_keys=True)
    with _LOADING:
        if name not in _LOADED:
            _LOADED[name] = Embedder(config)
        return _LOADED[name]


class EmbedBatch:
    """Adds vectors to a batch of rows, given as columns. Picklable, because it holds a configuration and not a model.

    ``config`` is the reference of a local model or a configuration. A credential in it is pickled too, so let workers read
    theirs from their environment.
    """

    def __init__(
        self, config: str | Mapping[str, Any], *, column: str = "text", output: str = "embedding", **options: Any
    ) -> None:
        self.config = config if isinstance(config, str) else dict(config)
        self.column, self.output, self.options = column, output, options

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        inputs = _inputs(batch[self.column], f" of column '{self.column}'")
        columns = dict(batch)
        if not inputs:
            columns[self.output] = np.empty((0, 0), np.float32)
            return columns
        # A copy, because workers write to the columns of a batch and vectors are read-only.
        columns[self.output] = np.array(loaded(self.config).embed_sync(inputs, **self.options).vectors)
        return columns


def _inputs(values: Any, where: str) -> list[Any]:
    return [_input(row, value, where) for row, value in enumerate(values)]


def _input(row: int, value: Any, where: str) -> Any:
    if isinstance(value, (str, bytes)):
        return value
    # NaN is the one number that differs from itself.
    if isinstance(value, (int, float, np.number)) and value == value:
        return str(value)
    found = "is missing" if value is None or not hasattr(value, "__len__") else f"is a {type(value).__name__}, not text"
    raise InvalidRequest(f"row {row}{where} {found}; leave it out, or put a text there")


def predict_function(config: str | Mapping[str, Any], **options: Any) -> Callable[[Any], Any]:
    """The function that ``pyspark.ml.functions.predict_batch_udf`` calls in a worker on each batch."""

    def predict(inputs: Any) -> Any:
        return np.array(loaded(config).embed_sync(_inputs(inputs, ""), **options).vectors)

    return predict
