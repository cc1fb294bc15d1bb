"""The procurement dashboard's backend: records, analyses, files."""

import json
import time
import uuid
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import asdict
from datetime import date, datetime, timezone
from decimal import Decimal
from typing import Annotated, Any, Literal

from fastapi import Depends, Path, Query, Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import StreamingResponse

from ayni import Chat, InvalidRequest, Listing, Money, Procurement, Unsupported
from ayni.documents import analyse, export, tender_file
from ayni.fastapi._analyses import Ask, Chats, Models, Questions, analysis_stream
from ayni.fastapi._guard import text_route
from ayni.fastapi._pages import Form, Input
from ayni.fastapi._service import Part, ServiceRouter

Code = Annotated[
    str, Path(min_length=1, max_length=64, pattern=r"^[0-9A-Za-z\-]+$", examples=["1057389-12-LE26"])
]
Kind = Literal["tender", "purchase_order", "quick_purchase"]

TYPES = {
    "csv": "text/csv; charset=utf-8",
    "json_lines": "application/x-ndjson",
    "ocds": "application/json",
    "pdf": "application/pdf",
}
ENDINGS = {"csv": "csv", "json_lines": "jsonl", "ocds": "json", "pdf": "pdf"}


class Rows(BaseModel):
    """Rows of a list, and their source. Amounts are texts with every digit of the source."""

    model_config = ConfigDict(extra="allow")
    rows: list[dict[str, Any]]
    next_cursor: str | None = None
    total: int | None = None
    source: str
    as_of: str
    route: dict[str, Any]


class Record(BaseModel):
    """One full record, and its source."""

    model_config = ConfigDict(extra="allow")
    record: dict[str, Any]
    source: str
    as_of: str
    stale: bool
    route: dict[str, Any]


class Question(BaseModel):
    """What to ask about a tender: one of the prepared questions, or a free one."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"ask": "risks", "language": "es"}]})
    ask: Ask | None = None
    question: str | None = Field(default=None, min_length=1, max_length=4_000)
    language: Literal["es", "en"] = "es"
    most_claims: int | None = Field(default=None, ge=1, le=50)
    model: str | None = Field(default=None, max_length=64, description="One of `GET /api/models`")


class Sync(BaseModel):
    """What to sync. `since` is the first day of the first sync; later ones go on where the last one ended."""

    model_config = ConfigDict(extra="forbid")
    kind: Kind = "tender"
    since: date
    max_details: int | None = Field(default=None, ge=0, le=10_000)


class AnalysisOut(BaseModel):
    """Claims that the record supports, and those that it does not."""

    model_config = ConfigDict(extra="allow")
    code: str
    claims: list[dict[str, Any]]
    rejected: list[dict[str, Any]]
    verdict: str | None = None


class Listed:
    """Which records to list."""

    def __init__(
        self,
        on: Annotated[date | None, Query(description="One day; instead of `from` and `to`")] = None,
        first: Annotated[date | None, Query(alias="from")] = None,
        last: Annotated[date | None, Query(alias="to")] = None,
        text: Annotated[str | None, Query(min_length=1, max_length=200, examples=["ambulancia"])] = None,
        state: Annotated[str | None, Query(max_length=64)] = None,
        buyer: Annotated[str | None, Query(max_length=64)] = None,
        supplier: Annotated[str | None, Query(max_length=64)] = None,
        region: Annotated[str | None, Query(max_length=64)] = None,
        kinds: Annotated[
            list[str] | None, Query(description="Letters of codes: `LE`, `LP`", max_length=20, examples=[["LE"]])
        ] = None,
        min_amount: Annotated[Decimal | None, Query(description="In `currency`")] = None,
        max_amount: Annotated[Decimal | None, Query(description="In `currency`")] = None,
        currency: Annotated[str, Query(pattern="^[A-Z]{3}$")] = "CLP",
        source: Annotated[str | None, Query(max_length=32)] = None,
        sorting: Literal["newest_first", "oldest_first"] | None = None,
        limit: Annotated[int | None, Query(ge=1, le=10_000, description="The most rows")] = None,
        max_calls: Annotated[
            int | None, Query(ge=1, le=1_000, description="The most calls of the source; then there is a cursor")
        ] = None,
        cursor: Annotated[str | None, Query(max_length=2_000)] = None,
    ) -> None:
        self.options: dict[str, Any] = {
            "on": on, "from_": first, "to": last, "text": text, "state": state, "buyer": buyer, "supplier": supplier,
            "region": region, "kinds": kinds, "source": source, "sorting": sorting, "limit": limit,
            "min_amount": None if min_amount is None else Money(min_amount, currency),
            "max_amount": None if max_amount is None else Money(max_amount, currency),
            "max_calls": max_calls, "cursor": cursor,
        }  # fmt: skip


def _query_names(dependant: Dependant) -> set[str]:
    own = {field.alias for field in dependant.query_params}
    return own.union(*(_query_names(dependency) for dependency in dependant.dependencies))


def known_parameters(request: Request) -> None:
    """Refuses query parameters that the route does not have: a filter with a misspelt name would be no filter."""
    known = _query_names(request.scope["route"].dependant)
    unknown = sorted(set(request.query_params) - known)
    if unknown:
        message = f"unknown parameter; valid: {', '.join(sorted(known)) or 'none'}"
        raise RequestValidationError([{"loc": ("query", name), "msg": message, "type": "extra_forbidden"} for name in unknown])


class ProcurementPart(Part):
    """A procurement client, and the chat for analyses."""

    name = "procurement"

    def __init__(
        self, procurement: Procurement | Mapping[str, Any] | None, chat: Chat | Mapping[str, Any] | None
    ) -> None:
        self._config, self._given = procurement, procurement if isinstance(procurement, Procurement) else None
        self.chats = Chats(chat)
        self._procurement = self._given
        self._problem: str | None = "it is not loaded"

    @property
    def procurement(self) -> Procurement:
        """The client."""
        if self._procurement is None:
            config = self._config
            self._procurement = Procurement(config) if isinstance(config, Mapping) else Procurement.from_env()
        return self._procurement

    async def load(self) -> None:
        """Opens the client, so that a missing ticket is noticed at once. Sends nothing, because requests count."""
        self.procurement.info()
        self._problem = None

    async def close(self) -> None:
        """Closes a client that was opened here."""
        self._problem = "it is closed"
        if self._given is None and self._procurement is not None:
            self._procurement.close()
            self._procurement = None

    def health(self) -> Mapping[str, Any]:
        """The name of the client."""
        return {"procurement": self.procurement.info().backend}

    def problem(self) -> str | None:
        """Why it cannot serve yet."""
        return self._problem

    async def check(self) -> str | None:
        """Reads one event of the store, which asks nobody else."""
        if self._problem is None and self.procurement.info().backend == "mercado_publico":
            await self.procurement.events(limit=1)
        return self._problem

    def is_paid(self) -> bool:
        """Whether there is a ticket whose requests are counted."""
        return self.procurement.info().backend == "mercado_publico"

    def forms(self) -> Sequence[Form]:
        """A search."""
        text = Input("text", "Words", value="ambulancia")
        return (
            Form("Search tenders", "/api/tenders", [text], "rows"),
            Form("Search purchase orders", "/api/purchase-orders", [text], "rows"),
        )


def _json(text: str) -> Response:
    # The text as it is, because a JSON library would round amounts.
    return Response(text.encode(), media_type="application/json")


def _iso(moment: date) -> str:
    return moment.isoformat()


def _plain(value: date | Decimal) -> str:
    return value.isoformat() if isinstance(value, date) else str(value)


def _listing(listing: Listing[Any]) -> Response:
    return _json(listing.json)


def _attachment(content: Any, form: str, name: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}.{ENDINGS[form]}"'}
    if isinstance(content, bytes):
        return Response(content, media_type=TYPES[form], headers=headers)
    return StreamingResponse(content, media_type=TYPES[form], headers=headers)


async def _started(pieces: Any) -> AsyncGenerator[bytes, None]:
    """The same pieces, once the header and the first rows have arrived: until then a failure can still set the status."""
    first = await anext(pieces, b"") + await anext(pieces, b"")

    async def rest() -> AsyncGenerator[bytes, None]:
        try:
            yield first
            async for piece in pieces:
                yield piece
        finally:
            await pieces.aclose()

    return rest()


def procurement_router(
    procurement: Procurement | Mapping[str, Any] | None = None, chat: Chat | Mapping[str, Any] | None = None
) -> ServiceRouter:
    """Purchase orders, tenders, quick purchases, buyers, suppliers; analyses and files of them.

    Without a client it is Mercado Público with the ticket of the environment; without a chat it is the one whose key is
    set there, opened when the first analysis is asked for.
    """
    part = ProcurementPart(procurement, chat)
    router = ServiceRouter(part, prefix="/api", tags=["procurement"], dependencies=[Depends(known_parameters)])
    listed = Depends(Listed)
    _add_lists(router, part, listed)
    _add_records(router, part)
    _add_accounts(router, part, listed)
    _add_analyses(router, part)
    return router


def _asked(body: Question) -> dict[str, Any]:
    if body.ask is not None and body.question is not None:
        raise InvalidRequest("`ask` and `question` exclude each other: give one of the two")
    return body.model_dump(exclude_none=True, exclude={"model"})


def _add_analyses(router: ServiceRouter, part: ProcurementPart) -> None:
    @router.get("/models", response_model=Models, summary="Which models may be asked, and why the others cannot")
    async def models() -> Models:
        return part.chats.describe()

    @router.post("/tenders/{code}/analysis", response_model=AnalysisOut, summary="What a model says, with proof")
    @text_route
    async def analysis(code: Code, body: Question) -> Response:
        found = await analyse(part.procurement, code, await part.chats.open(body.model), **_asked(body))
        return _json(found.json)

    @router.post("/tenders/{code}/analysis.pdf", response_class=Response, summary="The same on one page of PDF")
    @text_route
    async def analysis_pdf(code: Code, body: Question) -> Response:
        found = await analyse(part.procurement, code, await part.chats.open(body.model), **_asked(body))
        return _attachment(found.pdf(), "pdf", code)

    @router.post("/tenders/{code}/analyses", response_class=StreamingResponse, summary="Several questions, as server-sent events")
    @text_route
    async def analyses(code: Code, body: Questions, request: Request) -> Response:
        chat = await part.chats.open(body.model)
        return await analysis_stream(request, part.procurement, chat, code, body.each())


def _add_lists(router: ServiceRouter, part: ProcurementPart, listed: Any) -> None:
    @router.get("/purchase-orders", response_model=Rows, summary="Purchase orders, the current ones by default")
    async def purchase_orders(wanted: Listed = listed) -> Response:
        return _listing(await part.procurement.purchase_orders(**wanted.options))

    @router.get("/tenders", response_model=Rows, summary="Tenders, the current ones by default")
    async def tenders(wanted: Listed = listed) -> Response:
        return _listing(await part.procurement.tenders(**wanted.options))

    @router.get("/quick-purchases", response_model=Rows, summary="Quick purchases (Compra Ágil)")
    async def quick_purchases(wanted: Listed = listed) -> Response:
        return _listing(await part.procurement.quick_purchases(**wanted.options))

    @router.get("/buyers", response_model=Rows, summary="Public buyers")
    async def buyers(wanted: Listed = listed) -> Response:
        return _listing(await part.procurement.buyers(**wanted.options))

    @router.get("/suppliers", response_model=Rows, summary="Suppliers")
    async def suppliers(wanted: Listed = listed) -> Response:
        return _listing(await part.procurement.suppliers(**wanted.options))

    @router.get("/export", response_class=Response, summary="A list, page after page, as CSV or JSON Lines")
    async def export_list(
        kind: Kind = "tender", form: Literal["csv", "json_lines"] = "csv", wanted: Listed = listed
    ) -> Response:
        pieces = export(part.procurement, kind, form, **wanted.options)
        return _attachment(await _started(pieces), form, f"{kind}s-{time.strftime('%Y-%m-%d')}")


def _add_records(router: ServiceRouter, part: ProcurementPart) -> None:
    @router.get("/purchase-orders/{code}", response_model=Record, summary="One purchase order in full")
    async def purchase_order(code: Code) -> Response:
        return _json((await part.procurement.purchase_order(code)).json)

    @router.get("/tenders/{code}", response_model=Record, summary="One tender in full")
    async def tender(code: Code) -> Response:
        return _json((await part.procurement.tender(code)).json)

    @router.get("/quick-purchases/{code}", response_model=Record, summary="One quick purchase in full")
    async def quick_purchase(code: Code) -> Response:
        return _json((await part.procurement.quick_purchase(code)).json)

    @router.get("/tenders/{code}/export", response_class=Response, summary="One tender as PDF, CSV, JSON Lines or OCDS")
    async def export_tender(code: Code, form: Literal["pdf", "csv", "json_lines", "ocds"] = "pdf") -> Response:
        settings: dict[str, Any] = {}
        if form == "ocds":
            moment = datetime.now(timezone.utc).replace(microsecond=0).isoformat()
            settings = {"uri": f"urn:uuid:{uuid.uuid4()}", "publisher": "ChileCompra", "published": moment}
        written = await tender_file(part.procurement, code, form, settings=settings)
        return _attachment(written, form, code)


def _add_accounts(router: ServiceRouter, part: ProcurementPart, listed: Any) -> None:
    @router.get("/plan", summary="How many requests of the day's quota a list costs; asks nobody")
    async def plan(kind: Kind = "tender", wanted: Listed = listed) -> Response:
        return _json((await part.procurement.plan(kind, **wanted.options)).json)

    @router.get("/quota", summary="How much of the day's quota is used")
    async def quota() -> Response:
        if part.procurement.info().backend != "mercado_publico":
            raise Unsupported("only Mercado Público counts a quota")
        found = await part.procurement.quota()
        return _json(json.dumps({name: getattr(found, name) for name in found.__slots__}, default=str))

    @router.post("/sync", summary="Brings the store up to date and returns what changed")
    @text_route
    async def sync(body: Sync) -> Response:
        found = await part.procurement.sync(body.kind, since=body.since, max_details=body.max_details)
        return _json(json.dumps(asdict(found), default=_iso))

    @router.get("/events", summary="What the syncs have noticed, also those that failed; asks nobody")
    async def events(
        after: Annotated[int, Query(ge=0, description="The `position` of the page before")] = 0,
        limit: Annotated[int, Query(ge=1, le=10_000)] = 1_000,
    ) -> Response:
        found = await part.procurement.events(after=after, limit=limit)
        return _json(json.dumps(asdict(found), default=_iso))

    @router.get("/stored", summary="Records that syncs have stored, also by words; asks nobody")
    async def stored(
        kind: Kind = "tender",
        text: Annotated[str | None, Query(max_length=500, description="Words of title or description")] = None,
        after: Annotated[str | None, Query(description="The code of the last record of the page before")] = None,
        limit: Annotated[int, Query(ge=1, le=10_000)] = 1_000,
    ) -> Response:
        found = await part.procurement.stored(kind, text=text, after=after, limit=limit)
        return _json(json.dumps([asdict(record) for record in found], default=_plain))

    @router.get("/months", summary="The imported months of a kind, each with its number of lines; asks nobody")
    async def months(kind: Kind = "purchase_order") -> Response:
        found = await part.procurement.months(kind)
        return _json(json.dumps([asdict(month) for month in found]))

    @router.get("/lines", summary="Lines of imported months, by month and position; asks nobody")
    async def lines(
        kind: Kind = "purchase_order",
        first: Annotated[str | None, Query(alias="from", description="The first month: 2026-06")] = None,
        to: Annotated[str | None, Query(description="The last month")] = None,
        code: str | None = None,
        product: str | None = None,
        supplier: Annotated[str | None, Query(description="The tax number, as the source writes it")] = None,
        after: Annotated[str | None, Query(pattern=r"^\d{4}-\d{2}:\d+$", description="Month and position: 2026-06:1000")] = None,
        limit: Annotated[int, Query(ge=1, le=10_000)] = 1_000,
    ) -> Response:
        month, _, position = (after or "").partition(":")
        place = (month, int(position)) if after else None
        found = await part.procurement.lines(
            kind, from_=first, to=to, code=code, product=product, supplier=supplier, after=place, limit=limit
        )
        return _json(json.dumps([asdict(line) for line in found], default=_plain))
