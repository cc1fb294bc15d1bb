"""The examples as they stand: every app starts and answers."""

import json
import re
import subprocess
import sys

import pytest
import yaml
from serving import ROOT, clip_folder, serving

EXAMPLES = ROOT / "examples"
PORTS = {"clip-space": 7860, "triage-chat": 8000, "procurement/backend": 8000, "image-studio/engine": 7860}
PAGES = ("clip-search/frontend", "triage-chat/frontend", "procurement/frontend", "image-studio/frontend")
START = "import os, sys, uvicorn; sys.path.insert(0, {folder!r}); uvicorn.run('app:app', port=0)"


def started(example, **env):
    return serving(code=START.format(folder=str(EXAMPLES / example)), env=env | {"PYTHONDONTWRITEBYTECODE": "1"})


@pytest.mark.parametrize("example", PORTS)
def test_an_app_is_short_and_its_image_runs_as_a_plain_user(example):
    assert len((EXAMPLES / example / "app.py").read_text().splitlines()) < 40
    image = (EXAMPLES / example / "Dockerfile").read_text()
    assert "--uid 1000" in image and "\nUSER user\n" in image and "HEALTHCHECK --interval=30s" in image
    port = PORTS[example]
    assert f"\nEXPOSE {port}\n" in image and f'"--port", "{port}"' in image and f"127.0.0.1:{port}/health" in image
    space = yaml.safe_load((EXAMPLES / example / "README.md").read_text().split("---")[1])
    assert (space["sdk"], space["app_port"]) == ("docker", port)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_s_image_serves_on_port_3000_as_a_plain_user(page):
    image, front = ((EXAMPLES / page / name).read_text() for name in ("Dockerfile", "README.md"))
    # The last stage is the image; those before it only build.
    last = image[image.rindex("\nFROM ") :]
    assert re.match(r"\nFROM node:22-(alpine|slim)\n", last)
    assert re.search(r"(-u|--uid) 1000 user\nUSER user\n", last) and "USER root" not in last
    assert "PORT=3000" in last and "\nEXPOSE 3000\n" in last
    assert "HEALTHCHECK --interval=30s" in last and "http://127.0.0.1:3000/health" in last
    space = yaml.safe_load(front.split("---")[1])
    assert (space["sdk"], space["app_port"]) == ("docker", 3000)


def test_the_clip_space_embeds(tmp_path):
    with started("clip-space", EMBEDDING_MODEL=str(clip_folder(tmp_path))) as space:
        assert space.client.get("/health").json()["model_loaded"] is True
        assert space.client.post("/embed/text", json={"text": "w5"}).json()["embedding"]


def test_the_triage_chat_answers():
    with started("triage-chat", DEFAULT_LLM_MODE="mock") as chat:
        answer = chat.client.post("/triage", json={"patient_mrn": "P1", "query": "hola"})
        assert answer.json()["llm_mode"] == "mock"


def test_the_triage_chat_knows_the_patients_of_its_file_and_logs_nothing_of_them():
    patients = EXAMPLES / "triage-chat/patients.json"
    with started("triage-chat", DEFAULT_LLM_MODE="mock", PATIENT_SUMMARIES=str(patients)) as chat:
        known, unknown = (
            chat.client.post("/triage", json={"patient_mrn": mrn, "query": "What do I take?"}).json()["answer"]
            for mrn in ("P000123", "P999999")
        )
        assert "metformin" in known and "metformin" not in unknown
        assert "metformin" not in "".join(chat.lines)


def test_the_image_engine_draws_with_the_model_of_its_environment(tiny_images):
    usage = subprocess.run([sys.executable, "-m", "ayni", "serve", "image", "--help"], capture_output=True, text=True, check=True).stdout
    assert "the port (8000)" in " ".join(usage.split())
    with started("image-studio/engine", IMAGE_ENGINE_MODE="local", SD_MODEL_ID=str(tiny_images / "sd"), SD_DEVICE="cpu") as engine:
        assert engine.client.get("/health").json()["model"] == "sd"
        assert engine.client.post("/generate", json={"prompt": "a fox"}).json()["served_by"] == "local"


def test_the_procurement_backend_wants_its_ticket_and_starts_with_it(tmp_path):
    with started("procurement/backend", MERCADO_PUBLICO_TICKET="x" * 36, DATABASE_URL=f"sqlite:{tmp_path}/p.db") as backend:
        assert backend.client.get("/ready").status_code == 200
        assert backend.client.get("/api/plan").json()["record"]["calls"] >= 1
    config = json.dumps({"backend": "scripted"})
    with started("procurement/backend", PROCUREMENT_CONFIG=config) as backend:
        assert backend.client.get("/health").json()["procurement"] == "scripted"
    with pytest.raises(RuntimeError, match="MERCADO_PUBLICO_TICKET is not set"), started("procurement/backend"):
        pass
