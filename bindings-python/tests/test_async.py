"""Awaiting, and what ends it: cancellation, event loops, threads."""

import asyncio
import threading
import time

import pytest
import uvloop

import ayni
from loopback import Server, answer_json, chat_answer, head, silence, sse


async def start(work):
    task = asyncio.create_task(work)
    await asyncio.sleep(0)
    return task


async def hello(writer, body):
    await answer_json(writer, chat_answer("hola"))


async def endless(writer, body):
    writer.write(head("text/event-stream") + sse("uno ") + sse("dos "))
    await writer.drain()


def test_cancelling_a_task_closes_the_connection(hosted):
    async def main(server):
        task = await start(hosted(server.url).chat("hola"))
        await asyncio.to_thread(server.wait, "requests")
        assert server.closed == 0
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.to_thread(server.wait, "closed")

    with Server(silence) as server:
        asyncio.run(main(server))


def test_a_time_out_of_asyncio_closes_the_connection(hosted):
    async def main(server):
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(hosted(server.url).chat("hola"), 0.2)
        await asyncio.to_thread(server.wait, "closed")

    with Server(silence) as server:
        asyncio.run(main(server))


def test_a_cancellation_stops_calls_of_any_thread(hosted):
    with Server(silence) as server:
        cancellation, failures = ayni.Cancellation(), []

        def call():
            with pytest.raises(ayni.Cancelled) as failure:
                hosted(server.url).chat_sync("hola", cancellation=cancellation)
            failures.append(failure.value)

        threads = [threading.Thread(target=call) for _ in range(3)]
        [thread.start() for thread in threads]
        server.wait("requests", 3)
        assert not cancellation.cancelled
        cancellation.cancel()
        [thread.join(10) for thread in threads]
        assert [failure.kind for failure in failures] == ["cancelled"] * 3
        server.wait("closed", 3)


def test_leaving_a_stream_closes_the_connection(hosted):
    async def main(server):
        async for event in hosted(server.url).stream("hola"):
            if event == ayni.Text("dos "):
                break
        del event
        await asyncio.to_thread(server.wait, "closed")

    with Server(endless) as server:
        asyncio.run(main(server))


def test_leaving_a_synchronous_stream_closes_the_connection(hosted):
    with Server(endless) as server:
        with hosted(server.url).stream_sync("hola") as events:
            assert [type(next(events)) for _ in range(3)] == [ayni.Started, ayni.Text, ayni.Text]
            assert server.closed == 0
        server.wait("closed")


def test_cancelling_a_task_in_a_stream_closes_the_connection(hosted):
    async def main(server):
        seen, first = [], asyncio.Event()

        async def read():
            async for event in hosted(server.url).stream("hola"):
                seen.append(event)
                first.set()

        task = await start(read())
        await first.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.to_thread(server.wait, "closed")

    with Server(endless) as server:
        asyncio.run(main(server))


def test_a_cancelled_local_embedding_stops_after_the_batch_in_hand(tiny):
    inputs, done = [f"text {number} " * 20 for number in range(3000)], []

    async def main():
        first = asyncio.Event()

        def count(progress):
            if progress.type == "inputs":
                done.append(progress.done)
                first.set()

        task = await start(tiny.embed(inputs, progress=count))
        await first.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        # What comes behind the batch in hand shows that the model does nothing else any more.
        await tiny.embed(["after"])
        counted = len(done)
        await tiny.embed(["after"])
        assert len(done) == counted
        assert 0 < max(done) < len(inputs)

    asyncio.run(main())


def test_a_deadline_ends_the_whole_call(hosted):
    async def main(server):
        with pytest.raises(ayni.Timeout) as failure:
            await hosted(server.url).chat("hola", deadline=0.2)
        assert isinstance(failure.value, TimeoutError)
        await asyncio.to_thread(server.wait, "closed")

    with Server(silence) as server:
        asyncio.run(main(server))


def works():
    """Every loop, thread and process must be able to do this."""
    embedder = ayni.Embedder(backend="scripted", latency_seconds=0.01)

    async def main():
        responses = await asyncio.gather(*(embedder.embed([f"text {number}"]) for number in range(20)))
        return sum(len(response) for response in responses)

    assert asyncio.run(main()) == 20
    assert len(embedder.embed_sync(["text"])) == 1
    return True


def test_asyncio_runs_twice_over_kept_connections(hosted):
    with Server(hello) as server:
        chat = hosted(server.url)
        for _ in range(2):
            assert asyncio.run(chat.chat("hola")).text == "hola"


def test_uvloop_works(hosted):
    async def main(server):
        assert type(asyncio.get_running_loop()).__module__ == "uvloop"
        assert (await hosted(server.url).chat("hola")).text == "hola"
        task = await start(ayni.Embedder(backend="scripted", latency_seconds=60).embed(["text"]))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with Server(hello) as server:
        uvloop.run(main(server))


def test_many_threads_with_loops_of_their_own_work():
    outcomes = []
    threads = [threading.Thread(target=lambda: outcomes.append(works())) for _ in range(8)]
    [thread.start() for thread in threads]
    [thread.join(30) for thread in threads]
    assert outcomes == [True] * 8


def test_a_loop_that_was_closed_meanwhile_is_left_alone():
    embedder = ayni.Embedder(backend="scripted", latency_seconds=0.05)
    loop = asyncio.new_event_loop()
    loop.create_task(embedder.embed(["text"]))
    loop.run_until_complete(asyncio.sleep(0.01))
    [task.cancel() for task in asyncio.all_tasks(loop)]
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    time.sleep(0.1)
    assert works()


async def while_ticking(work):
    """Runs work beside a ticker of 10 ms; gives the gaps between ticks and how long the work took."""
    ticks, begin = [time.perf_counter()], time.perf_counter()

    async def tick():
        while True:
            await asyncio.sleep(0.01)
            ticks.append(time.perf_counter())

    ticker = asyncio.create_task(tick())
    await work
    took = time.perf_counter() - begin
    ticker.cancel()
    ends = [*ticks, time.perf_counter()]
    return [later - earlier for earlier, later in zip(ends, ends[1:])], took


def assert_kept_ticking(gaps, took):
    assert len(gaps) > 10, (len(gaps), took)
    assert max(gaps) < took / 3, (max(gaps), took)


def test_the_loop_ticks_during_a_long_local_embedding(tiny):
    texts = [f"the road number {number} " * 30 for number in range(1500)]
    gaps, took = asyncio.run(while_ticking(tiny.embed(texts)))
    assert_kept_ticking(gaps, took)


def test_the_loop_ticks_during_a_long_stream(hosted):
    async def many(writer, body):
        writer.write(head("text/event-stream"))
        for number in range(150):
            writer.write(b"".join(sse(f"word {number} ") for _ in range(20)))
            await writer.drain()
            await asyncio.sleep(0.01)
        writer.write(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")
        await writer.drain()

    async def read(server):
        return [event async for event in hosted(server.url).stream("hola")]

    with Server(many) as server:
        gaps, took = asyncio.run(while_ticking(read(server)))
    assert_kept_ticking(gaps, took)


def test_the_loop_ticks_while_images_are_made():
    images = ayni.ImageGenerator(backend="scripted", latency_seconds=1.5)
    gaps, took = asyncio.run(while_ticking(images.generate("a lighthouse", size=(512, 512))))
    assert_kept_ticking(gaps, took)


def test_other_threads_run_during_a_synchronous_call(tiny):
    count, stop = 0, threading.Event()

    def spin():
        nonlocal count
        while not stop.is_set():
            count += 1

    thread = threading.Thread(target=spin)
    thread.start()
    before = count
    tiny.embed_sync([f"the road number {number} " * 30 for number in range(300)])
    ran = count - before
    stop.set()
    thread.join()
    assert ran > 1000
