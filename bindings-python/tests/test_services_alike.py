"""What the services answer: the same cases as in bindings-node/test/services.test.mjs."""

import base64
import json
from pathlib import Path

import pytest
from serving import serving

import ayni

ALL = json.loads((Path(__file__).resolve().parents[2] / "core/conformance/services.json").read_text())
CODE = """
import uvicorn
from ayni import Chat, ChatModes, Embedder, ImageGenerator
from ayni.fastapi import ServiceSettings, clip_router, image_router, openai_router, procurement_router, service, triage_router
s = {"backend": "scripted"}
reply = '{"claims": ["La licitación es {1}."]}'
chats = {"echo": Chat(s), "limited": Chat(s, failures=["rate_limited"] * 99, policy={"retry": {"max_retries": 0}})}
settings = ServiceSettings(api_key="sesame", allow_origins=["https://app.example"], max_body_bytes=100_000)
app = service(clip_router(s), triage_router(ChatModes({"DEFAULT_LLM_MODE": "mock"})), image_router(s),
              procurement_router(s, {**s, "replies": [{"text": reply}] * 20}),
              openai_router(chats, {"vectors": Embedder(s)}, {"pictures": ImageGenerator(s)}), settings=settings)
uvicorn.run(app, port=0, access_log=False)
"""

# One whose part never ends to load.
LOADING = """
import asyncio, uvicorn
from ayni.fastapi import ServiceSettings, clip_router, service
router = clip_router({"backend": "scripted"})
router.part.load = lambda: asyncio.sleep(3600)
app = service(router, settings=ServiceSettings(api_key="sesame"), on_failure=print)
uvicorn.run(app, port=0, access_log=False)
"""


@pytest.fixture(scope="module")
def served():
    with serving(code=CODE) as served:
        yield served


@pytest.fixture(scope="module")
def starting():
    with serving(code=LOADING, loaded=False) as served:
        yield served


@pytest.fixture(scope="module")
def png():
    return base64.b64encode(ayni.ImageGenerator(backend="scripted").generate_sync("x", size=(8, 8)).image.data).decode()


def written(body):
    """Repeats written out."""
    if isinstance(body, dict):
        return body["$repeat"] * body["count"] if "$repeat" in body else {name: written(value) for name, value in body.items()}
    return list(map(written, body)) if isinstance(body, list) else body


@pytest.mark.parametrize("case", ALL["loading"], ids=lambda case: case["name"])
def test_case_while_loading(starting, png, case):
    check(starting, png, case)


@pytest.mark.parametrize("case", ALL["cases"], ids=lambda case: case["name"])
def test_case(served, png, case):
    check(served, png, case)


def check(served, png, case):
    content = case.get("text")
    if "body" in case:
        content = json.dumps(written(case["body"])).replace("{{png}}", png)
    headers = {} if content is None else {"content-type": "application/json"}
    if (key := case.get("key", "sesame")) is not None:
        headers["x-api-key"] = key
    answer = served.client.request(case.get("method", "GET"), case["path"], content=content, headers=headers | case.get("send", {}))
    assert answer.status_code == case["status"], answer.text
    for name, value in case.get("headers", {}).items():
        assert answer.headers.get(name) == value
    for part in case.get("contains", ()):
        assert part in answer.text
    if "json" in case or "has" in case:
        found = answer.json()
        assert {name: found[name] for name in case.get("json", {})} == case.get("json", {})
        assert all(name in found for name in case.get("has", ())), answer.text
    if "kind" in case:
        body = answer.json()
        assert body["error"]["kind"] == case["kind"] and body["detail"] == body["error"]["message"]
        assert body["error"]["request_id"] == answer.headers["x-request-id"]
        assert "param" not in case or body["error"]["param"] == case["param"], answer.text
