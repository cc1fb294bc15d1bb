"""A server on this machine that counts what happens to its connections."""

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable
from typing import Any


class Server:
    """Answers every request with ``answer(writer, body)``; never closes a connection itself."""

    def __init__(self, answer: Callable[[asyncio.StreamWriter, bytes], Awaitable[None]]) -> None:
        self._answer = answer
        self._counts = {"requests": 0, "closed": 0}
        self._changed = threading.Condition()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def __enter__(self) -> "Server":
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: Any) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    async def _run(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._ready.set()
        await self._stop.wait()
        server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                lines = (await reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
                lengths = [line.split(b":")[1] for line in lines if line.startswith(b"content-length:")]
                body = await reader.readexactly(int(lengths[0])) if lengths else b""
                self._count("requests")
                await self._answer(writer, body)
        except (ConnectionError, asyncio.IncompleteReadError):
            self._count("closed")
        finally:
            writer.close()

    def _count(self, name: str) -> None:
        with self._changed:
            self._counts[name] += 1
            self._changed.notify_all()

    def wait(self, name: str, count: int = 1) -> None:
        """Waits until so many requests were read, or connections closed by the caller."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._counts[name] >= count, 10), f"{name}: {self._counts}"

    @property
    def closed(self) -> int:
        return self._counts["closed"]


async def silence(writer: asyncio.StreamWriter, body: bytes) -> None:
    """Never answers."""


def head(media_type: str, length: int | None = None) -> bytes:
    size = "transfer-encoding: chunked" if length is None else f"content-length: {length}"
    return f"HTTP/1.1 200 OK\r\ncontent-type: {media_type}\r\n{size}\r\n\r\n".encode()


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def sse(text: str) -> bytes:
    """A piece of a streamed answer, as OpenAI-compatible servers write it."""
    piece = {"model": "m", "choices": [{"index": 0, "delta": {"content": text}}]}
    return chunk(f"data: {json.dumps(piece)}\n\n".encode())


async def answer_json(writer: asyncio.StreamWriter, value: Any) -> None:
    body = json.dumps(value).encode()
    writer.write(head("application/json", len(body)) + body)
    await writer.drain()


def chat_answer(text: str) -> dict[str, Any]:
    return {"model": "m", "choices": [{"index": 0, "finish_reason": "stop", "message": {"content": text}}]}
