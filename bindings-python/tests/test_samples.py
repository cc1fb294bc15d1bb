"""The sample models of the package: without a network, without a key, without a file of one's own."""

import base64
from pathlib import Path

import pytest
from serving import serving

import ayni

# Drawings that the model was not trained on.
DRAWINGS = Path(__file__).parents[2] / "docs/guides/drawings"


@pytest.fixture
def offline(tmp_path):
    return {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hub"), "AYNI_CACHE": str(tmp_path / "cache")}


def test_texts_in_two_languages_share_a_space(offline):
    with ayni.Embedder("tiny:text", env=offline) as embedder:
        documents = embedder.embed_sync(["a red apple", "the moon at night", "drinking water for villages"])
        for question, nearest in (("una manzana roja", 0), ("la luna", 1), ("agua potable", 2)):
            assert ayni.top_k(documents.vectors, embedder.embed_sync(question).vectors[0], 1)[0].index == nearest


def test_a_model_that_is_not_here_names_the_samples(offline):
    with pytest.raises(ayni.Offline, match="these sample models work now: tiny:clip, tiny:text"):
        ayni.Embedder("org/name", env=offline)
    with pytest.raises(ayni.Offline, match="tiny:chat is fetched, it is no part of the package"):
        ayni.Chat("tiny:chat", env=offline)
    with pytest.raises(ayni.ConfigInvalid, match="valid: tiny:clip, tiny:text, tiny:chat"):
        ayni.Embedder("tiny:video", env=offline)


def test_the_clip_service_serves_a_sample(offline):
    with serving("clip", "--model", "tiny:clip", env=offline) as served:
        drawings = {name: (DRAWINGS / f"{name}.png").read_bytes() for name in ("frog", "guitar", "volcano")}
        vectors = {}
        for name, png in drawings.items():
            answer = served.client.post("/embed/image", json={"image": base64.b64encode(png).decode()})
            assert answer.status_code == 200, answer.text
            vectors[name] = answer.json()["embedding"]
        for caption, shown in (("a guitar", "guitar"), ("una rana", "frog")):
            answer = served.client.post("/embed/text", json={"text": caption})
            assert answer.status_code == 200 and len(answer.json()["embedding"]) == 128
            asked = answer.json()["embedding"]
            assert max(vectors, key=lambda name: ayni.similarity(vectors[name], asked)) == shown
