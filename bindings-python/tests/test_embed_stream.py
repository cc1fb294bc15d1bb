"""Inputs that come while vectors go."""

import asyncio


import pytest

import ayni
from conftest import ROOT

PICTURE = ROOT / "core/tests/golden/images/chroma_420.jpg"


async def texts(count, taken=None):
    for number in range(count):
        if taken is not None:
            taken.append(number)
        yield f"text {number}"
        await asyncio.sleep(0)


async def read(stream):
    return [row async for part in stream for row in part.tolist()]


@pytest.mark.parametrize("shape", ["list", "generator", "async"])
def test_every_input_has_its_vector_in_order(scripted, shape):
    every = [f"text {number}" for number in range(1500)]
    inputs = {"list": every, "generator": iter(every), "async": texts(1500)}[shape]
    assert asyncio.run(read(scripted.embed_stream(inputs))) == scripted.embed_sync(every).tolist()


def test_options_and_progress_are_those_of_the_whole_stream(scripted):
    told = []

    async def main():
        stream = scripted.embed_stream([f"text {number}" for number in range(1200)], encoding="int8", progress=told.append)
        return [part async for part in stream]

    parts = asyncio.run(main())
    assert all(part.vectors.dtype == "int8" and part.scales is not None for part in parts)
    assert sum(map(len, parts)) == 1200 and len(parts) > 1
    done = [event.done for event in told if event.type == "inputs"]
    assert done == sorted(done) and done[-1] == 1200


def test_nothing_is_taken_while_nobody_takes_vectors(scripted):
    async def main():
        taken = []
        stream = scripted.embed_stream(texts(100_000, taken))
        count = len(await anext(stream))
        for _ in range(200):
            await asyncio.sleep(0.001)
        before = len(taken)
        assert before < 4000
        while count < 4000:
            count += len(await anext(stream))
        assert before < len(taken) < 10_000
        await stream.aclose()

    asyncio.run(main())


def test_inputs_that_come_slowly_do_not_wait_for_each_other(scripted):
    async def main():
        asked = asyncio.Queue()

        async def inputs():
            while (text := await asked.get()) is not None:
                yield text

        stream = scripted.embed_stream(inputs())
        for number in range(5):
            asked.put_nowait(f"text {number}")
            assert len(await asyncio.wait_for(anext(stream), 10)) == 1
        asked.put_nowait(None)
        assert await anext(stream, None) is None

    asyncio.run(main())


def test_what_the_inputs_raise_comes_after_the_vectors_before_it(scripted):
    async def inputs():
        yield "uno"
        yield "dos"
        raise LookupError("enough")

    async def main():
        count = 0
        with pytest.raises(LookupError, match="enough"):
            async for part in scripted.embed_stream(inputs()):
                count += len(part)
        assert count == 2

    asyncio.run(main())


@pytest.mark.parametrize("wrong", ["image", "failure", "deadline"])
def test_a_failure_ends_the_stream_and_takes_no_more_inputs(tiny, wrong):
    async def main():
        taken = []

        async def inputs():
            async for text in texts(1_000_000, taken):
                yield PICTURE if wrong == "image" and len(taken) == 10 else text

        if wrong == "failure":
            none = {"retry": {"max_retries": 0}}
            embedder = ayni.Embedder(backend="scripted", failures=["unavailable"] * 9, policy=none)
        else:
            embedder = tiny if wrong == "image" else ayni.Embedder(backend="scripted", latency_seconds=60)
        kind = {"image": ayni.Unsupported, "failure": ayni.Unavailable, "deadline": ayni.Timeout}[wrong]
        options = {"deadline": 0.3} if wrong == "deadline" else {}
        with pytest.raises(kind):
            await read(embedder.embed_stream(inputs(), **options))
        await asyncio.sleep(0.05)
        count = len(taken)
        await asyncio.sleep(0.05)
        assert len(taken) == count < 10_000

    asyncio.run(main())


def test_leaving_the_loop_stops_inputs_and_work(scripted):
    async def main():
        taken = []
        stream = scripted.embed_stream(texts(1_000_000, taken))
        async for _ in stream:
            break
        await stream.aclose()
        await asyncio.sleep(0.05)
        count = len(taken)
        await asyncio.sleep(0.05)
        assert len(taken) == count
        task = asyncio.ensure_future(read(ayni.Embedder(backend="scripted", latency_seconds=60).embed_stream(texts(9))))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())

