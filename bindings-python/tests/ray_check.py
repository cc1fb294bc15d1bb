"""Embeds with Ray Data: a class in actors, and an instance in tasks. scripts/ray-check runs it."""

import numpy as np
import ray

import ayni
from ayni.batch import EmbedBatch

CONFIG = {"backend": "scripted"}


def check(rows):
    """Every row has the vector of its text."""
    expected = ayni.Embedder(CONFIG).embed_sync([row["text"] for row in rows]).vectors
    assert len(rows) == 200 and np.array_equal(np.stack([row["embedding"] for row in rows]).astype(np.float32), expected)


ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
dataset = ray.data.from_items([{"text": f"texto {number}", "id": number} for number in range(200)])
actors = ray.data.ActorPoolStrategy(size=2)
check(dataset.map_batches(EmbedBatch, fn_constructor_kwargs={"config": CONFIG}, batch_size=16, compute=actors).take_all())
check(dataset.map_batches(EmbedBatch(CONFIG), batch_size=50).take_all())
print(f"ray {ray.__version__}: 2 × 200 rows embedded")
ray.shutdown()
