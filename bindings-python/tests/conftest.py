"""What several tests use."""

from pathlib import Path

import pytest

import ayni

ROOT = Path(__file__).resolve().parents[2]
TINY = ROOT / "core/tests/golden/repositories/base"
CLIP = ROOT / "core/tests/golden/clip/openai"


@pytest.fixture
def scripted():
    return ayni.Embedder(backend="scripted")


@pytest.fixture(scope="session")
def tiny():
    """A local embedder with seeded weights."""
    return ayni.Embedder(backend="local", model=str(TINY))


@pytest.fixture
def hosted():
    """Opens a chat backend at an address."""

    def opened(url, **more):
        none = {"retry": {"max_retries": 0}}
        return ayni.Chat(backend="openai", vendor="custom", base_url=f"{url}/v1", model="m", policy=none, **more)

    return opened
