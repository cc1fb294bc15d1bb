"""Local chat by us and by others, in turns, in one run. Started by `make bench-peers SUITE=chat`."""

import argparse
import os
import sys
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from statistics import median

# What drives the processes, and the report, are those of the suite `embed`.
sys.path.append(str(Path(__file__).resolve().parent.parent / "embed"))

from processes import Failed, Processes
from report import Report, cpu_name

FORMATS = ["Q4_0", "Q4_K_M", "Q8_0", "Q4_1"]
SIDES = ["ours", "llama_cpp", "openvino"]
LIBRARIES = ["llama-cpp-python", "openvino", "openvino-genai"]

# The works, the request to a side, and how many times as fast ours must be.
WORKS = {
    "decode": ("decode 32 128", {"llama_cpp": 1.3, "openvino": 1.05}),
    "decode_4096": ("decode 4000 64", {}),
    "prefill_512": ("prefill 512", {"llama_cpp": 2, "openvino": 1.1}),
    "users_8": ("users 8 32 64", {"llama_cpp": 2, "openvino": 1.5}),
}
# The formats whose targets count.
JUDGED = ["Q4_0", "Q4_K_M", "Q8_0"]


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench-peers SUITE=chat", description=__doc__)
    parser.add_argument("--program", type=Path, required=True, help="ayni-benches, built with the feature `chat`")
    parser.add_argument("--model", type=Path, required=True, help="the Q4_1 file of `make models`")
    parser.add_argument("--folder", type=Path, required=True, help="what prepare.py made")
    parser.add_argument("--threads", type=int, default=2, help="for every library (default 2)")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each library at each work (default 7)")
    parser.add_argument("--quick", action="store_true", help="three rounds")
    parser.add_argument("--only", action="append", default=[], metavar="TEXT", help="only works whose name holds TEXT")
    parser.add_argument("--without", action="append", default=[], choices=SIDES, metavar="NAME", help="leave a side out")
    parser.add_argument("--peers-only", action="store_true", help="leave our side out")
    parser.add_argument("--list", action="store_true", help="name the works and the libraries, and measure nothing")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    return parser.parse_args()


def names() -> list[tuple[str, str]]:
    return [(form, work) for form in FORMATS for work in WORKS]


def file_of(arguments: argparse.Namespace, form: str) -> Path:
    return arguments.model if form == "Q4_1" else arguments.folder / f"SmolLM2-135M-Instruct.{form}.gguf"


def commands(arguments: argparse.Namespace, form: str) -> dict[str, list[str]]:
    file, worker = str(file_of(arguments, form)), str(Path(__file__).parent / "worker.py")
    found = {"ours": [str(arguments.program), "chat-worker", file]}
    return found | {side: [sys.executable, worker, side, file, str(arguments.threads)] for side in SIDES[1:]}


def speed(processes: Processes, side: str, request: str) -> float:
    """Tokens a second."""
    process = processes.get(side)
    _, nanoseconds, tokens = process.ask(*request.split())
    process.settle()
    return int(tokens) / int(nanoseconds) * 1e9


def measure(processes: Processes, report: Report, sides: list[str], form: str, rounds: int, work: str) -> dict[str, float]:
    request, targets = WORKS[work]
    speeds: dict[str, list[float]] = {side: [] for side in sides}
    for number in range(rounds + 1):
        for side in list(speeds):
            try:
                found = speed(processes, side, request)
            except Failed as why:
                print(f"# {form} {work}: without {side}: {why}", flush=True)
                del speeds[side]
                continue
            # The first round is for caches and threads.
            if number > 0:
                speeds[side].append(found)
    medians = {side: median(values) for side, values in speeds.items()}
    for side, value in medians.items():
        report.figure(f"{form}_{work}_{side}", value, "tokens/s")
    for side in medians:
        if side != "ours" and "ours" in medians:
            # Of the same round each, so that a busy moment of the machine slows both.
            ratio = median(ours / theirs for ours, theirs in zip(speeds["ours"], speeds[side]))
            least = targets.get(side) if form in JUDGED else None
            report.ratio(f"{form}_{work}_times_{side}", ratio, least=least)
    return medians


def setting(threads: int) -> str:
    day = datetime.now(timezone.utc).date().isoformat()
    return f"{day}, {cpu_name()}, {threads} threads, " + ", ".join(f"{name} {version(name)}" for name in LIBRARIES)


def markdown(report: Report, speeds: dict[tuple[str, str], dict[str, float]], threads: int) -> str:
    page = [
        "# Speed of local chat", "",
        "Written by `make bench-peers SUITE=chat OPTIONS='--markdown docs/reference/chat-performance.md'`.", "",
        f"{setting(threads)}.", "",
        "Tokens a second of SmolLM2-135M-Instruct, medians of runs that take turns. `decode` is one answer after a short "
        "prompt, `decode_4096` after 4,000 tokens, `prefill_512` a prompt of 512 tokens up to the first token of its answer, "
        "`users_8` eight conversations at once with their prompts of 32 tokens. Our side takes conversations, with its template, "
        "tokenizer and streams; the others take token ids, and llama.cpp is driven by its C functions.", "",
    ]
    for form in FORMATS:
        found = {work: speeds[form, work] for work in WORKS if (form, work) in speeds}
        if found:
            page += [f"## {form}", "", f"| | {' | '.join(found)} |", "| --- " * (len(found) + 1) + "|"]
            for side in SIDES:
                cells = [f"{values[side]:,.0f}" if side in values else "–" for values in found.values()]
                page.append(f"| {side} | {' | '.join(cells)} |")
            page.append("")
    page += ["## Ratios", "", "| | value | target | |", "| --- | --- | --- | --- |"]
    page += [
        f"| {entry['name']} | {entry['value']:.2f} | {entry['target']} | {'' if entry['holds'] else 'missed'} |"
        for entry in report.entries if entry["unit"] == "ratio"
    ]
    return "\n".join(page) + "\n"


def main() -> int:
    arguments = options()
    if arguments.list:
        print("works:", *(f"{form}_{work}" for form, work in names()))
        print("libraries:", *SIDES)
        return 0
    left_out = set(arguments.without) | ({"ours"} if arguments.peers_only else set())
    sides = [side for side in SIDES if side not in left_out]
    environment = os.environ | {"AYNI_THREADS": str(arguments.threads), "OMP_NUM_THREADS": str(arguments.threads)}
    report, speeds = Report(), {}
    print(f"# {setting(arguments.threads)}", flush=True)
    for form in FORMATS:
        wanted = [work for work in WORKS if not arguments.only or any(text in f"{form}_{work}" for text in arguments.only)]
        if not wanted:
            continue
        with Processes(commands(arguments, form), environment) as processes:
            for work in wanted:
                speeds[form, work] = measure(processes, report, sides, form, 3 if arguments.quick else arguments.rounds, work)
    if arguments.json:
        report.write_json(arguments.json)
    if arguments.markdown:
        arguments.markdown.write_text(markdown(report, speeds, arguments.threads))
    if report.missed:
        print(f"error: targets missed: {', '.join(report.missed)}", file=sys.stderr)
    return 1 if report.missed else 0


if __name__ == "__main__":
    sys.exit(main())
