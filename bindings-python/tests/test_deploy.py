"""The services as examples/kubernetes deploys them: with its settings, without its key, while they stop; several dashboards of one ticket."""

import contextlib
import json
import os
import re
import threading
import time
import urllib.request
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta

import httpx
import pytest
import yaml
from loopback import Server, answer_json, chat_answer
from serving import ROOT, clip_folder, mock, serving

import ayni
from ayni.fastapi import _triage

EXAMPLES = ROOT / "examples"
KUBERNETES = EXAMPLES / "kubernetes"
START = """
import os, sys, uvicorn
sys.path.insert(0, {folder!r})
uvicorn.run('app:app', port=0, access_log=False, timeout_graceful_shutdown={stop})
"""
KEY = {"X-API-Key": "sesame-sesame-sesame"}
ASKED = {"patient_mrn": "P1", "query": "hola"}


def settings(app):
    return yaml.safe_load((KUBERNETES / app / "configmap.yaml").read_text())["data"]


def started(example, app, **env):
    """The app as its image starts it, with the manifest's settings."""
    image = (EXAMPLES / example / "Dockerfile").read_text()
    stop = int(re.search(r'"--timeout-graceful-shutdown", "(\d+)"', image)[1])
    given = settings(app) | {"API_KEY": KEY["X-API-Key"], "PYTHONDONTWRITEBYTECODE": "1"} | env
    return serving(code=START.format(folder=str(EXAMPLES / example), stop=stop), env=given)


def test_the_triage_chat_starts_with_the_settings_of_its_manifest_and_wants_the_key():
    with started("triage-chat", "triage", HF_API_TOKEN="hf_x") as chat:
        assert chat.client.get("/ready").status_code == 200
        assert chat.client.get("/", headers=KEY).json()["default_llm_mode"] == settings("triage")["DEFAULT_LLM_MODE"]
        assert chat.client.post("/triage", json=ASKED).status_code == 401
        assert chat.client.get("/metrics").status_code == 401


def test_the_clip_service_starts_with_the_settings_of_its_manifest_and_wants_the_key(tmp_path):
    with started("clip-space", "clip", EMBEDDING_MODEL=str(clip_folder(tmp_path))) as clip:
        assert clip.client.get("/ready").status_code == 200
        assert clip.client.post("/embed/text", json={"text": "w5"}).status_code == 401
        assert clip.client.post("/embed/text", json={"text": "w5"}, headers=KEY).json()["dimensions"] > 0


@pytest.mark.parametrize(("example", "app"), [("triage-chat", "triage"), ("clip-space", "clip")])
def test_the_secret_as_it_is_committed_starts_nothing(example, app):
    values = yaml.safe_load((KUBERNETES / f"secrets/{app}.yaml").read_text())["stringData"]
    with pytest.raises(RuntimeError, match="API_KEY is blank"), started(example, app, **values):
        pass


def test_a_request_that_runs_when_the_pod_stops_is_finished_and_the_autoscaler_saw_it():
    """SIGTERM in the middle of a request: it is answered, and the process ends by itself within the pod's time."""
    asked = threading.Event()

    async def late(writer, body):
        import asyncio

        asked.set()
        await asyncio.sleep(2)
        await answer_json(writer, chat_answer("Toma aspirina."))

    answers = []
    with Server(late) as router, started("triage-chat", "triage", HF_API_TOKEN="hf_x", HF_ROUTER_URL=router.url) as chat:
        ask = threading.Thread(target=lambda: answers.append(chat.client.post("/triage", json=ASKED, headers=KEY)))
        ask.start()
        assert asked.wait(20)
        depth = re.search(r"^ayni_http_requests_in_flight (\S+)$", chat.client.get("/metrics", headers=KEY).text, re.M)[1]
        # The scrape itself is not counted among them.
        assert float(depth) == 1
        began = time.monotonic()
        chat.process.terminate()
        ask.join(40)
        chat.process.wait(40)
        took = time.monotonic() - began
        # uvicorn ends by the signal once everything is closed.
        assert len(chat.log("stopped")) == 1
    assert answers[0].status_code == 200 and answers[0].json()["answer"] == "Toma aspirina."
    pod = yaml.safe_load((KUBERNETES / "triage/deployment.yaml").read_text())["spec"]["template"]["spec"]
    assert took < pod["terminationGracePeriodSeconds"] - 5


def test_terraform_takes_the_modes_that_the_service_has():
    variables = (KUBERNETES / "terraform/variables.tf").read_text()
    allowed = re.search(r"contains\(\[(.*)\], var\.llm_mode\)", variables)[1].replace('"', "").split(", ")
    modes = [mode.mode for mode in ayni.ChatModes.from_env({}).describe()]
    assert sorted(allowed) == sorted([*modes, *_triage.ALIASES])


@contextlib.contextmanager
def dashboards(world, count):
    """Backends of one ticket that nobody else has, with one PostgreSQL."""
    assert "AYNI_POSTGRES_URL" in os.environ, "start the tests with scripts/test, or scripts/postgres run"
    url = world["base_url"]
    config = {"backend": "mercado_publico", "base_url": f"{url}/servicios/v1", "quick_url": f"{url}/v2"}
    config |= {"ocds_url": f"{url}/APISOCDS/OCDS", "min_gap_seconds": 0.01, "personal_data": False}
    env = {"MERCADO_PUBLICO_TICKET": str(uuid.uuid4()), "DATABASE_URL": os.environ["AYNI_POSTGRES_URL"]}
    env |= {"PROCUREMENT_CONFIG": json.dumps(config), "PYTHONDONTWRITEBYTECODE": "1"}
    code = START.format(folder=str(EXAMPLES / "procurement/backend"), stop=5)
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(serving(code=code, env=env)) for _ in range(count)]


def control(world, **change):
    """What the world has seen; with a change, changes it."""
    request = urllib.request.Request(world["control_url"], json.dumps(change).encode() if change else None)
    return json.load(urllib.request.urlopen(request))


# A working day that is over.
DAY = next(day for back in range(3, 10) if (day := date.today() - timedelta(days=back)).weekday() == 2)


def test_dashboards_of_one_ticket_share_records_and_quota_and_one_may_die():
    spec = {"seed": 11, "tenders": 12, "orders": 60, "quick_purchases": 4}
    with mock("chilecompra", "--world", json.dumps(spec)) as world, dashboards(world, 2) as (first, second):
        control(world, behaviour={"latency_ms": 20})
        listed = first.client.get("/api/purchase-orders", params={"on": DAY.isoformat()}).json()["rows"]
        codes = [row["code"] for row in listed][:40]
        assert len(codes) == 40
        half = len(codes) // 2

        def read(backend, code):
            try:
                return backend.client.get(f"/api/purchase-orders/{code}").status_code
            except httpx.HTTPError:
                return None

        # Both read at once, each other's records too.
        with ThreadPoolExecutor(8) as pool:
            asked = [pool.submit(read, backend, code) for code in codes[:half] for backend in (first, second)]
            assert {one.result() for one in asked} == {200}
        counted = [backend.client.get("/api/quota").json()["used"] for backend in (first, second)]
        report = control(world)
        assert counted == [sum(report["spent"].values())] * 2
        assert (report["most_in_flight"], report["violations"]) == (1, 0)

        # One is killed while it reads; what it had locked is free again in time.
        with ThreadPoolExecutor(4) as pool:
            asked = [pool.submit(read, first, code) for code in codes[half:]]
            first.process.kill()
            first.process.wait(20)
            [one.result() for one in asked]
        assert [read(second, code) for code in codes] == [200] * len(codes)
        report = control(world)
        # What the dead one had just counted it may not have sent any more.
        used = second.client.get("/api/quota").json()["used"]
        assert 0 <= used - sum(report["spent"].values()) <= 1
        assert (report["most_in_flight"], report["violations"]) == (1, 0)
