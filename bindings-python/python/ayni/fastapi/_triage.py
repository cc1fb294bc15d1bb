"""The triage chat: one endpoint, selectable modes."""

import asyncio
import inspect
import os
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import StreamingResponse

from ayni import AyniError, Chat, ChatModes, Finish, InvalidRequest, Reasoning, Started, Text
from ayni.fastapi._failures import body_of, request_id_of
from ayni.fastapi._guard import LOG, text_route
from ayni.fastapi._pages import Form, Input
from ayni.fastapi._service import Part, ServiceRouter
from ayni.fastapi._sse import event, kept_alive, stream

Summary = Callable[[str], "str | None | Awaitable[str | None]"]

INSTRUCTION = (
    "You answer a patient's question about their care, in plain words and from the summary only. "
    "Say so if the summary does not hold the answer, and tell the patient to call for help in an emergency."
)

LONGEST_QUERY = 20_000

ALIASES = {"huggingface": "hf-qwen2.5"}
"""Names that deployments give to modes."""


class TriageRequest(BaseModel):
    """A patient's question."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"patient_mrn": "P000123", "query": "What medications am I taking?", "llm_mode": "mock"}]
        }
    )
    patient_mrn: str = Field(min_length=1, max_length=128)
    query: str = Field(min_length=1, max_length=LONGEST_QUERY)
    llm_mode: str | None = Field(default=None, max_length=128)
    """Which mode answers; ``DEFAULT_LLM_MODE`` by default. ``GET /`` lists them."""


class TriageAnswer(BaseModel):
    """The answer, and the model that gave it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "answer": "You take aspirin.",
                    "reasoning": None,
                    "llm_mode": "hf-qwen2.5",
                    "model": "Qwen/Qwen2.5-7B-Instruct-Turbo",
                    "latency_ms": 913.4,
                    "finish": "stop",
                }
            ]
        }
    )
    answer: str
    reasoning: str | None
    """The reasoning of a thinking model, apart from its answer."""
    llm_mode: str
    model: str
    latency_ms: float
    finish: str


class ModeDescription(BaseModel):
    """The setup of one mode."""

    mode: str
    what: str
    model: str | None
    endpoint: str | None
    problem: str | None
    """What must be fixed before it can be used."""


class Overview(BaseModel):
    """The modes."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "service": "triage",
                    "default_llm_mode": "mock",
                    "llm_modes": [
                        {"mode": "mock", "what": "no model", "model": None, "endpoint": None, "problem": None}
                    ],
                }
            ]
        }
    )
    service: str
    default_llm_mode: str | None
    llm_modes: list[ModeDescription]


def _default_of_environment() -> str:
    return os.environ.get("DEFAULT_LLM_MODE", "").strip()


class ModesPart(Part):
    """The chat modes of an environment."""

    name = "modes"

    def __init__(self, modes: ChatModes | None) -> None:
        self._modes, self._is_own = modes, modes is None
        self._problem: str | None = "the modes are not warmed up"

    @property
    def modes(self) -> ChatModes:
        """The modes."""
        if self._modes is None:
            name = _default_of_environment()
            self._modes = ChatModes.from_env(os.environ | ({"DEFAULT_LLM_MODE": ALIASES[name]} if name in ALIASES else {}))
        return self._modes

    async def load(self) -> None:
        """Logs the setup of the modes and prepares the default one. The others serve even if that one cannot."""
        if self._is_own and (name := _default_of_environment()) in ALIASES:
            LOG.info("DEFAULT_LLM_MODE is '%s', which means %s", name, ALIASES[name])
        for mode in self.modes.describe():
            LOG.info(
                "chat mode",
                extra={"mode": mode.mode, "model": mode.model, "endpoint": mode.endpoint, "problem": mode.problem},
            )
        try:
            await self.modes.warm_up(progress=self.show_progress)
        except AyniError as error:
            self._problem = error.message
        else:
            self._problem = None

    def health(self) -> Mapping[str, Any]:
        """The default mode."""
        return {"default_llm_mode": self.modes.default_mode}

    def problem(self) -> str | None:
        """Why the default mode cannot be used."""
        return self._problem

    def is_paid(self) -> bool:
        """Whether some mode can be used that runs elsewhere."""
        return any(mode.endpoint is not None and mode.problem is None for mode in self.modes.describe())

    def forms(self) -> Sequence[Form]:
        """A question."""
        inputs = [
            Input("mrn", "Medical record number", value="P000123"),
            Input("query", "Question", "text", "What medications am I taking?"),
            Input("mode", "Mode", "choice", self.modes.default_mode or "", self.modes.names(), required=False),
        ]
        body = {"patient_mrn": "$mrn", "query": "$query", "llm_mode": "$mode"}
        return (Form("Ask", "/triage", inputs, "text", body),)


async def _summary_of(summary: Summary | None, mrn: str) -> str | None:
    if summary is None:
        return None
    found = summary(mrn)
    return await found if inspect.isawaitable(found) else found


@dataclass
class _Asked:
    """A question on its way to a model."""

    chat: Chat
    messages: list[dict[str, Any]]
    mode: str
    log: dict[str, Any]
    began: float

    def latency_ms(self) -> float:
        return round((time.perf_counter() - self.began) * 1000, 1)


async def _asked(part: ModesPart, summary: Summary | None, body: TriageRequest, request: Request) -> _Asked:
    if not body.query.strip():
        raise InvalidRequest("`query` is empty")
    # What a hosted model says of a request may repeat the patient's summary, which the caller has not sent.
    request.scope["ayni.discreet"] = True
    began = time.perf_counter()
    named = (body.llm_mode or "").strip()
    mode = ALIASES.get(named, named) or part.modes.default_mode
    described = {row.mode: row for row in part.modes.describe()}.get(mode or "")
    # Neither the query nor the record number.
    told: dict[str, Any] = {"mode": mode if described else "unknown"}
    if described:
        told |= {"model": described.model, "endpoint": described.endpoint}
    request.scope["ayni.log"] = told
    chat = part.modes.open(mode)
    known = await _summary_of(summary, body.patient_mrn)
    instruction = INSTRUCTION if known is None else f"{INSTRUCTION}\n\nSummary:\n{known}"
    messages = [{"role": "system", "content": instruction}, {"role": "user", "content": body.query}]
    return _Asked(chat, messages, mode or "", told, began)


async def _events(request: Request, asked: _Asked, first: Any, events: Any) -> AsyncGenerator[bytes, None]:
    """``started``, then ``reasoning`` and ``text`` in pieces, at the end ``done`` with what is known of the whole, or ``error``. A
    stream without one of these two was cut."""
    model, first_text, came = "", None, first
    try:
        while came is not None:
            if isinstance(came, Started):
                model = asked.log["model"] = came.route.model
                yield event("started", {"llm_mode": asked.mode, "model": model})
            elif isinstance(came, (Text, Reasoning)):
                first_text = first_text or time.perf_counter()
                yield event("text" if isinstance(came, Text) else "reasoning", {"text": came.text})
            elif isinstance(came, Finish):
                yield event("done", _whole(asked, model, came, first_text))
            step = asyncio.ensure_future(anext(events, None))
            try:
                async for comment in kept_alive(request, step):
                    yield comment
                came = step.result()
            finally:
                step.cancel()
    except AyniError as error:
        request.scope["ayni.kind"] = error.kind
        yield event("error", body_of(error, request_id_of(request), discreet=True))


def _whole(asked: _Asked, model: str, finish: Finish, first_text: float | None) -> dict[str, Any]:
    tokens = finish.usage.output_tokens
    seconds = time.perf_counter() - first_text if first_text else 0.0
    return {
        "llm_mode": asked.mode,
        "model": model,
        "latency_ms": asked.latency_ms(),
        "finish": finish.reason,
        "output_tokens": tokens,
        # Of the writing alone: what comes before the first token is the time of reading and of the network.
        "tokens_per_second": round((tokens - 1) / seconds, 1) if tokens and tokens > 1 and seconds > 0.01 else None,
    }


def triage_router(modes: ChatModes | None = None, *, summary: Summary | None = None) -> ServiceRouter:
    """A patient's question to the model of a mode.

    Without modes they are those of the environment (``DEFAULT_LLM_MODE`` and its companions). ``summary`` gives the
    summary of the patient with a medical record number, awaited or not; ``None`` where there is no such patient.
    """
    part = ModesPart(modes)
    router = ServiceRouter(part, tags=["triage"])

    @router.get("/", response_model=Overview, summary="The modes, and the default one")
    async def overview() -> Overview:
        described = part.modes.describe()
        rows = [
            ModeDescription(mode=row.mode, what=row.what, model=row.model, endpoint=row.endpoint, problem=row.problem)
            for row in described
        ]
        return Overview(service="triage", default_llm_mode=part.modes.default_mode, llm_modes=rows)

    @router.post("/triage", response_model=TriageAnswer, summary="The answer to a patient's question")
    @text_route
    async def triage(body: TriageRequest, request: Request) -> TriageAnswer:
        asked = await _asked(part, summary, body, request)
        response = await asked.chat.chat(asked.messages)
        asked.log["model"] = response.route.model
        return TriageAnswer(
            answer=response.text,
            reasoning=response.reasoning,
            llm_mode=asked.mode,
            model=response.route.model,
            latency_ms=asked.latency_ms(),
            finish=response.finish,
        )

    @router.post("/triage/stream", response_class=StreamingResponse, summary="The answer as server-sent events")
    @text_route
    async def triage_stream(body: TriageRequest, request: Request) -> StreamingResponse:
        asked = await _asked(part, summary, body, request)
        events = aiter(asked.chat.stream(asked.messages))
        # Fails here while there is still a status to be set.
        first = await anext(events)
        return stream(_events(request, asked, first, events))

    return router
