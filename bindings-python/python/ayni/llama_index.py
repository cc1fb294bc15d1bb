"""LlamaIndex classes on ayni's backends: ``AyniEmbedding``, ``AyniLLM``. Needs the extra ``ayni[llama-index]``.

>>> from ayni import Chat, Embedder
>>> from ayni.llama_index import AyniEmbedding, AyniLLM
>>> len(AyniEmbedding(Embedder(backend="scripted")).get_query_embedding("hola"))
16
>>> AyniLLM(Chat(backend="scripted", replies=[{"text": "¡hola!"}])).complete("hello").text
'¡hola!'
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

try:
    from llama_index.core.base.embeddings.base import BaseEmbedding
    from llama_index.core.base.llms.types import (
        ChatMessage,
        ChatResponse,
        ChatResponseAsyncGen,
        ChatResponseGen,
        CompletionResponse,
        CompletionResponseAsyncGen,
        CompletionResponseGen,
        ImageBlock,
        LLMMetadata,
        MessageRole,
        TextBlock,
    )
    from llama_index.core.bridge.pydantic import PrivateAttr
    from llama_index.core.llms.custom import CustomLLM
except ImportError as _error:
    raise ImportError("ayni.llama_index needs LlamaIndex: pip install 'ayni[llama-index]'") from _error

from ayni import Chat, Embedder, InvalidRequest, Text

__all__ = ["AyniEmbedding", "AyniLLM"]

ROLES = {MessageRole.SYSTEM: "system", MessageRole.DEVELOPER: "system", MessageRole.USER: "user"}
ROLES |= {MessageRole.ASSISTANT: "assistant", MessageRole.MODEL: "assistant", MessageRole.CHATBOT: "assistant"}


class AyniEmbedding(BaseEmbedding):
    """An embedder as LlamaIndex's ``BaseEmbedding``."""

    _embedder: Embedder = PrivateAttr()

    def __init__(self, embedder: Embedder, **settings: Any) -> None:
        settings.setdefault("model_name", embedder.info().model)
        super().__init__(**settings)
        self._embedder = embedder

    @classmethod
    def class_name(cls) -> str:
        """The name by which LlamaIndex knows it."""
        return "AyniEmbedding"

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._embedder.embed_sync([query], role="query").tolist()[0]

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return (await self._embedder.embed([query], role="query")).tolist()[0]

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return (await self._aget_text_embeddings([text]))[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return self._embedder.embed_sync(texts, role="document").tolist()

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return (await self._embedder.embed(texts, role="document")).tolist()


class AyniLLM(CustomLLM):
    """A chat as LlamaIndex's ``CustomLLM``. ``options`` go with every call: ``max_tokens``, ``temperature`` …"""

    context_window: int = 8192
    options: dict[str, Any] = {}

    _chat: Chat = PrivateAttr()

    def __init__(self, chat: Chat, **settings: Any) -> None:
        super().__init__(**settings)
        self._chat = chat

    @classmethod
    def class_name(cls) -> str:
        """The name by which LlamaIndex knows it."""
        return "AyniLLM"

    @property
    def metadata(self) -> LLMMetadata:
        """The model's limits, for LlamaIndex."""
        most = self.options.get("max_tokens") or 256
        return LLMMetadata(
            context_window=self.context_window, num_output=most, is_chat_model=True, model_name=self._chat.info().model
        )

    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Answers a conversation."""
        return _answer(self._chat.chat_sync(_messages(messages), **{**self.options, **kwargs}).text)

    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Answers a conversation."""
        return _answer((await self._chat.chat(_messages(messages), **{**self.options, **kwargs})).text)

    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        """Answers a conversation in a stream."""
        events = self._chat.stream_sync(_messages(messages), **{**self.options, **kwargs})

        def pieces() -> ChatResponseGen:
            said = ""
            with events:
                for event in events:
                    if isinstance(event, Text):
                        said += event.text
                        yield _answer(said, event.text)

        return pieces()

    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseAsyncGen:
        """Answers a conversation in a stream."""
        events = self._chat.stream(_messages(messages), **{**self.options, **kwargs})

        async def pieces() -> ChatResponseAsyncGen:
            said = ""
            async with events:
                async for event in events:
                    if isinstance(event, Text):
                        said += event.text
                        yield _answer(said, event.text)

        return pieces()

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """Answers a question."""
        return CompletionResponse(text=self._chat.chat_sync(prompt, **{**self.options, **kwargs}).text)

    async def acomplete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """Answers a question."""
        return CompletionResponse(text=(await self._chat.chat(prompt, **{**self.options, **kwargs})).text)

    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        """Answers a question in a stream."""
        chunks = self.stream_chat([ChatMessage(role=MessageRole.USER, content=prompt)], **kwargs)
        return (CompletionResponse(text=one.message.content or "", delta=one.delta) for one in chunks)

    async def astream_complete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponseAsyncGen:
        """Answers a question in a stream."""
        chunks = await self.astream_chat([ChatMessage(role=MessageRole.USER, content=prompt)], **kwargs)
        return (CompletionResponse(text=one.message.content or "", delta=one.delta) async for one in chunks)


def _answer(text: str, delta: str | None = None) -> ChatResponse:
    return ChatResponse(message=ChatMessage(role=MessageRole.ASSISTANT, content=text), delta=delta)


def _messages(messages: Sequence[ChatMessage]) -> list[dict[str, Any]]:
    return [_message(message) for message in messages]


def _message(message: ChatMessage) -> dict[str, Any]:
    role = ROLES.get(message.role)
    if role is None:
        raise InvalidRequest(f"a message of role '{message.role}' has no place here; valid: system, user, assistant")
    parts: list[dict[str, Any]] = []
    for block in message.blocks:
        if isinstance(block, TextBlock):
            parts.append({"type": "text", "text": block.text})
        elif isinstance(block, ImageBlock):
            parts.append({"type": "image", "image": block.resolve_image().read()})
        else:
            raise InvalidRequest(f"a message has a block of type '{block.block_type}'; valid: text, image")
    if len(parts) == 1 and parts[0]["type"] == "text":
        return {"role": role, "content": parts[0]["text"]}
    return {"role": role, "content": parts}
