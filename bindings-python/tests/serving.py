"""Services as their users run them: a process, a port, HTTP."""

import contextlib
import json
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "core/tests/golden"

# Nothing of the machine's own settings reaches a service.
KEPT = ("PATH", "HOME", "PYTHONPATH", "LANG", "LD_LIBRARY_PATH", "SYSTEMROOT")


class Served:
    """A running service: its address, a client of it, its log."""

    def __init__(self, process):
        self.process, self.lines, self.url, self.client = process, [], None, None
        self._is_up = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stderr:
            self.lines.append(line)
            if found := re.search(r"(?:running on|Listening at:) (http://[\d.:]+)", line):
                self.url = found[1]
                self._is_up.set()
        self._is_up.set()

    def wait(self, loaded=True):
        self._is_up.wait(60)
        if self.url is None:
            raise RuntimeError("the service did not start:\n" + "".join(self.lines))
        self.client = httpx.Client(base_url=self.url, timeout=60)
        while loaded and self.is_loading():
            time.sleep(0.02)

    def is_loading(self):
        """Whether models are still being loaded; fails if the process has ended instead."""
        try:
            return self.client.get("/ready").json().get("loading", False)
        except (httpx.HTTPError, ValueError):
            # Several processes listen a little after the first of them says where.
            time.sleep(0.2)
            if self.process.poll() is None:
                return True
            raise RuntimeError("the service did not start:\n" + "".join(self.lines)) from None

    def log(self, message, until=lambda records: records):
        """The records of the log with a message, once there are such."""
        end = time.monotonic() + 10
        while True:
            records = [json.loads(line) for line in self.lines if line.startswith("{")]
            found = [record for record in records if record["message"] == message]
            if until(found) or time.monotonic() > end:
                return found
            time.sleep(0.01)

    def metrics(self):
        """The metrics by name and labels."""
        lines = self.client.get("/metrics", headers={"X-API-Key": "sesame"}).text.splitlines()
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines) if name[:1] not in "#"}


@contextlib.contextmanager
def serving(*arguments, env=None, code=None, loaded=True):
    """`ayni serve …`, or a program that runs uvicorn itself, until the block is left."""
    command = [sys.executable, "-c", code] if code else [sys.executable, "-m", "ayni", "serve", *arguments, "--port", "0"]
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=kept | {"PYTHONUNBUFFERED": "1"} | (env or {}))
    served = Served(process)
    try:
        served.wait(loaded)
        yield served
    finally:
        if served.client is not None:
            served.client.close()
        process.terminate()
        process.wait(20)
        process.stderr.close()


@contextlib.contextmanager
def mock(*arguments):
    """`ayni-mock`: gives what its first line says."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([os.environ["AYNI_MOCK"], *arguments], **pipes) as process:
        yield json.loads(process.stdout.readline())
        process.stdin.close()
        process.wait(20)


def clip_folder(folder):
    """A tiny CLIP with seeded weights: token n is the word `wn`, images are 32 × 32."""
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_bytes((GOLDEN / "clip/openai" / name).read_bytes())
    words = {f"w{number}": number for number in range(64)}
    tokenizer = {"version": "1.0", "added_tokens": [], "pre_tokenizer": {"type": "Whitespace"}}
    tokenizer["model"] = {"type": "WordLevel", "vocab": words, "unk_token": "w0"}
    images = {"do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    images |= {"do_convert_rgb": True, "resample": 3, "do_resize": True, "image_processor_type": "CLIPImageProcessor"}
    images |= {"size": {"shortest_edge": 32}, "do_center_crop": True, "crop_size": {"height": 32, "width": 32}}
    files = {"tokenizer.json": tokenizer, "preprocessor_config.json": images, "tokenizer_config.json": {"pad_token": "w1"}}
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    return folder


def failure(response):
    """The kind and the sentence of a failure, once it has the form of all failures."""
    body = response.json()
    assert body["detail"] == body["error"]["message"] and "\n" not in body["detail"]
    assert body["error"]["request_id"] == response.headers["x-request-id"]
    return body["error"]["kind"], body["detail"]
