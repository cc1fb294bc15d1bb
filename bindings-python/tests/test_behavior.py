"""The behaviour suite from Python: plays every case against its mock server, which judges what came of it."""

import asyncio
import base64
import json
import os
import re
import traceback
import urllib.request
from dataclasses import asdict
from pathlib import Path

import pytest

import ayni

SUITE = Path(__file__).resolve().parents[2] / "core/conformance"
MANIFEST = json.loads((SUITE / "manifest.json").read_text())
CASES = {f"{folder}/{name}": SUITE / "cases" / folder / f"{name}.json" for folder, names in MANIFEST["cases"].items() for name in names}
MUST_FAIL = {name: SUITE / "must-fail" / f"{name}.json" for name in MANIFEST["must_fail"]}
OPENERS = {"embed": ayni.Embedder, "chat": ayni.Chat, "image": ayni.ImageGenerator, "procure": ayni.Procurement}
AT_A_TIME = 8


def plain(value):
    """A result as the suite writes it."""
    if isinstance(value, ayni.Route):
        return {name: field for name, field in asdict(value).items() if field not in (None, ())}
    if isinstance(value, (ayni.Listing, ayni.Answer)):
        return json.loads(value.json)
    fields = {name: getattr(value, name) for name in value.__slots__}
    fields |= {"usage": asdict(value.usage), "route": plain(value.route)}
    if isinstance(value, ayni.EmbedResponse):
        # The number with the fewest digits that name it.
        fields["vectors"] = [[float(str(number)) for number in row] for row in value.vectors]
        fields |= {"count": len(value), "width": value.vectors.shape[1], "space": asdict(value.space)}
    elif isinstance(value, ayni.ImageResponse):
        fields |= {"count": len(value.images), "media_types": [image.media_type for image in value.images]}
        fields["images"] = [base64.b64encode(image.data).decode() for image in value.images]
    else:
        fields |= {name: [asdict(one) for one in getattr(value, name)] for name in ("tool_calls", "logprobs")}
    return fields


def decoded(image):
    return base64.b64decode(image.rpartition(",")[2] + "==")


def event(value):
    """An event of a stream as the suite writes it."""
    kind = re.sub("(?<!^)(?=[A-Z])", "_", type(value).__name__).lower().replace("tool_call_finished", "tool_call")
    return {"type": kind, **asdict(value)} | ({"route": plain(value.route)} if kind == "started" else {})


def error(failure, **more):
    names = ("kind", "persistence", "request_id", "sent", "operation", "backend", "message", "context", "partial_text")
    wait = failure.retry_after and round(failure.retry_after * 1000)
    shown = {"display": str(failure), "debug": "".join(traceback.format_exception(failure))}
    fields = {name: getattr(failure, name) for name in names} | {"http_status": failure.status, "retry_after_ms": wait}
    return {"error": fields | shown | more}


def progress(told):
    """An event of progress as the suite writes it: only what belongs to its type, times in milliseconds."""
    fields = {name: field for name, field in asdict(told).items() if field is not None}
    fields |= {f"{name}_ms": round(fields[name] * 1000) for name in {"elapsed", "wait"} & fields.keys()}
    fields |= {"preview": base64.b64encode(told.preview).decode()} if told.preview else {}
    names = {"from_backend": "from", "to_backend": "to"} | ({"done": "step"} if told.type == "image_step" else {})
    return {names.get(name, name): field for name, field in fields.items()}


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
    of = {kind: [one for one in events if type(one) is kind] for kind in (*map(type, events), ayni.Text, ayni.Reasoning)}
    [finish], [started] = of[ayni.Finish], of[ayni.Started]
    response = ayni.ChatResponse(
        text="".join(one.text for one in of[ayni.Text]),
        reasoning="".join(one.text for one in of[ayni.Reasoning]) or None,
        tool_calls=tuple(one.call for one in of.get(ayni.ToolCallFinished, ())),
        logprobs=tuple(token for one in of.get(ayni.Logprobs, ()) for token in one.logprobs),
        finish=finish.reason, usage=finish.usage, provider_data=finish.provider_data, route=started.route,
    )  # fmt: skip
    return {"ok": plain(response) | {"events": list(map(event, events))}}


def opened(case, env):
    opener = OPENERS.get(case["capability"])
    if opener is None:
        return ayni.ChatModes(env) if case["capability"] == "modes" else None
    return opener(case["config"], env=env) if "config" in case else opener.from_env(env)


async def perform(case, call, handle, env, options):
    operation, request = call["operation"], dict(call.get("request") or {})
    if operation in ("models", "health"):
        found = await getattr(ayni, operation)(case["config"], env=env, **options)
        return {"ok": {"count": len(found), "models": found} if operation == "models" else found}
    handle = handle.open(call.get("mode")) if case["capability"] == "modes" else handle
    images = [decoded(image) for image in request.pop("images", ())]
    inputs = [one.get("text") or decoded(one["image"]) for one in request.pop("inputs", ())]
    request |= {"mask": decoded(request["mask"])} if "mask" in request else {}
    first = {"embed": inputs, "chat": request.pop("messages", []), "generate": request.get("prompt", ""), "tender": request.get("code")}
    first |= {"stream": first["chat"], "refine": first["generate"], "quick_purchase": first["tender"]}
    arguments = [first[operation]] if operation in first else []
    arguments += [images] if operation == "refine" else []
    if not hasattr(handle, operation):
        raise LookupError(f"{handle} has no operation '{operation}'")
    request = {{"from": "from_"}.get(name, name): value for name, value in request.items() if name not in ("prompt", "code")}
    if operation == "stream":
        cancel_after = case.get("context", {}).get("cancel_after_events")
        return await joined(handle.stream(*arguments, **request, **options), cancel_after, options["cancellation"])
    return {"ok": plain(await getattr(handle, operation)(*arguments, **request, **options))}


async def outcome_of(case):
    spec, outcomes, told, env = case.get("context", {}), [], [], case.get("env", {})
    try:
        handle = opened(case, env)
    except ayni.AyniError as failure:
        return {"open_error": error(failure)["error"]}
    for call in case.get("calls") or [case["call"]]:
        options = {"progress": told.append, "cancellation": ayni.Cancellation(), "deadline": spec.get("timeout_ms") and spec["timeout_ms"] / 1000}
        options["timeouts"] = {name: spec[f"{name}_ms"] / 1000 for name in ("connect", "first_byte", "idle") if f"{name}_ms" in spec}
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
        started = json.loads(await server.stdout.readline())
        try:
            outcome = await asyncio.wait_for(outcome_of(started["case"]), 20)
        except LookupError as wrong:
            return [str(wrong)]
        request = urllib.request.Request(f"{started['base_url']}/__judge", json.dumps(outcome).encode())
        verdict = json.loads(await asyncio.to_thread(lambda: urllib.request.urlopen(request, timeout=10).read()))
        server.stdin.close()
        await server.wait()
        assert verdict["passed"] is (verdict["differences"] == [])
        return verdict["differences"]


@pytest.fixture(scope="module")
def verdicts():
    async def play(paths):
        places = asyncio.Semaphore(AT_A_TIME)
        return await asyncio.gather(*(judged(path, places) for path in paths), return_exceptions=True)

    paths = [*CASES.values(), *MUST_FAIL.values()]
    return dict(zip(paths, asyncio.run(play(paths)), strict=True))


@pytest.mark.parametrize("case", CASES)
def test_case(case, verdicts):
    assert verdicts[CASES[case]] == []


@pytest.mark.parametrize("case", MUST_FAIL)
def test_a_case_that_is_wrong_on_purpose_fails(case, verdicts):
    reason = json.loads(MUST_FAIL[case].read_text())["fails_with"]
    assert any(reason in difference for difference in verdicts[MUST_FAIL[case]])


def test_every_case_of_the_manifest_ran(verdicts):
    files = {*(SUITE / "cases").glob("*/*.json"), *(SUITE / "must-fail").glob("*.json")}
    assert verdicts.keys() == files
    assert len(verdicts) == sum(map(len, MANIFEST["cases"].values())) + len(MANIFEST["must_fail"])
    assert MANIFEST["skips"] == {}
