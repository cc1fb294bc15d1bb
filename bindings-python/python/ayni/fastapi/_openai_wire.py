"""OpenAI's JSON, and how it becomes ayni's requests and answers."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ayni import (
    ChatEvent,
    ChatResponse,
    Finish,
    InvalidRequest,
    Logprobs,
    Reasoning,
    Text,
    TokenLogprob,
    ToolCallArguments,
    ToolCallStarted,
    Unsupported,
    Usage,
)
from ayni.fastapi._clip import decoded



class FunctionCall(BaseModel):
    """What a tool is called with."""

    name: str
    arguments: str = ""


class WireToolCall(BaseModel):
    """A call of a tool."""

    id: str
    type: Literal["function"] = "function"
    function: FunctionCall


class WireMessage(BaseModel):
    """One message of a conversation."""

    model_config = ConfigDict(extra="ignore")
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[dict[str, Any]] | None = None
    name: str | None = None
    tool_calls: list[WireToolCall] | None = None
    tool_call_id: str | None = None
    reasoning_content: str | None = None


class StreamOptions(BaseModel):
    """What a stream tells."""

    include_usage: bool = False
    include_obfuscation: bool | None = None


class ChatBody(BaseModel):
    """A chat completion. Fields that change nothing about the answer are taken and left alone; unknown ones are refused."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"model": "scripted", "messages": [{"role": "user", "content": "hola"}], "max_tokens": 64}]
        },
    )
    model: str = Field(min_length=1, max_length=256)
    messages: list[WireMessage] = Field(min_length=1)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(default=None, ge=1, le=1_000_000)
    max_completion_tokens: int | None = Field(default=None, ge=1, le=1_000_000)
    temperature: float | None = Field(default=None, ge=0, le=2, allow_inf_nan=False)
    top_p: float | None = Field(default=None, ge=0, le=1, allow_inf_nan=False)
    top_k: int | None = Field(default=None, ge=1, le=1_000_000)
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2, allow_inf_nan=False)
    presence_penalty: float | None = Field(default=None, ge=-2, le=2, allow_inf_nan=False)
    seed: int | None = Field(default=None, ge=0, le=(1 << 63) - 1)
    stop: str | list[str] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    response_format: dict[str, Any] | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high"] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    n: int | None = Field(default=None, ge=1, le=128)
    logit_bias: dict[str, float] | None = None
    user: str | None = None
    metadata: dict[str, Any] | None = None
    store: bool | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None


class EmbeddingsBody(BaseModel):
    """Texts to embed."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"model": "scripted", "input": ["hola", "hello"], "encoding_format": "float"}]},
    )
    model: str = Field(min_length=1, max_length=256)
    input: str | list[str] | list[int] | list[list[int]]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = Field(default=None, ge=1, le=65_536)
    user: str | None = None


class ImagesBody(BaseModel):
    """An image to make."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"model": "scripted", "prompt": "a red fox in the snow", "size": "64x64"}]},
    )
    prompt: str = Field(min_length=1, max_length=32_000)
    model: str | None = Field(default=None, max_length=256)
    n: int | None = Field(default=None, ge=1, le=10)
    size: str | None = Field(default=None, pattern=r"^(auto|[1-9]\d{1,3}x[1-9]\d{1,3})$")
    response_format: Literal["url", "b64_json"] | None = None
    user: str | None = None


def _part(part: dict[str, Any]) -> dict[str, Any]:
    kind = part.get("type")
    if kind in ("text", "refusal") and isinstance(part.get(kind), str):
        return {"type": "text", "text": part[kind]}
    url = part["image_url"].get("url") if kind == "image_url" and isinstance(part.get("image_url"), dict) else None
    if not isinstance(url, str):
        raise InvalidRequest("`messages`: a part is a text or an image_url with a `url`")
    if url[:5].lower() == "data:":
        return {"type": "image", "image": decoded(url, "image_url")}
    return {"type": "image_url", "url": url}


def message_of(message: WireMessage) -> dict[str, Any]:
    """A message as ayni has it."""
    found: dict[str, Any] = {"role": "system" if message.role == "developer" else message.role}
    content = message.content
    found["content"] = [_part(part) for part in content] if isinstance(content, list) else content or ""
    for name in ("name", "tool_call_id"):
        if (value := getattr(message, name)) is not None:
            found[name] = value
    if message.reasoning_content is not None and message.role == "assistant":
        found["reasoning"] = message.reasoning_content
    if message.tool_calls:
        found["tool_calls"] = [
            {"id": call.id, "name": call.function.name, "arguments": call.function.arguments}
            for call in message.tool_calls
        ]
    return found


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    function = tool.get("function")
    if tool.get("type") != "function" or not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise InvalidRequest("`tools`: a tool has the type function and a function with a name")
    parameters = function.get("parameters")
    return {
        "name": function["name"],
        "description": str(function.get("description") or ""),
        "parameters": {"type": "object", "properties": {}} if parameters is None else parameters,
        "strict": bool(function.get("strict")),
    }


def _tool_choice(choice: str | dict[str, Any]) -> Any:
    if isinstance(choice, str):
        if choice not in ("auto", "none", "required"):
            raise InvalidRequest("`tool_choice` is unknown; valid: auto, none, required, or a function")
        return choice
    function = choice.get("function")
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise InvalidRequest("`tool_choice` names no function")
    return {"tool": function["name"]}


def _output(form: dict[str, Any]) -> Any:
    kind = form.get("type")
    if kind == "text":
        return "text"
    if kind == "json_object":
        return "json"
    schema = form.get("json_schema")
    if kind != "json_schema" or not isinstance(schema, dict) or not isinstance(schema.get("schema"), dict):
        raise InvalidRequest("`response_format` is unknown; valid: text, json_object, json_schema with a schema")
    name, strict = str(schema.get("name") or "answer"), bool(schema.get("strict"))
    return {"json_schema": {"name": name, "schema": schema["schema"], "strict": strict}}


def options_of(body: ChatBody) -> dict[str, Any]:
    """The options of a chat; refuses what would silently change the answer."""
    if (body.n or 1) != 1:
        raise Unsupported("`n` is not offered: one answer a request")
    if body.logit_bias:
        raise Unsupported("`logit_bias` is not offered")
    options: dict[str, Any] = {
        name: getattr(body, name)
        for name in ("temperature", "top_p", "top_k", "frequency_penalty", "presence_penalty", "seed")
    }
    options["max_tokens"] = body.max_completion_tokens or body.max_tokens
    options["stop"] = [body.stop] if isinstance(body.stop, str) else body.stop
    options["tools"] = [_tool(tool) for tool in body.tools] if body.tools else None
    options["tool_choice"] = None if body.tool_choice is None else _tool_choice(body.tool_choice)
    options["output"] = None if body.response_format is None else _output(body.response_format)
    options["reasoning"] = {"minimal": "low"}.get(body.reasoning_effort or "", body.reasoning_effort)
    options["logprobs"] = (body.top_logprobs or 0) if body.logprobs else None
    return options


def usage_of(usage: Usage) -> dict[str, Any] | None:
    """The tokens used; nothing where the backend does not say."""
    if usage.input_tokens is None and usage.output_tokens is None:
        return None
    given, made = usage.input_tokens or 0, usage.output_tokens or 0
    found: dict[str, Any] = {"prompt_tokens": given, "completion_tokens": made, "total_tokens": given + made}
    if usage.reasoning_tokens is not None:
        found["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning_tokens}
    if usage.cached_tokens is not None:
        found["prompt_tokens_details"] = {"cached_tokens": usage.cached_tokens}
    return found


def _logprobs(tokens: tuple[TokenLogprob, ...]) -> dict[str, Any]:
    def one(token: str, logprob: float) -> dict[str, Any]:
        return {"token": token, "logprob": logprob, "bytes": list(token.encode())}

    content = [
        one(token.token, token.logprob) | {"top_logprobs": [one(*other) for other in token.top]} for token in tokens
    ]
    return {"content": content, "refusal": None}


def completion(response: ChatResponse, head: dict[str, Any]) -> dict[str, Any]:
    """An answer in one piece."""
    message: dict[str, Any] = {"role": "assistant", "content": response.text or None, "refusal": None}
    if response.reasoning is not None:
        message["reasoning_content"] = response.reasoning
    if response.tool_calls:
        message["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in response.tool_calls
        ]
    elif message["content"] is None:
        message["content"] = ""
    choice = {"index": 0, "message": message, "finish_reason": response.finish, "logprobs": None}
    if response.logprobs:
        choice["logprobs"] = _logprobs(response.logprobs)
    return head | {"object": "chat.completion", "choices": [choice], "usage": usage_of(response.usage)}


def chunk(event: ChatEvent, head: dict[str, Any]) -> dict[str, Any] | None:
    """A piece of an answer; ``None`` for what OpenAI's streams do not tell."""
    choice: dict[str, Any] = {"index": 0, "delta": {}, "finish_reason": None, "logprobs": None}
    if isinstance(event, Text):
        choice["delta"] = {"content": event.text}
    elif isinstance(event, Reasoning):
        choice["delta"] = {"reasoning_content": event.text}
    elif isinstance(event, ToolCallStarted):
        function = {"name": event.name, "arguments": ""}
        choice["delta"] = {
            "tool_calls": [{"index": event.index, "id": event.id, "type": "function", "function": function}]
        }
    elif isinstance(event, ToolCallArguments):
        choice["delta"] = {"tool_calls": [{"index": event.index, "function": {"arguments": event.piece}}]}
    elif isinstance(event, Logprobs):
        choice["logprobs"] = _logprobs(event.logprobs)
    elif isinstance(event, Finish):
        choice["finish_reason"] = event.reason
    else:
        return None
    return head | {"object": "chat.completion.chunk", "choices": [choice]}
