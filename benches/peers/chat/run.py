"""Local chat by us and by others, in turns, in one run. Started by `make bench-peers SUITE=chat`."""

import argparse
import os
import subprocess
import sys
import time
from contextlib import contextmanager, nullcontext
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median

# What drives the processes, and the report, are those of the suite `embed`.
sys.path.append(str(Path(__file__).resolve().parent.parent / "embed"))

from plan import LIBRARIES, SIDES, Model, models, works_of
from processes import Failed, Process, Processes
from report import Report, cpu_name


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench-peers SUITE=chat", description=__doc__)
    parser.add_argument("--program", type=Path, required=True, help="ayni-benches, built with the feature `stock-chat`")
    parser.add_argument("--model", type=Path, required=True, help="the Q4_1 file of `make models`")
    parser.add_argument("--folder", type=Path, required=True, help="what prepare.py and random_models.py made")
    parser.add_argument("--threads", type=int, default=2, help="for every library (default 2)")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each library at each work (default 7)")
    parser.add_argument("--quick", action="store_true", help="two rounds, and fewer formats: under 15 minutes")
    parser.add_argument("--only", action="append", default=[], metavar="TEXT", help="only works whose name holds TEXT")
    parser.add_argument("--without", action="append", default=[], choices=SIDES, metavar="NAME", help="leave a side out")
    parser.add_argument("--peers-only", action="store_true", help="leave our side out")
    parser.add_argument("--list", action="store_true", help="name the works and the libraries, and measure nothing")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    return parser.parse_args()


@contextmanager
def busy_core():
    """A process that keeps a core busy."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


class Bench:
    """The measurements of one model."""

    def __init__(self, model: Model, arguments: argparse.Namespace, processes: Processes, report: Report, sides: list[str]):
        self.model, self.processes, self.report = model, processes, report
        self.rounds = 2 if arguments.quick else arguments.rounds
        self.sides = [side for side in sides if side in model.sides]
        self.only = arguments.only
        self.speeds: dict[str, dict[str, float]] = {}

    def wanted(self, work: str) -> bool:
        return not self.only or any(text in f"{self.model.name}_{work}" for text in self.only)

    def ask(self, side: str, request: str) -> list[int]:
        process = self.processes.get(side)
        _, *numbers = process.ask(*request.split())
        process.settle()
        return [int(number) for number in numbers]

    def work(self, work: str) -> None:
        """A work by all sides in turns."""
        request, targets = self.model.requests[work]
        speeds: dict[str, list[float]] = {side: [] for side in self.sides if work in works_of(self.model, side)}
        with busy_core() if work == "decode_busy" else nullcontext():
            for number in range(self.rounds + 1):
                for side in list(speeds):
                    try:
                        nanoseconds, tokens = self.ask(side, request)
                    except Failed as why:
                        print(f"# {self.model.name} {work}: without {side}: {why}", flush=True)
                        del speeds[side]
                        continue
                    # The first round is for caches and threads.
                    if number > 0:
                        speeds[side].append(tokens / nanoseconds * 1e9)
        medians = {side: median(values) for side, values in speeds.items()}
        for side, value in medians.items():
            self.report.figure(f"{self.model.name}_{work}_{side}", value, "tokens/s")
        for side in medians:
            if side != "ours" and "ours" in medians:
                # Of the same round each, so that a busy moment of the machine slows both.
                ratio = median(ours / theirs for ours, theirs in zip(speeds["ours"], speeds[side]))
                least = targets.get(side, targets.get("others")) if self.model.is_judged else None
                self.report.ratio(f"{self.model.name}_{work}_times_{side}", ratio, least=least)
        self.speeds[work] = medians

    def repeated(self, name: str, request: str) -> list[list[int]]:
        """What our side answers, without the first round; nothing if it can't."""
        try:
            return [self.ask("ours", request) for _ in range(self.rounds + 1)][1:]
        except Failed as why:
            print(f"# {self.model.name} {name}: {why}", flush=True)
            return []

    def ratio(self, name: str, values: list[float], **target) -> None:
        if values:
            self.report.ratio(f"{self.model.name}_{name}", median(values), **target)

    def bandwidth(self) -> None:
        decode = self.speeds.get("decode", {}).get("ours")
        found = [read / time for time, read in self.repeated("bandwidth", "bandwidth")] if decode else []
        # Bytes that tokens a second read, of those that can be read.
        used = (decode or 0) * self.model.file.stat().st_size / 1e9
        least = 0.75 if self.model.is_judged else None
        self.ratio("decode_of_bandwidth", [used / able for able in found], least=least)

    def turns(self) -> None:
        found = self.repeated("turns", "turns 2000")
        self.ratio("second_turn_of_first", [second / first for first, second in found], most=0.1)

    def json(self) -> None:
        found = self.repeated("json", "json 128")
        self.ratio("json_over_free", [(bound / of_bound) / (free / of_free) for free, of_free, bound, of_bound in found], most=1.05)

    def load(self) -> None:
        """From the start of a process to the first token of an answer, of every side."""
        for side in self.sides:
            found = []
            for _ in range(self.rounds + 1):
                start = time.perf_counter()
                process = Process(side, self.processes.commands[side], self.processes.environment)
                try:
                    # The sides compute tokens before they take requests.
                    process.ask("prefill", "1")
                    found.append((time.perf_counter() - start) * 1e3)
                except Failed as why:
                    print(f"# {self.model.name} load: without {side}: {why}", flush=True)
                    break
                finally:
                    process.close()
            if len(found) > 1:
                most = 150 if side == "ours" else None
                self.report.figure(f"{self.model.name}_load_{side}", median(found[1:]), "ms", most=most)

    def run(self) -> None:
        for work in self.model.works:
            if self.wanted(work):
                self.work(work)
        if "ours" not in self.sides:
            return
        for name in self.model.extra:
            if self.wanted(name):
                getattr(self, name)()
        ours = {work: speeds["ours"] for work, speeds in self.speeds.items() if "ours" in speeds}
        if "decode" in ours and "decode_busy" in ours:
            self.report.ratio(f"{self.model.name}_busy_of_idle", ours["decode_busy"] / ours["decode"], least=0.4)


def setting(threads: int) -> str:
    def numbered(name: str) -> str:
        try:
            return f"{name} {version(name)}"
        except PackageNotFoundError:
            return f"without {name}"

    day = datetime.now(timezone.utc).date().isoformat()
    return f"{day}, {cpu_name()}, {threads} threads, {', '.join(map(numbered, LIBRARIES))}, candle-transformers 0.11.1"


def markdown(report: Report, benches: list[Bench], threads: int) -> str:
    page = [
        "# Speed of local chat", "",
        "Written by `make bench-peers SUITE=chat OPTIONS='--markdown docs/reference/chat-performance.md'`.", "",
        f"{setting(threads)}.", "",
        "Tokens a second, medians of runs that take turns. `Q4_0` to `Q4_1` are SmolLM2-135M-Instruct; Qwen2.5-0.5B, Llama-1.7B and "
        "`blocks` (three layers of the same) have random weights. `decode` is one answer after a short prompt, `decode_4096` after "
        "4,000 tokens, `decode_busy` while another process keeps a core busy, `prefill_512` a prompt of 512 tokens up to the first "
        "token of its answer, `users_8` eight conversations at once with their prompts of 32 tokens. Our side takes conversations, "
        "with its template, tokenizer and streams; mistral.rs takes texts; the others take token ids, and llama.cpp is driven by its "
        "C functions.", "",
    ]
    for bench in benches:
        if bench.speeds and not bench.model.name.startswith("blocks"):
            page += [f"## {bench.model.name}", "", f"| | {' | '.join(bench.speeds)} |", "| --- " * (len(bench.speeds) + 1) + "|"]
            for side in bench.sides:
                cells = [f"{values[side]:,.0f}" if side in values else "–" for values in bench.speeds.values()]
                page.append(f"| {side} | {' | '.join(cells)} |")
            page.append("")
    blocks = [entry for entry in report.entries if entry["name"].startswith("blocks") and entry["unit"] == "tokens/s"]
    loads = [entry for entry in report.entries if entry["unit"] == "ms"]
    page += ["## Block formats", "", "| | tokens/s |", "| --- | --- |"]
    page += [f"| {entry['name']} | {entry['value']:,.0f} |" for entry in blocks]
    page += ["", "## From the start of a process to a token", "", "| | ms | target | |", "| --- | --- | --- | --- |"]
    page += [f"| {entry['name']} | {entry['value']:,.0f} | {entry['target']} | {mark(entry)} |" for entry in loads]
    page += ["", "## Ratios", "", "| | value | target | |", "| --- | --- | --- | --- |"]
    page += [
        f"| {entry['name']} | {entry['value']:.2f} | {entry['target']} | {mark(entry)} |"
        for entry in report.entries if entry["unit"] == "ratio"
    ]
    return "\n".join(page) + "\n"


def mark(entry: dict) -> str:
    return "" if entry["holds"] else "missed"


def commands(arguments: argparse.Namespace, model: Model) -> dict[str, list[str]]:
    file, worker = str(model.file), str(Path(__file__).parent / "worker.py")
    found = {side: [sys.executable, worker, side, file, str(arguments.threads)] for side in SIDES}
    program = str(arguments.program)
    return found | {"ours": [program, "chat-worker", file], "candle": [program, "chat-candle", file]}


def block_parity(report: Report, benches: list[Bench]) -> None:
    """Whether decoding reads as many bytes a second in every format as in Q8_0."""
    read = {
        bench.model.name: bench.speeds["decode"]["ours"] * bench.model.file.stat().st_size
        for bench in benches if bench.model.name.startswith("blocks") and "ours" in bench.speeds.get("decode", {})
    }
    for name, bytes_a_second in read.items():
        if "blocks.Q8_0" in read:
            report.ratio(f"{name}_bytes_of_q8_0", bytes_a_second / read["blocks.Q8_0"], least=0.8)


def main() -> int:
    arguments = options()
    plan = models(arguments.model, arguments.folder, arguments.quick)
    if arguments.list:
        print("works:", *(f"{model.name}_{work}" for model in plan for work in model.works + model.extra))
        print("libraries:", *SIDES)
        return 0
    left_out = set(arguments.without) | ({"ours"} if arguments.peers_only else set())
    sides = [side for side in SIDES if side not in left_out]
    threads = str(arguments.threads)
    environment = os.environ | {"AYNI_THREADS": threads, "OMP_NUM_THREADS": threads, "RAYON_NUM_THREADS": threads}
    report, benches = Report(), []
    print(f"# {setting(arguments.threads)}", flush=True)
    for model in plan:
        names = [*model.works, *model.extra]
        if not model.file.exists() or (arguments.only and not any(text in f"{model.name}_{name}" for text in arguments.only for name in names)):
            continue
        # The processes end before the next model's begin: the weights of all at once would be many gigabytes.
        with Processes(commands(arguments, model), environment) as processes:
            benches.append(Bench(model, arguments, processes, report, sides))
            benches[-1].run()
    block_parity(report, benches)
    return report.finish(arguments.json, arguments.markdown, lambda: markdown(report, benches, arguments.threads))


if __name__ == "__main__":
    sys.exit(main())
