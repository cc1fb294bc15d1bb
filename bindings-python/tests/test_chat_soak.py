"""A minute of random requests over HTTP to `ayni serve openai` with the real SmolLM2-135M: some callers hang up before the answer,
some in the middle of it, some are sent away. Each prompt has a number that its answer must echo through a schema, so an answer in
the wrong conversation is seen. `make soak SECONDS=3600` makes it an hour; `make models` fetches the model."""

import collections
import json
import os
import random
import threading
import time
from pathlib import Path

import httpx
from serving import serving

SECONDS = float(os.environ.get("AYNI_SOAK_SECONDS", "60"))
# Callers at once: more than the model lets in.
CALLERS, RUNNING, QUEUED = 10, 4, 4
CACHE_BYTES = 32 << 20


def model():
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    cache = Path(os.environ.get("AYNI_CACHE") or home / "ayni")
    file = cache / "models/smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf"
    assert file.is_file(), f"{file} is not there: run `make models`"
    return file


def resident(process):
    """KiB of a process."""
    [line] = [line for line in Path(f"/proc/{process.pid}/status").read_text().splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1])


def request(draw, nonce):
    """A question whose answer holds the number; some begin alike, some are long."""
    rules = draw.choice(["Be brief.", "You are a patient teacher who answers in plain words and never lies, whatever is asked."])
    padding = "The road to the sea is long. " * draw.randrange(12)
    fields = {"number": {"const": nonce}, "word": {"type": "string", "maxLength": 12}}
    schema = {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}
    return {
        "model": "smol", "max_tokens": 60, "seed": nonce, "temperature": draw.choice([0, 1.2]),
        "messages": [{"role": "system", "content": rules}, {"role": "user", "content": f"{padding}Say the number {nonce}."}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "echo", "strict": True, "schema": schema}},
    }


def check(text, reason, nonce):
    if reason == "stop":
        assert json.loads(text)["number"] == nonce, text
    else:
        # Cut by a long word or much white space: a beginning of the only answer there is.
        begun, answer = "".join(text.split()), f'{{"number":{nonce},"word":"'
        assert reason == "length" and (begun.startswith(answer) or answer.startswith(begun)), (reason, text)


def call(client, draw, nonce, seen):
    """One request, and what becomes of it."""
    way, body = draw.choice(["whole", "stream", "stream", "leaves", "leaves", "is gone"]), request(draw, nonce)
    # Who is gone reads nothing at all.
    timeout = draw.uniform(0.01, 0.3) if way == "is gone" else 120
    if way in ("whole", "is gone"):
        try:
            answer = client.post("/v1/chat/completions", json=body, timeout=timeout)
        except httpx.TimeoutException:
            assert way == "is gone"
            seen["gone"] += 1
            return
        if not sent_away(answer, seen):
            [choice] = answer.json()["choices"]
            check(choice["message"]["content"], choice["finish_reason"], nonce)
            seen["whole"] += 1
        return
    pieces, reason, stops_after = [], None, draw.randrange(8)
    with client.stream("POST", "/v1/chat/completions", json=body | {"stream": True}, timeout=timeout) as answer:
        if answer.status_code != 200:
            answer.read()
        if sent_away(answer, seen):
            return
        for line in answer.iter_lines():
            if not line.startswith("data: {"):
                continue
            chunk = json.loads(line.removeprefix("data: "))
            assert "error" not in chunk, chunk
            for choice in chunk["choices"]:
                pieces.append(choice["delta"].get("content") or "")
                reason = choice["finish_reason"] or reason
            if way == "leaves" and len(pieces) > stops_after:
                seen["left"] += 1
                return
    check("".join(pieces), reason, nonce)
    seen["streamed"] += 1


def sent_away(answer, seen):
    if answer.status_code == 429:
        assert int(answer.headers["Retry-After"]) >= 1 and answer.json()["error"]["code"] == "rate_limited", answer.text
        seen["sent away"] += 1
        time.sleep(0.02)
        return True
    assert answer.status_code == 200, answer.text
    return False


def test_a_minute_of_everything_over_http_leaves_nothing_behind(tmp_path):
    config = {"backend": "local", "model": str(model()), "device": "cpu", "context": 512, "cache_bytes": CACHE_BYTES}
    config |= {"max_running": RUNNING, "max_queued": QUEUED, "policy": {"retry": {"max_retries": 0}}}
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"chat": {"smol": config}}))
    seen, failures, half = collections.Counter(), [], []
    with serving("openai", "--config", str(file)) as served:
        end = time.monotonic() + SECONDS

        def caller(number):
            draw, turn = random.Random(20_261_129 + number), 0
            try:
                # A connection is closed with the answer that it is left in.
                with httpx.Client(base_url=served.url) as client:
                    while time.monotonic() < end and not failures:
                        turn += 1
                        call(client, draw, number * 100_000 + turn, seen)
                        if not half and time.monotonic() > end - SECONDS / 2:
                            half.append(resident(served.process))
            except Exception as error:  # Whatever it is, the others stop and it is told.
                failures.append(error)

        callers = [threading.Thread(target=caller, args=(number,)) for number in range(1, CALLERS + 1)]
        for one in callers:
            one.start()
        for one in callers:
            one.join()
        if failures:
            raise failures[0]
        print(dict(seen), half, resident(served.process))
        assert {"whole", "streamed", "left", "gone", "sent away"} == {way for way, count in seen.items() if count}, seen
        # Every place is free again: as many as ever fit are let in at once, and all are answered.
        free_again(served)
        # In a minute the memory for keys and values is not yet full at the half.
        assert resident(served.process) <= half[0] * 1.1 + CACHE_BYTES / 1024, (half, resident(served.process))


def free_again(served):
    """Who has left may be noticed a moment later."""
    body = {"model": "smol", "max_tokens": 2, "messages": [{"role": "user", "content": "hi"}]}
    for attempt in range(20):
        answers = []

        def ask(answers=answers):
            answers.append(httpx.post(f"{served.url}/v1/chat/completions", json=body, timeout=120).status_code)

        asking = [threading.Thread(target=ask) for _ in range(RUNNING + QUEUED)]
        for one in asking:
            one.start()
        for one in asking:
            one.join()
        if answers == [200] * len(asking):
            return
        time.sleep(0.5)
    raise AssertionError(f"some places are still taken: {answers}")
