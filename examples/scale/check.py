"""Starts the deployments and the job of this folder with two local workers each, and holds their answers to those of one process.
scripts/ray-check runs it, with models in EMBEDDING_MODEL and CHAT_MODEL."""

import concurrent.futures
import json
import os
import signal
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ray
from ray import serve

import ayni

KEY = "sesame-sesame"
os.environ.update(API_KEY=KEY, MIN_REPLICAS="2", MAX_REPLICAS="2", LOG_FORMAT="none")
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
# Replicas import the module too, and get the settings of this process.
RUNTIME = {
    "working_dir": str(HERE),
    "env_vars": {name: os.environ[name] for name in ("API_KEY", "EMBEDDING_MODEL", "CHAT_MODEL", "LOG_FORMAT")},
}
PORT = 8123
TEXTS = [f"texto número {number} " + "de prueba " * (number % 7) for number in range(96)]


def post(path: str, body: dict, key: str = KEY) -> dict:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"http://127.0.0.1:{PORT}{path}", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)


def vectors(texts: list[str]) -> np.ndarray:
    found = post("/embeddings/v1/embeddings", {"model": model_name("embeddings"), "input": texts})["data"]
    return np.array([one["embedding"] for one in found], np.float32)


def model_name(application: str) -> str:
    request = urllib.request.Request(f"http://127.0.0.1:{PORT}/{application}/v1/models", headers={"Authorization": f"Bearer {KEY}"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)["data"][0]["id"]


def replicas(application: str) -> list[int]:
    """The processes of an application's replicas."""
    from ray.util.state import list_actors

    alive = list_actors(filters=[("state", "=", "ALIVE")], detail=True)
    return [actor.pid for actor in alive if actor.class_name.startswith("ServeReplica:") and f":{application}:" in actor.class_name]


def until(condition, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.5)


def check_embeddings() -> None:
    expected = ayni.Embedder(os.environ["EMBEDDING_MODEL"]).embed_sync(TEXTS).vectors
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        found = np.concatenate(list(pool.map(lambda text: vectors([text]), TEXTS)))
    # A text's vector has the same bits alone and in any batch; JSON keeps them.
    assert np.array_equal(found, expected), np.abs(found - expected).max()
    try:
        post("/embeddings/v1/embeddings", {"model": "m", "input": "hola"}, key="wrong")
        raise AssertionError("a wrong key was taken")
    except urllib.error.HTTPError as error:
        assert error.code == 401
    print("embeddings: 96 texts of 16 callers over 2 replicas, the bits of one process")


def check_recovery() -> None:
    before = replicas("embeddings")
    assert len(before) == 2, before
    os.kill(before[0], signal.SIGKILL)
    until(lambda: len(set(replicas("embeddings")) - {before[0]}) == 2)
    until(lambda: vectors(["hola"]).shape[0] == 1)
    print("embeddings: a replica that was killed is replaced")


def check_chat() -> None:
    asked = {"model": model_name("chat"), "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 8, "temperature": 0}
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: post("/chat/v1/chat/completions", asked)["choices"][0]["message"]["content"], range(8)))
    assert len(set(answers)) == 1 and answers[0], answers
    print(f"chat: 8 callers over 2 replicas, each the same answer: {answers[0]!r}")


def check_dataset() -> None:
    from embed_parquet import embed

    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "texts")
        source.mkdir()
        for part in range(4):
            table = pa.table({"id": list(range(part, len(TEXTS), 4)), "text": TEXTS[part::4]})
            pq.write_table(table, source / f"{part}.parquet")
        count = embed(str(source), str(Path(folder, "vectors")), os.environ["EMBEDDING_MODEL"])
        rows = pq.read_table(Path(folder, "vectors")).to_pylist()
    expected = ayni.Embedder(os.environ["EMBEDDING_MODEL"]).embed_sync(TEXTS, role="document").vectors
    assert count == len(TEXTS) == len({row["id"] for row in rows})
    assert all(np.array_equal(np.array(row["embedding"], np.float32), expected[row["id"]]) for row in rows)
    print(f"dataset: {count} rows of 4 files by 2 workers, the bits of one process")


def main() -> None:
    from serve_app import chat, embeddings

    # Replicas count by their share of the processors, of which this machine may have two.
    ray.init(num_cpus=6, include_dashboard=False, log_to_driver=False, runtime_env=RUNTIME)
    try:
        check_dataset()
        serve.start(http_options={"host": "127.0.0.1", "port": PORT})
        serve.run(embeddings, name="embeddings", route_prefix="/embeddings")
        check_embeddings()
        check_recovery()
        serve.delete("embeddings")
        serve.run(chat, name="chat", route_prefix="/chat")
        check_chat()
    finally:
        serve.shutdown()
        ray.shutdown()


if __name__ == "__main__":
    main()
