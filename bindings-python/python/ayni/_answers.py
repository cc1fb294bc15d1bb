"""Answers of language models, whole and in pieces."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Union

from ayni import _errors
from ayni._results import Route, Usage

if TYPE_CHECKING:
    from typing_extensions import TypeAlias


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool call that the model makes."""

    id: str
    name: str
    arguments: str
    """JSON text exactly as the model wrote it, which may not be valid JSON."""
    provider_data: Mapping[str, Any] = field(default_factory=dict)

    def parse_arguments(self) -> Any:
        """The arguments as JSON. Empty text reads as an empty object."""
        try:
            return json.loads(self.arguments) if self.arguments.strip() else {}
        except ValueError as error:
            raise _errors.ResponseInvalid(f"the model's arguments for tool '{self.name}' are not JSON") from error


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """How likely a token of the answer was, and the likeliest tokens at its position."""

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()

    @classmethod
    def _of(cls, fields: Mapping[str, Any]) -> TokenLogprob:
        return cls(**{**fields, "top": tuple((token, logprob) for token, logprob in fields["top"])})


@dataclass(frozen=True, slots=True)
class Annotation:
    """A source that a part of an answer rests on."""

    kind: str
    """``url``, ``file``, ``document`` or ``other``."""
    url: str | None = None
    title: str | None = None
    file_id: str | None = None
    quote: str | None = None
    """The words of the source."""
    start: int | None = None
    """The first character of the answer that the source supports."""
    end: int | None = None
    data: Any = None
    """The annotation in the provider's own words."""


@dataclass(frozen=True, slots=True)
class Alternative:
    """Another answer to the same request, where ``choices`` asked for several."""

    text: str
    finish: str
    reasoning: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()

    @classmethod
    def _of(cls, fields: Mapping[str, Any]) -> Alternative:
        return cls(
            text=fields["text"],
            finish=fields["finish"],
            reasoning=fields["reasoning"],
            tool_calls=tuple(ToolCall(**call) for call in fields["tool_calls"]),
            logprobs=tuple(map(TokenLogprob._of, fields["logprobs"])),
        )


@dataclass(frozen=True, slots=True)
class ChatResponse:
    """An answer, and where it came from."""

    text: str
    finish: str
    """Why it ended: ``stop``, ``length``, ``tool_calls``, ``content_filter``, or the backend's own word."""
    usage: Usage
    route: Route
    reasoning: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    provider_data: Mapping[str, Any] = field(default_factory=dict)
    parts: tuple[Mapping[str, Any], ...] = ()
    """The answer piece by piece, where it holds more than text and tool calls; in the form of a message's content."""
    annotations: tuple[Annotation, ...] = ()
    """The sources that the answer rests on."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """What the provider says about the answer: ``id``, ``service_tier``, ``finish_reason``, ``cost``, ``further`` …"""
    alternatives: tuple[Alternative, ...] = ()
    """The other answers, where ``choices`` asked for several."""

    @classmethod
    def _of(cls, fields: Mapping[str, Any]) -> ChatResponse:
        return cls(
            text=fields["text"],
            finish=fields["finish"],
            usage=Usage(**fields["usage"]),
            route=Route._of(fields["route"]),
            reasoning=fields["reasoning"],
            tool_calls=tuple(ToolCall(**call) for call in fields["tool_calls"]),
            logprobs=tuple(map(TokenLogprob._of, fields["logprobs"])),
            provider_data=fields["provider_data"],
            parts=tuple(fields["parts"]),
            annotations=tuple(Annotation(**one) for one in fields["annotations"]),
            metadata=fields["metadata"],
            alternatives=tuple(map(Alternative._of, fields.get("alternatives", ()))),
        )

    def to_message(self) -> dict[str, Any]:
        """The answer as the next message of the conversation, provider data included."""
        content: Any = list(self.parts) if self.parts else self.text
        message: dict[str, Any] = {"role": "assistant", "content": content}
        if self.reasoning is not None:
            message["reasoning"] = self.reasoning
        if self.tool_calls:
            message["tool_calls"] = [
                {
                    "id": call.id,
                    "name": call.name,
                    "arguments": call.arguments,
                    "provider_data": dict(call.provider_data),
                }
                for call in self.tool_calls
            ]
        if self.provider_data:
            message["provider_data"] = dict(self.provider_data)
        return message


@dataclass(frozen=True, slots=True)
class Started:
    """The first event: who serves."""

    route: Route


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class Reasoning:
    """A piece of the reasoning."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCallStarted:
    """The model starts a tool call."""

    index: int
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class ToolCallArguments:
    """A piece of a call's arguments."""

    index: int
    piece: str


@dataclass(frozen=True, slots=True)
class ToolCallFinished:
    """A tool call is complete."""

    index: int
    call: ToolCall


@dataclass(frozen=True, slots=True)
class Logprobs:
    """Log-probabilities of the tokens of the last piece."""

    logprobs: tuple[TokenLogprob, ...]


@dataclass(frozen=True, slots=True)
class PartFinished:
    """A part of the answer that is neither text nor a tool call, in the form of a message's content."""

    part: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Annotated:
    """A source of the answer."""

    annotation: Annotation


@dataclass(frozen=True, slots=True)
class Metadata:
    """What the provider says about the answer. It comes once, before the last event."""

    metadata: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Finish:
    """The last event: the answer is complete."""

    reason: str
    usage: Usage
    provider_data: Mapping[str, Any] = field(default_factory=dict)


ChatEvent: TypeAlias = Union[
    Started,
    Text,
    Reasoning,
    ToolCallStarted,
    ToolCallArguments,
    ToolCallFinished,
    PartFinished,
    Annotated,
    Metadata,
    Logprobs,
    Finish,
]
"""One event of a streamed answer."""


def chat_event(fields: dict[str, Any]) -> ChatEvent:
    """The event of native code: its type beside its fields."""
    kind = fields.pop("type")
    if kind == "text":
        return Text(**fields)
    if kind == "reasoning":
        return Reasoning(**fields)
    if kind == "started":
        return Started(Route._of(fields["route"]))
    if kind == "finish":
        return Finish(**{**fields, "usage": Usage(**fields["usage"])})
    if kind == "tool_call_started":
        return ToolCallStarted(**fields)
    if kind == "tool_call_arguments":
        return ToolCallArguments(**fields)
    if kind == "tool_call":
        return ToolCallFinished(fields["index"], ToolCall(**fields["call"]))
    if kind == "part":
        return PartFinished(**fields)
    if kind == "annotation":
        return Annotated(Annotation(**fields["annotation"]))
    if kind == "metadata":
        return Metadata(**fields)
    if kind == "logprobs":
        return Logprobs(tuple(map(TokenLogprob._of, fields["logprobs"])))
    raise _errors.Unexpected(f"the native module gave an event '{kind}', which is unknown")
