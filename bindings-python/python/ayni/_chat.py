"""Chat with language models."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union

from ayni import _ayni, _images
from ayni._answers import ChatEvent, ChatResponse, chat_event
from ayni._calls import CallOptions, Handle, awaited, merged, split_options
from ayni._parse import parsed, schema_of

if TYPE_CHECKING:
    from types import TracebackType

    from pydantic import BaseModel
    from typing_extensions import TypeAlias, Unpack

    from ayni._configs import ChatConfig, ChatFields

    ModelT = TypeVar("ModelT", bound=BaseModel)

Messages: TypeAlias = Union[str, Sequence[Union[str, Mapping[str, Any]]]]
"""A conversation: a question, or messages, each an object with ``role`` and ``content`` or a string (the user's)."""


class ChatOptions(CallOptions, total=False):
    """The options of an answer."""

    max_tokens: int | None
    temperature: float | None
    top_p: float | None
    top_k: int | None
    frequency_penalty: float | None
    presence_penalty: float | None
    seed: int | None
    stop: Sequence[str] | None
    tools: Sequence[Mapping[str, Any]] | None
    """The tools that the model may call: ``name``, ``description``, ``parameters`` (a JSON Schema), ``strict``."""
    tool_choice: Literal["auto", "none", "required"] | Mapping[str, str] | None
    """Whether tools may, must or must not be called; ``{"tool": name}`` for a certain one."""
    output: Literal["text", "json"] | Mapping[str, Any] | None
    """The format of the answer; ``{"json_schema": {"name": …, "schema": …}}`` for JSON that follows a schema."""
    reasoning: Literal["none", "low", "medium", "high"] | None
    logprobs: int | None
    choices: int | None
    """How many answers to give; the others are ``alternatives`` of the response."""
    extra: Mapping[str, Any] | None
    """Further fields of the request body."""


def _request(messages: Messages, options: Mapping[str, Any]) -> dict[str, Any]:
    listed = [messages] if isinstance(messages, (str, Mapping)) else messages
    return {"messages": [_message(message) for message in listed], **options}


def _message(message: str | Mapping[str, Any]) -> Mapping[str, Any]:
    return {"role": "user", "content": message} if isinstance(message, str) else message


def _ready(request: dict[str, Any]) -> dict[str, Any]:
    return _images.with_bytes(request) if _images.holds_images(request["messages"]) else request


async def _ready_async(request: dict[str, Any]) -> dict[str, Any]:
    return await _images.off_loop(lambda: _ready(request), _images.holds_images(request["messages"]))


class Chat(Handle[_ayni.Chat]):
    """Answers conversations.

    A string is the reference of a local model; anything else is a configuration, as for :class:`Embedder`.

    >>> chat = Chat(backend="scripted", replies=[{"text": "¡hola!"}])
    >>> chat.chat_sync("hello").text
    '¡hola!'
    """

    __slots__ = ()

    def __init__(
        self,
        model_or_config: str | ChatConfig | Mapping[str, Any] | None = None,
        /,
        *,
        env: Mapping[str, str] | None = None,
        **config: Unpack[ChatFields],
    ) -> None:
        super().__init__(_ayni.Chat(merged(model_or_config, config), env if env is None else dict(env)))

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Chat:
        """The chat backends whose keys are set (Gemini, Groq, Featherless), each standing in for those before it."""
        return cls._around(_ayni.Chat(None, env if env is None else dict(env)))

    @classmethod
    def _around(cls, native: _ayni.Chat) -> Chat:
        made = cls.__new__(cls)
        Handle.__init__(made, native)
        return made

    async def ready(self, **options: Unpack[CallOptions]) -> None:
        """Waits until a local model is loaded; a hosted one is not called."""
        await awaited(self._native.ready, setting=split_options(options)[1])

    def ready_sync(self, **options: Unpack[CallOptions]) -> None:
        """The same, on the calling thread."""
        self._native.ready(split_options(options)[1])

    def count_tokens(self, messages: Messages, /) -> int:
        """How many tokens a conversation has for a local model that is :meth:`ready`."""
        return self._native.count_tokens(_ready(_request(messages, {})))

    def window(self) -> int | None:
        """The most tokens of a conversation and its answer; ``None`` where it is not known."""
        return self._native.window()

    async def chat(self, messages: Messages, /, **options: Unpack[ChatOptions]) -> ChatResponse:
        """Answers in one piece."""
        own, setting = split_options(options)
        request = await _ready_async(_request(messages, own))
        return ChatResponse._of(await awaited(self._native.chat, request, setting=setting))

    def chat_sync(self, messages: Messages, /, **options: Unpack[ChatOptions]) -> ChatResponse:
        """The same, on the calling thread."""
        own, setting = split_options(options)
        return ChatResponse._of(self._native.chat(_ready(_request(messages, own)), setting))

    def stream(self, messages: Messages, /, **options: Unpack[ChatOptions]) -> AsyncChatStream:
        """Answers in a stream: ``async for event in chat.stream(…)``.

        The events end with one ``Finish`` or an error, whose ``partial_text`` is the text before it.
        Leaving the loop, or cancelling its task, stops the work.
        """
        own, setting = split_options(options)
        return AsyncChatStream(self._native, _request(messages, own), setting)

    def stream_sync(self, messages: Messages, /, **options: Unpack[ChatOptions]) -> ChatStream:
        """The same, on the calling thread: ``for event in chat.stream_sync(…)``."""
        own, setting = split_options(options)
        return ChatStream(self._native, _request(messages, own), setting)

    async def parse(self, model: type[ModelT], messages: Messages, /, **options: Unpack[ChatOptions]) -> ModelT:
        """Asks for an answer that follows a Pydantic model, and returns it as one.

        ``response_invalid`` if the answer does not follow it.
        """
        options["output"] = schema_of(model)
        return parsed(model, await self.chat(messages, **options))

    def parse_sync(self, model: type[ModelT], messages: Messages, /, **options: Unpack[ChatOptions]) -> ModelT:
        """The same, on the calling thread."""
        options["output"] = schema_of(model)
        return parsed(model, self.chat_sync(messages, **options))


class _Stream:
    """The events that have arrived and were not read yet."""

    __slots__ = ("_chat", "_ended", "_events", "_failure", "_native", "_request", "_setting")

    def __init__(self, chat: _ayni.Chat, request: dict[str, Any], setting: _ayni.CallSettings | None) -> None:
        self._chat, self._request, self._setting = chat, request, setting
        self._native: _ayni.EventStream | None = None
        self._events: list[ChatEvent] = []
        self._failure: BaseException | None = None
        self._ended = False

    def _take(self) -> ChatEvent | None:
        """The next event that has arrived; ``None`` if the next one is still to come."""
        if self._events:
            return self._events.pop()
        if self._failure is not None:
            failure, self._failure = self._failure, None
            self._end()
            raise failure
        return None

    def _keep(self, step: tuple[list[Any], BaseException | None]) -> None:
        events, self._failure = step
        self._events = [chat_event(event) for event in reversed(events)]
        self._ended = not events and self._failure is None

    def _end(self) -> None:
        self._ended = True
        self._events.clear()
        if self._native is not None:
            self._native.close()
            self._native = None


class ChatStream(_Stream):
    """The events of a streamed answer."""

    __slots__ = ()

    def __iter__(self) -> Iterator[ChatEvent]:
        return self

    def __next__(self) -> ChatEvent:
        while (event := self._take()) is None:
            if self._ended:
                raise StopIteration
            try:
                if self._native is None:
                    self._native = self._chat.stream(_ready(self._request), self._setting)
                self._keep(self._native.next(None))
            except BaseException:
                self._end()
                raise
        return event

    def close(self) -> None:
        """Stops the work."""
        self._end()

    def __enter__(self) -> ChatStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncChatStream(_Stream):
    """The events of a streamed answer."""

    __slots__ = ()

    def __aiter__(self) -> AsyncIterator[ChatEvent]:
        return self

    async def __anext__(self) -> ChatEvent:
        while (event := self._take()) is None:
            if self._ended:
                raise StopAsyncIteration
            try:
                if self._native is None:
                    request = await _ready_async(self._request)
                    self._native = await awaited(self._chat.stream, request, setting=self._setting)
                self._keep(await awaited(self._native.next))
            except BaseException:
                self._end()
                raise
        return event

    async def aclose(self) -> None:
        """Stops the work."""
        self._end()

    async def __aenter__(self) -> AsyncChatStream:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()
