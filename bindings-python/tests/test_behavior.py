"""The behaviour suite from Python: plays every case against its mock server, which judges what came of it."""

import asyncio
import base64
import json
import os
import urllib.request
from pathlib import Path

import pytest

import ayni
from results import error, event, plain, progress

SUITE = Path(__file__).resolve().parents[2] / "core/conformance"
MANIFEST = json.loads((SUITE / "manifest.json").read_text())
NAMES = [f"{folder}/{name}" for folder, names in MANIFEST["cases"].items() for name in names]
CASES = {name: SUITE / f"cases/{name}.json" for name in NAMES}
MUST_FAIL = {name: SUITE / f"must-fail/{name}.json" for name in MANIFEST["must_fail"]}
OPENERS = {
    "embed": ayni.Embedder, "chat": ayni.Chat, "modes": ayni.ChatModes, "image": ayni.ImageGenerator,
    "procure": ayni.Procurement,
}  # fmt: skip


async def joined(stream, cancel_after, cancellation):
    """Reads a stream to its end: its events, and what they come to."""
    events = []
    try:
        async for one in stream:
            events.append(one)
            if len(events) == cancel_after:
                cancellation.cancel()
    except ayni.AyniError as failure:
        return error(failure, events=list(map(event, events)))
    of = lambda kind: [one for one in events if type(one) is kind]  # noqa: E731
    [finish], [started] = of(ayni.Finish), of(ayni.Started)
    parts = []
    for one in events:
        if type(one) is ayni.Text and parts and parts[-1]["type"] == "text":
            parts[-1] = {"type": "text", "text": parts[-1]["text"] + one.text}
        elif type(one) in (ayni.Text, ayni.PartFinished):
            parts.append({"type": "text", "text": one.text} if type(one) is ayni.Text else one.part)
    response = ayni.ChatResponse(
        "".join(one.text for one in of(ayni.Text)), finish.reason, finish.usage, started.route,
        reasoning="".join(one.text for one in of(ayni.Reasoning)) or None, provider_data=finish.provider_data,
        tool_calls=tuple(one.call for one in of(ayni.ToolCallFinished)),
        logprobs=tuple(token for one in of(ayni.Logprobs) for token in one.logprobs),
        parts=tuple(parts) if of(ayni.PartFinished) else (),
        annotations=tuple(one.annotation for one in of(ayni.Annotated)),
        metadata=next((one.metadata for one in of(ayni.Metadata)), {}),
    )  # fmt: skip
    return {"ok": plain(response) | {"events": list(map(event, events))}}


def decoded(image):
    return base64.b64decode(image.rpartition(",")[2] + "==")


async def perform(case, call, handle, env, options):
    operation, request = call["operation"], dict(call.get("request") or {})
    if operation in ("models", "health"):
        found = await getattr(ayni, operation)(case["config"], env=env, **options)
        return {"ok": {"count": len(found), "models": found} if operation == "models" else found}
    handle = handle.open(call.get("mode")) if case["capability"] == "modes" else handle
    if not hasattr(handle, operation):
        raise LookupError(f"{handle} has no operation '{operation}'")
    request |= {"mask": decoded(request["mask"])} if "mask" in request else {}
    request |= {"from_": request.pop("from")} if "from" in request else {}
    inputs = [one.get("text") or decoded(one["image"]) for one in request.pop("inputs", ())]
    prompt = request.pop("prompt", "") if operation in ("generate", "refine") else ""
    messages, code = request.pop("messages", []), request.pop("code", "")
    first = {"embed": [inputs], "chat": [messages], "stream": [messages], "generate": [prompt], "tender": [code]}
    first |= {"refine": [prompt, [decoded(image) for image in request.pop("images", ())]]}
    first |= {"purchase_order": [code], "quick_purchase": [code]}
    work = getattr(handle, operation)(*first.get(operation, []), **request, **options)
    if operation == "stream":
        return await joined(work, case.get("context", {}).get("cancel_after_events"), options["cancellation"])
    return {"ok": plain(await work)}


def opened(case, env):
    opener = OPENERS.get(case["capability"])
    if opener is None:
        return None
    return opener(case["config"], env=env) if "config" in case else opener.from_env(env)


async def outcome_of(case):
    spec, outcomes, told, env = case.get("context", {}), [], [], case.get("env", {})
    if unknown := spec.keys() - {"timeout_ms", "connect_ms", "first_byte_ms", "idle_ms", "cancel_after_events"}:
        raise LookupError(f"this runner does not know {unknown}")
    seconds = {name.removesuffix("_ms"): value / 1000 for name, value in spec.items() if name.endswith("_ms")}
    try:
        handle = opened(case, env)
    except ayni.AyniError as failure:
        return {"open_error": error(failure)["error"]}
    for call in case.get("calls") or [case["call"]]:
        options = {"progress": told.append, "cancellation": ayni.Cancellation(), "deadline": seconds.get("timeout")}
        options["timeouts"] = {name: value for name, value in seconds.items() if name != "timeout"}
        try:
            outcomes.append(await perform(case, call, handle, env, options))
        except ayni.AyniError as failure:
            outcomes.append(error(failure))
    return {"outcomes": outcomes, "progress": list(map(progress, told))}


async def judged(path, places):
    """Plays one case; gives what speaks against it."""
    pipes = {"stdin": asyncio.subprocess.PIPE, "stdout": asyncio.subprocess.PIPE, "limit": 1 << 28}
    async with places:
        server = await asyncio.create_subprocess_exec(os.environ["AYNI_MOCK"], "--case", path, **pipes)
        try:
            started = json.loads(await server.stdout.readline())
            outcome = await asyncio.wait_for(outcome_of(started["case"]), 20)
            request = urllib.request.Request(f"{started['base_url']}/__judge", json.dumps(outcome).encode())
            verdict = json.loads(await asyncio.to_thread(lambda: urllib.request.urlopen(request, timeout=10).read()))
            return verdict["differences"] + ["the verdict is against it"] * (not verdict["passed"])
        except LookupError as wrong:
            return [str(wrong)]
        finally:
            server.stdin.close()
            await server.wait()


@pytest.fixture(scope="module")
def verdicts():
    async def play(paths, at_a_time):
        places = asyncio.Semaphore(at_a_time)
        found = await asyncio.gather(*(judged(path, places) for path in paths), return_exceptions=True)
        return dict(zip(paths, found, strict=True))

    # Cases with time-outs of their own have the machine to themselves.
    timed = [path for path in [*CASES.values(), *MUST_FAIL.values()] if "context" in json.loads(path.read_text())]
    others = [path for path in [*CASES.values(), *MUST_FAIL.values()] if path not in timed]
    return asyncio.run(play(others, 8)) | asyncio.run(play(timed, 1))


@pytest.mark.parametrize("case", CASES)
def test_case(case, verdicts):
    assert verdicts[CASES[case]] == []


@pytest.mark.parametrize("case", MUST_FAIL)
def test_a_case_that_is_wrong_on_purpose_fails(case, verdicts):
    reason = json.loads(MUST_FAIL[case].read_text())["fails_with"]
    assert any(reason in difference for difference in verdicts[MUST_FAIL[case]])


def test_every_case_of_the_manifest_ran(verdicts):
    assert verdicts.keys() == {*SUITE.glob("cases/*/*.json"), *SUITE.glob("must-fail/*.json")}
    assert len(verdicts) == sum(map(len, MANIFEST["cases"].values())) + len(MANIFEST["must_fail"])
    assert MANIFEST["skips"] == {}
