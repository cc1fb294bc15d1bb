"""LangChain classes on ayni's backends: ``AyniEmbeddings``, ``AyniChatModel``. Needs the extra ``ayni[langchain]``.

>>> from ayni import Chat, Embedder
>>> from ayni.langchain import AyniChatModel, AyniEmbeddings
>>> len(AyniEmbeddings(Embedder(backend="scripted")).embed_query("hola"))
16
>>> AyniChatModel(chat=Chat(backend="scripted", replies=[{"text": "¡hola!"}])).invoke("hello").content
'¡hola!'
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any

try:
    from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
    from langchain_core.embeddings import Embeddings
    from langchain_core.language_models import BaseChatModel, LanguageModelInput
    from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ToolMessage
    from langchain_core.messages.ai import UsageMetadata
    from langchain_core.messages.tool import tool_call_chunk
    from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
    from langchain_core.runnables import Runnable
    from langchain_core.utils.function_calling import convert_to_openai_tool
    from pydantic import ConfigDict
except ImportError as _error:
    raise ImportError("ayni.langchain needs LangChain: pip install 'ayni[langchain]'") from _error

from ayni import (
    Chat,
    ChatEvent,
    ChatResponse,
    Embedder,
    Finish,
    InvalidRequest,
    Reasoning,
    Text,
    ToolCallArguments,
    ToolCallStarted,
    Usage,
)
from ayni._wire import image_part

__all__ = ["AyniChatModel", "AyniEmbeddings"]

ROLES = {"human": "user", "ai": "assistant", "system": "system", "tool": "tool", "developer": "system"}


class AyniEmbeddings(Embeddings):
    """An embedder as LangChain's ``Embeddings``."""

    def __init__(self, embedder: Embedder) -> None:
        self.embedder = embedder

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """The vectors of documents."""
        return self.embedder.embed_sync(texts, role="document").tolist() if texts else []

    def embed_query(self, text: str) -> list[float]:
        """The vector of a query."""
        vector: list[float] = self.embedder.embed_sync([text], role="query").tolist()[0]
        return vector

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """The vectors of documents."""
        return (await self.embedder.embed(texts, role="document")).tolist() if texts else []

    async def aembed_query(self, text: str) -> list[float]:
        """The vector of a query."""
        vector: list[float] = (await self.embedder.embed([text], role="query")).tolist()[0]
        return vector


class AyniChatModel(BaseChatModel):
    """A chat as LangChain's ``BaseChatModel``. ``options`` go with every call: ``max_tokens``, ``temperature`` …"""

    model_config = ConfigDict(arbitrary_types_allowed=True)
    chat: Chat
    options: dict[str, Any] = {}

    @property
    def _llm_type(self) -> str:
        return "ayni"

    @property
    def _identifying_params(self) -> Mapping[str, Any]:
        return {"model": self.chat.info().model, **self.options}

    def bind_tools(
        self, tools: Sequence[dict[str, Any] | type | Callable[..., Any] | Any], *, tool_choice: str | None = None, **kwargs: Any
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Offers tools to the model."""
        functions = [convert_to_openai_tool(tool)["function"] for tool in tools]
        offered = [{name: tool[name] for name in ("name", "description", "parameters") if name in tool} for tool in functions]
        if tool_choice is not None:
            chosen = {"any": "required"}.get(tool_choice, tool_choice)
            kwargs["tool_choice"] = chosen if chosen in ("auto", "none", "required") else {"tool": chosen}
        return self.bind(tools=offered, **kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return _result(self.chat.chat_sync(_messages(messages), **self._options(stop, kwargs)))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return _result(await self.chat.chat(_messages(messages), **self._options(stop, kwargs)))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        with self.chat.stream_sync(_messages(messages), **self._options(stop, kwargs)) as events:
            for event in events:
                if (chunk := _chunk(event)) is not None:
                    if run_manager is not None:
                        run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                    yield chunk

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        async with self.chat.stream(_messages(messages), **self._options(stop, kwargs)) as events:
            async for event in events:
                if (chunk := _chunk(event)) is not None:
                    if run_manager is not None:
                        await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                    yield chunk

    def _options(self, stop: list[str] | None, given: Mapping[str, Any]) -> dict[str, Any]:
        # Options that begin with `ls_` are LangChain's own notes about structured output.
        own = {name: value for name, value in given.items() if not name.startswith("ls_")}
        return {**self.options, **own, **({} if stop is None else {"stop": stop})}


def _part(part: str | dict[str, Any]) -> dict[str, Any] | None:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    kind = part.get("type")
    if kind == "text":
        return {"type": "text", "text": part["text"]}
    if kind == "image_url":
        return image_part(part["image_url"] if isinstance(part["image_url"], str) else part["image_url"]["url"])
    if kind in ("reasoning", "thinking", "tool_call", "tool_use"):
        return None
    raise InvalidRequest(f"a message has a part of type '{kind}'; valid: text, image_url")


def _messages(messages: list[BaseMessage]) -> list[dict[str, Any]]:
    return [_message(message) for message in messages]


def _message(message: BaseMessage) -> dict[str, Any]:
    role = ROLES.get(message.type)
    if role is None:
        raise InvalidRequest(f"a message of type '{message.type}' has no role here; valid: {', '.join(ROLES)}")
    content = message.content
    found: dict[str, Any] = {"role": role}
    found["content"] = content if isinstance(content, str) else [part for one in content if (part := _part(one))]
    if isinstance(message, ToolMessage):
        found["tool_call_id"] = message.tool_call_id
    if isinstance(message, AIMessage) and message.tool_calls:
        found["tool_calls"] = [
            {"id": call["id"] or call["name"], "name": call["name"], "arguments": json.dumps(call["args"])}
            for call in message.tool_calls
        ]
    return found


def _usage(usage: Usage) -> UsageMetadata | None:
    if usage.input_tokens is None and usage.output_tokens is None:
        return None
    given, made = usage.input_tokens or 0, usage.output_tokens or 0
    return UsageMetadata(input_tokens=given, output_tokens=made, total_tokens=given + made)


def _result(response: ChatResponse) -> ChatResult:
    reasoning = {} if response.reasoning is None else {"reasoning_content": response.reasoning}
    calls, broken = [], []
    for call in response.tool_calls:
        try:
            calls.append({"id": call.id, "name": call.name, "args": call.parse_arguments(), "type": "tool_call"})
        except Exception as error:
            fault = {"id": call.id, "name": call.name, "args": call.arguments, "error": str(error)}
            broken.append({**fault, "type": "invalid_tool_call"})
    message = AIMessage(
        content=response.text,
        additional_kwargs=reasoning,
        tool_calls=calls,
        invalid_tool_calls=broken,
        usage_metadata=_usage(response.usage),
        response_metadata={"model_name": response.route.model, "finish_reason": response.finish},
    )
    return ChatResult(generations=[ChatGeneration(message=message)])


def _chunk(event: ChatEvent) -> ChatGenerationChunk | None:
    if isinstance(event, Text):
        message = AIMessageChunk(content=event.text)
    elif isinstance(event, Reasoning):
        message = AIMessageChunk(content="", additional_kwargs={"reasoning_content": event.text})
    elif isinstance(event, ToolCallStarted):
        piece = tool_call_chunk(index=event.index, id=event.id, name=event.name, args="")
        message = AIMessageChunk(content="", tool_call_chunks=[piece])
    elif isinstance(event, ToolCallArguments):
        piece = tool_call_chunk(index=event.index, args=event.piece)
        message = AIMessageChunk(content="", tool_call_chunks=[piece])
    elif isinstance(event, Finish):
        end = {"finish_reason": event.reason}
        message = AIMessageChunk(content="", usage_metadata=_usage(event.usage), response_metadata=end)
    else:
        return None
    return ChatGenerationChunk(message=message)
