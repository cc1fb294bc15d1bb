"""Starts what is in this folder with two or three local workers each, and holds their answers to those of one process.
scripts/ray-check runs it: models in EMBEDDING_MODEL and CHAT_MODEL, ayni-mock in AYNI_MOCK, PostgreSQL in AYNI_POSTGRES_URL.

    python check.py [dataset] [serve] [dashboards]
"""

import concurrent.futures
import contextlib
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
KEY = "sesame-sesame"
# What Ray starts inherits these. Nothing is reported to anybody; workers are not put behind everything else that the machine does, as
# Ray does by default: on a busy machine they would never start.
os.environ.update(API_KEY=KEY, MIN_REPLICAS="1", MAX_REPLICAS="2", LOG_FORMAT="none")
os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_worker_niceness="0")
sys.path.insert(0, str(HERE))
TEXTS = [f"texto número {number} " + "de prueba " * (number % 7) for number in range(96)]
MEGABYTE = 1 << 20


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


PORT = free_port()


def asked(url: str, body: Any = None, key: str = KEY) -> Any:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode() if body is not None else None, headers)
    with urllib.request.urlopen(request, timeout=180) as answer:
        return json.load(answer)


def until(condition: Callable[[], Any], what: str, seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"after {seconds:.0f} s: {what}"
        time.sleep(0.5)


def model_of(application: str) -> str:
    return asked(f"http://127.0.0.1:{PORT}/{application}/v1/models")["data"][0]["id"]


def replicas(application: str) -> set[int]:
    """The processes of an application's replicas on this machine, by the titles that Ray gives them."""
    title = f"ray::ServeReplica:{application}:".encode()
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (folder / "cmdline").read_bytes().startswith(title):
                found.add(int(folder.name))
    return found


def running(application: str) -> int:
    """How many replicas take requests."""
    from ray import serve

    [deployment] = serve.status().applications[application].deployments.values()
    return deployment.replica_states.get("RUNNING", 0)


class Embeddings:
    """The deployed embedder, asked for one text after the other."""

    def __init__(self) -> None:
        self.model = model_of("embeddings")

    def __call__(self, text: str, key: str = KEY) -> list[float]:
        body = {"model": self.model, "input": text}
        return asked(f"http://127.0.0.1:{PORT}/embeddings/v1/embeddings", body, key)["data"][0]["embedding"]


@contextlib.contextmanager
def callers(call: Callable[[str], Any], count: int) -> Iterator[list[BaseException]]:
    """Callers without a pause, and the errors that they got."""
    stop, errors = threading.Event(), []

    def run(number: int) -> None:
        while not stop.is_set():
            try:
                call(TEXTS[number % len(TEXTS)])
            except Exception as error:
                errors.append(error)
                time.sleep(0.2)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield errors
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def check_embeddings() -> None:
    import numpy as np

    import ayni

    embed = Embeddings()
    assert running("embeddings") == 1
    with callers(embed, 48) as errors:
        until(lambda: running("embeddings") == 2, "48 callers at a time, and still one replica")
    assert not errors, errors[0]
    print("embeddings: 48 callers at a time bring a second replica, and none of them an error", flush=True)

    expected = ayni.Embedder(os.environ["EMBEDDING_MODEL"]).embed_sync(TEXTS).vectors
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        found = np.array(list(pool.map(embed, TEXTS)), np.float32)
    # A text's vector has the same bits alone and in any batch; JSON keeps them.
    assert np.array_equal(found, expected), np.abs(found - expected).max()
    print("embeddings: 96 texts of 16 callers have the bits of one process", flush=True)
    try:
        embed("hola", key="wrong")
        raise AssertionError("a wrong key was taken")
    except urllib.error.HTTPError as error:
        assert error.code == 401, error


def check_recovery() -> None:
    before = replicas("embeddings")
    assert before, "no replica was found among the processes"
    embed, killed = Embeddings(), min(before)
    # Callers keep the number of replicas up; those whose replica dies are told.
    with callers(embed, 16) as errors:
        os.kill(killed, signal.SIGKILL)
        until(lambda: killed not in replicas("embeddings") and replicas("embeddings") - before, "a replica that was killed is not replaced")
        until(lambda: running("embeddings") >= 1, "no replica runs")
    assert len(embed("hola")) == len(embed("adiós"))
    print(f"embeddings: a replica that is killed under load is replaced; {len(errors)} requests failed with it", flush=True)


def check_chat() -> None:
    body = {"model": model_of("chat"), "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 8, "temperature": 0}

    def answer(_: int) -> str:
        return asked(f"http://127.0.0.1:{PORT}/chat/v1/chat/completions", body)["choices"][0]["message"]["content"]

    first = answer(0)
    with callers(lambda _: answer(0), 12) as errors:
        until(lambda: running("chat") == 2, "12 callers at a time, and still one replica")
    assert not errors, errors[0]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = set(pool.map(answer, range(16)))
    assert first and answers == {first}, answers
    print(f"chat: 16 answers by two replicas are the one of the first: {first!r}", flush=True)


def check_dataset() -> None:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    import ayni
    from embed_parquet import embed

    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "texts"), Path(folder, "vectors")
        source.mkdir()
        for part in range(4):
            table = pa.table({"id": list(range(part, len(TEXTS), 4)), "text": TEXTS[part::4]})
            pq.write_table(table, source / f"{part}.parquet")
        count = embed(str(source), str(target), os.environ["EMBEDDING_MODEL"], workers=2)
        rows = pq.read_table(target).to_pylist()
    expected = ayni.Embedder(os.environ["EMBEDDING_MODEL"]).embed_sync(TEXTS, role="document").vectors
    assert count == len(TEXTS) == len({row["id"] for row in rows})
    assert all(np.array_equal(np.array(row["embedding"], np.float32), expected[row["id"]]) for row in rows)
    print(f"dataset: {count} rows of 4 files by 2 workers have the bits of one process", flush=True)


@contextlib.contextmanager
def chilecompra(spec: dict[str, Any]) -> Iterator[dict[str, str]]:
    """An invented ChileCompra, which counts what arrives."""
    world = subprocess.Popen([os.environ["AYNI_MOCK"], "chilecompra", "--world", json.dumps(spec)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert world.stdin and world.stdout
        yield json.loads(world.stdout.readline())
    finally:
        world.stdin.close()
        world.wait()


def check_dashboards(count: int = 3, quota: int = 40) -> None:
    from dashboards import start

    ports = [free_port() for _ in range(count)]
    day = next(day for back in range(3, 10) if (day := date.today() - timedelta(days=back)).weekday() == 2).isoformat()
    with chilecompra({"seed": 11, "tenders": 12, "orders": 120, "quick_purchases": 4}) as world:
        base = world["base_url"]
        asked(world["control_url"], {"behaviour": {"daily_quota": quota, "latency_ms": 10}})
        config = {"backend": "mercado_publico", "base_url": f"{base}/servicios/v1", "quick_url": f"{base}/v2", "ocds_url": f"{base}/APISOCDS/OCDS"}
        config |= {"min_gap_seconds": 0.01, "daily_quota": quota, "soft_limit": quota}
        env = {**os.environ, "MERCADO_PUBLICO_TICKET": str(uuid.uuid4()), "DATABASE_URL": os.environ["AYNI_POSTGRES_URL"]}
        backends = start(ports, {**env, "PROCUREMENT_CONFIG": json.dumps(config)})
        try:
            share_quota([f"http://127.0.0.1:{port}" for port in ports], world, day, quota)
        finally:
            for backend in backends:
                backend.terminate()
            for backend in backends:
                backend.wait()


def is_ready(backend: str) -> bool:
    try:
        return bool(asked(f"{backend}/ready"))
    except OSError:
        return False


def share_quota(backends: list[str], world: dict[str, str], day: str, quota: int) -> None:
    """All ask for what only one of them may, until the day's quota is spent; ChileCompra says what it got."""
    for backend in backends:
        until(lambda backend=backend: is_ready(backend), f"{backend} is not ready")
    codes = [row["code"] for row in asked(f"{backends[0]}/api/purchase-orders?on={day}")["rows"]]
    assert len(codes) > quota, len(codes)

    def read(job: tuple[str, str]) -> str:
        try:
            return asked(f"{job[0]}/api/purchase-orders/{job[1]}")["record"]["row"]["code"]
        except urllib.error.HTTPError as error:
            return json.load(error)["error"]["kind"]

    # Each order is asked for at each backend.
    jobs = [(backend, code) for code in codes[: quota + 20] for backend in backends]
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(read, jobs))
    report = asked(world["control_url"])
    spent = sum(report["spent"].values())
    counted = [asked(f"{backend}/api/quota")["used"] for backend in backends]
    read_codes = {answer for answer in answers if answer != "quota_exceeded"}
    assert "quota_exceeded" in answers and read_codes <= set(codes), read_codes - set(codes)
    assert spent <= quota and report["most_in_flight"] == 1 and report["violations"] == 0, report
    assert counted == [spent] * len(backends), (counted, spent)
    print(f"dashboards: {len(backends)} backends over one PostgreSQL spend {spent} of {quota} requests, one at a time; {len(read_codes)} orders were read", flush=True)


def with_ray(*checks: Callable[[], None]) -> None:
    import ray

    # Ray counts shares of processors, of which this machine may have two.
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, object_store_memory=512 * MEGABYTE)
    try:
        for check in checks:
            check()
    finally:
        ray.shutdown()


def deploy(name: str) -> None:
    """An application as serve.yaml has it."""
    import yaml
    from ray import serve
    from ray.serve.schema import ServeDeploySchema

    config = ServeDeploySchema.parse_obj(yaml.safe_load((HERE / "serve.yaml").read_text()))
    [application] = [one for one in config.applications if one.name == name]
    module, _, attribute = application.import_path.partition(":")
    bound = getattr(importlib.import_module(module), attribute)
    serve.run(bound, name=application.name, route_prefix=application.route_prefix)


def check_serve() -> None:
    from ray import serve

    serve.start(http_options={"host": "127.0.0.1", "port": PORT})
    try:
        deploy("embeddings")
        check_embeddings()
        check_recovery()
        serve.delete("embeddings")
        deploy("chat")
        check_chat()
    finally:
        serve.shutdown()


CHECKS = {
    "dataset": lambda: with_ray(check_dataset),
    "serve": lambda: with_ray(check_serve),
    "dashboards": check_dashboards,
}


def main() -> None:
    names = sys.argv[1:] or list(CHECKS)
    if unknown := set(names) - CHECKS.keys():
        raise SystemExit(f"{', '.join(sorted(unknown))}: unknown; valid: {', '.join(CHECKS)}")
    for name in names:
        CHECKS[name]()


if __name__ == "__main__":
    main()
