"""How `ayni serve` starts, waits and stops, as the command line runs it."""

import contextlib
import http.server
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import httpx
import pytest
from hub import COMMIT, hub
from serving import KEPT, failure, serving

import ayni
from loopback import Server, silence


def start(*arguments, env=None):
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    command = [sys.executable, "-m", "ayni", *arguments]
    return subprocess.run(command, env=kept | (env or {}), capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    "arguments, env, sentence",
    [
        (("serve", "clip", "--model", "./nothing-here"), {}, "nothing-here"),
        (("serve", "openai"), {}, "there is nothing to serve"),
        (("serve", "images"), {"IMAGE_ENGINE_MODE": "clouds"}, "IMAGE_ENGINE_MODE is 'clouds'"),
        (("serve", "triage"), {"MAX_CONCURRENCY": "many"}, "MAX_CONCURRENCY"),
        (("serve", "triage"), {"ALLOW_ORIGINS": "https://a.*.example"}, "ALLOW_ORIGINS"),
        (("serve", "triage"), {"HF_ROUTER_URL": "https://me:hf_canary@router.example"}, "HF_ROUTER_URL"),
        (("serve", "clip", "--config", "nowhere.json"), {}, "nowhere.json"),
    ],
)
def test_a_failed_start_is_one_sentence_and_exit_code_3(arguments, env, sentence):
    done = start(*arguments, "--port", "0", env={"LOG_FORMAT": "none", **env})
    assert done.returncode == 3, done.stderr
    assert sentence in done.stderr and "Traceback" not in done.stderr and "canary" not in done.stderr
    assert len([line for line in done.stderr.splitlines() if line.startswith("ayni: ")]) == 1, done.stderr


def test_a_port_that_is_taken_is_one_sentence():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = start("serve", "triage", "--port", str(taken.getsockname()[1]))
    assert done.returncode == 3 and "cannot be listened on" in done.stderr and "Traceback" not in done.stderr


@contextlib.contextmanager
def slow_hub(model):
    """A Hub whose files never end: it sends a little of each and then waits."""
    names = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
    siblings = [{"rfilename": name, "size": 10_000_000, "blobId": "0" * 40} for name in names]
    listing = {"id": model, "sha": COMMIT, "siblings": siblings}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = json.dumps(listing).encode()
            is_file = "/resolve/" in self.path
            self.send_response(200)
            self.send_header("Content-Length", "10000000" if is_file else str(len(body)))
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(b"{" + b" " * 999_999 if is_file else body)
                if is_file:
                    over.wait(60)

        def log_message(self, *_):
            pass

    over = threading.Event()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        over.set()
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_while_a_model_downloads_the_port_is_open_and_signals_end_the_service(tmp_path, stop):
    with slow_hub("org/large") as address:
        env = {"HF_ENDPOINT": address, "HF_HUB_CACHE": str(tmp_path)}
        with serving("clip", "--model", "org/large", env=env, loaded=False) as served:
            assert served.client.get("/health").json() == {"status": "healthy"}
            end = time.monotonic() + 10
            while not re.search(r"\.json|\.safetensors", (ready := served.client.get("/ready")).json()["problems"]["embedder"]):
                assert time.monotonic() < end, ready.text
                time.sleep(0.05)
            assert ready.status_code == 503 and ready.json()["loading"] is True
            answer = served.client.post("/embed/text", json={"text": "hola"})
            assert answer.status_code == 503 and failure(answer)[0] == "unavailable" and answer.headers["retry-after"]
            assert served.log("loading the model org/large")
            began = time.monotonic()
            served.process.send_signal(stop)
            served.process.wait(10)
            assert time.monotonic() - began < 3


def test_a_model_that_cannot_be_loaded_ends_the_service(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.json").write_text('{"model_type": "bert"}')
    with hub("org/broken", tmp_path / "model") as (address, _):
        env = {"HF_ENDPOINT": address, "HF_HUB_CACHE": str(tmp_path / "cache"), "LOG_FORMAT": "none"}
        done = start("serve", "clip", "--model", "org/broken", "--port", "0", env=env)
    assert done.returncode == 3 and "Traceback" not in done.stderr, done.stderr
    assert [line for line in done.stderr.splitlines() if line.startswith("ayni: ")], done.stderr


def test_several_processes_serve_one_port():
    with serving("triage", "--workers", "2", env={"DEFAULT_LLM_MODE": "mock", "API_KEY": "sesame"}) as served:
        started = set()
        end = time.monotonic() + 30
        while len(started) < 2 and time.monotonic() < end:
            text = httpx.get(f"{served.url}/metrics", headers={"X-API-Key": "sesame", "Connection": "close"}).text
            started |= {line for line in text.splitlines() if line.startswith("process_start_time_seconds ")}
        assert len(started) == 2
        answer = served.client.post("/triage", json={"patient_mrn": "P1", "query": "x"}, headers={"X-API-Key": "sesame"})
        assert answer.status_code == 200


def test_paid_backends_without_a_key_are_warned_of():
    message = "API_KEY is not set: whoever reaches this service uses hosted models at its expense"
    env = {"OPENAI_API_KEY": "sk-canary-1234", "OPENAI_MODELS": "gpt-a, gpt-b"}
    with serving("openai", env=env) as served:
        assert [record["level"] for record in served.log(message)] == ["warning"]
        assert [model["id"] for model in served.client.get("/v1/models").json()["data"]] == ["gpt-a", "gpt-b"]
        assert "canary" not in "".join(served.lines)
    with serving("openai", env=env | {"API_KEY": "sesame"}) as served:
        assert served.client.get("/health").status_code == 200 and not served.log(message, until=lambda _: True)


def test_several_backends_are_served_by_name(tmp_path):
    config = tmp_path / "models.json"
    scripted = {"backend": "scripted"}
    config.write_text(json.dumps({"chat": {"a": scripted, "b": {**scripted, "model": "b-1"}}, "embedder": scripted}))
    with serving("openai", "--config", str(config)) as served:
        assert [model["id"] for model in served.client.get("/v1/models").json()["data"]] == ["a", "b", "scripted"]
        kinds = {one["id"]: one["kind"] for one in served.client.get("/info").json()["models"]}
        assert kinds == {"a": "chat", "b": "chat", "scripted": "embeddings"}


STREAM = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "x"}]}


def hosted(url, **more):
    return {"chat": {"m": {"backend": "openai", "vendor": "custom", "base_url": f"{url}/v1", "model": "m", **more}}}


def test_a_stream_has_comments_before_its_first_token_and_ends_with_an_event_when_it_is_cut(tmp_path):
    config = tmp_path / "models.json"
    with Server(silence) as backend:
        config.write_text(json.dumps(hosted(backend.url)))
        with serving("openai", "--config", str(config), "--keep-alive", "0.3", env={"DRAIN_SECONDS": "1"}) as served:
            with served.client.stream("POST", "/v1/chat/completions", json=STREAM) as answer:
                lines = answer.iter_lines()
                assert answer.status_code == 200 and next(lines) == ": keep-alive"
                served.process.terminate()
                last = [line for line in lines if line.startswith("data: ")]
            error = json.loads(last[-1].removeprefix("data: "))["error"]
            assert error["kind"] == "interrupted"
            served.process.wait(10)
            [record] = served.log("request", until=lambda found: found)
            assert record["kind"] == "interrupted"


def test_a_failure_after_a_comment_is_an_event(tmp_path):
    async def late(writer, body):
        import asyncio

        await asyncio.sleep(0.8)
        body = b'{"error": {"message": "no", "type": "server_error"}}'
        writer.write(b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()

    config = tmp_path / "models.json"
    with Server(late) as backend:
        config.write_text(json.dumps(hosted(backend.url, policy={"retry": {"max_retries": 0}})))
        with serving("openai", "--config", str(config), env={"KEEP_ALIVE_SECONDS": "0.3"}) as served:
            text = served.client.post("/v1/chat/completions", json=STREAM).text
    assert text.startswith(": keep-alive\n\n") and json.loads(text.split("data: ")[1])["error"]["kind"] == "invalid_request"


def test_what_the_vendor_said_reaches_the_caller_and_no_key_does(tmp_path):
    """A vendor that repeats the key as code, type and request id."""
    key = "correct-horse-battery"

    async def echo(writer, body):
        text = json.dumps({"error": {"message": f"bad field for {key}", "code": key, "type": key, "param": key}}).encode()
        head = f"HTTP/1.1 400 No\r\ncontent-type: application/json\r\nx-request-id: {key}\r\ncontent-length: {len(text)}\r\n\r\n"
        writer.write(head.encode() + text)
        await writer.drain()

    config = tmp_path / "models.json"
    with Server(echo) as backend:
        config.write_text(json.dumps(hosted(backend.url, api_key=key)))
        with serving("openai", "--config", str(config)) as served:
            for stream in (False, True):
                answer = served.client.post("/v1/chat/completions", json={**STREAM, "stream": stream})
                assert answer.status_code == 400
                assert answer.json()["error"]["upstream"]["status"] == 400
                assert "bad field for ***" in answer.json()["error"]["upstream"]["reason"]
                assert key not in answer.text and key not in str(answer.headers)
            assert key not in "".join(served.lines)
    with Server(echo) as backend:
        chat = ayni.Chat(hosted(backend.url, api_key=key)["chat"]["m"])
        with pytest.raises(ayni.AyniError) as caught:
            chat.chat_sync("hola")
        assert key not in repr(vars(caught.value))


@pytest.mark.parametrize("body", [b"{}", b'{"choices": [{}]}', b'{"choices": []}'])
def test_an_answer_without_content_is_no_success(body):
    async def answer(writer, _):
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()

    none = {"retry": {"max_retries": 0}}
    with Server(answer) as backend:
        for config in (hosted(backend.url)["chat"]["m"], {"backend": "gemini", "model": "g", "base_url": backend.url, "api_key": "k-12345"}):
            with pytest.raises(ayni.ResponseInvalid):
                ayni.Chat(config, policy=none).chat_sync("hola")


def test_an_answer_of_many_parts_is_refused_before_it_takes_memory():
    import gzip

    deep = gzip.compress(b"[" * (40 << 20))
    wide = gzip.compress(b'{"choices": [' + b"[]," * (20 << 20) + b"[]]}")
    for packed in (deep, wide):
        assert len(packed) < 200_000

        async def answer(writer, _, packed=packed):
            head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n"
            writer.write(head % len(packed) + packed)
            await writer.drain()

        with Server(answer) as backend:
            code = f"""
import ayni, resource
resource.setrlimit(resource.RLIMIT_AS, ({3 << 29}, {3 << 29}))
chat = ayni.Chat({hosted(backend.url)["chat"]["m"]!r}, policy={{"retry": {{"max_retries": 0}}}})
try:
    chat.chat_sync("hola")
except ayni.ResponseInvalid as error:
    most = int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
    print("refused", most // 1024, error)
"""
            done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
        found = re.match(r"refused (\d+)", done.stdout)
        assert found and int(found[1]) < 400, (done.stdout, done.stderr)


def test_metrics_have_the_counters_of_backends():
    with serving("triage", env={"DEFAULT_LLM_MODE": "mock"}) as served:
        served.client.post("/triage", json={"patient_mrn": "P1", "query": "x"})
        text = served.client.get("/metrics").text
    assert "ayni_http_requests_total" in text and 'ayni_requests_total{backend="scripted"' in text.replace("'", '"')


def test_model_names_that_share_a_folder_are_refused():
    for name in ("a--b/c", "a/b--c"):
        with pytest.raises(ayni.ConfigInvalid, match="--"):
            ayni.Embedder(name)



def test_the_log_tells_of_attempts_waits_and_the_status_of_the_hosted_service(tmp_path):
    async def busy(writer, _):
        body = b'{"error": {"message": "busy"}}'
        writer.write(b"HTTP/1.1 503 Busy\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()

    config = tmp_path / "models.json"
    with Server(busy) as backend:
        retry = {"retry": {"max_retries": 1}}
        config.write_text(json.dumps(hosted(backend.url, policy=retry)))
        with serving("openai", "--config", str(config)) as served:
            asked = {"model": "m", "messages": [{"role": "user", "content": "canary"}]}
            assert served.client.post("/v1/chat/completions", json=asked).status_code == 503
            [waited] = served.log("waiting before another attempt", until=lambda found: found)
            [failed] = served.log("failed", until=lambda found: found)
            assert "canary" not in "".join(served.lines)
    assert (waited["logger"], waited["attempt"], waited["status"]) == ("ayni.call", 2, 503)
    assert (failed["level"], failed["status"], failed["error_type"]) == ("warning", 503, "unavailable")


def test_a_store_that_cannot_be_read_is_not_ready(tmp_path):
    env = {"MERCADO_PUBLICO_TICKET": "F8537A18-0000-4000-8000-000000000000", "DATABASE_URL": f"sqlite:{tmp_path}/store"}
    with serving("procurement", env=env) as served:
        assert served.client.get("/ready").json() == {"ready": True, "problems": {}}
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        env["DATABASE_URL"] = f"postgres://me:canary@127.0.0.1:{nobody.getsockname()[1]}/db"
        with serving("procurement", env=env) as served:
            ready = served.client.get("/ready")
            assert ready.status_code == 503 and ready.json()["problems"]["procurement"], ready.text
            assert served.client.get("/health").status_code == 200
            assert "canary" not in ready.text + "".join(served.lines)
