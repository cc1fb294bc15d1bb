"""Figures, printed as they come; kept for the files; judged at the end."""

import json
import math
import platform
import sys
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

from sections import cpu_name

LIBRARIES = ["torch", "transformers", "sentence-transformers", "onnxruntime", "openvino", "nncf", "fastembed", "pillow"]

FAIRNESS = (
    "Our side and sentence-transformers and fastembed take texts and tokenise them in the time that counts; ONNX Runtime, "
    "OpenVINO, torch and candle take token ids. For images our side takes uncompressed BMP files of 224×224 and prepares them "
    "in the time that counts; the others take the finished tensor. The vectors that come out are pooled and of unit length "
    "everywhere."
)


class Report:
    def __init__(self):
        self.entries, self.missed = [], []

    def figure(self, name: str, value: float, unit: str, most: float | None = None, least: float | None = None):
        shown = f"figure {name} {value:.3f} {unit}" if unit != "cosine" else f"figure {name} {value:.6f} {unit}"
        self.keep(name, value, unit, shown, most, least)

    def ratio(self, name: str, value: float, most: float | None = None, least: float | None = None):
        self.keep(name, value, "ratio", f"ratio {name} {value:.3f}", most, least)

    def keep(self, name: str, value: float, unit: str, shown: str, most: float | None, least: float | None):
        holds = (most is None or value <= most) and (least is None or value >= least)
        words = f"≤ {most}" if most is not None else f"≥ {least}" if least is not None else ""
        remark = f"  (target {words}){'' if holds else '  MISSED'}" if words else ""
        print(shown + remark, flush=True)
        self.entries.append({"name": name, "value": value, "unit": unit, "target": words, "holds": holds})
        if not holds:
            self.missed.append(name)

    def finish(self, json_file: Path | None, markdown_file: Path | None, page) -> int:
        """Writes the files that are wanted; says which targets were missed, as the status of the process."""
        if json_file:
            json_file.write_text(json.dumps(self.entries, indent=2) + "\n")
        if markdown_file:
            markdown_file.write_text(page())
        if self.missed:
            print(f"error: targets missed: {', '.join(self.missed)}", file=sys.stderr)
        return 1 if self.missed else 0


def setting(threads: int) -> str:
    day = datetime.now(timezone.utc).date().isoformat()
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return f"{day}, {cpu_name()}, {threads} threads, Python {platform.python_version()}, {libraries}, candle-transformers 0.11.1"


BEGINNING = (
    "# Embedding performance\n\n"
    "Written by `make bench-peers SUITE=embed OPTIONS='--markdown docs/reference/embedding-performance.md'`, which replaces the "
    "section of the CPU that it runs on.\n\n"
    "Milliseconds, medians of runs that take turns; a dash where a library does not do a work. "
    f"{FAIRNESS} `minilm_32x16` is 32 texts of 16 tokens with all-MiniLM-L6-v2; CLIP is ViT-B/32 with random weights."
)


def section(report: Report, times: dict[str, dict[str, float]], threads: int) -> str:
    """What was measured on this CPU."""
    page = [f"{setting(threads)}.", ""]
    for title, prefix in (("all-MiniLM-L6-v2", "minilm_"), ("CLIP ViT-B/32", "clip_")):
        works = [work for work in times if work.startswith(prefix)]
        if works:
            page += [f"### {title}", "", *table(works, times), ""]
    rows = [entry for entry in report.entries if entry["target"]]
    page += ["### Targets", "", "| | value | target | |", "| --- | --- | --- | --- |"]
    page += [
        f"| {entry['name']} | {entry['value']:.3f} | {entry['target']} | {'' if entry['holds'] else 'missed'} |" for entry in rows
    ]
    return "\n".join(page) + "\n"


def table(works: list[str], times: dict[str, dict[str, float]]) -> list[str]:
    sides = list(dict.fromkeys(side for work in works for side in times[work]))
    lines = [f"| | {' | '.join(work.split('_', 1)[1] for work in works)} |", "| --- " * (len(works) + 1) + "|"]
    for side in sides:
        cells = [milliseconds(times[work].get(side, math.nan)) for work in works]
        lines.append(f"| {side} | {' | '.join(cells)} |")
    return lines


def milliseconds(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"
