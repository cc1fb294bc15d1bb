"""The parts of Stable Diffusion 1.5 by us and by others, in turns, in one run. Started by `make bench-peers SUITE=image`.

Weights are random, sizes are real. Each side computes the same parts: the text encoder (77 tokens), one step of the UNet at
512 × 512 with one row and with two, and the decoder of the VAE.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

PARTS = ("text", "step1", "step2", "decode")
TARGETS = (
    ("step1", "bf16", "torch_bf16", 1.5), ("step1", "bf16", "openvino_bf16", 1.05), ("step1", "int8", "openvino_bf16", 1.1),
    ("step2", "bf16", "torch_bf16", 1.5), ("decode", "bf16", "torch_bf16", 1.2), ("decode", "bf16", "openvino_bf16", 0.95),
    ("text", "bf16", "torch_bf16", 1.5),
)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench-peers SUITE=image", description=__doc__.splitlines()[0])
    parser.add_argument("--program", type=Path, required=True, help="ayni-benches")
    parser.add_argument("--folder", type=Path, required=True, help="what make.py made; made anew if it is not there")
    parser.add_argument("--threads", type=int, default=2, help="for every library (default 2)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each library at each part (default 3)")
    parser.add_argument("--quick", action="store_true", help="one turn")
    parser.add_argument("--only", action="append", default=[], metavar="PART", choices=PARTS)
    parser.add_argument("--without", action="append", default=[], metavar="LIBRARY", choices=["torch", "openvino", "ours"])
    parser.add_argument("--json", type=Path, metavar="FILE")
    return parser.parse_args()


def timed(work, rounds: int) -> float:
    """The median of some turns after a first one, in milliseconds."""
    work()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        times.append((time.perf_counter() - start) * 1e3)
    return median(times)


def works(torch, models: dict, dtype) -> dict:
    """The parts of torch models as functions."""
    def rows(count):
        return torch.randn(count, 4, 64, 64).to(dtype), torch.tensor([500.0] * count), torch.randn(count, 77, 768).to(dtype)

    ids, latent = torch.full([1, 77], 49407), torch.randn(1, 4, 64, 64).to(dtype)
    return {
        "text": lambda: models["text_encoder"](ids),
        "step1": lambda inputs=rows(1): models["unet"](inputs[0], inputs[1], encoder_hidden_states=inputs[2], return_dict=False),
        "step2": lambda inputs=rows(2): models["unet"](inputs[0], inputs[1], encoder_hidden_states=inputs[2], return_dict=False),
        "decode": lambda: models["vae"].decode(latent, return_dict=False),
    }


def torch_side(parts: list, args: argparse.Namespace) -> dict:
    import torch
    from make import models

    torch.set_num_threads(args.threads)
    figures = {}
    with torch.inference_mode():
        for name, dtype in [("torch_f32", torch.float32), ("torch_bf16", torch.bfloat16)]:
            made = {part: model.eval().to(dtype=dtype) for part, model in models().items()}
            for part in ("unet", "vae"):
                made[part].to(memory_format=torch.channels_last)
            all_works = works(torch, made, dtype)
            figures[name] = {part: timed(all_works[part], args.rounds) for part in parts}
    return figures


def openvino_side(parts: list, args: argparse.Namespace) -> dict:
    import openvino
    import torch
    from make import models

    class Decoder(torch.nn.Module):
        def __init__(self, vae):
            super().__init__()
            self.vae = vae

        def forward(self, latent):
            return self.vae.decode(latent, return_dict=False)[0]

    class Denoiser(torch.nn.Module):
        def __init__(self, unet):
            super().__init__()
            self.unet = unet

        def forward(self, sample, timestep, states):
            return self.unet(sample, timestep, encoder_hidden_states=states, return_dict=False)[0]

    made = {part: model.eval() for part, model in models().items()}
    core, found = openvino.Core(), {}
    settings = {"INFERENCE_PRECISION_HINT": "bf16", "INFERENCE_NUM_THREADS": args.threads, "PERFORMANCE_HINT": "LATENCY"}
    shapes = {
        "step1": (Denoiser(made["unet"]), [torch.randn(1, 4, 64, 64), torch.tensor([500.0]), torch.randn(1, 77, 768)]),
        "step2": (Denoiser(made["unet"]), [torch.randn(2, 4, 64, 64), torch.tensor([500.0] * 2), torch.randn(2, 77, 768)]),
        "decode": (Decoder(made["vae"]), [torch.randn(1, 4, 64, 64)]),
    }
    for part in [part for part in parts if part in shapes]:
        module, inputs = shapes[part]
        with torch.no_grad():
            converted = openvino.convert_model(module, example_input=tuple(inputs), input=[list(x.shape) for x in inputs])
        request = core.compile_model(converted, "CPU", settings).create_infer_request()
        arrays = [x.numpy() for x in inputs]
        found[part] = timed(lambda request=request, arrays=arrays: request.infer(arrays), args.rounds)
    return {"openvino_bf16": found}


def our_side(parts: list, args: argparse.Namespace) -> dict:
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        command = [args.program, "image", "--json", file.name, *(["--quick"] if args.quick else [])]
        for part in parts:
            command += ["--only", f"image_{part}_"]
        environment = os.environ | {"AYNI_BENCH_IMAGES": str(args.folder), "AYNI_THREADS": str(args.threads)}
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
        figures = json.load(open(file.name))
    found: dict = {}
    for figure in figures:
        _, part, precision = figure["name"].split("_")
        found.setdefault(precision, {})[part] = figure["value"]
    return found


def main() -> int:
    args = options()
    args.rounds = 1 if args.quick else args.rounds
    parts = args.only or list(PARTS)
    if not (args.folder / "model_index.json").exists():
        subprocess.run([sys.executable, Path(__file__).with_name("make.py"), args.folder], check=True)
    sides = {"ours": our_side, "torch": torch_side, "openvino": openvino_side}
    figures: dict = {}
    for name, side in sides.items():
        if name not in args.without:
            figures |= side(parts, args)
    for side, found in figures.items():
        for part, milliseconds in found.items():
            print(f"figure {side}_{part} {milliseconds:.1f} ms")
    missed = 0
    for part, precision, peer, target in TARGETS:
        ours, theirs = figures.get(precision, {}).get(part), figures.get(peer, {}).get(part)
        if ours and theirs:
            is_missed = theirs / ours < target
            missed += is_missed
            print(f"ratio {part}_{precision}_against_{peer} {theirs / ours:.2f} (target {target}){' MISSED' if is_missed else ''}")
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
