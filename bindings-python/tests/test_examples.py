"""The examples as they stand: every app starts and answers, every manifest follows Kubernetes' schema."""

import json
import re

import kubernetes_validate
import pytest
import yaml
from serving import ROOT, clip_folder, serving

EXAMPLES = ROOT / "examples"
APPS = ("clip-space", "triage-chat", "procurement/backend")
START = "import os, sys, uvicorn; sys.path.insert(0, {folder!r}); uvicorn.run('app:app', port=0)"


def started(example, **env):
    return serving(code=START.format(folder=str(EXAMPLES / example)), env=env | {"PYTHONDONTWRITEBYTECODE": "1"})


@pytest.mark.parametrize("example", APPS)
def test_an_app_is_short_and_its_image_runs_as_a_plain_user(example):
    assert len((EXAMPLES / example / "app.py").read_text().splitlines()) < 40
    image = (EXAMPLES / example / "Dockerfile").read_text()
    assert "--uid 1000" in image and "\nUSER user\n" in image and "HEALTHCHECK --interval=30s" in image
    exposed, served = re.search(r"EXPOSE (\d+)", image)[1], re.search(r'"--port", "(\d+)"', image)[1]
    assert exposed == served and f"127.0.0.1:{served}/health" in image


def test_the_clip_space_embeds(tmp_path):
    front = yaml.safe_load((EXAMPLES / "clip-space/README.md").read_text().split("---")[1])
    assert (front["sdk"], front["app_port"]) == ("docker", 7860)
    with started("clip-space", EMBEDDING_MODEL=str(clip_folder(tmp_path))) as space:
        assert space.client.get("/health").json()["model_loaded"] is True
        assert space.client.post("/embed/text", json={"text": "w5"}).json()["embedding"]


def test_the_triage_chat_answers():
    with started("triage-chat", DEFAULT_LLM_MODE="mock") as chat:
        answer = chat.client.post("/triage", json={"patient_mrn": "P1", "query": "hola"})
        assert answer.json()["llm_mode"] == "mock"


def test_the_procurement_backend_wants_its_ticket_and_starts_with_it(tmp_path):
    with started("procurement/backend", MERCADO_PUBLICO_TICKET="x" * 36, DATABASE_URL=f"sqlite:{tmp_path}/p.db") as backend:
        assert backend.client.get("/ready").status_code == 200
        assert backend.client.get("/api/plan").json()["record"]["calls"] >= 1
    config = json.dumps({"backend": "scripted"})
    with started("procurement/backend", PROCUREMENT_CONFIG=config) as backend:
        assert backend.client.get("/health").json()["procurement"] == "scripted"
    with pytest.raises(RuntimeError, match="MERCADO_PUBLICO_TICKET is not set"), started("procurement/backend"):
        pass


MANIFESTS = sorted((EXAMPLES / "triage-chat/kubernetes").glob("*.yaml"))


def test_every_manifest_follows_the_schema_and_they_fit_together():
    found = {}
    for path in MANIFESTS:
        document = yaml.safe_load(path.read_text())
        kubernetes_validate.validate(document, "1.31", strict=True)
        found[document["kind"]] = document
    assert found.keys() == {"Secret", "ConfigMap", "Deployment", "Service", "HorizontalPodAutoscaler"}
    pod = found["Deployment"]["spec"]["template"]["spec"]
    [container] = pod["containers"]
    names = {source[next(iter(source))]["name"] for source in container["envFrom"]}
    assert names == {found["Secret"]["metadata"]["name"], found["ConfigMap"]["metadata"]["name"]}
    assert found["Service"]["spec"]["selector"].items() <= found["Deployment"]["spec"]["template"]["metadata"]["labels"].items()
    probes = {container[probe]["httpGet"]["path"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert probes == {"/health", "/ready"}
    assert "HF_API_TOKEN" not in json.dumps(found["ConfigMap"])
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate({**found["Service"], "spec": {"ports": "none"}}, "1.31", strict=True)


def test_the_manifests_set_variables_with_which_the_service_starts():
    data = yaml.safe_load((EXAMPLES / "triage-chat/kubernetes/configmap.yaml").read_text())["data"]
    with started("triage-chat", HF_API_TOKEN="hf_x", **data) as chat:
        assert chat.client.get("/ready").status_code == 200
        assert chat.client.get("/").json()["default_llm_mode"] == data["DEFAULT_LLM_MODE"]
