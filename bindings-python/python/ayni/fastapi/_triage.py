"""The triage chat: one endpoint, selectable modes."""

import inspect
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field

from ayni import AyniError, ChatModes, InvalidRequest
from ayni.fastapi._guard import LOG, text_route
from ayni.fastapi._pages import Form, Input
from ayni.fastapi._service import Part, ServiceRouter

Summary = Callable[[str], "str | None | Awaitable[str | None]"]

INSTRUCTION = (
    "You answer a patient's question about their care, in plain words and from the summary only. "
    "Say so if the summary does not hold the answer, and tell the patient to call for help in an emergency."
)

LONGEST_QUERY = 20_000


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


class ModesPart(Part):
    """The chat modes of an environment."""

    name = "modes"

    def __init__(self, modes: ChatModes | None) -> None:
        self._modes = modes
        self._problem: str | None = "the modes are not warmed up"

    @property
    def modes(self) -> ChatModes:
        """The modes."""
        if self._modes is None:
            self._modes = ChatModes.from_env()
        return self._modes

    async def load(self) -> None:
        """Logs the setup of the modes and prepares the default one. The others serve even if that one cannot."""
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
        if not body.query.strip():
            raise InvalidRequest("`query` is empty")
        # What a hosted model says of a request may repeat the patient's summary, which the caller has not sent.
        request.scope["ayni.discreet"] = True
        began = time.perf_counter()
        mode = (body.llm_mode or "").strip() or part.modes.default_mode
        described = {row.mode: row for row in part.modes.describe()}.get(mode or "")
        # Neither the query nor the record number.
        told: dict[str, Any] = {"mode": mode if described else "unknown"}
        if described:
            told |= {"model": described.model, "endpoint": described.endpoint}
        request.scope["ayni.log"] = told
        chat = part.modes.open(body.llm_mode)
        known = await _summary_of(summary, body.patient_mrn)
        instruction = INSTRUCTION if known is None else f"{INSTRUCTION}\n\nSummary:\n{known}"
        messages = [{"role": "system", "content": instruction}, {"role": "user", "content": body.query}]
        response = await chat.chat(messages)
        told["model"] = response.route.model
        return TriageAnswer(
            answer=response.text,
            reasoning=response.reasoning,
            llm_mode=mode or "",
            model=response.route.model,
            latency_ms=round((time.perf_counter() - began) * 1000, 1),
            finish=response.finish,
        )

    return router
