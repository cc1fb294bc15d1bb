"""Chat from Python."""

import asyncio
import base64
import io
import json
import subprocess
import sys
from pathlib import Path

import PIL.Image
import pydantic
import pytest

import ayni
from conftest import ROOT
from loopback import Server, answer_json, chat_answer

PICTURE = ROOT / "core/tests/golden/images/grey.png"


def replying(*replies):
    return ayni.Chat(backend="scripted", replies=list(replies))


class Triage(pydantic.BaseModel):
    priority: int
    reason: str


def test_a_conversation_is_a_question_or_messages_of_either_form():
    async def keep(writer, body):
        bodies.append(json.loads(body)["messages"])
        await answer_json(writer, chat_answer("hola"))

    bodies = []
    with Server(keep) as server:
        chat = ayni.Chat(backend="openai", vendor="custom", base_url=f"{server.url}/v1", model="m")
        chat.chat_sync("hola")
        chat.chat_sync(["hola"])
        chat.chat_sync([{"role": "user", "content": "hola"}])
        chat.chat_sync({"role": "user", "content": "hola"})
        chat.chat_sync([{"role": "system", "content": "short"}, "hola"])
    user = {"role": "user", "content": "hola"}
    assert bodies == [[user]] * 4 + [[{"role": "system", "content": "short"}, user]]


def test_a_part_that_is_wrong_is_named():
    content = [{"type": "text", "text": "what is it?"}, {"type": "movie", "movie": b"..."}]
    with pytest.raises(ayni.InvalidRequest, match=r"content part 1 has the unknown type 'movie'; valid: text, image,"):
        replying().chat_sync({"role": "user", "content": content})


def test_files_and_everything_else_of_an_answer_cross_as_data():
    async def answer(writer, body):
        bodies.append(json.loads(body))
        picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + base64.b64encode(data).decode()}}
        source = {"type": "url_citation", "url_citation": {"url": "https://a.test", "title": "A", "start_index": 0, "end_index": 4}}
        answered = chat_answer("Hola")
        answered["choices"][0]["message"] |= {"images": [picture], "annotations": [source]}
        await answer_json(writer, answered | {"id": "1", "service_tier": "flex"})

    bodies, data = [], PICTURE.read_bytes()
    with Server(answer) as server:
        chat = ayni.Chat(backend="openai", vendor="openrouter", base_url=f"{server.url}/v1", model="m", api_key="k")
        document = {"type": "file", "file": b"%PDF-1.7", "name": "a.pdf"}
        found = chat.chat_sync({"role": "user", "content": [{"type": "text", "text": "?"}, document]})
    assert bodies[0]["messages"][0]["content"][1]["file"]["file_data"] == "data:application/pdf;base64,JVBERi0xLjc="
    assert [part["type"] for part in found.parts] == ["text", "image"]
    assert (found.annotations[0].url, found.annotations[0].end) == ("https://a.test", 4)
    assert (found.metadata["id"], found.metadata["service_tier"]) == ("1", "flex")
    assert found.to_message()["content"] == list(found.parts)


@pytest.mark.parametrize("form", [Path, Path.read_bytes, lambda path: bytearray(path.read_bytes()), PIL.Image.open])
def test_images_of_a_message_are_sent_whatever_their_form(form):
    async def keep(writer, body):
        bodies.append(json.loads(body))
        await answer_json(writer, chat_answer("a picture"))

    bodies = []
    content = [{"type": "text", "text": "what is it?"}, {"type": "image", "image": form(PICTURE)}]
    with Server(keep) as server:
        chat = ayni.Chat(backend="openai", vendor="custom", base_url=f"{server.url}/v1", model="m")
        message = {"role": "user", "content": content}
        assert asyncio.run(chat.chat([message])).text == chat.chat_sync([message]).text == "a picture"
    for body in bodies:
        kind, _, encoded = body["messages"][0]["content"][1]["image_url"]["url"].partition(";base64,")
        assert kind == "data:image/png"
        sent = PIL.Image.open(io.BytesIO(base64.b64decode(encoded)))
        assert sent.tobytes() == PIL.Image.open(PICTURE).tobytes()


def test_a_stream_gives_the_same_answer_awaited_and_synchronous():
    reply = {"text": "uno dos tres", "reasoning": "because"}

    async def events():
        return [event async for event in replying(reply).stream("hola")]

    awaited = asyncio.run(events())
    assert awaited == list(replying(reply).stream_sync("hola"))
    assert type(awaited[0]) is ayni.Started and type(awaited[-1]) is ayni.Finish
    assert "".join(event.text for event in awaited if isinstance(event, ayni.Text)) == "uno dos tres"
    assert "".join(event.text for event in awaited if isinstance(event, ayni.Reasoning)) == "because"


def test_a_stream_that_was_read_to_its_end_stays_at_its_end():
    stream = replying({"text": "hola"}).stream_sync("hola")
    assert len(list(stream)) > 2
    assert list(stream) == []

    async def again():
        stream = replying({"text": "hola"}).stream("hola")
        return [event async for event in stream], [event async for event in stream]

    first, second = asyncio.run(again())
    assert first and second == []


def test_tools_come_as_calls_and_go_back_as_messages():
    call = {"id": "c1", "name": "weather", "arguments": '{"place": "Valdivia"}'}
    chat = replying({"tool_calls": [call]})
    tool = {"name": "weather", "parameters": {"type": "object", "properties": {"place": {"type": "string"}}}}
    response = chat.chat_sync("will it rain?", tools=[tool], tool_choice="auto")
    assert response.finish == "tool_calls"
    assert [given.parse_arguments() for given in response.tool_calls] == [{"place": "Valdivia"}]
    answer = {"role": "tool", "tool_call_id": "c1", "content": "it will"}
    assert "it will" in chat.chat_sync(["will it rain?", response.to_message(), answer]).text


def test_arguments_that_are_no_json_are_an_error_of_the_answer():
    with pytest.raises(ayni.ResponseInvalid, match="tool 'weather'"):
        ayni.ToolCall("c1", "weather", "{").parse_arguments()
    assert ayni.ToolCall("c1", "weather", " ").parse_arguments() == {}


PAIN = '{"priority": 2, "reason": "pain"}'


@pytest.mark.parametrize("text", [PAIN, f"```json\n{PAIN}\n```"])
def test_an_answer_is_parsed_as_a_pydantic_model(text):
    expected = Triage(priority=2, reason="pain")
    assert asyncio.run(replying({"text": text}).parse(Triage, "my head")) == expected
    assert replying({"text": text}).parse_sync(Triage, "my head") == expected


def test_an_answer_that_does_not_follow_the_model_shows_nothing_of_itself():
    with pytest.raises(ayni.ResponseInvalid, match="does not follow Triage: 2 faults") as raised:
        replying({"text": '{"priority": "my secret"}'}).parse_sync(Triage, "my head")
    assert "secret" not in str(raised.value)
    assert isinstance(raised.value.__cause__, pydantic.ValidationError)


def test_the_schema_of_the_model_is_asked_for():
    async def keep(writer, body):
        bodies.append(json.loads(body))
        await answer_json(writer, chat_answer('{"priority": 1, "reason": "r"}'))

    bodies = []
    with Server(keep) as server:
        chat = ayni.Chat(backend="openai", vendor="custom", base_url=f"{server.url}/v1", model="m")
        chat.parse_sync(Triage, "my head")
    assert bodies[0]["response_format"]["json_schema"]["schema"]["properties"].keys() == {"priority", "reason"}


def test_neither_pydantic_nor_pillow_is_imported_before_it_is_needed():
    program = "import sys, ayni; print([name for name in ('pydantic', 'PIL') if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


def test_the_chat_modes_of_an_environment_open_once_and_never_for_each_other():
    modes = ayni.ChatModes.from_env({"DEFAULT_LLM_MODE": "mock"})
    assert modes.default_mode == "mock" and "hf-qwen2.5" in modes.names()
    assert modes.open().chat_sync("hola").route.model == modes.open("mock").info().model == "mock"
    problems = {mode.mode: mode.problem for mode in modes.describe()}
    assert problems["mock"] is None and "HF_API_TOKEN" in problems["hf-qwen2.5"]
    with pytest.raises(ayni.ConfigInvalid, match="HF_API_TOKEN is not set"):
        modes.open("hf-qwen2.5")
    with pytest.raises(ayni.InvalidRequest, match="llm_mode 'gpt' is unknown"):
        modes.open("gpt")
    asyncio.run(modes.warm_up())
    modes.warm_up_sync()


def test_calls_are_counted_for_prometheus():
    ayni.Chat(backend="scripted", model="counted-here").chat_sync("hola")
    lines = [line for line in ayni.prometheus_text().splitlines() if "counted-here" in line]
    assert any(line.endswith(" 1") for line in lines), lines
