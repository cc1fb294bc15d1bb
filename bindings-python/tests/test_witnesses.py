"""The providers' own packages as witnesses: they and ayni say the same of one conversation, and read the same answers.

Both talk to the same server. What they send must be equal but for the differences that a test names, and the reason for
each stands beside it. What they read is compared by text, reasoning, calls and usage.
"""

import base64
import json

import anthropic
import google.genai
import groq
import mistralai.client
import openai
import pytest
from google.genai import types as google_types

import ayni
from loopback import Server, answer_json, head

PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
SCHEMA = {"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"]}
TOOL = {"name": "look", "description": "Looks at a place.", "parameters": SCHEMA}
OPTIONS = {"max_tokens": 64, "temperature": 0.5, "top_p": 0.9}

# The conversation in ayni's words: instruction, question with an image, a call, its result.
CONVERSATION = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": [{"type": "text", "text": "What is there?"}, {"type": "image", "image": PNG}]},
    {"role": "assistant", "content": "", "tool_calls": [{"id": "call_1", "name": "look", "arguments": '{"at":"Lima"}'}]},
    {"role": "tool", "tool_call_id": "call_1", "content": "a fox"},
]


def exchange(answer, official, config, messages, **options):
    """What the official client and ayni send for the same conversation, and what each makes of the answer."""

    async def keep(writer, body):
        bodies.append(json.loads(body))
        await answer_json(writer, answer)

    bodies = []
    with Server(keep) as server:
        theirs = official(server.url)
        ours = ayni.Chat({**config(server.url), "api_key": "key"}).chat_sync(messages, **options)
    [their_body, our_body] = bodies
    return their_body, our_body, theirs, ours


def read_by_ayni(response):
    """Text, reasoning, calls and usage of an answer."""
    usage = response.usage
    calls = [(call.id, call.name, json.loads(call.arguments or "{}")) for call in response.tool_calls]
    counts = (usage.input_tokens, usage.output_tokens, usage.reasoning_tokens, usage.cached_tokens)
    return response.text, response.reasoning, calls, counts


def without_nulls(value):
    """A body without fields that say nothing: clients that are made from a schema write them, the APIs don't need them."""
    if isinstance(value, dict):
        return {name: without_nulls(field) for name, field in value.items() if field is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


# OpenAI's protocol: OpenAI, Groq and Mistral.

CHAT_MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "What is there?"},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
        ],
    },
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"at":"Lima"}'}}],
    },
    {"role": "tool", "tool_call_id": "call_1", "content": "a fox"},
]
CHAT_TOOLS = [{"type": "function", "function": TOOL}]
CHAT_CALL = {"id": "call_2", "type": "function", "function": {"name": "look", "arguments": '{"at":"Quito"}'}}


def chat_answer(message, **usage):
    counts = {"prompt_tokens": 20, "completion_tokens": 12, "total_tokens": 32, **usage}
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "tool_calls", "logprobs": None}
    head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1760000000, "model": "served"}
    return {**head, "choices": [choice], "usage": counts}


DETAILS = {"completion_tokens_details": {"reasoning_tokens": 8}, "prompt_tokens_details": {"cached_tokens": 16}}


def read_by_openai(completion):
    message, usage = completion.choices[0].message, completion.usage
    calls = [(call.id, call.function.name, json.loads(call.function.arguments)) for call in message.tool_calls or ()]
    reasoning = getattr(message, "reasoning", None) or getattr(message, "reasoning_content", None)
    details = usage.completion_tokens_details, usage.prompt_tokens_details
    counts = (usage.prompt_tokens, usage.completion_tokens, details[0].reasoning_tokens, details[1].cached_tokens)
    return message.content or "", reasoning, calls, counts


@pytest.mark.parametrize(
    ("vendor", "client", "path"),
    [("openai", openai.OpenAI, "/v1"), ("groq", groq.Groq, "/openai/v1")],
)
def test_chat_completions_are_those_of_the_official_client(vendor, client, path):
    answer = chat_answer({"content": "Let me look.", "reasoning": "hm", "tool_calls": [CHAT_CALL]}, **DETAILS)

    def official(url):
        # Groq's client adds the path of its API itself.
        opened = client(api_key="key", base_url=url + (path if vendor == "openai" else ""), max_retries=0)
        return opened.chat.completions.create(
            model="gpt-4o-mini", messages=CHAT_MESSAGES, tools=CHAT_TOOLS, tool_choice="auto", seed=7, stop=["END"], **OPTIONS
        )

    config = lambda url: {"backend": "openai", "vendor": vendor, "model": "gpt-4o-mini", "base_url": url + path}  # noqa: E731
    theirs, ours, their_answer, our_answer = exchange(
        answer, official, config, CONVERSATION, tools=[TOOL], tool_choice="auto", seed=7, stop=["END"], **OPTIONS
    )
    assert ours == theirs
    assert read_by_ayni(our_answer) == read_by_openai(their_answer)


def test_mistrals_chat_is_that_of_the_official_client():
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}
    message = {"content": [thinking, {"type": "text", "text": "Let me look."}], "tool_calls": [CHAT_CALL]}
    answer = chat_answer(message, num_cached_tokens=16)

    def official(url):
        with mistralai.client.Mistral(api_key="key", server_url=url) as client:
            return client.chat.complete(
                model="m", messages=CHAT_MESSAGES, tools=CHAT_TOOLS, tool_choice="auto", random_seed=7, stop=["END"], **OPTIONS
            )

    config = lambda url: {"backend": "openai", "vendor": "mistral", "model": "m", "base_url": url + "/v1"}  # noqa: E731
    theirs, ours, their_answer, our_answer = exchange(
        answer, official, config, CONVERSATION, tools=[TOOL], tool_choice="auto", seed=7, stop=["END"], **OPTIONS
    )
    # Mistral's client writes defaults and nulls: whether to stream, whether a message is a prefix, strictness.
    theirs.pop("stream")
    for message in theirs["messages"]:
        message.pop("prefix", None)
        for call in message.get("tool_calls", ()):
            call.pop("index", None)
    for tool in theirs["tools"]:
        tool["function"].pop("strict", None)
    assert without_nulls(ours) == without_nulls(theirs)
    read, usage = their_answer.choices[0].message, their_answer.usage
    parts = {part.type: part for part in read.content}
    calls = [(call.id, call.function.name, json.loads(call.function.arguments)) for call in read.tool_calls]
    counts = (usage.prompt_tokens, usage.completion_tokens, None, 16)
    expected = (parts["text"].text, parts["thinking"].thinking[0].text, calls, counts)
    assert read_by_ayni(our_answer) == expected


# OpenAI's Responses.

RESPONSES_INPUT = [
    {"role": "system", "content": "Be brief."},
    {
        "role": "user",
        "content": [
            {"type": "input_text", "text": "What is there?"},
            {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}", "detail": "auto"},
        ],
    },
    {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": '{"at":"Lima"}'},
    {"type": "function_call_output", "call_id": "call_1", "output": "a fox"},
]


def test_responses_are_those_of_the_official_client():
    output = [
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}]},
        {
            "type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
            "content": [{"type": "output_text", "text": "Let me look.", "annotations": []}],
        },
        {"type": "function_call", "id": "fc_1", "call_id": "call_2", "name": "look", "arguments": '{"at":"Quito"}'},
    ]  # fmt: skip
    usage = {
        "input_tokens": 20, "input_tokens_details": {"cached_tokens": 16, "cache_write_tokens": 0},
        "output_tokens": 12, "output_tokens_details": {"reasoning_tokens": 8}, "total_tokens": 32,
    }  # fmt: skip
    answer = {
        "id": "resp_1", "object": "response", "created_at": 1760000000, "status": "completed", "model": "served",
        "output": output, "usage": usage, "parallel_tool_calls": True, "tool_choice": "auto", "tools": [],
    }  # fmt: skip

    def official(url):
        client = openai.OpenAI(api_key="key", base_url=url + "/v1", max_retries=0)
        return client.responses.create(
            model="gpt-5-mini", input=RESPONSES_INPUT, tools=[{"type": "function", **TOOL, "strict": False}],
            tool_choice="auto", max_output_tokens=64, temperature=0.5, top_p=0.9, store=False,
            include=["reasoning.encrypted_content"], reasoning={"effort": "low", "summary": "auto"},
        )  # fmt: skip

    def config(url):
        return {
            "backend": "openai", "model": "gpt-5-mini", "base_url": url + "/v1", "chat_api": "responses", "store": False,
        }  # fmt: skip

    theirs, ours, their_answer, our_answer = exchange(
        answer, official, config, CONVERSATION, tools=[TOOL], tool_choice="auto", reasoning="low", **OPTIONS
    )
    assert ours == theirs
    items = {item.type: item for item in their_answer.output}
    call, counted = items["function_call"], their_answer.usage
    expected = (
        their_answer.output_text, items["reasoning"].summary[0].text,
        [(call.call_id, call.name, json.loads(call.arguments))],
        (
            counted.input_tokens, counted.output_tokens, counted.output_tokens_details.reasoning_tokens,
            counted.input_tokens_details.cached_tokens,
        ),
    )  # fmt: skip
    assert read_by_ayni(our_answer) == expected


# Anthropic's Messages. Its client no longer knows `temperature` and `top_p`, which only older models take.

ANTHROPIC_MESSAGES = [
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "What is there?"},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
        ],
    },
    {"role": "assistant", "content": [{"type": "tool_use", "id": "call_1", "name": "look", "input": {"at": "Lima"}}]},
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_1", "content": "a fox"}]},
]


def anthropic_config(url):
    return {"backend": "anthropic", "model": "claude-sonnet-4-6", "base_url": url}


def test_messages_are_those_of_the_official_client():
    content = [
        {"type": "thinking", "thinking": "hm", "signature": "sig"},
        {"type": "text", "text": "Let me look.", "citations": None},
        {"type": "tool_use", "id": "call_2", "name": "look", "input": {"at": "Quito"}},
    ]
    usage = {
        "input_tokens": 4, "cache_read_input_tokens": 16, "cache_creation_input_tokens": 0, "output_tokens": 12,
        "output_tokens_details": {"thinking_tokens": 8},
    }  # fmt: skip
    answer = {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "served", "content": content,
        "stop_reason": "tool_use", "stop_sequence": None, "usage": usage,
    }  # fmt: skip

    def official(url):
        client = anthropic.Anthropic(api_key="key", base_url=url, max_retries=0)
        return client.messages.create(
            model="claude-sonnet-4-6", system="Be brief.", messages=ANTHROPIC_MESSAGES, stop_sequences=["END"],
            tools=[{"name": "look", "description": "Looks at a place.", "input_schema": SCHEMA}],
            tool_choice={"type": "auto"}, max_tokens=64,
        )  # fmt: skip

    theirs, ours, their_answer, our_answer = exchange(
        answer, official, anthropic_config, CONVERSATION, tools=[TOOL], tool_choice="auto", stop=["END"], max_tokens=64
    )
    assert ours == theirs
    blocks, counted = {block.type: block for block in their_answer.content}, their_answer.usage
    call = blocks["tool_use"]
    # Anthropic counts cached input beside the rest; ayni counts it in, as every other provider does.
    given = counted.input_tokens + counted.cache_read_input_tokens + counted.cache_creation_input_tokens
    counts = (given, counted.output_tokens, counted.output_tokens_details.thinking_tokens, counted.cache_read_input_tokens)
    expected = (blocks["text"].text, blocks["thinking"].thinking, [(call.id, call.name, call.input)], counts)
    assert read_by_ayni(our_answer) == expected


# Google's own API.


def google_contents():
    part, content = google_types.Part, google_types.Content
    call = google_types.FunctionCall(name="look", args={"at": "Lima"})
    result = google_types.FunctionResponse(name="look", response={"result": "a fox"})
    image = google_types.Blob(mime_type="image/png", data=base64.b64decode(PNG))
    return [
        content(role="user", parts=[part(text="What is there?"), part(inline_data=image)]),
        content(role="model", parts=[part(function_call=call)]),
        content(role="user", parts=[part(function_response=result)]),
    ]


def as_documented(value):
    """A body with the names and the base64 of Google's documentation. Its client writes some names with underscores and
    base64 in the alphabet of URLs; the API takes both."""
    names = {"mime_type": "mimeType", "parameters_json_schema": "parametersJsonSchema"}
    if isinstance(value, dict):
        fields = {names.get(name, name): as_documented(field) for name, field in value.items()}
        if "mimeType" in fields:
            fields["data"] = fields["data"].replace("-", "+").replace("_", "/")
        return fields
    return [as_documented(item) for item in value] if isinstance(value, list) else value


def test_geminis_contents_are_those_of_the_official_client():
    parts = [
        {"text": "hm", "thought": True},
        {"text": "Let me look."},
        {"functionCall": {"id": "call_2", "name": "look", "args": {"at": "Quito"}}},
    ]
    usage = {"promptTokenCount": 20, "candidatesTokenCount": 4, "thoughtsTokenCount": 8, "cachedContentTokenCount": 16}
    candidate = {"content": {"parts": parts, "role": "model"}, "finishReason": "STOP", "index": 0}
    answer = {"candidates": [candidate], "usageMetadata": {**usage, "totalTokenCount": 32}, "modelVersion": "served"}

    def official(url):
        client = google.genai.Client(api_key="key", http_options=google_types.HttpOptions(base_url=url))
        declared = google_types.FunctionDeclaration(
            name="look", description="Looks at a place.", parameters_json_schema=SCHEMA
        )
        asked = google_types.GenerateContentConfig(
            system_instruction=google_types.Content(parts=[google_types.Part(text="Be brief.")]),
            tools=[google_types.Tool(function_declarations=[declared])],
            tool_config=google_types.ToolConfig(
                function_calling_config=google_types.FunctionCallingConfig(mode="AUTO")
            ),
            max_output_tokens=64, temperature=0.5, top_p=0.9, seed=7, stop_sequences=["END"],
            automatic_function_calling=google_types.AutomaticFunctionCallingConfig(disable=True),
        )  # fmt: skip
        return client.models.generate_content(model="gemini-2.5-flash", contents=google_contents(), config=asked)

    config = lambda url: {"backend": "gemini", "model": "gemini-2.5-flash", "base_url": url + "/v1beta"}  # noqa: E731
    theirs, ours, their_answer, our_answer = exchange(
        answer, official, config, CONVERSATION, tools=[TOOL], tool_choice="auto", seed=7, stop=["END"], **OPTIONS
    )
    assert ours == as_documented(theirs)
    read, counted = their_answer.candidates[0].content.parts, their_answer.usage_metadata
    call = read[2].function_call
    # Google counts thoughts beside the answer; ayni counts them in, as every other provider does.
    output = counted.candidates_token_count + counted.thoughts_token_count
    counts = (counted.prompt_token_count, output, counted.thoughts_token_count, counted.cached_content_token_count)
    expected = (read[1].text, read[0].text, [(call.id, call.name, call.args)], counts)
    assert read_by_ayni(our_answer) == expected


# Streams.


def stream_exchange(frames, official, config):
    """What the official client and ayni make of the same server-sent events."""

    async def stream(writer, body):
        named = "type" in frames[0]
        events = (f"event: {frame['type']}\n" if named else "" for frame in frames)
        data = "".join(f"{event}data: {json.dumps(frame)}\n\n" for event, frame in zip(events, frames, strict=True))
        data += "" if named else "data: [DONE]\n\n"
        writer.write(head("text/event-stream", len(data.encode())) + data.encode())
        await writer.drain()

    with Server(stream) as server:
        theirs = official(server.url)
        events = list(ayni.Chat({**config(server.url), "api_key": "key"}).stream_sync("What is there?", max_tokens=64))
    text = "".join(event.text for event in events if isinstance(event, ayni.Text))
    reasoning = "".join(event.text for event in events if isinstance(event, ayni.Reasoning))
    calls = [event.call for event in events if isinstance(event, ayni.ToolCallFinished)]
    return theirs, (text, reasoning, [(call.id, call.name, json.loads(call.arguments)) for call in calls], events[-1])


def test_a_stream_of_messages_is_that_of_the_official_client():
    block = lambda index, start, *deltas: [  # noqa: E731
        {"type": "content_block_start", "index": index, "content_block": start},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]
    message = {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "served", "content": [],
        "stop_reason": None, "stop_sequence": None, "usage": {"input_tokens": 9, "output_tokens": 1},
    }  # fmt: skip
    frames = [
        {"type": "message_start", "message": message},
        *block(
            0, {"type": "thinking", "thinking": "", "signature": ""}, {"type": "thinking_delta", "thinking": "hm"},
            {"type": "signature_delta", "signature": "sig"},
        ),
        *block(1, {"type": "text", "text": ""}, {"type": "text_delta", "text": "Let me "}, {"type": "text_delta", "text": "look."}),
        *block(
            2, {"type": "tool_use", "id": "call_2", "name": "look", "input": {}},
            {"type": "input_json_delta", "partial_json": '{"at":'}, {"type": "input_json_delta", "partial_json": ' "Quito"}'},
        ),
        {"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": None}, "usage": {"output_tokens": 12}},
        {"type": "message_stop"},
    ]  # fmt: skip

    def official(url):
        client = anthropic.Anthropic(api_key="key", base_url=url, max_retries=0)
        asked = [{"role": "user", "content": "What is there?"}]
        with client.messages.stream(model="claude-sonnet-4-6", max_tokens=64, messages=asked) as stream:
            return stream.get_final_message()

    theirs, (text, reasoning, calls, finish) = stream_exchange(frames, official, anthropic_config)
    thought, said, call = theirs.content
    assert (text, reasoning, calls) == (said.text, thought.thinking, [(call.id, call.name, call.input)])
    assert (finish.usage.input_tokens, finish.usage.output_tokens) == (theirs.usage.input_tokens, theirs.usage.output_tokens)
    # The blocks that ayni keeps to send back are those of the official client.
    kept = [without_nulls(one.model_dump(mode="json")) for one in theirs.content]
    assert finish.provider_data["blocks"] == kept


def test_a_stream_of_chunks_is_that_of_the_official_client():
    delta = lambda fields, **more: {  # noqa: E731
        "id": "1", "object": "chat.completion.chunk", "created": 1, "model": "served",
        "choices": [{"index": 0, "delta": fields, "finish_reason": None, **more}],
    }  # fmt: skip
    piece = lambda **function: delta({"tool_calls": [{"index": 0, "function": function}]})  # noqa: E731
    opened = {"index": 0, "id": "call_2", "type": "function", "function": {"name": "look", "arguments": ""}}
    frames = [
        delta({"role": "assistant", "content": "Let me "}),
        delta({"content": "look."}),
        delta({"tool_calls": [opened]}),
        piece(arguments='{"at":'),
        piece(arguments=' "Quito"}'),
        delta({}, finish_reason="tool_calls"),
        {**delta({}), "choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 12, "total_tokens": 21}},
    ]

    def official(url):
        client = openai.OpenAI(api_key="key", base_url=url + "/v1", max_retries=0)
        asked = [{"role": "user", "content": "What is there?"}]
        options = {"include_usage": True}
        with client.chat.completions.stream(model="gpt-4o-mini", messages=asked, stream_options=options) as stream:
            return stream.get_final_completion()

    config = lambda url: {"backend": "openai", "model": "gpt-4o-mini", "base_url": url + "/v1"}  # noqa: E731
    theirs, (text, _, calls, finish) = stream_exchange(frames, official, config)
    message = theirs.choices[0].message
    [call] = message.tool_calls
    assert (text, calls) == (message.content, [(call.id, call.function.name, json.loads(call.function.arguments))])
    counts = (theirs.usage.prompt_tokens, theirs.usage.completion_tokens)
    assert (finish.usage.input_tokens, finish.usage.output_tokens) == counts
