"""What the figures must be: which of ours against which peers, and by how much."""

from dataclasses import dataclass

INT8 = {"ort_int8", "openvino_int8"}
MINILM = ["1x16", "1x64", "1x256", "32x16", "32x64", "32x256"]
CLIP = ["text_1x10", "text_16x10", "text_1x77", "text_16x77", "image_1", "image_16"]

# Which part of the CPU's limit a batch of 16 and more must reach.
OF_LIMIT, LARGE_BATCH = 0.6, 16
# Process start to first vector, and memory over weights.
FIRST_VECTOR_MS, MEMORY_OVER_WEIGHTS = 60, 1.2
# A stream over one large batch; memory at its end over memory at a fifth of it.
STREAM_OVER_BATCH, STREAM_GROWTH = 0.9, 1.05


@dataclass(frozen=True)
class Target:
    """`ours` must be `least` times as fast as the fastest of `peers` at `work`."""

    work: str
    ours: str
    peers: str
    least: float | None


def chosen(peers: str, measured: list[str]) -> list[str]:
    """The measured sides that a target's peers stand for."""
    others = [name for name in measured if not name.startswith("ours_")]
    groups = {"fastest": others, "fastest_but_int8": [name for name in others if name not in INT8]}
    return groups.get(peers, [name for name in others if name == peers])


def targets() -> list[Target]:
    auto = {"1x16": 3, "1x64": 1.8, "1x256": 2, "32x16": 1.3, "32x64": None, "32x256": 1.6}
    found = [Target(f"minilm_{size}", "ours_auto", "fastest_but_int8", least) for size, least in auto.items()]
    found += [
        Target("minilm_32xmixed", "ours_auto", "fastest_but_int8", 5),
        Target("minilm_32xmixed", "ours_int8", "fastest", 8),
    ]
    found += [Target(f"minilm_{size}", "ours_f32", "ort_f32", 1.2) for size in MINILM]
    found += [Target(f"minilm_{size}", "ours_int8", "ort_int8", 1.5) for size in MINILM]
    # The strongest peer, in the same precision (Zen 4 and 5; an Intel CPU with AMX has targets of its own).
    found += [Target(f"minilm_{size}", "ours_auto", "openvino_bf16", 1.15) for size in MINILM]
    found += [Target(f"minilm_{size}", "ours_int8", "openvino_int8", 1.25) for size in MINILM]
    for ours, peer, least in (("f32", "ort_f32", 1.15), ("bf16", "torch_bf16", 1.8), ("int8", "ort_int8", 1.5)):
        found += [Target(f"clip_{task}", f"ours_{ours}", peer, least) for task in CLIP]
    return found + [Target("clip_jpeg_1280x960", "ours_f32", "fastest", 2)]
