"""What is measured of local chat: models, works, sides, and how fast ours must be."""

from dataclasses import dataclass, field
from pathlib import Path

from random_models import BLOCK_FORMATS

# llama.cpp and OpenVINO do all works; the others the main ones, of one format, when those are over: a process of mistral.rs that
# has nothing to do slows the others down.
FAST, SLOW = ["ours", "llama_cpp", "openvino"], ["ours", "mistral_rs", "candle"]
SIDES = list(dict.fromkeys(FAST + SLOW))
LIBRARIES = ["llama-cpp-python", "openvino", "openvino-genai", "mistralrs"]

# The request to a side, and how many times as fast ours must be.
WORKS = {
    "decode": ("decode 32 128", {"llama_cpp": 1.3, "others": 1.05}),
    "prefill_512": ("prefill 512", {"llama_cpp": 2, "openvino": 1.1}),
    "users_8": ("users 8 32 64", {"llama_cpp": 2, "openvino": 1.5}),
    "decode_4096": ("decode 4000 64", {}),
    # While another process keeps a core busy.
    "decode_busy": ("decode 32 128", {}),
}
SHORT = WORKS | {"decode": ("decode 32 48", WORKS["decode"][1]), "users_8": ("users 8 32 16", WORKS["users_8"][1])}
MAIN = ["decode", "prefill_512", "users_8"]
# What only our side is asked, besides its start.
OURS = ["bandwidth", "turns", "json", "load"]


@dataclass
class Model:
    """A file, and what is measured of it."""

    name: str
    file: Path
    works: list[str]
    sides: list[str]
    extra: list[str] = field(default_factory=list)
    # Whether ratios have targets.
    is_judged: bool = True
    requests: dict = field(default_factory=lambda: WORKS)


def models(original: Path, folder: Path, quick: bool) -> list[Model]:
    """All of them; the quick run leaves out what shows the same again."""
    every = [*MAIN, "decode_4096", "decode_busy"]

    def real(form: str) -> Path:
        return folder / f"SmolLM2-135M-Instruct.{form}.gguf"

    found = [Model("Q4_0", real("Q4_0"), every, FAST, OURS)]
    for form in ("Q4_K_M", "Q8_0"):
        found.append(Model(form, real(form), MAIN if quick else every, FAST, ["bandwidth"] if quick else OURS))
    found.append(Model("Q4_1", original, [] if quick else MAIN, FAST, ["load"], is_judged=False))
    for name in ("Qwen2.5-0.5B.Q4_0", "Llama-1.7B.Q4_0") if quick else (
        "Qwen2.5-0.5B.Q4_0", "Qwen2.5-0.5B.Q8_0", "Llama-1.7B.Q4_0", "Llama-1.7B.Q4_K",
    ):
        found.append(Model(name, folder / f"{name}.gguf", MAIN, FAST, ["bandwidth"], requests=SHORT))
    # Q8_0 first: the others are compared with it.
    for form in sorted(BLOCK_FORMATS, key=lambda form: form != "Q8_0"):
        sides = ["ours"] if quick else ["ours", "llama_cpp"]
        found.append(Model(f"blocks.{form}", folder / f"blocks.{form}.gguf", ["decode"], sides, is_judged=False, requests=SHORT))
    return [*found, Model("Q4_0_others", real("Q4_0"), MAIN, SLOW)]


def works_of(model: Model, side: str) -> list[str]:
    """What a side is asked of a model."""
    # llama.cpp's threads wait for each other in loops: with a core taken, one such answer takes it minutes.
    return [work for work in model.works if (side, work) != ("llama_cpp", "decode_busy")]
