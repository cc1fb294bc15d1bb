"""The server's rows of the contract of the image engine, over HTTP, and what every router does with garbage."""

import base64
import contextlib
import itertools
import json

import pytest
from serving import failure, serving

import ayni
from ayni.fastapi._clip import _PIXEL as PIXEL
from loopback import Server, answer_json

CODE = """
import json, os, uvicorn
from ayni.fastapi import image_router, service
uvicorn.run(service(image_router(json.loads(os.environ["CONFIG"]))), port=0)
"""


def image_service(config, **env):
    return serving(code=CODE, env={"CONFIG": json.dumps(config), **env})


@pytest.fixture(scope="module")
def engine():
    with image_service({"backend": "scripted"}, ALLOW_ORIGINS="http://localhost:5173 , https://aura.example", TORCH_COMPILE="1") as served:
        yield served


def pixels(image):
    import io

    import PIL.Image

    return PIL.Image.open(io.BytesIO(base64.b64decode(image))).size


def test_generate_gives_images_of_the_shape(engine):
    for shape, (width, height) in {"1:1": (1, 1), "16:9": (16, 9), "9:16": (9, 16)}.items():
        body = {"prompt": "a fox", "aspectRatio": shape, "temperature": 0.7, "resolution": "high"}
        answer = engine.client.post("/generate", json=body)
        assert answer.status_code == 200
        [image] = answer.json()["images"]
        wide, high = pixels(image)
        assert wide / high == pytest.approx(width / height, rel=0.2)


def test_refine_gives_one_image_an_image_with_and_without_configuration(engine):
    images = [engine.client.post("/generate", json={"prompt": prompt}).json()["images"][0] for prompt in ("a fox", "a hare")]
    for config in ({}, {"config": {"steps": 4, "guidanceScale": 1.5}}, {"config": {}}):
        answer = engine.client.post("/refine", json={"refinePrompt": "at night", "images": images, **config})
        assert answer.status_code == 200 and len(answer.json()["images"]) == 2


def test_health_gives_diagnostics(engine):
    assert engine.client.get("/health").json().keys() >= {"status", "device", "model", "scheduler", "optimisations"}


def test_only_the_origins_named_may_call(engine):
    allowed = lambda origin: engine.client.get("/health", headers={"Origin": origin}).headers.get("access-control-allow-origin")
    assert allowed("http://localhost:5173") == "http://localhost:5173"
    assert allowed("http://localhost:5174") is None and allowed("https://localhost:5173") is None


def test_without_origins_nobody_else_may_call():
    with image_service({"backend": "scripted"}) as served:
        answer = served.client.get("/health", headers={"Origin": "http://localhost:5173"})
        assert "access-control-allow-origin" not in answer.headers


def test_torch_compile_is_taken_and_said_once_to_mean_nothing(engine):
    assert len(engine.log("TORCH_COMPILE is set; there is nothing to compile here")) == 1


def test_our_own_client_works_on_the_service(engine):
    generator = ayni.ImageGenerator(backend="image_engine", url=engine.url)
    made = generator.generate_sync("a fox", aspect_ratio="16:9")
    assert made.image.media_type == "image/png"
    assert len(generator.refine_sync("at night", [made.image.data, made.image.data]).images) == 2
    status = ayni.health_sync({"backend": "image_engine", "url": engine.url})
    assert status["reachable"] and status["diagnostics"]["status"] == "healthy"


def test_an_engine_behind_the_service_shows_in_its_diagnostics_and_stands_in(engine):
    cloud = {"backend": "image_engine", "url": engine.url}
    with image_service(cloud) as served:
        assert served.client.get("/health").json()["engine"]["reachable"] is True
        answer = served.client.post("/generate", json={"prompt": "a fox", "temperature": 1, "resolution": "standard"})
        assert answer.json()["served_by"] == "image_engine"
    absent = {"backend": "local", "model": "/nowhere/at/all"}
    with pytest.raises(RuntimeError, match="there is no model folder /nowhere/at/all"), image_service(absent):
        pass
    with image_service({**absent, "fallback": [cloud]}) as served:
        answer = served.client.post("/generate", json={"prompt": "a fox", "aspectRatio": "1:1", "resolution": "high"})
        assert answer.json()["served_by"] == "image_engine"


def test_what_a_hosted_model_has_no_notion_of_is_told_or_refused():
    sent = []

    async def answer(writer, body):
        sent.append(json.loads(body))
        await answer_json(writer, {"data": [{"b64_json": base64.b64encode(ayni.ImageGenerator(backend="scripted").generate_sync("x").image.data).decode()}]})

    with Server(answer) as server:
        config = {"backend": "openai", "vendor": "custom", "base_url": f"{server.url}/v1", "model": "m"}
        with image_service(config) as served:
            given = {"prompt": "a fox", "temperature": 0.7, "resolution": "high"}
            answer = served.client.post("/generate", json=given)
            assert answer.status_code == 200 and len(answer.json()["images"]) == 1
            assert sorted(answer.json()["ignored"]) == ["resolution", "temperature"]
            assert sent[0]["prompt"] == "a fox" and not {"temperature", "resolution"} & sent[0].keys() and len(sent) == 1
            assert served.client.post("/generate", json={"prompt": "a fox"}).json()["ignored"] == []
            # The shape is what was asked for: no other is made instead.
            answer = served.client.post("/generate", json={**given, "aspectRatio": "16:9"})
            assert answer.status_code == 400 and failure(answer)[0] == "unsupported" and "aspect_ratio" in failure(answer)[1]
            steps = {"refinePrompt": "at night", "images": [PIXEL], "config": {"steps": 4}}
            answer = served.client.post("/refine", json=steps)
            assert answer.status_code == 400 and "steps" in failure(answer)[1] and len(sent) == 2


@pytest.fixture(scope="module")
def local(tiny_images):
    config = {"backend": "local", "model": str(tiny_images / "sd"), "device": "cpu", "fallback": [{"backend": "scripted"}]}
    with image_service(config, TORCH_COMPILE="1") as served:
        yield served


def test_a_model_in_the_process_draws_and_refines(local):
    body = {"prompt": "un faro, 漢字", "aspectRatio": "2:1", "temperature": 0.7, "resolution": "high"}
    answer = local.client.post("/generate", json=body)
    assert answer.status_code == 200, answer.text
    made = answer.json()
    assert (made["served_by"], made["model"], made["scheduler"], made["ignored"]) == ("local", "sd", "pndm", [])
    assert pixels(made["images"][0]) == (88, 48)
    config = {"steps": 4, "guidanceScale": 2}
    refined = local.client.post("/refine", json={"refinePrompt": "at night", "images": [PIXEL, made["images"][0]], "config": config})
    assert refined.status_code == 200 and refined.json()["steps"] == 4
    assert [pixels(image) for image in refined.json()["images"]] == [(1, 1), (88, 48)]


@pytest.fixture(scope="module")
def alone(tiny_images):
    """A model in the process, with nothing that stands in for it."""
    with image_service({"backend": "local", "model": str(tiny_images / "sd"), "device": "cpu"}) as served:
        yield served


def events(served, path, body):
    """The events of a route, as (name, data)."""
    with served.client.stream("POST", path, json=body, headers={"Accept": "text/event-stream"}) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream"), answer.read()
        lines = [line for line in answer.iter_lines() if line and not line.startswith(":")]
    pairs = zip(lines[::2], lines[1::2], strict=True)
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in pairs]


def test_whoever_accepts_events_sees_every_step_with_a_preview_and_then_the_same_answer(alone):
    told = events(alone, "/generate", {"prompt": "a fox", "aspectRatio": "1:1"})
    assert [name for name, _ in told[-1:]] == ["done"] and {name for name, _ in told[:-1]} == {"progress"}
    steps = [data for _, data in told[:-1] if data["type"] == "image_step"]
    assert steps[-1]["done"] == steps[-1]["of"] >= 25 and [step["done"] for step in steps] == sorted({step["done"] for step in steps})
    wide, high = pixels(steps[0]["preview"])
    assert 0 < wide <= 64 and 0 < high <= 64
    made = told[-1][1]
    assert pixels(made["images"][0]) == (64, 64) and made["served_by"] == "local"
    assert made.keys() == alone.client.post("/generate", json={"prompt": "a fox"}).json().keys()
    config = {"steps": 4, "strength": 0.5}
    told = events(alone, "/refine", {"refinePrompt": "at night", "images": made["images"], "config": config})
    [(name, refined)] = told[-1:]
    assert name == "done" and receipt(refined["images"][0])["strength"] == 0.5


def receipt(image):
    import io

    import PIL.Image

    return json.loads(PIL.Image.open(io.BytesIO(base64.b64decode(image))).text["ayni"])


def test_what_is_wrong_before_the_first_event_is_a_status(alone, engine):
    for body in ({"refinePrompt": "x", "images": [PIXEL], "config": {"steps": 500}}, {"refinePrompt": "x", "images": [PIXEL], "config": {"strength": 2}}):
        answer = alone.client.post("/refine", json=body, headers={"Accept": "text/event-stream"})
        assert answer.status_code in (400, 422) and failure(answer)[0] == "invalid_request"
    # Without a model in the process there are no previews.
    told = events(engine, "/generate", {"prompt": "a fox"})
    assert told[-1][0] == "done" and all("preview" not in data for _, data in told)


def test_a_failure_after_the_first_event_is_an_event():
    late = {"backend": "scripted", "failures": ["unavailable"] * 9, "policy": {"retry": {"max_retries": 1, "first_wait_seconds": 0.01}}}
    with image_service(late) as served:
        told = events(served, "/generate", {"prompt": "a fox"})
    assert told[0][0] == "progress" and told[0][1]["type"] == "retrying"
    assert told[-1][0] == "error" and told[-1][1]["error"]["kind"] == "unavailable"


def test_work_ends_with_the_caller_who_leaves_in_the_middle(alone):
    images = alone.client.post("/generate", json={"prompt": "a fox"}).json()["images"] * 8
    body = {"refinePrompt": "x", "images": images, "config": {"steps": 200, "strength": 1}}
    with alone.client.stream("POST", "/refine", json=body, headers={"Accept": "text/event-stream"}) as answer:
        assert answer.status_code == 200 and next(answer.iter_lines()) == "event: progress"
    left = alone.log("request", until=lambda records: any(record["status"] == 499 for record in records))
    assert [record["kind"] for record in left if record["status"] == 499] == ["cancelled"]
    # The next one does not wait behind it.
    assert alone.client.post("/generate", json={"prompt": "a hare"}).status_code == 200


def test_an_image_is_drawn_again_by_its_receipt(alone, engine):
    [first] = alone.client.post("/generate", json={"prompt": "un faro, 漢字"}).json()["images"]
    again = alone.client.post("/replay", json={"image": first}).json()
    assert (again["max_difference"], again["image"], again["receipt"]["prompt"]) == (0, first, "un faro, 漢字")
    refinement = {"refinePrompt": "at night", "images": [first], "config": {"steps": 4}}
    [refined] = alone.client.post("/refine", json=refinement).json()["images"]
    answer = alone.client.post("/replay", json={"image": refined})
    assert answer.status_code == 400 and "give the image that it was made from" in failure(answer)[1]
    told = events(alone, "/replay", {"image": refined, "sources": [PIXEL, first]})
    assert told[-1][0] == "done" and told[-1][1]["max_difference"] == 0 and len(told) > 1
    for broken in (base64.b64encode(base64.b64decode(first)[:200]).decode(), PIXEL):
        answer = alone.client.post("/replay", json={"image": broken})
        assert answer.status_code == 400 and failure(answer)[0] == "invalid_request"
    assert "no receipt" in failure(engine.client.post("/replay", json={"image": PIXEL}))[1]


def test_pillow_reads_what_automatic1111_writes(local):
    import io

    import PIL.Image

    [image] = local.client.post("/generate", json={"prompt": "un faro, 漢字"}).json()["images"]
    told = PIL.Image.open(io.BytesIO(base64.b64decode(image))).text
    prompt, settings = told["parameters"].rsplit("\n", 1)
    assert prompt == "un faro, 漢字" and settings.startswith("Steps: 25, Sampler: PLMS, CFG scale: 7.5, Seed: ")
    receipt = json.loads(told["ayni"])
    assert receipt["engine"] == f"ayni {ayni.__version__}" and receipt["prompt"] == "un faro, 漢字"
    assert len(receipt["model_sha256"]) == 64 and f"Model hash: {receipt['model_sha256'][:10]}" in settings


def test_health_names_what_draws(local):
    told = local.client.get("/health").json()
    assert (told["device"], told["model"], told["scheduler"], told["precision"] in ("f32", "bf16")) == ("cpu", "sd", "pndm", True)
    assert told["recipe"]["name"] == "standard" and told["recipe"]["size"] == [64, 64]
    assert told["memory"]["weights_bytes"] > 1_000_000 and "attention without S × S" in told["optimisations"]
    assert len(local.log("TORCH_COMPILE is set; there is nothing to compile here")) == 1


def test_a_safety_checker_is_in_answers_and_health(tiny_images, local):
    assert local.client.get("/health").json()["safety"] == {"mode": "off", "has_checker": True}
    assert local.client.post("/generate", json={"prompt": "x"}).json()["safety"] is None
    with image_service(None, IMAGE_ENGINE_MODE="local", SD_MODEL_ID=str(tiny_images / "sd"), SD_DEVICE="cpu", SD_SAFETY="blank") as served:
        [said] = served.client.post("/generate", json={"prompt": "x"}).json()["safety"]
        assert (said["flagged"], said["blanked"], said["concepts"][0]["concept"]) == (True, True, 1)
        assert served.client.get("/health").json()["safety"] == {"mode": "blank", "has_checker": True}


def test_a_wrong_step_count_says_which_is_right(tiny_images):
    with image_service({"backend": "local", "model": str(tiny_images / "turbo"), "device": "cpu"}) as served:
        body = {"refinePrompt": "x", "images": [PIXEL], "config": {"steps": 20}}
        answer = served.client.post("/refine", json=body)
        assert answer.status_code == 400 and failure(answer)[0] == "invalid_request" and "1 to 4" in failure(answer)[1]
        assert served.client.post("/generate", json={"prompt": "x"}).json()["steps"] == 1


@pytest.mark.parametrize(
    "path, body",
    [
        ("/generate", {}),
        ("/generate", {"prompt": ""}),
        ("/generate", {"prompt": "x", "aspectRatio": "wide"}),
        ("/generate", {"prompt": "x", "resolution": "8k"}),
        ("/generate", {"prompt": "x", "temperature": -1}),
        ("/refine", {"refinePrompt": "x", "images": []}),
        ("/refine", {"refinePrompt": "x", "images": ["%"]}),
        ("/refine", {"refinePrompt": "x", "images": [base64.b64encode(b"hello").decode()]}),
        ("/refine", {"refinePrompt": "x", "images": ["aGVsbG8="], "config": {"steps": 0}}),
    ],
)
def test_garbage_is_a_4xx(engine, path, body):
    answer = engine.client.post(path, json=body)
    assert 400 <= answer.status_code < 500 and failure(answer)[0] == "invalid_request"


ALL = """
import uvicorn
from ayni import Chat, ChatModes, Embedder, ImageGenerator
from ayni.fastapi import clip_router, image_router, openai_router, procurement_router, service, triage_router
s = {"backend": "scripted"}
app = service(clip_router(s), triage_router(ChatModes({"DEFAULT_LLM_MODE": "mock"})), image_router(s), procurement_router(s, s),
              openai_router(Chat(s), Embedder(s), ImageGenerator(s)))
uvicorn.run(app, port=0, access_log=False)
"""


def test_schemathesis_finds_no_500_on_any_router():
    """What is not set up says 501 and what is away 503; neither is a defect."""
    import hypothesis
    import requests
    import schemathesis

    with serving(code=ALL) as served, requests.Session() as session:
        schema = schemathesis.openapi.from_url(f"{served.url}/openapi.json")
        operations = [operation.ok() for operation in schema.get_all_operations()]
        assert {operation.path for operation in operations} >= {"/embed/text", "/triage", "/generate", "/v1/chat/completions", "/api/tenders"}
        statuses, modes = [], (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)
        for operation, mode in itertools.product(operations, modes):

            @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
            @hypothesis.settings(max_examples=15, deadline=None, derandomize=True, database=None, suppress_health_check=list(hypothesis.HealthCheck))
            def probe(case):
                answer = case.call(base_url=served.url, session=session)
                statuses.append(answer.status_code)
                assert answer.status_code not in (500, 502, 504), (operation.label, answer.text)
                if answer.status_code >= 400:
                    assert answer.json()["error"]["kind"] in ayni.ERROR_KINDS, answer.text

            # Some operations have nothing that could be wrong.
            with contextlib.suppress(hypothesis.errors.Unsatisfiable):
                probe()
        assert 200 in statuses and 422 in statuses and len(statuses) > len(operations) * 5
        assert served.client.get("/health").status_code == 200
        assert "failed unexpectedly" not in "".join(served.lines)
