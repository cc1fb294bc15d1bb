"""What a call from Python costs beside the work itself: run it with a release wheel installed, on an idle machine.

The backend `scripted` does next to nothing, so that a whole call is an upper bound of what the binding adds.
"""

import asyncio
import queue
import statistics
import threading
import time

import numpy as np

import ayni
from ayni import _embedder

CALLS = 3000


def median_us(work, calls=CALLS):
    """The median time of one call, in microseconds."""
    times = []
    for _ in range(calls):
        begin = time.perf_counter_ns()
        work()
        times.append(time.perf_counter_ns() - begin)
    return statistics.median(times) / 1000


async def awaited_us(embedder, calls=CALLS):
    times = []
    for _ in range(calls):
        begin = time.perf_counter_ns()
        await embedder.embed(["text"])
        times.append(time.perf_counter_ns() - begin)
    return statistics.median(times) / 1000


async def together_us(embedder, calls=CALLS):
    begin = time.perf_counter_ns()
    await asyncio.gather(*(embedder.embed(["text"]) for _ in range(calls)))
    return (time.perf_counter_ns() - begin) / 1000 / calls


async def hop_us(calls=CALLS):
    """What asyncio itself takes to be woken by another thread: nothing that awaits foreign work is quicker."""
    loop, times = asyncio.get_running_loop(), []
    jobs = queue.SimpleQueue()

    def answer():
        while (future := jobs.get()) is not None:
            loop.call_soon_threadsafe(future.set_result, None)

    thread = threading.Thread(target=answer)
    thread.start()
    for _ in range(calls):
        future = loop.create_future()
        begin = time.perf_counter_ns()
        jobs.put(future)
        await future
        times.append(time.perf_counter_ns() - begin)
    jobs.put(None)
    thread.join()
    return statistics.median(times) / 1000


def report(what, microseconds, bar=None):
    target = "" if bar is None else f"   (target < {bar} µs: {'met' if microseconds < bar else 'MISSED'})"
    print(f"{what:<58} {microseconds:8.1f} µs{target}")


def main():
    embedder = ayni.Embedder(backend="scripted", dimensions=16)
    chat = ayni.Chat(backend="scripted")
    wide = ayni.Embedder(backend="scripted", dimensions=384)
    texts = [f"text {number}" for number in range(1000)]
    native = wide._native.embed(texts, {})
    vectors = _embedder._response(native).vectors
    assert vectors.shape == (1000, 384) and vectors.dtype == np.float32

    report("a synchronous embedding of one text", median_us(lambda: embedder.embed_sync(["text"])), 20)
    report("a synchronous chat", median_us(lambda: chat.chat_sync("hola")))
    report("1,000 × 384 floats to numpy", median_us(lambda: _embedder._response(native)), 100)
    report("an awaited embedding of one text, one after the other", asyncio.run(awaited_us(embedder)))
    report("an awaited embedding of one text, all at the same time", asyncio.run(together_us(embedder)))
    report("for comparison: a Python thread that wakes the event loop", asyncio.run(hop_us()))


if __name__ == "__main__":
    main()
