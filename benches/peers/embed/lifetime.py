"""What is not the time of a call: how soon the first vector comes, how much memory is held, what a long stream does."""

import argparse
import json
import struct
import time
from pathlib import Path
from statistics import median

from processes import Processes
from report import Report
from targets import FIRST_VECTOR_MS, MEMORY_OVER_WEIGHTS, STREAM_GROWTH, STREAM_OVER_BATCH

PEERS = ["ort_f32", "openvino_bf16", "torch_f32", "sentence_transformers", "fastembed", "candle"]
STREAMED = 100_000
MEBIBYTE = 1 << 20


def first_vector(processes: Processes, report: Report, sides: list[str], arguments: argparse.Namespace) -> None:
    """From the start of the process to the first vector, with the files in the page cache."""
    for side in ["ours_auto", *PEERS]:
        if side in sides:
            runs = 3 if arguments.quick or side in PEERS else 9
            taken = median([one_start(processes, side) for _ in range(runs + 1)][1:])
            most = FIRST_VECTOR_MS if side == "ours_auto" else None
            report.figure(f"first_vector_{side}", taken * 1e3, "ms", most=most)


def one_start(processes: Processes, side: str) -> float:
    process = processes.start(side)
    try:
        process.ask("first", "minilm_1x16")
        return time.perf_counter() - process.started
    finally:
        process.close()


def memory(processes: Processes, report: Report, sides: list[str], arguments: argparse.Namespace) -> None:
    """What is resident after some calls, and what that is over the weights as the file holds them."""
    weights = weight_bytes(arguments.minilm / "model.safetensors")
    for side in ["ours_auto", "ours_f32", "ours_int8", *PEERS]:
        if side in sides:
            process = processes.start(side)
            try:
                process.ask("prepare", "minilm_32x64")
                process.ask("run", "minilm_32x64", "3")
                resident = int(process.ask("memory")[1])
            finally:
                process.close()
            report.figure(f"memory_{side}", resident / MEBIBYTE, "MiB")
            if side.startswith("ours_"):
                report.ratio(f"memory_{side}_over_weights", resident / weights, most=MEMORY_OVER_WEIGHTS)


def weight_bytes(path: Path) -> int:
    with path.open("rb") as file:
        [length] = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    return max(entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__")


def stream(processes: Processes, report: Report, sides: list[str], arguments: argparse.Namespace) -> None:
    """Many short texts: their pace against that of large batches, whether memory grows, and whether progress is told."""
    if "ours_auto" not in sides:
        return
    count = STREAMED // 20 if arguments.quick else STREAMED
    process = processes.start("ours_auto")
    try:
        _, taken, as_batch, progress, peak, *resident = map(float_or_word, process.ask("stream", str(count)))
    finally:
        process.close()
    report.figure("stream_texts", count, "texts")
    report.figure("stream_pace", count / taken * 1e9, "texts/s")
    report.figure("stream_batch_pace", count / as_batch * 1e9, "texts/s")
    report.ratio("stream_over_batch", as_batch / taken, least=STREAM_OVER_BATCH)
    report.figure("stream_memory", resident[-1] / MEBIBYTE, "MiB")
    report.figure("stream_memory_peak", peak / MEBIBYTE, "MiB")
    report.figure("stream_progress", progress, "events")
    report.ratio("stream_memory_growth", resident[-1] / resident[len(resident) // 5], most=STREAM_GROWTH)


def float_or_word(word: str) -> float | str:
    return float(word) if word[0].isdigit() else word


MEASUREMENTS = {"first_vector": first_vector, "memory": memory, "stream": stream}
