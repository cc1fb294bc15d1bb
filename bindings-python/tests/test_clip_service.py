"""Every row of the contract of the CLIP embedding service, over HTTP, with a local model of seeded weights."""

import base64
import json
import socket
import struct
import time
import zlib

import httpx
import numpy as np
import pytest
from hub import hub
from serving import GOLDEN, clip_folder, failure, serving

import ayni

KEY = {"X-API-Key": "sesame"}
IMAGE = (GOLDEN / "images/rgb.png").read_bytes()


def encoded(image):
    return base64.b64encode(image).decode()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return clip_folder(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def clip(folder):
    env = {"API_KEY": "sesame", "ALLOW_ORIGINS": " https://app.example , http://localhost:3000", "BODY_TIMEOUT_SECONDS": "2"}
    with serving("clip", "--model", str(folder), env=env) as served:
        yield served


def text(clip, text="w5 w6 w7", **more):
    return clip.client.post("/embed/text", json={"text": text}, headers=KEY, **more)


def image(clip, image, **more):
    return clip.client.post("/embed/image", json={"image": image, **more}, headers=KEY)


def test_health_has_the_keys_of_the_contract_and_needs_no_key(clip, folder):
    health = clip.client.get("/health")
    assert health.status_code == 200
    assert health.json().items() >= {"status": "healthy", "model_loaded": True, "device": "cpu"}.items()
    assert folder.name in health.json()["model_name"]
    assert clip.client.get("/ready").json() == {"ready": True, "problems": {}}


def test_a_text_has_the_vector_of_the_library_as_numbers_of_unit_length(clip, folder):
    answer = text(clip)
    assert answer.status_code == 200
    body = answer.json()
    vector = np.array(body["embedding"])
    assert body["dimensions"] == len(vector) and np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
    with ayni.Embedder(str(folder)) as embedder:
        assert np.array_equal(vector.astype(np.float32), embedder.embed_sync("w5 w6 w7").vectors[0])


def test_an_image_has_a_vector_in_the_same_space_with_and_without_mime_type_and_data_url(clip):
    plain = image(clip, encoded(IMAGE))
    assert plain.status_code == 200
    vector = plain.json()["embedding"]
    assert len(vector) == text(clip).json()["dimensions"]
    assert image(clip, encoded(IMAGE), mime_type="image/jpeg").json()["embedding"] == vector
    assert image(clip, "data:image/png;base64," + encoded(IMAGE)).json()["embedding"] == vector
    other = image(clip, encoded((GOLDEN / "images/chroma_420.jpg").read_bytes()), mime_type="image/jpeg")
    assert other.status_code == 200 and other.json()["embedding"] != vector


def test_the_documentation_lists_every_endpoint_with_an_example_that_runs(clip):
    page = clip.client.get("/docs")
    assert page.status_code == 200 and "openapi.json" in page.text and "//" not in page.text.split("<script>")[0]
    described = clip.client.get("/openapi.json").json()
    assert {"/health", "/ready", "/metrics", "/embed/text", "/embed/image"} <= described["paths"].keys()
    assert "X-API-Key" in json.dumps(described["components"]["securitySchemes"])
    for path in ("/embed/text", "/embed/image"):
        name = described["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        [example] = described["components"]["schemas"][name]["examples"]
        assert clip.client.post(path, json=example, headers=KEY).status_code == 200


@pytest.mark.parametrize("headers", [{}, {"X-API-Key": "wrong"}, {"X-API-Key": ""}, {"Authorization": "Bearer wrong"}])
def test_a_missing_or_wrong_key_is_401(clip, headers):
    answer = clip.client.post("/embed/text", json={"text": "w5"}, headers=headers)
    assert (answer.status_code, answer.json()["detail"]) == (401, "Invalid API key")


def test_a_bearer_token_of_a_private_space_stands_beside_the_key(clip):
    answer = clip.client.post("/embed/text", json={"text": "w5"}, headers=KEY | {"Authorization": "Bearer hf_token"})
    assert answer.status_code == 200


def bomb():
    """A PNG that claims to be 60,000 × 60,000."""
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1 << 20))) + chunk(b"IEND", b"")


BAD_BODIES = {
    "no text": ("/embed/text", {}),
    "empty text": ("/embed/text", {"text": ""}),
    "white space": ("/embed/text", {"text": " \n "}),
    "text that is none": ("/embed/text", {"text": 5}),
    "10,000 words": ("/embed/text", {"text": "w " * 10_000}),
    "no image": ("/embed/image", {}),
    "not base64": ("/embed/image", {"image": "%%%"}),
    "not an image": ("/embed/image", {"image": encoded(b"hello")}),
    "empty image": ("/embed/image", {"image": "data:image/png;base64,"}),
    "truncated image": ("/embed/image", {"image": encoded(IMAGE[: len(IMAGE) // 2])}),
    "image bomb": ("/embed/image", {"image": encoded(bomb())}),
}


@pytest.mark.parametrize("fault", BAD_BODIES)
def test_bad_input_is_a_4xx_with_one_sentence(clip, fault):
    path, body = BAD_BODIES[fault]
    answer = clip.client.post(path, json=body, headers=KEY)
    kind, sentence = failure(answer)
    assert 400 <= answer.status_code < 500 and kind in ("invalid_request", "context_too_long")
    assert 5 < len(sentence) < 200
    assert text(clip).status_code == 200


@pytest.mark.parametrize("content", [b"", b"{", b"null", b"[]", b"\xff\xfe", b'{"text": "\\ud800"}', b"[" * 100_000])
def test_garbage_instead_of_json_is_a_4xx(clip, content):
    answer = clip.client.post("/embed/text", content=content, headers=KEY | {"Content-Type": "application/json"})
    assert 400 <= answer.status_code < 500
    assert failure(answer)[0] == "invalid_request"


def test_a_body_of_50_mb_is_413_before_it_is_read(clip):
    answer = clip.client.post("/embed/text", content=b"x" * 50_000_000, headers=KEY)
    assert (answer.status_code, failure(answer)[0]) == (413, "invalid_request")
    with socket.create_connection(clip.url.removeprefix("http://").split(":")) as connection:
        connection.sendall(b"POST /embed/text HTTP/1.1\r\nHost: localhost\r\nX-API-Key: sesame\r\nContent-Length: 50000000\r\n\r\n{")
        connection.settimeout(10)
        assert connection.recv(100).startswith(b"HTTP/1.1 413")


def test_a_body_of_unknown_length_is_413_once_it_is_too_long(clip):
    pieces = (b"x" * 1_000_000 for _ in range(30))
    assert clip.client.post("/embed/text", content=pieces, headers=KEY).status_code == 413


def test_a_caller_who_never_ends_the_body_is_408(clip):
    with socket.create_connection(clip.url.removeprefix("http://").split(":")) as connection:
        connection.sendall(b"POST /embed/text HTTP/1.1\r\nHost: localhost\r\nX-API-Key: sesame\r\nContent-Length: 100\r\n\r\n{")
        connection.settimeout(20)
        assert connection.recv(100).startswith(b"HTTP/1.1 408")


def test_a_text_longer_than_the_window_is_cut_and_says_so(clip):
    answer = text(clip, " ".join(f"w{number % 60 + 2}" for number in range(200)))
    assert answer.status_code == 200 and answer.json()["truncated"] is True
    assert text(clip).json()["truncated"] is False


def test_requests_errors_and_uptime_can_be_read_off(clip):
    before = clip.metrics()
    text(clip)
    text(clip, "")
    after = clip.metrics()
    counted = lambda name: after.get(name, 0) - before.get(name, 0)
    assert counted('ayni_http_requests_total{route="/embed/text",method="POST",status="200"}') == 1
    assert counted('ayni_http_errors_total{kind="invalid_request"}') == 1
    assert after["ayni_uptime_seconds"] > before["ayni_uptime_seconds"] > 0


def test_origins_match_in_protocol_and_port(clip):
    allowed = lambda origin: clip.client.get("/health", headers={"Origin": origin}).headers.get("access-control-allow-origin")
    assert allowed("https://app.example") == "https://app.example"
    assert allowed("http://localhost:3000") == "http://localhost:3000"
    assert [allowed(origin) for origin in ("http://app.example", "http://localhost:3001", "https://evil.example")] == [None] * 3
    preflight = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST"}
    preflight["Access-Control-Request-Headers"] = "x-api-key,content-type"
    assert clip.client.options("/embed/text", headers=preflight).status_code == 200


def test_the_log_says_loading_loaded_and_the_address_and_holds_no_payload(clip):
    text(clip, "w5 w9 canary", params={"secret": "canary"})
    log = "".join(clip.lines)
    assert log.index("running on http://") < log.index("loading the model") < log.index("loaded the model")
    assert clip.log("request")[-1].keys() >= {"route", "status", "milliseconds", "request_id"}
    assert "canary" not in log and "sesame" not in log


def test_our_own_client_works_on_the_service(clip):
    embedder = ayni.Embedder(backend="clip_service", url=clip.url, api_key="sesame", model="tiny")
    response = embedder.embed_sync(["w5 w6 w7", IMAGE])
    assert response.vectors.shape[0] == 2
    assert response.vectors[0].tolist() == pytest.approx(text(clip).json()["embedding"])
    with pytest.raises(ayni.Unauthenticated):
        ayni.Embedder(backend="clip_service", url=clip.url, api_key="wrong").embed_sync("w5")
    assert ayni.health_sync({"backend": "clip_service", "url": clip.url})["status"] == "healthy"


def test_a_request_id_comes_back_if_it_is_one(clip):
    given = lambda value: clip.client.get("/health", headers={"X-Request-ID": value}).headers["x-request-id"]
    assert given("abc-1.2_3") == "abc-1.2_3"
    assert given("a b\"c") != "a b\"c"


SLOW = """
import uvicorn
from ayni import Chat, Embedder
from ayni.fastapi import ServiceSettings, clip_router, openai_router, service
slow = Embedder(backend="scripted", latency_seconds=30)
chat = Chat(backend="scripted", latency_seconds=30)
app = service(clip_router(slow), openai_router(chat), settings=ServiceSettings(max_concurrency=2, drain_seconds=1))
uvicorn.run(app, port=0)
"""


def test_callers_who_leave_stop_the_work_and_more_than_the_cap_are_429():
    with serving(code=SLOW) as served:
        in_flight = lambda: served.metrics()["ayni_http_requests_in_flight"]

        def until(expected):
            end = time.monotonic() + 10
            while in_flight() != expected:
                assert time.monotonic() < end, f"{in_flight()} in flight, not {expected}"
                time.sleep(0.01)

        host, port = served.url.removeprefix("http://").split(":")
        body = json.dumps({"text": "hola"}).encode()
        head = f"POST /embed/text HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        callers = [socket.create_connection((host, port)) for _ in range(2)]
        for caller in callers:
            caller.sendall(head.encode() + body)
        until(2)
        answer = served.client.post("/embed/text", json={"text": "hola"})
        assert answer.status_code == 429 and int(answer.headers["retry-after"]) >= 1
        assert failure(answer)[0] == "rate_limited"
        assert served.client.get("/health").status_code == 200
        for caller in callers:
            caller.close()
        until(0)
        left = 'ayni_http_requests_total{route="/embed/text",method="POST",status="499"}'
        assert served.metrics()[left] == 2


def test_without_a_model_the_process_says_so_and_ends(tmp_path):
    with pytest.raises(RuntimeError, match="model_load|config_invalid"), serving("clip", "--model", str(tmp_path)):
        pass


def test_an_origin_that_is_none_is_refused_at_the_start(folder):
    with pytest.raises(RuntimeError, match="ALLOW_ORIGINS"), serving("clip", "--model", str(folder), env={"ALLOW_ORIGINS": "app.example"}):
        pass


def test_a_plain_client_like_fetch_needs_nothing_but_json(clip):
    answer = httpx.post(f"{clip.url}/embed/text", content='{"text":"w5"}', headers=KEY | {"Content-Type": "application/json"})
    assert all(isinstance(number, float) for number in answer.json()["embedding"])


def test_the_default_model_comes_from_the_hub_as_its_publisher_keeps_it(tmp_path):
    """openai/clip-vit-base-patch32 has no safetensors on its branch `main`: only pickles."""
    folder = GOLDEN / "pickles/clip"
    assert (folder / "pytorch_model.bin").is_file() and not list(folder.glob("*.safetensors"))
    expected = json.loads((GOLDEN / "pickles/clip-expected.json").read_text())
    with hub("openai/clip-vit-base-patch32", folder) as (endpoint, asked):
        env = {"HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path)}
        for _ in range(2):
            with serving("clip", env=env) as served:
                assert served.client.get("/health").json()["model_name"] == "openai/clip-vit-base-patch32"
                for case in expected["texts"]:
                    vector = served.client.post("/embed/text", json={"text": case["text"]}).json()["embedding"]
                    assert np.dot(vector, case["vector"]) >= 0.9995
                for case in expected["images"]:
                    body = {"image": encoded((GOLDEN / "images" / case["image"]).read_bytes())}
                    vector = served.client.post("/embed/image", json=body).json()["embedding"]
                    assert np.dot(vector, case["vector"]) >= 0.9995
        assert sum(path.endswith("/pytorch_model.bin") for path in asked) == 1
