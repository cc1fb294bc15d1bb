#!/usr/bin/env python3
"""Checks what the examples are deployed with: manifests by Kubernetes' own schemas, that they fit each other and the images,
the variables for Terraform, the compose file, the parts of the tests in CI's workflow. Runs with the Python of
target/venv-lint (scripts/python-env lint)."""

import copy
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import hcl2
import kubernetes_validate
import yaml

ROOT = Path(__file__).resolve().parent.parent
KUBERNETES = ROOT / "examples/kubernetes"
# The oldest version of Kubernetes that the manifests are for.
VERSION = "1.31"
KINDS = {"ConfigMap", "Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget", "NetworkPolicy"}
# Where the image of each app is made.
IMAGES = {"triage": ROOT / "examples/triage-chat/Dockerfile", "clip": ROOT / "examples/clip-space/Dockerfile"}
GAUGE = "ayni_http_requests_in_flight"


def manifests(app: str) -> dict[str, dict]:
    """The manifests of a kustomization, by kind."""
    folder = KUBERNETES / app
    listed = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
    found = [yaml.safe_load((folder / name).read_text()) for name in listed]
    return {one["kind"]: one for one in found}


def schema_fault(manifest: dict) -> str | None:
    try:
        kubernetes_validate.validate(manifest, VERSION, strict=True)
    except kubernetes_validate.ValidationError as error:
        return f"{manifest['kind']}: {error}"
    return None


def checker_faults() -> Iterator[str]:
    """The validator refuses what is wrong: a misspelt field, a text in place of a list."""
    for path, value in ((("spec", "replica"), 2), (("spec", "template", "spec", "containers"), "none")):
        broken = copy.deepcopy(manifests("triage")["Deployment"])
        inner = broken
        for name in path[:-1]:
            inner = inner[name]
        inner[path[-1]] = value
        if schema_fault(broken) is None:
            yield f"the validator takes a Deployment with {'.'.join(path)} = {value!r}"


def app_faults(app: str) -> Iterator[str]:
    found = manifests(app)
    secret = yaml.safe_load((KUBERNETES / f"secrets/{app}.yaml").read_text())
    yield from filter(None, map(schema_fault, [*found.values(), secret]))
    if found.keys() != KINDS:
        yield f"the kinds are {sorted(found)}; they are {sorted(KINDS)}"
        return
    name = found["Deployment"]["metadata"]["name"]
    if any(one["metadata"]["name"] != name for one in (*found.values(), secret)):
        yield f"not everything is called {name}"
    if any(secret["stringData"].values()):
        yield "the Secret has values"
    yield from selector_faults(found, {"app": name})
    yield from pod_faults(found, secret)
    yield from image_faults(found, IMAGES[app])
    yield from monitor_faults(app, name, secret)
    gauges = [one["pods"]["metric"]["name"] for one in found["HorizontalPodAutoscaler"]["spec"]["metrics"] if "pods" in one]
    if gauges != [GAUGE]:
        yield f"the autoscaler goes by {gauges}, not by {GAUGE}"


def selector_faults(found: dict[str, dict], labels: dict[str, str]) -> Iterator[str]:
    spec = {kind: one.get("spec", {}) for kind, one in found.items()}
    chosen = {
        "Deployment": spec["Deployment"]["selector"]["matchLabels"],
        "pods of the Deployment": spec["Deployment"]["template"]["metadata"]["labels"],
        "Service": spec["Service"]["selector"],
        "PodDisruptionBudget": spec["PodDisruptionBudget"]["selector"]["matchLabels"],
        "NetworkPolicy": spec["NetworkPolicy"]["podSelector"]["matchLabels"],
    }
    yield from (f"{what} has the labels {given}; they are {labels}" for what, given in chosen.items() if given != labels)
    if spec["HorizontalPodAutoscaler"]["scaleTargetRef"]["name"] != found["Deployment"]["metadata"]["name"]:
        yield "the autoscaler is for another Deployment"
    if "replicas" in spec["Deployment"]:
        yield "the Deployment sets `replicas`, which would undo what the autoscaler chose at each apply"


def pod_faults(found: dict[str, dict], secret: dict) -> Iterator[str]:
    pod = found["Deployment"]["spec"]["template"]["spec"]
    [container] = pod["containers"]
    config = found["ConfigMap"]
    probes = {name: container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "liveness", "readiness")}
    if probes != {"startup": "/health", "liveness": "/health", "readiness": "/ready"}:
        yield f"the probes are {probes}"
    if container["envFrom"] != [{"configMapRef": {"name": config["metadata"]["name"]}}]:
        yield "the pod reads another ConfigMap"
    keys = {one["name"]: one["valueFrom"]["secretKeyRef"] for one in container["env"]}
    if keys.get("API_KEY", {"optional": True}).get("optional"):
        yield "a pod starts without API_KEY"
    for variable, key in keys.items():
        if key["name"] != secret["metadata"]["name"] or not key.get("optional") and key["key"] not in secret["stringData"]:
            yield f"{variable} comes from {key}, which the Secret lacks"
    if keys.keys() & config["data"].keys():
        yield "the ConfigMap has a value of the Secret"
    stop = int(container["lifecycle"]["preStop"]["exec"]["command"][-1]) + int(config["data"]["DRAIN_SECONDS"])
    if pod["terminationGracePeriodSeconds"] < stop + 5:
        yield f"a pod is killed after {pod['terminationGracePeriodSeconds']} s; preStop and DRAIN_SECONDS take {stop} s"
    if not {"cpu", "memory"} <= container["resources"]["requests"].keys() or "memory" not in container["resources"]["limits"]:
        yield "the pod has no requests, or no limit of memory"


def image_faults(found: dict[str, dict], dockerfile: Path) -> Iterator[str]:
    """The pod runs as the image's user and talks to the port that it serves."""
    [container] = found["Deployment"]["spec"]["template"]["spec"]["containers"]
    text = dockerfile.read_text()
    port = int(re.search(r"^EXPOSE (\d+)$", text, re.M)[1])
    if container["ports"] != [{"name": "http", "containerPort": port}]:
        yield f"the ports are {container['ports']}; the image serves {port}"
    if "--uid 1000" not in text or found["Deployment"]["spec"]["template"]["spec"]["securityContext"]["runAsUser"] != 1000:
        yield "pod and image run as different users"
    if found["Service"]["spec"]["ports"][0]["targetPort"] != "http":
        yield "the Service leads to another port"


def monitor_faults(app: str, name: str, secret: dict) -> Iterator[str]:
    """PodMonitor is a kind of the Prometheus operator, which Kubernetes' schemas lack."""
    monitor = yaml.safe_load((KUBERNETES / f"monitoring/podmonitor-{app}.yaml").read_text())
    [endpoint] = monitor["spec"]["podMetricsEndpoints"]
    key = endpoint["authorization"]["credentials"]
    if monitor["spec"]["selector"]["matchLabels"] != {"app": name} or endpoint["path"] != "/metrics":
        yield "the PodMonitor is for something else"
    if key["name"] != secret["metadata"]["name"] or key["key"] not in secret["stringData"]:
        yield f"the PodMonitor's key {key} is not in the Secret"
    rules = yaml.safe_load((KUBERNETES / "monitoring/adapter-values.yaml").read_text())["rules"]["custom"]
    if [rule["name"]["as"] for rule in rules] != [GAUGE]:
        yield f"the adapter's rule does not give {GAUGE}"


def terraform_faults() -> Iterator[str]:
    folder = KUBERNETES / "terraform"
    variables = hcl2.loads((folder / "variables.tf").read_text())["variable"]
    declared = {name.strip('"'): body for one in variables for name, body in one.items()}
    main = (folder / "main.tf").read_text()
    resources = [name.strip('"') for one in hcl2.loads(main)["resource"] for name in one]
    used = set(re.findall(r"\bvar\.(\w+)", main))
    if used != declared.keys():
        yield f"main.tf uses {sorted(used)}; variables.tf declares {sorted(declared)}"
    if str(declared["llm_mode"].get("default")).strip('"') != "huggingface":
        yield "llm_mode is not \"huggingface\" by default"
    yield from (f"{name} is not marked sensitive" for name in ("api_key", "hf_api_token") if not declared[name].get("sensitive"))
    if {"kubernetes_secret_v1", "kubernetes_config_map_v1", "kubernetes_manifest"} - set(resources):
        yield f"main.tf makes {resources} only"
    named = set(re.search(r"for name in \[([^\]]*)\]", main)[1].replace('"', "").split(", "))
    listed = yaml.safe_load((KUBERNETES / "triage/kustomization.yaml").read_text())["resources"]
    if named != {Path(name).stem for name in listed} - {"configmap"}:
        yield f"main.tf takes {sorted(named)} from triage/, which has {listed}"


def compose_faults() -> Iterator[str]:
    """Every image is built here and served on the port that it has; nothing is open to other machines; no secret is written."""
    folder = ROOT / "examples"
    services = yaml.safe_load((folder / "compose.yaml").read_text())["services"]
    host_ports = [port.split(":")[1] for service in services.values() for port in service["ports"]]
    if len(set(host_ports)) != len(host_ports):
        yield f"two services have one port: {host_ports}"
    built = set()
    for name, service in services.items():
        dockerfile = folder / service["build"]["context"] / service["build"].get("dockerfile", "Dockerfile")
        if not dockerfile.is_file():
            yield f"{name}: {dockerfile} does not exist"
            continue
        built.add(dockerfile.resolve())
        text = dockerfile.read_text()
        if ("The context is examples/" in text) != (service["build"]["context"] == "."):
            yield f"{name}: the context is not the one that its Dockerfile names"
        exposed = re.search(r"^EXPOSE (\d+)$", text, re.M)[1]
        [port] = service["ports"]
        if not port.startswith("127.0.0.1:") or port.split(":")[2] != exposed:
            yield f"{name}: the port is {port}; the image serves {exposed}, and only this machine may call"
        if "HEALTHCHECK" not in text:
            yield f"{name}: its image has no HEALTHCHECK"
        for variable, value in service.get("environment", {}).items():
            if re.search(r"KEY|TOKEN|TICKET", variable) and not value.startswith("${"):
                yield f"{name}: {variable} has a value of its own"
    yield from (f"{path.relative_to(folder)} is no service" for path in folder.rglob("Dockerfile") if path.resolve() not in built)


def workflow_faults() -> Iterator[str]:
    """CI runs each part of the tests, once."""
    parts = re.search(r"usage: scripts/test \[([\w|]+)\]", (ROOT / "scripts/test").read_text())[1].split("|")
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]
    run = " ".join(jobs["test"]["strategy"]["matrix"]["parts"]).split()
    if sorted(run) != sorted(parts):
        yield f"ci.yml runs {sorted(run)}; scripts/test has {sorted(parts)}"


def main() -> int:
    faults = [f"examples/kubernetes/{app}: {fault}" for app in IMAGES for fault in app_faults(app)]
    faults += checker_faults()
    faults += [f"examples/kubernetes/terraform: {fault}" for fault in terraform_faults()]
    faults += [f"examples/compose.yaml: {fault}" for fault in compose_faults()]
    faults += [f".github/workflows: {fault}" for fault in workflow_faults()]
    for fault in faults:
        print(f"error: {fault}", file=sys.stderr)
    if not faults:
        print(f"manifests of {', '.join(IMAGES)}: as Kubernetes {VERSION} has them, and fit together; Terraform's variables and the compose file too")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
