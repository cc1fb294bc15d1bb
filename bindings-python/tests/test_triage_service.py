"""Every row of the contract of the triage chat, over HTTP: the mode `mock`, and the router as `ayni-mock` plays it."""

import contextlib
import json
import urllib.request

import pytest
from serving import failure, mock, serving

import ayni

TOKEN = "hf_" + "canary" * 6
ASKED = {"patient_mrn": "P000123", "query": "What medications am I taking?"}
ROUTER, SMOL = "/v1/chat/completions", "/hf-inference/models/HuggingFaceTB/SmolLM2-1.7B-Instruct"
COMPLETION = {
    "id": "c1", "object": "chat.completion", "model": "Qwen/Qwen2.5-7B-Instruct-Turbo",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "You take aspirin."}}],
}  # fmt: skip


@pytest.fixture(scope="module")
def triage():
    with serving("triage", env={"DEFAULT_LLM_MODE": "mock"}) as served:
        yield served


@contextlib.contextmanager
def router(tmp_path, *exchanges, env=None):
    """A service whose router plays some exchanges: (path, what is asked for, what is answered)."""
    server = [{"request": {"method": "POST", "path": path, **wanted}, "respond": answer} for path, wanted, answer in exchanges]
    case = {"name": "triage", "why": "A service asks.", "capability": "modes", "env": {"DEFAULT_LLM_MODE": "mock"}}
    case |= {"call": {"operation": "chat", "request": {"messages": []}}, "expect": {"ok": {}}}
    (tmp_path / "triage.json").write_text(json.dumps(case | {"server": server, "requests_seen": len(server)}))
    with mock("--case", str(tmp_path / "triage.json")) as played:
        variables = {"HF_ROUTER_URL": played["base_url"], "HF_API_TOKEN": TOKEN, "DEFAULT_LLM_MODE": "hf-qwen2.5"}
        with serving("triage", env=variables | (env or {})) as served:
            yield served
            report = json.load(urllib.request.urlopen(f"{played['base_url']}/__report"))
            assert report["mismatched"] == [] and report["unconsumed"] == [], report
        log = "".join(served.lines)
        assert not any(secret in log for secret in ("canary", "medications", "P000123", "aspirin")), log


def test_mock_answers_from_the_query_the_same_each_time(triage):
    answer = triage.client.post("/triage", json=ASKED | {"llm_mode": "mock"})
    assert answer.status_code == 200
    body = answer.json()
    assert ASKED["query"] in body["answer"] and (body["llm_mode"], body["model"]) == ("mock", "mock")
    assert body["latency_ms"] >= 0
    assert triage.client.post("/triage", json=ASKED).json()["answer"] == body["answer"]


def test_the_root_shows_the_default_mode_and_how_all_are_set_up(triage):
    found = triage.client.get("/").json()
    assert found["default_llm_mode"] == "mock"
    modes = {mode["mode"]: mode for mode in found["llm_modes"]}
    assert modes.keys() == {"mock", "gguf", "qwen", "Qwen3-4B-Thinking-2507", "hf-smollm2", "hf-qwen2.5"}
    assert modes["hf-qwen2.5"]["endpoint"] == f"https://router.huggingface.co{ROUTER}"


def test_probes_have_health_and_readiness(triage):
    assert triage.client.get("/health").json() == {"status": "healthy", "default_llm_mode": "mock"}
    assert triage.client.get("/ready").status_code == 200


def test_an_unknown_mode_lists_the_valid_ones(triage):
    answer = triage.client.post("/triage", json=ASKED | {"llm_mode": "gpt-5"})
    assert answer.status_code == 400
    assert failure(answer) == (
        "invalid_request",
        "llm_mode 'gpt-5' is unknown; valid: mock, gguf, qwen, Qwen3-4B-Thinking-2507, hf-smollm2, hf-qwen2.5",
    )


@pytest.mark.parametrize("mode", ["hf-qwen2.5", "hf-smollm2"])
def test_a_mode_without_its_token_says_so_and_never_becomes_mock(triage, mode):
    answer = triage.client.post("/triage", json=ASKED | {"llm_mode": mode})
    kind, sentence = failure(answer)
    assert (answer.status_code, kind) == (501, "config_invalid") and "HF_API_TOKEN is not set" in sentence


def test_a_local_model_without_a_path_says_so(triage):
    answer = triage.client.post("/triage", json=ASKED | {"llm_mode": "gguf"})
    assert (answer.status_code, failure(answer)[0]) == (501, "unsupported")


@pytest.mark.parametrize("mode", ["qwen", "Qwen3-4B-Thinking-2507"])
def test_a_model_that_cannot_be_fetched_says_so(mode, tmp_path):
    offline = {"DEFAULT_LLM_MODE": "mock", "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    with pytest.raises(ayni.Offline, match="HF_HUB_OFFLINE is set"):
        ayni.ChatModes.from_env(offline).open(mode)


@pytest.mark.parametrize("fault", [{"query": ""}, {"query": " "}, {"query": None}, {"patient_mrn": ""}, {"query": "x" * 20_001}, {"llm_mode": 5}])
def test_garbage_is_a_4xx(triage, fault):
    answer = triage.client.post("/triage", json=ASKED | fault)
    assert 400 <= answer.status_code < 500 and failure(answer)[0] == "invalid_request"


def test_the_router_is_asked_as_the_contract_says(tmp_path):
    wanted = {
        "headers": {"authorization": f"Bearer {TOKEN}"},
        "body_starts_with": '{"model":"Qwen/Qwen2.5-7B-Instruct:together"',
        "json": {"max_tokens": 256, "temperature": {"$approx": 0.7}},
    }
    with router(tmp_path, (ROUTER, wanted, {"json": COMPLETION})) as triage:
        body = triage.client.post("/triage", json=ASKED).json()
        assert (body["answer"], body["llm_mode"], body["model"]) == ("You take aspirin.", "hf-qwen2.5", COMPLETION["model"])
        told = triage.log("request", until=lambda found: any("mode" in record for record in found))[-1]
        assert told.items() >= {"mode": "hf-qwen2.5", "model": COMPLETION["model"], "status": 200}.items()
        assert told["endpoint"].endswith(ROUTER) and told["milliseconds"] > 0


def test_text_generation_is_asked_as_the_contract_says(tmp_path):
    parameters = {"max_new_tokens": 32, "temperature": {"$approx": 0.2}, "return_full_text": False}
    first = (SMOL, {"headers": {"authorization": f"Bearer {TOKEN}"}, "json": {"parameters": parameters}}, {"json": [{"generated_text": "Aspirin."}]})
    second = (SMOL, {}, {"text": "raw words"})
    env = {"HF_MAX_NEW_TOKENS": "32", "HF_TEMPERATURE": "0.2", "DEFAULT_LLM_MODE": "hf-smollm2"}
    with router(tmp_path, first, second, env=env) as triage:
        answers = [triage.client.post("/triage", json=ASKED).json() for _ in range(2)]
        assert [answer["answer"] for answer in answers] == ["Aspirin.", "raw words"]
        assert answers[0]["llm_mode"] == "hf-smollm2"


REFUSALS = {
    "bad token": ("hf-qwen2.5", ROUTER, {"status": 401, "json": {"error": "Invalid username or password."}}, 502, "unauthenticated", "HF_API_TOKEN"),
    "unknown model": ("hf-qwen2.5", ROUTER, {"status": 404, "json": {"error": {"message": "no such model"}}}, 404, "not_found", "model"),
    "model not served": ("hf-smollm2", SMOL, {"status": 404, "text": "Not Found"}, 404, "not_found", "model not available from this provider"),
    "too many": ("hf-qwen2.5", ROUTER, {"status": 429, "headers": {"retry-after": "30"}, "json": {"error": "slow down"}}, 429, "rate_limited", ""),
    "not JSON": ("hf-qwen2.5", ROUTER, {"json": {"choices": "none"}}, 502, "response_invalid", ""),
}


@pytest.mark.parametrize("refusal", REFUSALS)
def test_what_the_router_refuses_fails_with_its_own_message(tmp_path, refusal):
    mode, path, respond, status, kind, words = REFUSALS[refusal]
    with router(tmp_path, (path, {}, respond), env={"HF_TIMEOUT_SECONDS": "2"}) as triage:
        answer = triage.client.post("/triage", json=ASKED | {"llm_mode": mode})
        found, sentence = failure(answer)
        assert (answer.status_code, found) == (status, kind) and words in sentence, sentence
        if status == 429:
            assert answer.headers["retry-after"] == "30"
        # A slow start is told too, and this request once it has been answered.
        told = triage.log("request", until=lambda found: any("kind" in record for record in found))[-1]
        assert told["kind"] == kind


def test_a_router_that_is_down_is_unavailable_after_the_repetitions(tmp_path):
    down = (ROUTER, {}, {"status": 500, "text": "down"})
    with router(tmp_path, down, down, down, env={"HF_TIMEOUT_SECONDS": "20"}) as triage:
        answer = triage.client.post("/triage", json=ASKED)
        assert (answer.status_code, failure(answer)[0]) == (503, "unavailable") and "retry-after" in answer.headers


def test_a_router_that_does_not_answer_is_a_time_out_after_one_second(tmp_path):
    with router(tmp_path, (ROUTER, {}, {"drop": "never_answer"}), env={"HF_TIMEOUT_SECONDS": "1"}) as triage:
        answer = triage.client.post("/triage", json=ASKED)
        assert (answer.status_code, failure(answer)[0]) == (504, "timeout")


def test_a_default_mode_without_its_token_is_not_ready_and_others_serve():
    with serving("triage", env={"DEFAULT_LLM_MODE": "hf-qwen2.5"}) as triage:
        ready = triage.client.get("/ready")
        assert ready.status_code == 503 and "HF_API_TOKEN" in ready.json()["problems"]["modes"]
        assert triage.client.get("/health").status_code == 200
        assert triage.client.post("/triage", json=ASKED | {"llm_mode": "mock"}).status_code == 200


def test_an_unknown_default_mode_ends_the_process():
    with pytest.raises(RuntimeError, match="DEFAULT_LLM_MODE is 'gpt-5'"), serving("triage", env={"DEFAULT_LLM_MODE": "gpt-5"}):
        pass


WITH_SUMMARIES = """
import uvicorn
from ayni import ChatModes
from ayni.fastapi import service, triage_router
async def summary(mrn): return {"P000123": "Takes aspirin 100 mg."}.get(mrn)
uvicorn.run(service(triage_router(ChatModes({"DEFAULT_LLM_MODE": "mock"}), summary=summary)), port=0)
"""


def test_mock_answers_from_the_query_and_the_summary():
    with serving(code=WITH_SUMMARIES) as triage:
        assert "Takes aspirin 100 mg." in triage.client.post("/triage", json=ASKED).json()["answer"]
        assert "aspirin" not in triage.client.post("/triage", json=ASKED | {"patient_mrn": "P9"}).json()["answer"]
        assert "aspirin" not in "".join(triage.lines)


def streamed(answer):
    """The server-sent events of an answer."""
    assert answer.status_code == 200, answer.text
    blocks = [block.split("\n") for block in answer.text.split("\n\n") if block and not block.startswith(":")]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in blocks]


def test_an_answer_streams_as_it_is_in_one_piece(triage):
    whole = triage.client.post("/triage", json=ASKED).json()
    events = streamed(triage.client.post("/triage/stream", json=ASKED))
    assert [name for name, _ in events][:1] == ["started"] and [name for name, _ in events][-1] == "done"
    assert "".join(data["text"] for name, data in events if name == "text") == whole["answer"]
    assert events[0][1] == {"llm_mode": "mock", "model": whole["model"]}
    done = events[-1][1]
    assert (done["llm_mode"], done["finish"]) == ("mock", whole["finish"]) and done["latency_ms"] >= 0


def test_a_stream_that_cannot_start_has_a_status(triage):
    refused = triage.client.post("/triage/stream", json=ASKED | {"llm_mode": "hf-qwen2.5"})
    assert (refused.status_code, failure(refused)[0]) == (501, "config_invalid")
    unknown = triage.client.post("/triage/stream", json=ASKED | {"llm_mode": "gpt-5"})
    assert unknown.status_code == 400 or unknown.status_code == 404


def test_the_name_of_the_deployment_means_the_router_mode():
    with serving("triage", env={"DEFAULT_LLM_MODE": "huggingface", "HF_API_TOKEN": TOKEN}) as served:
        front = served.client.get("/", headers={"accept": "application/json"}).json()
        assert front["default_llm_mode"] == "hf-qwen2.5"
        [told] = served.log("DEFAULT_LLM_MODE is 'huggingface', which means hf-qwen2.5")
        assert told["level"].lower() == "info"
