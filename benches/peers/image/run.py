"""Stable Diffusion by us and by others, in turns, in one run. Started by `make bench-peers SUITE=image`.

Weights are random, sizes are real: SD 1.5 at 512 × 512 and SDXL at 1024 × 1024.
"""

import argparse
import os
import subprocess
import sys
from array import array
from datetime import datetime, timezone
from importlib.metadata import version
from math import sqrt
from pathlib import Path
from statistics import median
from tempfile import NamedTemporaryFile

# What drives the processes, and the report, are those of the suite `embed`.
sys.path.insert(0, str(Path(__file__).parents[1] / "embed"))
from processes import Failed, Process  # noqa: E402
from report import Report, cpu_name  # noqa: E402

OURS = ["ours_f32", "ours_bf16", "ours_int8"]
PEERS = ["torch_f32", "torch_bf16", "openvino_bf16", "openvino_int8"]
SIDES = ["ours_bf16", "ours_int8", "torch_bf16", "openvino_bf16", "openvino_int8"]
# Which sides do a part; f32 only where nobody left it out.
PARTS = {
    "text": ["ours_bf16", "torch_bf16", "openvino_bf16"],
    "step1": SIDES,
    "step2": ["ours_bf16", "ours_int8", "torch_bf16", "openvino_bf16"],
    "decode": ["ours_bf16", "torch_bf16", "openvino_bf16"],
    "encode": ["ours_bf16", "torch_bf16", "openvino_bf16"],
    "lcm": SIDES,
}
WORDS = {
    "text": "text encoder, 77 tokens", "step1": "UNet step, one row", "step2": "UNet step, two rows", "decode": "VAE decode",
    "encode": "VAE encode", "lcm": "an image of 4 steps", "first": "load to first step", "xl": "SDXL UNet step, 1024 × 1024",
}
# Part, ours, peer, how many times as fast.
TARGETS = [
    ("step1", "ours_bf16", "torch_bf16", 1.5), ("step1", "ours_bf16", "openvino_bf16", 1.05),
    ("step2", "ours_bf16", "torch_bf16", 1.5), ("step2", "ours_bf16", "openvino_bf16", 1.05),
    ("step1", "ours_int8", "openvino_int8", 1.1),
    ("decode", "ours_bf16", "torch_bf16", 1.2), ("decode", "ours_bf16", "openvino_bf16", 0.95),
    ("encode", "ours_bf16", "torch_bf16", 1.2), ("encode", "ours_bf16", "openvino_bf16", 0.95),
    ("text", "ours_bf16", "torch_bf16", 1.5),
    ("lcm", "ours_bf16", "torch_bf16", 1.7), ("lcm", "ours_bf16", "openvino_bf16", 1.05),
    ("lcm", "ours_int8", "openvino_int8", 1.05), ("first", "ours_bf16", "torch_bf16", 2.0), ("xl", "ours_bf16", "torch_bf16", 1.5),
]
COSINES = {"ours_bf16": 0.9995, "ours_int8": 0.998}
MEMORY_OF_TORCH, USERS_AT_ONCE, ESTIMATE = 0.6, 1.15, 0.15

FAIRNESS = (
    "Our side is given prompts and tokenises them; the others are given token ids. An image of 4 steps has no guidance (LCM): text "
    "encoder, four UNet steps, VAE; ours also writes the PNG with its receipt. torch runs diffusers' modules channels last. "
    "OpenVINO's int8 is nncf's `quantize` (UNet only: weights per output channel, activations per tensor, convolutions and "
    "matrix products; what is not quantised is bf16); ours quantises weights per output channel and activations per pixel or "
    "token while it computes. Load to first step starts when the libraries are imported and ends with one step. "
    "Not in the suite: stable-diffusion.cpp, whose package is built from source for a quarter of an hour and took 12.4 s a step and "
    "39 s a decode on this CPU (f32, the only precision in which it loads these weights); candle's own Stable Diffusion, "
    "11.6 s and 38 s, whose numbers are not diffusers'."
)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench-peers SUITE=image", description=__doc__.splitlines()[0])
    parser.add_argument("--program", type=Path, required=True, help="ayni-benches")
    parser.add_argument("--folder", type=Path, required=True, help="what make.py and convert.py made, and make where it is missing")
    parser.add_argument("--threads", type=int, default=2, help="for every library (default 2)")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each library at each part (default 5)")
    parser.add_argument("--quick", action="store_true", help="two turns, no f32")
    works = [*PARTS, "users", "first", "cosine", "xl", "estimate"]
    parser.add_argument("--only", action="append", default=[], metavar="WORK", choices=works, help=", ".join(works))
    parser.add_argument("--without", action="append", default=[], metavar="SIDE", choices=OURS + PEERS)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    return parser.parse_args()


class Bench:
    def __init__(self, arguments: argparse.Namespace):
        self.arguments, self.report = arguments, Report()
        self.rounds = 2 if arguments.quick else arguments.rounds
        self.times: dict[str, dict[str, list[float]]] = {}
        self.peaks: dict[str, int] = {}

    def wants(self, work: str) -> bool:
        return not self.arguments.only or work in self.arguments.only

    def sides(self, part: str) -> list[str]:
        others = [] if self.arguments.quick or part == "lcm" else ["ours_f32", "torch_f32"]
        return [side for side in PARTS[part] + others if side not in self.arguments.without]

    def start(self, side: str, variant: str = "sd15") -> Process:
        folder, threads = str(self.arguments.folder / variant), str(self.arguments.threads)
        if side in OURS:
            command = [str(self.arguments.program), "image-worker", side.removeprefix("ours_"), folder]
        else:
            command = [sys.executable, str(Path(__file__).with_name("worker.py")), side, folder, threads]
        print(f"# starting {side}", file=sys.stderr, flush=True)
        return Process(side, command, os.environ | {"AYNI_THREADS": threads, "OMP_NUM_THREADS": threads})

    def turn(self, process: Process, part: str, times: int = 1) -> float:
        taken = int(process.ask("run", part, str(times))[1]) / 1e9 / times
        process.settle()
        self.times.setdefault(part, {}).setdefault(process.name, []).append(taken)
        return taken

    def parts(self) -> None:
        """All sides at each part, in turns."""
        parts = [part for part in PARTS if part != "lcm" and self.wants(part)]
        names = [side for side in dict.fromkeys(side for part in parts for side in self.sides(part))]
        running = {name: self.start(name) for name in names}
        try:
            for part in parts:
                for round_number in range(self.rounds):
                    for side in self.sides(part):
                        self.turn(running[side], part, 10 if part == "text" else 1)
        finally:
            for process in running.values():
                process.close()

    def whole_images(self) -> None:
        """Whole images, each side in a process that did nothing else, so that its memory is known."""
        running = {side: self.start(side) for side in self.sides("lcm")}
        try:
            for _ in range(self.rounds):
                for process in running.values():
                    self.turn(process, "lcm")
            for side, process in running.items():
                self.peaks[side] = int(process.ask("memory")[1])
            if self.wants("users") and "ours_bf16" in running:
                for _ in range(1 if self.arguments.quick else 3):
                    for part in ("alone4", "users4"):
                        self.turn(running["ours_bf16"], part)
        finally:
            for process in running.values():
                process.close()

    def first_steps(self) -> None:
        for _ in range(self.rounds):
            for side in ["ours_bf16", "ours_int8", "torch_bf16"]:
                if side not in self.arguments.without:
                    process = self.start(side)
                    taken = int(process.ask("first")[1]) / 1e9
                    process.close()
                    self.times.setdefault("first", {}).setdefault(side, []).append(taken)

    def large_steps(self) -> None:
        """SDXL, one side after another: not all have room beside each other."""
        for side in ["ours_bf16", "ours_int8", "torch_bf16"]:
            if side not in self.arguments.without:
                process = self.start(side, "sdxl")
                try:
                    for _ in range(self.rounds):
                        taken = int(process.ask("run", "step1", "1")[1]) / 1e9
                        self.times.setdefault("xl", {}).setdefault(side, []).append(taken)
                finally:
                    process.close()

    def cosines(self) -> None:
        found = {}
        for side in OURS:
            process = self.start(side)
            with NamedTemporaryFile() as file:
                process.ask("output", file.name)
                found[side] = array("f", Path(file.name).read_bytes())
            process.close()
        dot = lambda one, other: sum(a * b for a, b in zip(one, other))
        exact = found["ours_f32"]
        for side, bar in COSINES.items():
            value = dot(exact, found[side]) / sqrt(dot(exact, exact) * dot(found[side], found[side]))
            self.report.figure(f"step1_{side}_against_f32", value, "cosine", least=bar)

    def estimates(self) -> None:
        """Said before it begins, and measured: the weights, a step of two rows, and a decode."""
        for variant, sizes in (("sd15", (512, 768)), ("sdxl", (1024,))):
            for size in sizes:
                process = self.start("ours_bf16", variant)
                said = int(process.ask("estimate", "2", str(size))[1])
                process.ask("draw", "2", str(size))
                found = int(process.ask("memory")[1])
                process.close()
                self.report.figure(f"memory_{variant}_{size}", found / 1e9, "GB")
                self.report.ratio(f"memory_{variant}_{size}_said", said / found, least=1 - ESTIMATE, most=1 + ESTIMATE)

    def judge(self) -> None:
        for part, sides in self.times.items():
            for side, taken in sides.items():
                self.report.figure(f"{part}_{side}", median(taken) * 1e3, "ms")
        for part, ours, peer, least in TARGETS:
            sides = self.times.get(part, {})
            if ours in sides and peer in sides:
                # Of the same turn, so that whoever else uses the machine disturbs both.
                ratio = median(theirs / own for own, theirs in zip(sides[ours], sides[peer]))
                self.report.ratio(f"{part}_{ours}_over_{peer}", ratio, least=least)
        if "users4" in self.times:
            runs = zip(self.times["alone4"]["ours_bf16"], self.times["users4"]["ours_bf16"])
            self.report.ratio("users4_over_alone4", median(alone / users for alone, users in runs), least=USERS_AT_ONCE)
        for side, peak in self.peaks.items():
            self.report.figure(f"lcm_memory_{side}", peak / 1e9, "GB")
        if {"ours_bf16", "torch_bf16"} <= set(self.peaks):
            ratio = self.peaks["ours_bf16"] / self.peaks["torch_bf16"]
            self.report.ratio("lcm_memory_ours_bf16_of_torch_bf16", ratio, most=MEMORY_OF_TORCH)

    def markdown(self) -> str:
        day, libraries = datetime.now(timezone.utc).date().isoformat(), ("torch", "diffusers", "openvino", "nncf")
        versions = ", ".join(f"{name} {version(name)}" for name in libraries)
        sides = [side for side in [*OURS, *PEERS] if any(side in found for found in self.times.values())]
        page = [
            "# Image performance", "",
            "Written by `make bench-peers SUITE=image OPTIONS='--markdown docs/reference/image-performance.md'`.", "",
            f"{day}, {cpu_name()}, {self.arguments.threads} threads, {versions}. "
            f"SD 1.5 at 512 × 512 and SDXL at 1024 × 1024, random weights. Seconds, medians of {self.rounds} turns.", "", FAIRNESS, "",
            f"| | {' | '.join(sides)} |", "| --- " * (len(sides) + 1) + "|",
        ]
        for part, words in WORDS.items():
            if part in self.times:
                cells = [f"{median(self.times[part][side]):.3f}" if side in self.times[part] else "–" for side in sides]
                page.append(f"| {words} | {' | '.join(cells)} |")
        if self.peaks:
            cells = [f"{self.peaks[side] / 1e9:.2f}" if side in self.peaks else "–" for side in sides]
            page.append(f"| peak memory of an image, GB | {' | '.join(cells)} |")
        page += ["", "## Targets", "", "| | value | target | |", "| --- | --- | --- | --- |"]
        page += [
            f"| {entry['name']} | {entry['value']:.5g} | {entry['target']} | {'' if entry['holds'] else 'missed'} |"
            for entry in self.report.entries if entry["target"]
        ]
        return "\n".join(page) + "\n"


def prepare(folder: Path, arguments: argparse.Namespace, bench: Bench) -> None:
    """Weights and OpenVINO's files, made once."""
    here = Path(__file__).parent
    variants = ["sd15"] + ["sdxl"] * (bench.wants("xl") or bench.wants("estimate"))
    for variant in variants:
        if not (folder / variant / "model_index.json").exists():
            print(f"# making {variant} in {folder}", file=sys.stderr, flush=True)
            subprocess.run([sys.executable, here / "make.py", variant, folder / variant], check=True)
    if {"openvino_bf16", "openvino_int8"} - set(arguments.without):
        subprocess.run([sys.executable, here / "convert.py", folder / "sd15"], check=True)


def main() -> int:
    arguments = options()
    bench = Bench(arguments)
    prepare(arguments.folder, arguments, bench)
    works = {
        "cosine": bench.cosines, "estimate": bench.estimates, "first": bench.first_steps, "lcm": bench.whole_images,
        "xl": bench.large_steps,
    }
    try:
        if any(bench.wants(part) for part in PARTS if part != "lcm"):
            bench.parts()
        for name, work in works.items():
            if bench.wants(name) or name == "lcm" and bench.wants("users"):
                work()
    except Failed as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    bench.judge()
    return bench.report.finish(arguments.json, arguments.markdown, bench.markdown)


if __name__ == "__main__":
    sys.exit(main())
