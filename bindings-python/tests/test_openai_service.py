"""OpenAI's routes, used by other people's clients as they are."""

import asyncio
import base64
import importlib
import json
import os
import re
import socket
import struct
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import TINY
from serving import failure, serving

import ayni

CODE = """
import uvicorn
from ayni import Chat, Embedder, ImageGenerator
from ayni.fastapi import ServiceSettings, openai_router, service
scripted = {"backend": "scripted"}
chats = {"echo": Chat(scripted), "slow": Chat(scripted, latency_seconds=30), "limited": Chat(scripted, failures=["rate_limited"] * 99,
         policy={"retry": {"max_retries": 0}})}
router = openai_router(chats, {"vectors": Embedder(scripted)}, {"pictures": ImageGenerator(scripted)})
uvicorn.run(service(router, settings=ServiceSettings(api_key="sesame", drain_seconds=1)), port=0)
"""
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}
HOLA = [{"role": "user", "content": "hola"}]
KEY = {"X-API-Key": "sesame"}


@pytest.fixture(scope="module")
def served():
    with serving(code=CODE) as served:
        yield served


@pytest.fixture
def client(served):
    openai = importlib.import_module("openai")
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key="sesame", max_retries=0, timeout=30) as client:
        yield client


def test_the_openai_package_chats(client):
    answer = client.chat.completions.create(model="echo", messages=HOLA, max_tokens=50, temperature=0.1, seed=3, stop=["xx"])
    assert answer.choices[0].message.content == "You asked: hola"
    assert answer.choices[0].finish_reason == "stop" and answer.usage.total_tokens > 0


def test_the_openai_package_streams_with_usage_at_the_end(client):
    stream = client.chat.completions.create(model="echo", messages=HOLA, stream=True, stream_options={"include_usage": True})
    chunks = list(stream)
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(pieces) == "You asked: hola" and len(pieces) > 2
    assert chunks[-1].usage.total_tokens > 0 and chunks[-2].choices[0].finish_reason == "stop"


def test_the_openai_package_calls_tools_and_hands_their_answers_back(client):
    asked = client.chat.completions.create(model="echo", messages=HOLA, tools=[TOOL], tool_choice="required")
    message = asked.choices[0].message
    [call] = message.tool_calls
    assert call.function.name == "weather" and "city" in json.loads(call.function.arguments)
    result = {"role": "tool", "tool_call_id": call.id, "content": "14 degrees"}
    answer = client.chat.completions.create(model="echo", messages=[*HOLA, message, result], tools=[TOOL])
    assert "14 degrees" in answer.choices[0].message.content
    chunks = list(client.chat.completions.create(model="echo", messages=HOLA, tools=[TOOL], tool_choice={"type": "function", "function": {"name": "weather"}}, stream=True))
    arguments = "".join(call.function.arguments or "" for chunk in chunks for call in chunk.choices[0].delta.tool_calls or [])
    assert "city" in json.loads(arguments)


def test_the_openai_package_parses_structured_answers(client):
    import pydantic

    class Advice(pydantic.BaseModel):
        urgent: bool
        words: str

    answer = client.chat.completions.parse(model="echo", messages=HOLA, response_format=Advice)
    assert isinstance(answer.choices[0].message.parsed, Advice)


def test_the_openai_package_sees_images_reasoning_and_logprobs(client):
    pixel = base64.b64encode(ayni.ImageGenerator(backend="scripted").generate_sync("x").image.data).decode()
    parts = [{"type": "text", "text": "what?"}, {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{pixel}"}}]
    answer = client.chat.completions.create(
        model="echo", messages=[{"role": "user", "content": parts}], reasoning_effort="low", logprobs=True, top_logprobs=2
    )
    assert "(with 1 images)" in answer.choices[0].message.content
    assert answer.choices[0].message.reasoning_content and answer.choices[0].logprobs.content[0].logprob == 0


def test_the_openai_package_embeds_in_both_encodings(client):
    for more in ({}, {"encoding_format": "float"}):
        answer = client.embeddings.create(model="vectors", input=["hola", "hello"], **more)
        expected = ayni.Embedder(backend="scripted").embed_sync(["hola", "hello"]).vectors
        found = np.array([one.embedding for one in answer.data], np.float32)
        assert np.array_equal(found, expected) and [one.index for one in answer.data] == [0, 1]


def test_the_openai_package_makes_images_and_lists_models(client):
    answer = client.images.generate(model="pictures", prompt="a fox", size="64x64", n=1)
    assert base64.b64decode(answer.data[0].b64_json).startswith(b"\x89PNG")
    assert [model.id for model in client.models.list()] == ["echo", "slow", "limited", "vectors", "pictures"]
    assert client.models.retrieve("echo").owned_by == "ayni"


def test_the_openai_package_raises_its_own_errors(served, client):
    import openai

    chat = client.chat.completions.create
    with pytest.raises(openai.NotFoundError, match="the model 'gpt-5' is not served here"):
        chat(model="gpt-5", messages=HOLA)
    with pytest.raises(openai.AuthenticationError, match="Invalid API key"):
        openai.OpenAI(base_url=f"{served.url}/v1", api_key="wrong", max_retries=0).models.list()
    for stream in (False, True):
        with pytest.raises(openai.RateLimitError) as caught:
            chat(model="limited", messages=HOLA, stream=stream)
        assert caught.value.code == "rate_limited" and caught.value.response.headers["retry-after"]
    with pytest.raises(openai.UnprocessableEntityError, match="messages"):
        chat(model="echo", messages=[])
    with pytest.raises(openai.UnprocessableEntityError, match="from 1 to 16"):
        chat(model="echo", messages=HOLA, n=17)


def test_the_openai_package_can_leave_and_the_work_stops(served):
    openai = importlib.import_module("openai")

    async def leave():
        async with openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key="sesame") as client:
            task = asyncio.ensure_future(client.chat.completions.create(model="slow", messages=HOLA, stream=True))
            while (await asyncio.to_thread(served.metrics))["ayni_http_requests_in_flight"] < 1:
                await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(leave())
    end = time.monotonic() + 10
    while served.metrics()["ayni_http_requests_in_flight"]:
        assert time.monotonic() < end, "the work went on"
        time.sleep(0.01)


def test_a_stream_that_is_left_ends(served):
    body = json.dumps({"model": "echo", "stream": True, "messages": [{"role": "user", "content": "word " * 3000}]}).encode()
    host, port = served.url.removeprefix("http://").split(":")
    with socket.create_connection((host, port)) as caller:
        head = "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nX-API-Key: sesame\r\nContent-Type: application/json\r\n"
        caller.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        assert b"200 OK" in caller.recv(4096)
    end = time.monotonic() + 10
    while served.metrics()["ayni_http_requests_in_flight"]:
        assert time.monotonic() < end, "the work went on"
        time.sleep(0.01)


def test_langchain_talks_to_the_service(served):
    langchain = importlib.import_module("langchain_openai")
    chat = langchain.ChatOpenAI(model="echo", base_url=f"{served.url}/v1", api_key="sesame")
    assert chat.invoke("hola").content == "You asked: hola"
    assert "".join(chunk.content for chunk in chat.stream("hola")) == "You asked: hola"
    embeddings = langchain.OpenAIEmbeddings(model="vectors", base_url=f"{served.url}/v1", api_key="sesame", check_embedding_ctx_length=False)
    assert len(embeddings.embed_query("hola")) == 16


def test_llama_index_talks_to_the_service(served):
    llms = importlib.import_module("llama_index.llms.openai_like")
    from llama_index.embeddings.openai_like import OpenAILikeEmbedding

    chat = llms.OpenAILike(model="echo", api_base=f"{served.url}/v1", api_key="sesame", is_chat_model=True)
    assert chat.complete("hola").text == "You asked: hola"
    assert [chunk.delta for chunk in chat.stream_complete("hola")]
    embedding = OpenAILikeEmbedding(model_name="vectors", api_base=f"{served.url}/v1", api_key="sesame")
    assert len(embedding.get_text_embedding("hola")) == 16


def test_huggingface_hub_talks_to_the_service(served):
    hub = importlib.import_module("huggingface_hub")
    client = hub.InferenceClient(base_url=served.url, api_key="sesame")
    answer = client.chat.completions.create(model="echo", messages=HOLA)
    assert answer.choices[0].message.content == "You asked: hola"
    pieces = [chunk.choices[0].delta.content or "" for chunk in client.chat_completion(HOLA, model="echo", stream=True) if chunk.choices]
    assert "".join(pieces) == "You asked: hola"


def test_ayni_talks_to_the_service(served):
    config = {"backend": "openai", "vendor": "custom", "base_url": f"{served.url}/v1", "api_key": "sesame"}
    assert ayni.Chat(config, model="echo").chat_sync("hola").text == "You asked: hola"
    assert ayni.Embedder(config, model="vectors").embed_sync("hola").vectors.shape == (1, 16)
    assert {model["id"] for model in ayni.models_sync({**config, "model": "echo"})} >= {"echo", "vectors"}


FAULTS = {
    "no such body": ("/v1/chat/completions", b"{", 422),
    "part that is none": ("/v1/chat/completions", {"model": "echo", "messages": [{"role": "user", "content": [{"type": "x"}]}]}, 400),
    "image that is none": ("/v1/chat/completions", {"model": "echo", "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,%"}}]}]}, 400),
    "tool without name": ("/v1/chat/completions", {"model": "echo", "messages": HOLA, "tools": [{"type": "function"}]}, 400),
    "format": ("/v1/chat/completions", {"model": "echo", "messages": HOLA, "response_format": {"type": "xml"}}, 400),
    "no texts": ("/v1/embeddings", {"model": "vectors", "input": []}, 400),
    "token ids": ("/v1/embeddings", {"model": "vectors", "input": [1, 2]}, 400),
    "url": ("/v1/images/generations", {"model": "pictures", "prompt": "x", "response_format": "url"}, 400),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_cannot_be_served_fails_as_what_it_is(served, fault):
    path, body, status = FAULTS[fault]
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = served.client.post(path, content=content, headers=KEY | {"Content-Type": "application/json"})
    assert answer.status_code == status, answer.text
    assert failure(answer)[0] in ("invalid_request", "unsupported")


@pytest.mark.parametrize(
    "body, param",
    [
        (b'{"model": "echo", "messages": [{"role": "boss"}]}', "messages.0.role"),
        (b'{"model": "echo", "messages": [' + b"{}," * 30_000 + b"{}]}", "messages.0.role"),
        (b'{"model": "echo", "messages": [' + b"{}," * 300_000 + b"{}]}", None),
        (b'{"model": "echo", "messages": [{"role": "user", "content": "x"}], "temperature": 9}', "temperature"),
        (b'{"model": "echo", "messages": [{"role": "user", "content": "\\ud800"}]}', None),
        (b'{"model": "echo", "temperature": Infinity}', None),
        (b'{"model": "echo", "metadata": ' + b"[" * 60 + b"]" * 60 + b', "messages": 1}', "messages"),
        (b'{"model": "echo", "metadata": ' + b"[" * 100_000 + b"]" * 100_000 + b', "messages": 1}', None),
        (b"", None),
    ],
)
def test_the_first_fault_of_a_body_ends_the_work_and_is_named(served, body, param):
    answer = served.client.post("/v1/chat/completions", content=body, headers=KEY | {"Content-Type": "application/json"})
    assert answer.status_code == 422 and len(answer.content) < 1000, answer.text
    kind, _ = failure(answer)[:2]
    assert (kind, answer.json()["error"]["param"]) == ("invalid_request", param)


def test_a_body_that_is_not_declared_as_json_is_refused(served):
    content = json.dumps({"model": "echo", "messages": HOLA}).encode()
    for kind in ("text/plain", "application/x-www-form-urlencoded", None):
        headers = KEY | ({"Content-Type": kind} if kind else {})
        answer = served.client.post("/v1/chat/completions", content=content, headers=headers)
        assert answer.status_code == 422 and "application/json" in failure(answer)[1], answer.text
    headers = KEY | {"Content-Type": "application/json; charset=utf-8"}
    assert served.client.post("/v1/chat/completions", content=content, headers=headers).status_code == 200


def test_the_documentation_describes_the_bodies(served):
    paths = served.client.get("/openapi.json").json()["paths"]
    for path, field in {"/v1/chat/completions": "messages", "/v1/embeddings": "input", "/v1/images/generations": "prompt"}.items():
        schema = paths[path]["post"]["requestBody"]["content"]["application/json"]["schema"]
        assert field in schema["required"] and schema["properties"].keys() >= schema["examples"][0].keys()


def test_the_openai_package_gets_several_answers(client):
    answer = client.chat.completions.create(model="echo", messages=HOLA, n=3, extra_body={"min_p": 0.1, "unheard_of": 1})
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert {choice.message.content for choice in answer.choices} == {"You asked: hola"}
    assert answer.model_extra["ignored"] == ["unheard_of"]
    chunks = list(client.chat.completions.create(model="echo", messages=HOLA, n=2, stream=True, stream_options={"include_usage": True}))
    texts = {0: "", 1: ""}
    for chunk in chunks:
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    assert texts == {0: "You asked: hola", 1: "You asked: hola"} and chunks[-1].usage.total_tokens > 0


def test_the_openai_package_uses_the_newer_api(client):
    answer = client.responses.create(model="echo", input="hola", instructions="be brief", max_output_tokens=50)
    assert answer.output_text.startswith("You asked: hola\nI was told: be brief") and answer.status == "completed" and answer.usage.total_tokens > 0
    tool = {"type": "function", **TOOL["function"]}
    asked = client.responses.create(model="echo", input=[{"role": "user", "content": "hola"}], tools=[tool], tool_choice="required")
    [call] = [item for item in asked.output if item.type == "function_call"]
    assert call.name == "weather" and "city" in json.loads(call.arguments)
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "14 degrees"}
    told = client.responses.create(model="echo", input=[{"role": "user", "content": "hola"}, call, result], tools=[tool])
    assert "14 degrees" in told.output_text


def test_the_openai_package_streams_the_newer_api(client):
    with client.responses.stream(model="echo", input="hola", reasoning={"effort": "low"}) as stream:
        events = list(stream)
        final = stream.get_final_response()
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(deltas) == final.output_text == "You asked: hola" and len(deltas) > 2
    assert [item.type for item in final.output] == ["reasoning", "message"] and final.usage.total_tokens > 0
    assert [event.sequence_number for event in events if hasattr(event, "sequence_number")] == sorted(
        event.sequence_number for event in events if hasattr(event, "sequence_number")
    )
    tool = {"type": "function", **TOOL["function"]}
    with client.responses.stream(model="echo", input="hola", tools=[tool], tool_choice="required") as stream:
        done = [event for event in stream if event.type == "response.function_call_arguments.done"]
    assert "city" in json.loads(done[0].arguments)


def test_the_openai_package_parses_structured_answers_of_the_newer_api(client):
    import pydantic

    class Advice(pydantic.BaseModel):
        urgent: bool
        words: str

    assert isinstance(client.responses.parse(model="echo", input="hola", text_format=Advice).output_parsed, Advice)


def test_the_newer_api_raises_too(client):
    import openai

    with pytest.raises(openai.RateLimitError):
        client.responses.create(model="limited", input="x", stream=True)
    with pytest.raises(openai.BadRequestError, match="no answers are kept"):
        client.responses.create(model="echo", input="x", previous_response_id="resp_1")


def test_the_openai_package_edits_images(client):
    image = ayni.ImageGenerator(backend="scripted").generate_sync("x", size=(8, 8)).image.data
    answer = client.images.edit(model="pictures", image=("a.png", image, "image/png"), prompt="at night", extra_body={"quality": "high"})
    assert base64.b64decode(answer.data[0].b64_json).startswith(b"\x89PNG") and answer.model_extra["ignored"] == ["quality"]
    both = client.images.edit(image=[("a.png", image, "image/png"), ("b.png", image, "image/png")], prompt="at night")
    assert len(both.data) == 2


TOKENS = """
import sys, uvicorn
from ayni import Embedder
from ayni.fastapi import openai_router, server_options, service
import tiktoken
decode = tiktoken.get_encoding("cl100k_base").decode if sys.argv[1:] else None
uvicorn.run(service(openai_router(embedder={"local": Embedder(%r)}, text_of_tokens=decode)), port=0, **server_options())
"""


def test_token_ids_are_embedded(tiny):
    with serving(code=TOKENS % str(TINY)) as served:
        counted = served.client.post("/tokenize", json={"model": "local", "prompt": "the road"}).json()
        assert counted["count"] == len(counted["tokens"]) == tiny.count_tokens("the road")
        given = [counted["tokens"], counted["tokens"][1:-1]]
        found = served.client.post("/v1/embeddings", json={"model": "local", "input": given}).json()["data"]
        expected = tiny.embed_sync("the road").tolist()[0]
        for one in found:
            assert np.allclose(one["embedding"], expected, atol=1e-6)
        answer = served.client.post("/v1/embeddings", json={"model": "local", "input": [10_000_000]})
        assert answer.status_code == 400 and "is no token of the model" in failure(answer)[1]


COMPLETIONS = """
import uvicorn
from ayni import Chat
from ayni.fastapi import openai_router, server_options, service
uvicorn.run(service(openai_router(chat={"local": Chat(%r)})), port=0, **server_options())
"""


def test_the_openai_package_scores_texts_by_completions():
    """As evaluation harnesses do: the prompt's own tokens with their log-probabilities, and nothing after them."""
    import openai

    with serving(code=COMPLETIONS % str(Path(__file__).parents[2] / "core/conformance/models/scripted")) as served:
        client = openai.OpenAI(base_url=f"{served.url}/v1", api_key="-", max_retries=0)
        scored = client.completions.create(model="local", prompt="hello world", max_tokens=0, echo=True, logprobs=2)
        [choice] = scored.choices
        assert choice.text == "hello world" and "".join(choice.logprobs.tokens) == choice.text
        first, *others = choice.logprobs.token_logprobs
        assert first is None and others and all(value <= 0 for value in others)
        assert scored.usage.completion_tokens == 0 and scored.usage.prompt_tokens == len(choice.logprobs.tokens)

        both = client.completions.create(model="local", prompt=["hello", "world"], max_tokens=3, temperature=0, n=2, echo=True)
        assert [one.index for one in both.choices] == [0, 1, 2, 3] and both.object == "text_completion"
        assert both.choices[0].text == both.choices[1].text and both.choices[3].text.startswith("world")
        further = {"min_p": 0.1, "seed": -1, "temprature": 1, "logit_bias": {}}
        strange = client.completions.create(model="local", prompt="hello", max_tokens=2, extra_body=further)
        assert strange.model_extra["ignored"] == ["temprature"]
        with pytest.raises(openai.APIStatusError, match="stream"):
            client.completions.create(model="local", prompt="hello", stream=True)


def test_the_openai_package_shows_a_local_model_images():
    import openai

    models, rgb = Path(__file__).parents[2] / "core/conformance/models", {"red": (220, 30, 30), "blue": (30, 50, 220)}
    urls = {name: f"data:image/bmp;base64,{base64.b64encode(_bmp(colour)).decode()}" for name, colour in rgb.items()}
    with (
        serving(code=COMPLETIONS % str(models / "images")) as served,
        openai.OpenAI(base_url=f"{served.url}/v1", api_key="-", max_retries=0) as client,
    ):

        def ask(*images):
            shown = [{"type": "image_url", "image_url": {"url": url}} for url in images]
            messages = [{"role": "user", "content": [*shown, {"type": "text", "text": "Which colour?"}]}]
            return client.chat.completions.create(model="local", messages=messages, temperature=0)

        answer = ask(urls["red"], urls["blue"])
        assert answer.choices[0].message.content == "red and blue"
        assert answer.usage.prompt_tokens - ask(urls["red"]).usage.prompt_tokens >= 16
        for url, why in [("https://a.test/x.png", "image_url"), (f"{urls['red'][:60]}", "image")]:
            with pytest.raises(openai.APIStatusError, match=why) as refused:
                ask(url)
            assert 400 <= refused.value.status_code < 502
        assert ask(urls["blue"]).choices[0].message.content == "blue"
    with ayni.Chat(str(models / "images")) as chat:
        parts = [_bmp(rgb["blue"]), _bmp(rgb["red"])]
        content = [*({"type": "image", "image": part} for part in parts), {"type": "text", "text": "Which colour?"}]
        assert chat.chat_sync([{"role": "user", "content": content}], temperature=0).text == "blue and red"
        assert chat.info().reads_images is True


def _bmp(colour):
    """Four pixels of one colour."""
    row = bytes(reversed(colour)) * 4
    head = struct.pack("<IiiHHIIiiII", 40, 4, 1, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + len(row), 0, 0, 54) + head + row


def test_langchain_embeds_with_its_own_token_ids(tiny, monkeypatch):
    """LangChain sends ids of tiktoken's cl100k_base for every model that it does not know."""
    import llama_index.core

    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(Path(llama_index.core.__file__).parent / "_static/tiktoken_cache"))
    langchain = importlib.import_module("langchain_openai")
    code = TOKENS.replace("sys.argv[1:]", "True") % str(TINY)
    with serving(code=code, env={"TIKTOKEN_CACHE_DIR": os.environ["TIKTOKEN_CACHE_DIR"]}) as served:
        embeddings = langchain.OpenAIEmbeddings(model="local", base_url=f"{served.url}/v1", api_key="-", max_retries=0)
        found = embeddings.embed_documents(["hello world", "the quick brown fox"])
    expected = tiny.embed_sync(["hello world", "the quick brown fox"]).tolist()
    assert np.allclose(found, expected, atol=1e-5)


def test_info_describes_the_models(served):
    found = served.client.get("/info", headers=KEY).json()
    kinds = {one["id"]: one["kind"] for one in found["models"]}
    assert found["version"] == ayni.__version__ and kinds["echo"] == "chat" and kinds["pictures"] == "images"


def test_examples_in_the_documentation_run_on_the_service_as_started(served):
    """Also what /docs shows for each failure is the failure of that status."""
    api = served.client.get("/openapi.json").json()
    ran = 0
    for path, operations in api["paths"].items():
        for method, operation in operations.items():
            for status, answer in operation["responses"].items():
                example = answer.get("content", {}).get("application/json", {}).get("example")
                if example and int(status) >= 400:
                    assert example["detail"] == example["error"]["message"]
            content = operation.get("requestBody", {}).get("content", {}).get("application/json")
            if method == "post" and content:
                schema = content["schema"]
                if "$ref" in schema:
                    schema = api["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
                [example] = schema["examples"]
                answer = served.client.post(path, json=example, headers=KEY)
                # A hosted model's tokens are not counted, and only a local one continues texts.
                expected = 501 if path in ("/tokenize", "/v1/completions") else 200
                assert answer.status_code == expected, (path, answer.text)
                ran += 1
    assert ran >= 5
    kinds = {operation["responses"][code]["content"]["application/json"]["example"]["error"]["kind"]
             for code in ("400", "401", "404", "429", "503") for operation in [api["paths"]["/v1/embeddings"]["post"]]}
    assert len(kinds) == 5


def test_pages_are_complete_in_themselves(served):
    front = served.client.get("/", headers={"Accept": "text/html,*/*"})
    docs = served.client.get("/docs")
    for page in (front, docs):
        assert page.status_code == 200 and page.headers["content-type"].startswith("text/html")
        assert "default-src 'none'" in page.headers["content-security-policy"]
        for reference in re.findall(r'(?:src|href)="([^"]*)"', page.text):
            assert not reference.startswith(("http", "//")), reference
    assert "/v1/chat/completions" in front.text and "API key" in front.text
    assert served.client.get("/").status_code == 401
