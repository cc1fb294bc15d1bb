"""Embedding by us and by others, in turns, in one run. Started by `make bench-peers SUITE=embed`."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import numpy
from tokenizers import Tokenizer

import lifetime
from processes import Failed, Processes, commands
from report import BEGINNING, FAIRNESS, Report, section, setting
from sections import cpu_generation, replaced
from sides import SIDES, cosine
from targets import LARGE_BATCH, OF_LIMIT, chosen, targets

# Which works each library is asked for, by how their names begin, and how near its vectors must come to the reference's.
OURS = {"ours_auto": 0.9995, "ours_f32": 0.99999, "ours_bf16": 0.9995, "ours_int8": 0.995}
WORKS = {
    "ours_auto": ("minilm",), "ours_f32": ("minilm", "clip"), "ours_bf16": ("clip_text", "clip_image"),
    "ours_int8": ("minilm", "clip_text", "clip_image"),
    "ort_f32": ("minilm", "clip_text", "clip_image"), "ort_int8": ("minilm", "clip_text", "clip_image"),
    "openvino_f32": ("minilm", "clip_text", "clip_image"), "openvino_bf16": ("minilm", "clip_text", "clip_image"),
    "openvino_int8": ("minilm", "clip_text", "clip_image"),
    "torch_f32": ("minilm", "clip_text", "clip_image"), "torch_bf16": ("minilm", "clip_text", "clip_image"),
    "compile_f32": ("minilm",), "compile_bf16": ("minilm",), "sentence_transformers": ("minilm",),
    "fastembed": ("minilm",), "candle": ("minilm",),
    "clip_processor_pil": ("clip_jpeg",), "clip_processor_torchvision": ("clip_jpeg",),
}
BARS = OURS | {"candle": 0.99999} | {name: bar for name, (_, _, bar) in SIDES.items()}
# A JPEG decoder of another library rounds otherwise.
JPEG_BAR = 0.999
GROUPS = ("minilm", "clip_text", "clip_image", "clip_jpeg")

def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench-peers SUITE=embed", description=__doc__)
    parser.add_argument("--program", type=Path, required=True, help="ayni-benches, built with the feature `stock`")
    parser.add_argument("--minilm", type=Path, required=True, help="the folder of all-MiniLM-L6-v2")
    parser.add_argument("--folder", type=Path, required=True, help="what prepare.py made")
    parser.add_argument("--threads", type=int, default=2, help="for every library (default 2)")
    parser.add_argument("--rounds", type=int, default=9, help="turns of each library at each work (default 9)")
    parser.add_argument("--quick", action="store_true", help="three short rounds")
    parser.add_argument("--only", action="append", default=[], metavar="TEXT", help="only works whose name holds TEXT")
    parser.add_argument("--without", action="append", default=[], choices=sorted(WORKS), metavar="NAME", help="leave a library out")
    parser.add_argument("--peers-only", action="store_true", help="leave our side out")
    parser.add_argument("--list", action="store_true", help="name the works and the libraries, and measure nothing")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    return parser.parse_args()


def tokenised_works(program: Path, minilm: Path, folder: Path) -> list[dict]:
    """The works as our side defines them, with the token ids for those that take them; also in `inputs.json`."""
    works = json.loads(subprocess.run([program, "embed-works"], check=True, stdout=subprocess.PIPE).stdout)
    tokenizers = {"minilm": tokenizer(minilm), "clip": tokenizer(folder / "clip")}
    for work in works:
        work["ids"] = [encoding.ids for encoding in tokenizers[work["model"]].encode_batch(work["texts"])]
        if [len(ids) for ids in work["ids"]] != work["lengths"]:
            raise Failed(f"the texts of {work['name']} do not have the lengths that they should have")
    (folder / "inputs.json").write_text(json.dumps(works))
    return works


def tokenizer(folder: Path) -> Tokenizer:
    found = Tokenizer.from_file(str(folder / "tokenizer.json"))
    found.no_truncation()
    found.no_padding()
    return found


class Bench:
    def __init__(self, arguments: argparse.Namespace, processes: Processes, report: Report):
        self.processes, self.report = processes, report
        self.rounds = 3 if arguments.quick else arguments.rounds
        self.turn, self.budget = (0.01, 1.0) if arguments.quick else (0.04, 6.0)
        left_out = set(arguments.without) | (set(OURS) if arguments.peers_only else set())
        self.sides = [side for side in WORKS if side not in left_out]
        self.times: dict[str, dict[str, float]] = {}

    def prepared(self, work: dict) -> list[str]:
        """The libraries that do this work, loaded and warm."""
        ready = []
        for side in self.sides:
            if work["name"].startswith(WORKS[side]):
                print(f"# {work['name']}: preparing {side}", file=sys.stderr, flush=True)
                answer = self.processes.get(side).ask("prepare", work["name"])
                self.processes.get(side).settle()
                if answer[0] == "ready":
                    ready.append(side)
                else:
                    print(f"# {work['name']}: without {side}: {' '.join(answer[1:])}", flush=True)
        return ready

    def seconds(self, side: str, work: dict, times: int) -> float:
        process = self.processes.get(side)
        taken = int(process.ask("run", work["name"], str(times))[1]) / 1e9
        process.settle()
        return taken

    def measure(self, work: dict) -> None:
        sides = self.prepared(work)
        runs = {side: [] for side in sides}
        spent = {side: self.seconds(side, work, 1) for side in sides}
        repeats = {side: max(1, min(1000, round(self.turn / spent[side]))) for side in sides}
        peaks = {side: [] for side in sides if side in OURS and self.has_limit(work)}
        for _ in range(self.rounds):
            for side in sides:
                if spent[side] > self.budget and len(runs[side]) >= 3:
                    continue
                taken = self.seconds(side, work, repeats[side])
                spent[side] += taken
                runs[side].append(taken / repeats[side])
                if side in peaks:
                    answer = self.processes.get(side).ask("peak", side.removeprefix("ours_"))
                    self.processes.get(side).settle()
                    # A CPU without the instruction has no limit to be measured by.
                    peaks[side] += [float(answer[1])] if answer[0] == "peak" else []
        medians = {side: median(values) for side, values in runs.items()}
        self.times[work["name"]] = {side: value * 1e3 for side, value in medians.items()}
        for side, value in medians.items():
            self.report.figure(f"{work['name']}_{side}", value * 1e3, "ms")
        for side, values in peaks.items():
            if not values:
                print(f"# {work['name']}: {side} has no limit on this CPU", flush=True)
                continue
            part = work["operations"] / medians[side] / median(values)
            self.report.ratio(f"{work['name']}_{side}_of_limit", part, least=OF_LIMIT)
        self.ratios(work, medians)
        self.compare(work, sides)

    def has_limit(self, work: dict) -> bool:
        return work["inputs"] >= LARGE_BATCH and work["operations"] > 0

    def ratios(self, work: dict, medians: dict[str, float]) -> None:
        for target in targets():
            peers = chosen(target.peers, list(medians))
            if target.work == work["name"] and target.ours in medians and peers:
                best = min(peers, key=medians.get)
                name = f"{work['name']}_{target.ours}_times_{best}"
                self.report.ratio(name, medians[best] / medians[target.ours], least=target.least)

    def compare(self, work: dict, sides: list[str]) -> None:
        """Whether all did the same work."""
        reference = "clip_processor_pil" if work["task"] == "preprocess" else "torch_f32"
        if reference not in sides:
            return
        vectors = {side: self.vectors(side, work) for side in sides}
        for side in sides:
            bar = JPEG_BAR if work["task"] == "preprocess" else BARS[side]
            if side != reference:
                self.report.figure(f"{work['name']}_{side}_cosine", cosine(vectors[side], vectors[reference]), "cosine", least=bar)

    def vectors(self, side: str, work: dict) -> numpy.ndarray:
        with tempfile.TemporaryDirectory() as folder:
            file = f"{folder}/vectors"
            _, rows, width = self.processes.get(side).ask("vectors", work["name"], file)
            found = numpy.fromfile(file, dtype=numpy.float32).reshape(int(rows), int(width)).astype(numpy.float64)
        if work["task"] == "preprocess" and side not in OURS:
            # Theirs has the colours in planes, ours side by side.
            found = found.reshape(3, -1).T.reshape(1, -1)
        return found


def wanted(name: str, only: list[str]) -> bool:
    return not only or any(text in name for text in only)


def measure_all(arguments: argparse.Namespace, report: Report) -> dict[str, dict[str, float]]:
    works = tokenised_works(arguments.program, arguments.minilm, arguments.folder)
    threads = str(arguments.threads)
    environment = os.environ | {
        name: threads for name in ("AYNI_THREADS", "RAYON_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
    } | {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "true"}
    environment |= {"TORCHINDUCTOR_CACHE_DIR": str(arguments.folder.parent / "inductor"), "PYTHONWARNINGS": "ignore"}
    found = commands(
        arguments.program, Path(sys.executable), arguments.minilm, arguments.folder, arguments.threads, list(SIDES)
    )
    times = {}
    for group in GROUPS:
        # A group's processes end before the next begins: the weights of all at once would be many gigabytes.
        with Processes(found, environment) as processes:
            bench = Bench(arguments, processes, report)
            for work in works:
                if work["name"].startswith(group) and wanted(work["name"], arguments.only):
                    bench.measure(work)
            times |= bench.times
    processes = Processes(found, environment)
    sides = Bench(arguments, processes, report).sides
    for name, measure in lifetime.MEASUREMENTS.items():
        if wanted(name, arguments.only):
            measure(processes, report, sides, arguments)
    return times


def main() -> int:
    arguments = options()
    if arguments.list:
        works = tokenised_works(arguments.program, arguments.minilm, arguments.folder)
        print("works:", *(work["name"] for work in works), *lifetime.MEASUREMENTS)
        print("libraries:", *WORKS)
        return 0
    report = Report()
    print(f"# {setting(arguments.threads)}\n# {FAIRNESS}", flush=True)
    try:
        times = measure_all(arguments, report)
    except Failed as why:
        print(f"error: {why}", file=sys.stderr)
        return 1
    return report.finish(arguments.json, arguments.markdown, lambda: page(arguments, section(report, times, arguments.threads)))


def page(arguments: argparse.Namespace, measured: str) -> str:
    """The page with what was measured in place of what it had for this CPU."""
    before = arguments.markdown.read_text() if arguments.markdown.exists() else ""
    return replaced(before, BEGINNING, cpu_generation(), measured)


if __name__ == "__main__":
    sys.exit(main())
