"""One library in a process of its own, driven by lines: `worker.py SIDE MINILM_FOLDER FOLDER THREADS`.

    prepare WORK        → ready · absent WHY
    run WORK TIMES      → time NANOSECONDS    (after once more, which wakes threads and fills caches)
    vectors WORK FILE   → written ROWS WIDTH   (f32, row after row)
    memory              → memory BYTES
    first WORK          → first                (prepares and runs once)

The works are in `inputs.json` in FOLDER. A failure is answered with `failed WHY`."""

import json
import sys
import time
from pathlib import Path

import numpy

from lines import serve
from sides import SIDES, Absent, Inputs


def memory() -> int:
    """Resident bytes."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) * 1024


class Worker:
    def __init__(self, name: str, minilm: str, prepared: str, threads: str):
        kind, arguments, _ = SIDES[name]
        folder = Path(prepared)
        self.side = kind(Path(minilm), folder, int(threads), *arguments)
        works = json.loads((folder / "inputs.json").read_text())
        self.works = {work["name"]: Inputs(work, folder) for work in works}
        self.prepared = {}

    def prepare(self, work: str) -> str:
        try:
            once = self.side.prepare(self.works[work])
        except Absent as why:
            return f"absent {why}"
        once()
        self.prepared[work] = once
        return "ready"

    def run(self, work: str, times: str) -> str:
        once = self.prepared[work]
        once()
        start = time.perf_counter_ns()
        for _ in range(int(times)):
            once()
        return f"time {time.perf_counter_ns() - start}"

    def vectors(self, work: str, file: str) -> str:
        vectors = numpy.ascontiguousarray(self.prepared[work](), dtype=numpy.float32)
        vectors.tofile(file)
        return f"written {vectors.shape[0]} {vectors.shape[1]}"

    def memory(self) -> str:
        return f"memory {memory()}"

    def first(self, work: str) -> str:
        self.side.prepare(self.works[work])()
        return "first"


if __name__ == "__main__":
    sys.exit(serve(__doc__, SIDES, Worker))
