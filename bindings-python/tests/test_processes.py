"""Processes: fork, preload and fork, spawn, Ctrl-C, and the end of the interpreter."""

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap

import pytest

import ayni
from conftest import TINY
from loopback import Server, silence
from test_async import hello, works

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def in_child(work):
    """Does work in a forked child; fails if it does."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            signal.alarm(60)
            code = 0 if work() else 2
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
class TestFork:
    def test_a_child_makes_a_runtime_of_its_own(self):
        assert works()
        in_child(works)
        assert works()

    def test_handles_of_the_parent_work_in_its_children(self, tiny, hosted):
        """As a web server that loads before it forks does."""
        with Server(hello) as server:
            chat = hosted(server.url)
            before = tiny.embed_sync(["the road"]).vectors
            assert chat.chat_sync("hola").text == "hola"

            def child():
                same = (tiny.embed_sync(["the road"]).vectors == before).all()
                return same and chat.chat_sync("hola").text == "hola" and works()

            for _ in range(2):
                in_child(child)
            assert (tiny.embed_sync(["the road"]).vectors == before).all()
            assert chat.chat_sync("hola").text == "hola"

    def test_a_fork_during_a_call_leaves_the_call_alone(self, hosted):
        import asyncio

        async def main(server):
            slow = ayni.Embedder(backend="scripted", latency_seconds=0.2)
            task = asyncio.create_task(slow.embed(["text"]))
            await asyncio.sleep(0.05)
            await asyncio.to_thread(in_child, works)
            assert len(await task) == 1

        with Server(hello) as server:
            asyncio.run(main(server))


def embed_in_child(_):
    return ayni.Embedder(str(TINY)).embed_sync(["the road"]).vectors.shape


def test_spawned_processes_work():
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert {shape[0] for shape in pool.map(embed_in_child, range(4))} == {1}


def run(code, **more):
    """Runs a program in a new interpreter with this one's modules."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", textwrap.dedent(code)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, **more)


@pytest.mark.parametrize("call", ["chat_sync('hola')", "stream_sync('hola').__next__()"])
def test_ctrl_c_ends_a_synchronous_call(call):
    with Server(silence) as server:
        program = run(
            f"""
            import signal
            import ayni
            # It is ignored by whatever a shell has put into the background, as these tests may be.
            signal.signal(signal.SIGINT, signal.default_int_handler)
            chat = ayni.Chat(backend="openai", vendor="custom", base_url="{server.url}/v1", model="m")
            try:
                chat.{call}
            except KeyboardInterrupt:
                print("interrupted")
            """
        )
        server.wait("requests")
        program.send_signal(signal.SIGINT)
        assert program.communicate(timeout=30)[0] == "interrupted\n"
        server.wait("closed")


def test_an_interpreter_ends_with_calls_under_way():
    program = """
    import asyncio, threading, ayni
    slow = ayni.Embedder(backend="scripted", latency_seconds=30)
    quick = ayni.Embedder(backend="scripted")

    async def main():
        under_way = asyncio.ensure_future(slow.embed(["text"]))
        await asyncio.gather(*(quick.embed(["text"]) for _ in range(200)))

    asyncio.run(main())
    threading.Thread(target=lambda: slow.embed_sync(["text"]), daemon=True).start()
    """
    for program in [run(program) for _ in range(8)]:
        out, failures = program.communicate(timeout=60)
        assert (program.returncode, failures) == (0, "")


def test_what_comes_after_the_end_is_told():
    program = run(
        """
        import atexit

        def late():
            print(len(embedder.embed_sync(["text"])))
            try:
                asyncio.run(embedder.embed(["text"]))
            except RuntimeError as error:
                print(error)

        atexit.register(late)
        import asyncio, ayni
        embedder = ayni.Embedder(backend="scripted")
        asyncio.run(embedder.embed(["text"]))
        """
    )
    out, failures = program.communicate(timeout=60)
    assert (out, failures) == ("1\nthe interpreter is ending; only the synchronous calls work now\n", "")


def test_a_sub_interpreter_is_refused_and_does_not_hang():
    code = textwrap.dedent(
        """
        try:
            import _interpreters as interpreters
        except ImportError:
            import _xxsubinterpreters as interpreters
        one = interpreters.create()
        code = "try:\\n import ayni\\nexcept ImportError as error:\\n print('refused:', error)"
        getattr(interpreters, "run_string")(one, code)
        """
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0 and "refused: ayni works in the main interpreter only" in done.stdout, done.stderr
