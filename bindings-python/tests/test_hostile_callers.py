"""Callers who want to take a service down: half-sent heads, long lists, bodies nobody asked for, answers nobody reads."""

import json
import resource
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest
from loopback import Server, answer_json
from serving import failure, serving

SCRIPTED = """
import json, os, uvicorn
from ayni import Chat, Embedder
from ayni.fastapi import *
router = openai_router({"echo": Chat(backend="scripted"), "slow": Chat(backend="scripted", latency_seconds=30)},
                       {"vectors": Embedder(backend="scripted")})
settings = ServiceSettings.from_env()
app = service(router, clip_router({"backend": "scripted"}), image_router({"backend": "scripted"}), settings=settings)
uvicorn.run(app, port=0, **server_options(settings))
"""
JSON = {"content-type": "application/json"}


def address(served):
    host, port = served.url.removeprefix("http://").split(":")
    return host, int(port)


def memory(served):
    """The most memory that the process has used, in MB."""
    status = Path(f"/proc/{served.process.pid}/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def test_half_sent_heads_neither_kill_health_nor_fill_the_log():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    callers = []
    try:
        with serving("triage", env={"HEADER_TIMEOUT_SECONDS": "3", "MAX_CONNECTIONS": "300"}) as served:
            for _ in range(1100):
                caller = socket.create_connection(address(served))
                callers.append(caller)
                caller.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
            began = time.monotonic()
            assert httpx.get(f"{served.url}/health", timeout=5).status_code == 200
            assert time.monotonic() - began < 2
            # The heads are never completed: the last caller is closed too.
            callers[-1].settimeout(10)
            try:
                assert callers[-1].recv(1) == b""
            except ConnectionResetError:
                pass
            assert sum(map(len, served.lines)) < 20_000
    finally:
        for caller in callers:
            caller.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(
    "path, body",
    [
        ("/v1/embeddings", b'{"model": "vectors", "input": [%s{}]}'),
        ("/refine", b'{"refinePrompt": "x", "images": [%s{}]}'),
        ("/generate", b'{"prompt": "x", "more": [%s{}]}'),
        ("/embed/text", b'{"text": [%s{}]}'),
    ],
)
def test_long_lists_of_nothing_cost_little_memory(path, body):
    with serving(code=SCRIPTED) as served:
        served.client.post("/embed/text", json={"text": "warm"})
        before = memory(served)
        for size in (1 << 20, 3 << 20):
            content = body % (b"{}," * (size // 3))
            answer = served.client.post(path, content=content, headers=JSON)
            assert answer.status_code in (413, 422) and len(answer.content) < 2000, answer.text
        assert memory(served) - before < 60
        assert served.client.get("/health").status_code == 200


def test_a_service_of_limited_memory_survives_lists_bodies_and_nesting():
    limited = f"import resource\nresource.setrlimit(resource.RLIMIT_AS, ({3 << 30}, {3 << 30}))\n{SCRIPTED}"
    with serving(code=limited) as served:
        for content in (b'{"input": [' + b"{}," * (6 << 20) + b"{}]}", b"[" * (15 << 20), b'{"text": "' + b"x" * (19 << 20)):
            for path in ("/v1/embeddings", "/v1/chat/completions", "/embed/image", "/refine"):
                answer = served.client.post(path, content=content, headers=JSON)
                assert answer.status_code in (413, 422), answer.text[:300]
        assert served.client.get("/health").status_code == 200


def test_open_routes_read_no_body_and_texts_have_a_limit_of_their_own():
    env = {"API_KEY": "sesame", "MAX_CONCURRENCY": "8"}
    with serving(code=SCRIPTED, env=env) as served:
        before = memory(served)
        callers = []
        for _ in range(17):
            caller = socket.create_connection(address(served))
            caller.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20971520\r\n\r\n" + b"x" * 65536)
            callers.append(caller)
        assert all(b"200 OK" in caller.recv(4096) for caller in callers)
        answer = served.client.post("/embed/text", json={"text": "hola"}, headers={"X-API-Key": "sesame"})
        assert answer.status_code == 200
        assert memory(served) - before < 60
        for caller in callers:
            caller.close()
        long = {"text": "x" * (5 << 20)}
        answer = served.client.post("/embed/text", json=long, headers={"X-API-Key": "sesame"})
        assert answer.status_code == 413 and failure(answer)[0] == "invalid_request"
        # Where images belong, as many bytes are read.
        answer = served.client.post("/embed/image", json={"image": "x" * (5 << 20)}, headers={"X-API-Key": "sesame"})
        assert answer.status_code == 400


def test_readers_who_do_not_read_lose_their_places():
    asked = {"model": "echo", "stream": True, "messages": [{"role": "user", "content": "word " * 400_000}]}
    body = json.dumps(asked).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    env = {"WRITE_TIMEOUT_SECONDS": "2", "MAX_CONCURRENCY": "4"}
    with serving(code=SCRIPTED, env=env) as served:
        callers = []
        for _ in range(4):
            caller = socket.socket()
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            caller.connect(address(served))
            caller.sendall(head.encode() + body)
            callers.append(caller)
        post = lambda: served.client.post("/embed/text", json={"text": "hola"})
        end = time.monotonic() + 10
        while post().status_code != 429:
            assert time.monotonic() < end, "the places were never taken"
        end = time.monotonic() + 20
        while post().status_code != 200:
            assert time.monotonic() < end, "the places are held"
            time.sleep(0.1)
        for caller in callers:
            caller.close()


def test_health_asks_the_engine_once_for_everybody_and_not_for_long():
    async def slow(writer, body):
        import asyncio

        await asyncio.sleep(3)
        await answer_json(writer, {"status": "healthy"})

    async def quick(writer, body):
        await answer_json(writer, {"status": "healthy", "device": "cuda"})

    with Server(quick) as engine, serving("images", env={"CLOUD_ENGINE_URL": engine.url}) as served:
        with httpx.Client(base_url=served.url) as client:
            found = [client.get("/health").json() for _ in range(100)]
        assert all(one["engine"]["reachable"] for one in found), found[0]
        assert found[0]["engine"]["diagnostics"]["device"] == "cuda"
        assert engine._counts["requests"] <= 4
    code = """
import sys, uvicorn
from ayni import ImageGenerator
from ayni.fastapi import image_router, server_options, service
away = {"backend": "image_engine", "url": "http://127.0.0.1:1"}
generator = ImageGenerator(backend="image_engine", url=%r, fallback=[away])
uvicorn.run(service(image_router(generator)), port=0, **server_options())
"""
    with Server(quick) as engine, serving(code=code % engine.url) as served:
        health = served.client.get("/health").json()
        assert health["engine"]["diagnostics"]["device"] == "cuda"
        assert [one["reachable"] for one in health["fallback_engines"]] == [False]
    with Server(slow) as engine, serving("images", env={"CLOUD_ENGINE_URL": engine.url}) as served:
        began = time.monotonic()
        health = served.client.get("/health")
        assert health.status_code == 200 and time.monotonic() - began < 1.5
        assert health.json()["engine"]["reachable"] is False


def test_hosts_are_checked_where_nothing_else_keeps_pages_out():
    with serving("triage", env={"ALLOW_HOSTS": "box.example"}) as served:
        ask = lambda host: served.client.get("/health", headers={"Host": host}).status_code
        assert [ask(host) for host in ("localhost:1", "127.0.0.1", "[::1]:80", "box.example:9")] == [200] * 4
        answer = served.client.get("/", headers={"Host": "evil.example"})
        assert answer.status_code == 421 and "ALLOW_HOSTS" in failure(answer)[1]
    with serving("triage", env={"API_KEY": "sesame"}) as served:
        assert served.client.get("/health", headers={"Host": "evil.example"}).status_code == 200
        redirected = served.client.get("/health/", headers={"Host": "evil.example", "X-API-Key": "sesame"})
        assert redirected.status_code == 307 and redirected.headers["location"] == "/health"


def test_a_blank_key_is_no_key_and_no_service():
    for key in ("", "  "):
        command = [sys.executable, "-m", "ayni", "serve", "triage", "--port", "0"]
        import os

        env = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "HOME") if name in os.environ} | {"API_KEY": key}
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
        assert done.returncode == 3 and "API_KEY is blank" in done.stderr and "Traceback" not in done.stderr


def test_a_slow_image_holds_no_texts(tmp_path):
    """A progressive JPEG of many scans takes seconds; a text that comes meanwhile does not wait for it."""
    import base64
    import io

    import PIL.Image
    from serving import clip_folder

    noise = PIL.Image.effect_noise((2500, 2500), 90).convert("RGB")
    written = io.BytesIO()
    noise.save(written, "JPEG", quality=95, progressive=True)
    image = base64.b64encode(slow_jpeg(written.getvalue())).decode()
    env = {"MAX_BODY_BYTES": str(64 << 20)}
    with serving("clip", "--model", str(clip_folder(tmp_path)), env=env) as served:
        took = []
        done = threading.Event()

        def decode():
            began = time.monotonic()
            httpx.post(f"{served.url}/embed/image", json={"image": image}, timeout=120)
            took.append(time.monotonic() - began)
            done.set()

        thread = threading.Thread(target=decode)
        thread.start()
        time.sleep(0.3)
        slowest = 0.0
        while not done.is_set():
            began = time.monotonic()
            assert served.client.post("/embed/text", json={"text": "w1 w2"}).status_code == 200
            slowest = max(slowest, time.monotonic() - began)
        thread.join()
        assert took[0] > 0.7, "the image is not slow enough to show anything"
        assert slowest < took[0] / 3, (slowest, took)


def slow_jpeg(jpeg):
    """Repeats the last scan of a progressive JPEG: each costs a pass over all coefficients."""
    start = jpeg.rindex(b"\xff\xda")
    return jpeg[:start] + jpeg[start:-2] * 12 + b"\xff\xd9"


def test_images_of_many_pixels_are_refused_before_they_are_decoded(tmp_path):
    import base64
    import io

    import PIL.Image
    from serving import clip_folder

    written = io.BytesIO()
    PIL.Image.new("1", (9000, 9000)).save(written, "PNG")
    wide = base64.b64encode(written.getvalue()).decode()
    with serving("clip", "--model", str(clip_folder(tmp_path))) as served:
        served.client.post("/embed/image", json={"image": _pixel()})
        before = memory(served)
        answer = served.client.post("/embed/image", json={"image": wide})
        assert answer.status_code == 400 and "limit of 33554432 pixels" in failure(answer)[1]
        assert memory(served) - before < 30
    with serving("clip", "--model", str(clip_folder(tmp_path)), env={"AYNI_MAX_IMAGE_PIXELS": "100"}) as served:
        assert served.client.post("/embed/image", json={"image": wide}).status_code == 400
        assert served.client.post("/embed/image", json={"image": _pixel()}).status_code == 200


def _pixel():
    from ayni.fastapi._clip import _PIXEL

    return _PIXEL
