"""Errors from Python, and configurations that are wrong."""

import asyncio
import json
import pickle

import pytest

import ayni
from ayni import _ayni, _errors
from conftest import ROOT
from loopback import Server

KINDS = {entry["kind"]: entry for entry in json.loads((ROOT / "docs/reference/error-kinds.json").read_text())}


def failing(kind):
    return ayni.Chat(backend="scripted", failures=[kind] * 9, policy={"retry": {"max_retries": 0}})


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_class(kind):
    with pytest.raises(ayni.AyniError) as raised:
        failing(kind).chat_sync("hola")
    error = raised.value
    assert type(error) is getattr(ayni, type(error).__name__) is _errors.CLASSES[kind]
    assert type(error).__name__.lower() == kind.replace("_", "")
    assert type(error).__module__ == "ayni"
    assert (error.kind, error.backend, error.operation) == (kind, "scripted", "chat")
    assert error.message in str(error) and "\n" not in str(error)


def test_there_is_no_class_without_a_kind():
    assert _errors.CLASSES.keys() == KINDS.keys() == set(ayni.ERROR_KINDS)
    assert _errors.CLASSES.keys() == {kind.kind for kind in ayni.AyniError.__subclasses__()}


def test_a_time_out_is_one_of_python_s_too():
    with pytest.raises(TimeoutError):
        failing("timeout").chat_sync("hola")


async def busy(writer, body):
    writer.write(b"HTTP/1.1 429 Too Many\r\nretry-after: 3\r\nx-request-id: r-7\r\ncontent-length: 2\r\n\r\n{}")
    await writer.drain()


def test_what_the_server_said_is_in_the_error(hosted):
    with Server(busy) as server, pytest.raises(ayni.RateLimited) as raised:
        asyncio.run(hosted(server.url).chat("hola"))
    error = raised.value
    assert (error.status, error.retry_after, error.request_id, error.sent) == (429, 3.0, "r-7", "yes")
    assert error.persistence in ("temporary", "exhausted")
    assert error.retryable is (error.persistence == "temporary")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is ayni.RateLimited
    assert (str(again), again.__dict__) == (str(error), error.__dict__)


def test_a_refused_connection_is_the_cause(hosted):
    with pytest.raises(ayni.Unavailable) as raised:
        hosted("http://127.0.0.1:1").chat_sync("hola")
    assert "refused" in str(raised.value.__cause__).lower()
    assert raised.value.sent == "no"


def test_the_route_names_everybody_who_failed():
    chat = ayni.Chat(
        backend="scripted", model="first", failures=["unavailable"] * 9,
        fallback=[{"backend": "scripted", "model": "second", "failures": ["quota_exceeded"] * 9}],
        policy={"retry": {"max_retries": 0}},
    )  # fmt: skip
    with pytest.raises(ayni.QuotaExceeded) as raised:
        chat.chat_sync("hola")
    assert [(failure.model, failure.kind) for failure in raised.value.route] == [
        ("first", "unavailable"), ("second", "quota_exceeded"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("open_it", "words"),
    [
        (lambda: ayni.Embedder(), ["`backend` is missing", "openai", "local"]),
        (lambda: ayni.Embedder(backend="opnai"), ["unknown variant `opnai`", "`openai`"]),
        (lambda: ayni.Chat(backend="scripted", modle="m"), ["unknown field `modle`", "`model`"]),
        (lambda: ayni.Chat(backend="scripted", policy={"retyr": {}}), ["policy: unknown field `retyr`", "`retry`"]),
        (lambda: ayni.Chat(backend="openai", api_key=7), ["`api_key`: invalid type: integer, expected a string"]),
        (lambda: ayni.Chat(backend="scripted", policy={"retry": 3}), ["policy: invalid type: integer"]),
        (lambda: ayni.ImageGenerator(backend="openai", model="m"), ["OPENAI_API_KEY is not set"]),
        (lambda: ayni.Procurement(backend="mercado_publico", page_size=7), ["`page_size`"]),
        (lambda: ayni.Embedder({"backend": "scripted"}, backend="local"), ["`backend` is given twice"]),
        (lambda: ayni.Embedder("some/folder/that/is/not/there/at/all"), ["some/folder"]),
    ],
)
def test_a_wrong_configuration_says_what_to_mend(open_it, words, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ayni.AyniError) as raised:
        open_it()
    assert isinstance(raised.value, ayni.ConfigInvalid)
    assert all(word in str(raised.value) for word in words), raised.value


SECRET = "a-canary-that-nobody-may-see"


@pytest.mark.parametrize(
    "call",
    [
        lambda: ayni.Chat(backend="openai", api_key=[SECRET]),
        lambda: ayni.Chat(backend="openai", api_key=SECRET, max_batch=SECRET),
        lambda: ayni.Chat(backend="scripted").chat_sync("hola", temperature=SECRET),
        lambda: ayni.Chat(backend="scripted").chat_sync([{"role": "user", "content": {"x": SECRET}}]),
        lambda: ayni.Chat(backend="scripted").chat_sync([{"role": "user", "content": [{"type": SECRET}]}]),
        lambda: ayni.Chat(backend="scripted").chat_sync([{"content": [{"type": "image", "image": SECRET}]}]),
        lambda: ayni.Chat(backend="scripted").chat_sync([{"role": "user", "content": SECRET, "tool_calls": SECRET}]),
    ],
)
def test_no_error_repeats_what_it_was_given(call):
    with pytest.raises(ayni.AyniError) as raised:
        call()
    assert SECRET not in f"{raised.value} {raised.value.__dict__} {raised.value.__cause__}"


def test_a_number_of_seconds_that_is_none_is_refused(scripted):
    for wrong in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ayni.InvalidRequest, match="`deadline` is no number of seconds"):
            scripted.embed_sync(["text"], deadline=wrong)
    with pytest.raises(ayni.InvalidRequest, match="`timeouts` has no 'conect'"):
        scripted.embed_sync(["text"], timeouts={"conect": 1.0})


def test_the_option_that_is_wrong_is_named(scripted):
    for name, wrong in {"role": "qeury", "dimensions": -1, "truncation": 5}.items():
        with pytest.raises(ayni.InvalidRequest, match=f"`{name}`"):
            scripted.embed_sync(["text"], **{name: wrong})


def test_a_structure_that_holds_itself_is_refused():
    loop = []
    loop.append(loop)
    with pytest.raises(ValueError, match="levels"):
        ayni.Chat(backend="scripted", replies=loop)


@pytest.mark.skipif(not hasattr(_ayni, "panic_inside"), reason="a release build panics for nobody")
@pytest.mark.parametrize("late", [False, True])
def test_a_panic_is_an_error_and_not_the_end(late):
    async def main():
        future = asyncio.get_running_loop().create_future()
        _ayni.panic_inside(late, (None, future))
        await future

    with pytest.raises(ayni.Unexpected, match="ayni panicked"):
        asyncio.run(main())
    with pytest.raises(BaseException, match="out of bounds" if late else "ayni panicked"):
        _ayni.panic_inside(late, None)
    assert ayni.Chat(backend="scripted").chat_sync("hola").text
    assert asyncio.run(ayni.Chat(backend="scripted").chat("hola")).text
