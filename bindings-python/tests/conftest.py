"""What several tests use."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

import ayni

ROOT = Path(__file__).resolve().parents[2]
TINY = ROOT / "core/tests/golden/repositories/base"
CLIP_WEIGHTS = ROOT / "core/tests/golden/clip/openai"


@pytest.fixture
def scripted():
    return ayni.Embedder(backend="scripted")


@pytest.fixture(scope="session")
def tiny():
    """A local embedder with seeded weights."""
    return ayni.Embedder(backend="local", model=str(TINY))


@pytest.fixture(scope="session")
def tiny_images(tmp_path_factory):
    """A folder with image models of random weights: sd, turbo, sd-inpaint, and LoRAs."""
    folder = tmp_path_factory.mktemp("tiny-images")
    subprocess.run([os.environ["AYNI_MOCK"], "tiny-images", str(folder)], check=True)
    return folder


@pytest.fixture
def hosted():
    """Opens a chat backend at an address."""

    def opened(url, **more):
        none = {"retry": {"max_retries": 0}}
        return ayni.Chat(backend="openai", vendor="custom", base_url=f"{url}/v1", model="m", policy=none, **more)

    return opened


@pytest.fixture(scope="session")
def clip(tmp_path_factory):
    """The folder of a tiny CLIP model: the golden weights, and the files that they lack. Token n is the word `wn`."""
    folder = tmp_path_factory.mktemp("clip")
    for name in ("config.json", "model.safetensors"):
        shutil.copy(CLIP_WEIGHTS / name, folder / name)
    words = {f"w{number}": number for number in range(64)}
    model = {"type": "WordLevel", "vocab": words, "unk_token": "w0"}
    square = {"height": 32, "width": 32}
    files = {
        "tokenizer.json": {
            "version": "1.0", "added_tokens": [], "pre_tokenizer": {"type": "Whitespace"}, "model": model,
        },
        "tokenizer_config.json": {"pad_token": "w1"},
        "preprocessor_config.json": {
            "image_processor_type": "CLIPImageProcessor", "do_convert_rgb": True, "resample": 3,
            "do_resize": True, "size": {"shortest_edge": 32}, "do_center_crop": True, "crop_size": square,
            "do_rescale": True, "rescale_factor": 1 / 255,
            "do_normalize": True, "image_mean": [0.5] * 3, "image_std": [0.5] * 3,
        },
    }  # fmt: skip
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    return folder
