"""Every row of the contract of the procurement dashboard's backend, over HTTP, against ChileCompra as `ayni-mock` plays it."""

import csv
import io
import json
import urllib.request
from datetime import date, timedelta

import pytest
from serving import failure, mock, serving

TICKET = "AC3F8E0F-14CA-4DD9-A1BC-CA4A00CANARY"
REPLY = {"claims": ["Es la licitación {1}.", "Cierra el 3 de febrero de 1999."]}

CODE = """
import json, os, uvicorn
from ayni.fastapi import procurement_router, service
config, reply = json.loads(os.environ["CONFIG"]), os.environ.get("REPLY")
chat = {"backend": "scripted", "replies": [{"text": reply}] * 20} if reply else None
uvicorn.run(service(procurement_router(config, chat)), port=0)
"""

# A working day that is over.
DAY = next(day for back in range(3, 10) if (day := date.today() - timedelta(days=back)).weekday() == 2)


def control(world, **change):
    request = urllib.request.Request(world["control_url"], json.dumps(change).encode() if change else None)
    return json.load(urllib.request.urlopen(request))


@pytest.fixture
def world():
    with mock("chilecompra", "--world", json.dumps({"seed": 5, "tenders": 12, "orders": 20, "quick_purchases": 10})) as started:
        yield started


@pytest.fixture
def backend(world, tmp_path):
    url = world["base_url"]
    config = {"backend": "mercado_publico", "base_url": f"{url}/servicios/v1", "quick_url": f"{url}/v2", "ocds_url": f"{url}/APISOCDS/OCDS"}
    config |= {"store": f"sqlite:{tmp_path / 'records.db'}", "min_gap_seconds": 0.01, "personal_data": False}
    env = {"CONFIG": json.dumps(config), "MERCADO_PUBLICO_TICKET": TICKET, "REPLY": json.dumps(REPLY)}
    with serving(code=CODE, env=env) as served:
        yield served
        assert "CANARY" not in "".join(served.lines)


def rows(backend, path, **query):
    answer = backend.client.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()["rows"]


def test_the_market_monitor_shows_purchase_orders(backend, world):
    answer = backend.client.get("/api/purchase-orders")
    assert answer.status_code == 200
    assert answer.json().keys() >= {"rows", "source", "as_of", "route"}
    orders = rows(backend, "/api/purchase-orders", on=DAY.isoformat())
    assert orders and all(order["code"] and order["name"] for order in orders)
    detail = backend.client.get(f"/api/purchase-orders/{orders[0]['code']}").json()
    assert detail["record"]["row"]["code"] == orders[0]["code"]
    assert control(world)["violations"] == 0


def test_tenders_and_quick_purchases_are_searched(backend):
    tenders = rows(backend, "/api/tenders", on=DAY.isoformat())
    word = max(tenders[0]["name"].split(), key=len)
    found = rows(backend, "/api/tenders", on=DAY.isoformat(), text=word)
    assert tenders[0]["code"] in [tender["code"] for tender in found] and len(found) <= len(tenders)
    quick = rows(backend, "/api/quick-purchases", **{"from": DAY.isoformat(), "to": DAY.isoformat()})
    assert quick
    detail = backend.client.get(f"/api/quick-purchases/{quick[0]['code']}")
    assert detail.status_code == 200 and detail.json()["record"]


def test_a_second_reading_costs_no_call(backend, world):
    code = rows(backend, "/api/tenders", on=DAY.isoformat())[0]["code"]
    assert backend.client.get(f"/api/tenders/{code}").status_code == 200
    before = control(world)["requests"]
    again = backend.client.get(f"/api/tenders/{code}")
    assert again.status_code == 200 and control(world)["requests"] == before
    quota = backend.client.get("/api/quota").json()
    assert 0 < quota["used"] <= before


def test_a_plan_tells_the_price_and_asks_nobody(backend, world):
    before = control(world)["requests"]
    first = (DAY - timedelta(days=6)).isoformat()
    plan = backend.client.get("/api/plan", params={"kind": "tender", "from": first, "to": DAY.isoformat()})
    assert plan.status_code == 200 and plan.json()["record"]["calls"] == 7
    assert control(world)["requests"] == before


def test_an_analysis_gives_claims_that_hold_and_rejects_the_others(backend):
    code = rows(backend, "/api/tenders", on=DAY.isoformat())[0]["code"]
    answer = backend.client.post(f"/api/tenders/{code}/analysis", json={"ask": "risks", "language": "es"})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert [claim["text"] for claim in body["claims"]] == [f"Es la licitación {code}."]
    assert [claim["text"] for claim in body["rejected"]] == ["Cierra el 3 de febrero de 1999."]
    both = backend.client.post(f"/api/tenders/{code}/analysis", json={"ask": "risks", "question": "¿?"})
    assert both.status_code == 400


def events(answer):
    """The server-sent events of an answer, read to its end."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    blocks = [block.split("\n") for block in answer.text.split("\n\n") if block and not block.startswith(":")]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in blocks]


def test_analyses_stream_question_by_question(backend):
    code = rows(backend, "/api/tenders", on=DAY.isoformat())[0]["code"]
    found = events(backend.client.post(f"/api/tenders/{code}/analyses", json={"asks": ["risks", "deadlines", "risks"]}))
    one = ["asking", "claim", "rejected", "answered"]
    assert [name for name, _ in found] == ["record", *one, *one, "done"]
    assert found[0][1]["record"]["row"]["code"] == code
    assert [data["ask"] for _, data in found[1:-1]] == ["risks"] * 4 + ["deadlines"] * 4
    claim, rejected = found[2][1], found[3][1]
    assert (claim["text"], [cited["path"] for cited in claim["citations"]]) == (f"Es la licitación {code}.", ["/row/code"])
    assert rejected["reason"]["kind"] == "not_in_fields"
    own = events(backend.client.post(f"/api/tenders/{code}/analyses", json={"question": "¿Qué se compra?"}))
    assert {data["ask"] for name, data in own if name == "claim"} == {"question"}


def test_analyses_that_cannot_start_have_a_status(backend, world):
    missing = backend.client.post("/api/tenders/1-1-LE26/analyses", json={})
    assert (missing.status_code, failure(missing)[0]) == (404, "not_found")
    code = rows(backend, "/api/tenders", on=DAY.isoformat())[0]["code"]
    path = f"/api/tenders/{code}/analyses"
    assert backend.client.post(path, json={"asks": []}).status_code == 422
    assert backend.client.post(path, json={"asks": ["risks"], "question": "¿?"}).status_code == 400
    unknown = backend.client.post(path, json={"model": "gpt-5"})
    assert unknown.status_code == 400 and failure(unknown)[1] == "the model 'gpt-5' is unknown; valid: default"
    assert control(world)["violations"] == 0


def test_a_model_that_answers_nonsense_ends_the_stream_with_an_error():
    config = json.dumps({"backend": "scripted"})
    with serving(code=CODE, env={"CONFIG": config, "REPLY": '"CANARY is no answer"'}) as served:
        found = events(served.client.post("/api/tenders/9002-7-LR26/analyses", json={"asks": ["risks", "summary"]}))
        assert [name for name, _ in found] == ["record", "asking", "error"]
        assert found[-1][1]["error"]["kind"] == "response_invalid" and "CANARY" not in json.dumps(found[-1])


def test_models_are_listed_with_what_is_missing_and_the_named_one_is_asked(world, tmp_path):
    url = world["base_url"]
    config = {"backend": "mercado_publico", "base_url": f"{url}/servicios/v1", "store": f"sqlite:{tmp_path / 'r.db'}"}
    env = {"CONFIG": json.dumps(config | {"min_gap_seconds": 0.01}), "MERCADO_PUBLICO_TICKET": TICKET, "GROQ_API_KEY": "gsk_x", "GROQ_MODEL": "llama"}
    with serving(code=CODE, env=env) as served:
        listed = served.client.get("/api/models").json()
        assert listed["default"] == "groq"
        assert {row["name"]: row["problem"] for row in listed["models"]} == {
            "gemini": "GEMINI_API_KEY is not set", "groq": None, "featherless": "FEATHERLESS_API_KEY is not set", "local": "LOCAL_CHAT_MODEL is not set",
        }
        assert "gsk_x" not in json.dumps(listed)
        code = served.client.get("/api/tenders", params={"on": DAY.isoformat()}).json()["rows"][0]["code"]
        refused = served.client.post(f"/api/tenders/{code}/analysis", json={"ask": "risks", "model": "gemini"})
        assert refused.status_code == 501 and failure(refused)[1] == "GEMINI_API_KEY is not set"


def test_records_come_as_files(backend):
    code = rows(backend, "/api/tenders", on=DAY.isoformat())[0]["code"]
    pdf = backend.client.get(f"/api/tenders/{code}/export")
    assert pdf.content.startswith(b"%PDF") and pdf.headers["content-type"] == "application/pdf"
    assert backend.client.post(f"/api/tenders/{code}/analysis.pdf", json={}).content.startswith(b"%PDF")
    ocds = backend.client.get(f"/api/tenders/{code}/export", params={"form": "ocds"}).json()
    assert ocds["records"][0]["compiledRelease"]["tender"]["id"] == code
    listed = backend.client.get("/api/export", params={"kind": "purchase_order", "on": DAY.isoformat()})
    table = list(csv.DictReader(io.StringIO(listed.content.decode("utf-8-sig")), delimiter=";"))
    orders = rows(backend, "/api/purchase-orders", on=DAY.isoformat())
    assert [row["codigo"] for row in table] == [order["code"] for order in orders]
    lines = backend.client.get("/api/export", params={"kind": "tender", "form": "json_lines", "on": DAY.isoformat()})
    assert len(lines.text.splitlines()) == len(rows(backend, "/api/tenders", on=DAY.isoformat()))


def test_filters_of_every_spelling_are_applied(backend):
    def codes(**query):
        return [row["code"] for row in rows(backend, "/api/tenders", **query)]

    listed = codes(on=DAY.isoformat())
    for kind in {code.split("-")[-1][:-2] for code in listed}:
        found = codes(on=DAY.isoformat(), kinds=kind.lower())
        assert found == [code for code in listed if code.split("-")[-1][:-2] == kind]
    assert codes(on=DAY.isoformat(), kinds="XX") == []
    published = codes(state="publicada")
    assert published
    for state in ("Publicada", "PUBLICADA", "5"):
        assert codes(state=state) == published


def test_a_list_ends_at_its_ceiling_of_calls_and_goes_on(backend):
    first = (DAY - timedelta(days=3)).isoformat()
    query = {"from": first, "to": DAY.isoformat(), "max_calls": 3}
    found, cursor = [], None
    for _ in range(10):
        answer = backend.client.get("/api/tenders", params=query | ({"cursor": cursor} if cursor else {})).json()
        assert answer["calls"]["made"] <= answer["calls"]["max"] == 3
        found += answer["rows"]
        cursor = answer["next_cursor"]
        if cursor is None:
            break
    whole = rows(backend, "/api/tenders", **{"from": first, "to": DAY.isoformat()})
    assert {row["code"] for row in found} == {row["code"] for row in whole}


def test_syncs_and_what_they_noticed(backend):
    synced = backend.client.post("/api/sync", json={"kind": "tender", "since": DAY.isoformat()})
    assert synced.status_code == 200, synced.text
    assert synced.json()["events"] and synced.json()["failed"] == []
    page = backend.client.get("/api/events", params={"limit": 2}).json()
    assert page["events"] == synced.json()["events"][:2]
    rest = backend.client.get("/api/events", params={"after": page["position"]}).json()
    assert rest["events"] == synced.json()["events"][2:]


FAULTS = {
    "unknown code": ("/api/tenders/1-1-LE26", {}, 404, "not_found"),
    "code that is none": ("/api/tenders/%3Cscript%3E", {}, 422, "invalid_request"),
    "day that is none": ("/api/tenders?on=2026-13-01", {}, 422, "invalid_request"),
    "two ways to say when": ("/api/tenders?on=2026-11-02&from=2026-11-01", {}, 400, "invalid_request"),
    "file of a list that fails": (f"/api/export?on={DAY}", {"tickets": ["another"]}, 502, "unauthenticated"),
    "limit": ("/api/tenders?limit=0", {}, 422, "invalid_request"),
    "filter with another name": ("/api/tenders?desde=2026-11-01", {}, 422, "invalid_request"),
    "parameter of another route": ("/api/quota?text=x", {}, 422, "invalid_request"),
    "state that is none": ("/api/tenders?state=abierta", {}, 400, "invalid_request"),
    "region that is none": ("/api/tenders?region=99", {}, 400, "invalid_request"),
    "range without end": ("/api/tenders?from=0001-01-01", {}, 400, "invalid_request"),
    "ticket refused": (f"/api/tenders?on={DAY}", {"tickets": ["another"]}, 502, "unauthenticated"),
    "quota spent": (f"/api/tenders?on={DAY}", {"daily_quota": 0}, 429, "quota_exceeded"),
    "HTML instead of JSON": (f"/api/tenders?on={DAY}", {"faults": [{"at": "", "what": "html", "times": 50}]}, None, None),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_cannot_be_served_fails_as_what_it_is(backend, world, fault):
    path, behaviour, status, kind = FAULTS[fault]
    if behaviour:
        control(world, behaviour=behaviour)
    answer = backend.client.get(path, timeout=60)
    found, sentence = failure(answer)
    assert 400 <= answer.status_code < 600 and answer.status_code != 500 and "CANARY" not in sentence
    if status is not None:
        assert (answer.status_code, found) == (status, kind), sentence


def test_without_a_ticket_the_process_says_so_and_ends():
    with pytest.raises(RuntimeError, match="MERCADO_PUBLICO_TICKET is not set"), serving("procurement"):
        pass


def test_without_a_model_an_analysis_names_the_variables_to_set(world, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"backend": "scripted"}))
    with serving("procurement", "--config", str(tmp_path / "config.json")) as served:
        answer = served.client.post("/api/tenders/9002-7-LR26/analysis", json={"ask": "summary"})
        kind, sentence = failure(answer)
        assert (answer.status_code, kind) == (501, "config_invalid")
        assert all(name in sentence for name in ("GEMINI_API_KEY", "GROQ_API_KEY", "FEATHERLESS_API_KEY"))
