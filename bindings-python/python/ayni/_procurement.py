"""Public procurement: tenders, purchase orders, quick purchases, buyers, suppliers. Reads only."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from ayni import _ayni, _errors, _months, records
from ayni._calls import CallOptions, Handle, awaited, merged, split_options
from ayni._reading import moment
from ayni._results import Route

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ayni._configs import ProcurementConfig, ProcurementFields
    from ayni._embedder import Embedder

RecordT = TypeVar("RecordT")
RecordKind = Literal["tender", "purchase_order", "quick_purchase"]

# Longer answers are parsed on another thread, so that they do not block the event loop.
PARSE_INLINE_BELOW = 20_000


class ListOptions(CallOptions, total=False):
    """Which records to list. Without options, those that the source calls current."""

    on: date | str | None
    """One day: the same as ``from_`` and ``to``."""
    from_: date | str | None
    """The first day, as the source dates its records."""
    to: date | str | None
    """The last day."""
    text: str | None
    """Words that the name or description must contain."""
    state: str | None
    buyer: str | None
    supplier: str | None
    region: str | None
    kinds: Sequence[str] | None
    """Kinds of records, as the letters of their codes: ``LE``, ``LP``, ``SE``."""
    min_amount: records.Money | None
    max_amount: records.Money | None
    source: str | None
    """The source, where there are several: ``v1``, ``ocds``."""
    sorting: Literal["newest_first", "oldest_first"] | None
    limit: int | None
    """The most rows."""
    max_calls: int | None
    """The most calls of the source. When they are made, the listing has what was found and a cursor."""
    cursor: str | None
    """The ``next_cursor`` of an earlier listing."""


class SimilarOptions(CallOptions, total=False):
    """Which similar tenders to find."""

    k: int
    """The most tenders; 10 by default."""
    states: Sequence[str]
    """Only tenders in one of these states."""
    closing_after: datetime | str
    """Only tenders that close after this time."""


class GetOptions(CallOptions, total=False):
    """How to read one record."""

    source: str | None
    """The source, where there are several: ``v1``, ``ocds``."""


@dataclass(frozen=True, slots=True)
class Listing(Generic[RecordT]):
    """Rows of a list, and their source."""

    rows: tuple[RecordT, ...]
    next_cursor: str | None
    """The cursor of the next page, if there is one."""
    total: int | None
    """The total count of rows, where the source reports it."""
    days: tuple[records.DayReport, ...]
    """How complete each day of the range is; empty where the source does not list by day."""
    calls: records.CallCount | None
    """The calls that it took, and the most that it could take."""
    unread: Mapping[str, int]
    """How many rows have a value that cannot be read, by field; the row has no such field, but its ``raw`` has it."""
    source: str
    as_of: datetime
    """When the rows were read; of several times the oldest."""
    route: Route
    json: str = field(repr=False, compare=False)
    """The whole answer as JSON, with every digit of the source."""


@dataclass(frozen=True, slots=True)
class Answer(Generic[RecordT]):
    """One full record, and its source."""

    record: RecordT
    source: str
    as_of: datetime
    stale: bool
    """Whether it is outdated because the source was unavailable."""
    route: Route
    json: str = field(repr=False, compare=False)
    """The whole answer as JSON, with every digit of the source."""


def _read(text: str) -> Any:
    return json.loads(text, parse_float=Decimal)


def _listing(read: Callable[[Any], RecordT]) -> Callable[[str], Listing[RecordT]]:
    def listing(text: str) -> Listing[RecordT]:
        fields = _read(text)
        return Listing(
            rows=tuple(map(read, fields["rows"])),
            next_cursor=fields["next_cursor"],
            total=fields["total"],
            days=tuple(map(records.DayReport._of, fields.get("days", ()))),
            calls=records.CallCount._of(fields["calls"]) if "calls" in fields else None,
            unread=fields.get("unread", {}),
            source=fields["source"],
            as_of=moment(fields["as_of"]),
            route=Route._of(fields["route"]),
            json=text,
        )

    return listing


def _answer(read: Callable[[Any], RecordT]) -> Callable[[str], Answer[RecordT]]:
    def answer(text: str) -> Answer[RecordT]:
        fields = _read(text)
        return Answer(
            record=read(fields["record"]),
            source=fields["source"],
            as_of=moment(fields["as_of"]),
            stale=fields["stale"],
            route=Route._of(fields["route"]),
            json=text,
        )

    return answer


def _text(value: Any) -> Any:
    """A date or an amount in its JSON form."""
    if isinstance(value, datetime):
        raise TypeError("a day is a datetime.date or a text such as 2026-11-20, not a datetime")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, records.Money):
        return {"amount": str(value.amount), "currency": value.currency}
    return value


def _list_request(options: Mapping[str, Any]) -> dict[str, Any]:
    request = {name: _text(value) for name, value in options.items()}
    if "on" in request:
        if "from_" in request or "to" in request:
            raise _errors.InvalidRequest("`on` is one day; `from_` and `to` are a range: give one of the two")
        day = request.pop("on")
        request["from"], request["to"] = day, day
    elif "from_" in request:
        request["from"] = request.pop("from_")
    return request


class Procurement(Handle[_ayni.Procurement]):
    """Reads public-procurement records.

    The configuration is as for :class:`Embedder`: ``Procurement(backend="mercado_publico", ticket=…)``.

    >>> procurement = Procurement(backend="scripted")
    >>> [row.code for row in procurement.tenders_sync(text="ambulancia").rows]
    ['9002-7-LR26']
    """

    __slots__ = ()

    def __init__(
        self,
        config: ProcurementConfig | Mapping[str, Any] | None = None,
        /,
        *,
        env: Mapping[str, str] | None = None,
        **fields: Unpack[ProcurementFields],
    ) -> None:
        super().__init__(_ayni.Procurement(merged(config, fields), env if env is None else dict(env)))

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Procurement:
        """Mercado Público with the ticket of ``MERCADO_PUBLICO_TICKET``."""
        made = cls.__new__(cls)
        Handle.__init__(made, _ayni.Procurement(None, env if env is None else dict(env)))
        return made

    async def _call(
        self, operation: str, request: Mapping[str, Any], setting: _ayni.CallSettings | None, read: Callable[[str], RecordT]
    ) -> RecordT:
        text: str = await awaited(self._native.call, operation, request, setting=setting)
        return read(text) if len(text) < PARSE_INLINE_BELOW else await asyncio.to_thread(read, text)

    async def _list(
        self, operation: str, row: Callable[[Any], RecordT], options: Mapping[str, Any]
    ) -> Listing[RecordT]:
        request, setting = split_options(options)
        return await self._call(operation, _list_request(request), setting, _listing(row))

    def _list_sync(self, operation: str, row: Callable[[Any], RecordT], options: Mapping[str, Any]) -> Listing[RecordT]:
        request, setting = split_options(options)
        return _listing(row)(self._native.call(operation, _list_request(request), setting))

    async def _get(
        self, operation: str, code: str, record: Callable[[Any], RecordT], options: Mapping[str, Any]
    ) -> Answer[RecordT]:
        request, setting = split_options(options)
        return await self._call(operation, {"code": code, **request}, setting, _answer(record))

    def _get_sync(
        self, operation: str, code: str, record: Callable[[Any], RecordT], options: Mapping[str, Any]
    ) -> Answer[RecordT]:
        request, setting = split_options(options)
        return _answer(record)(self._native.call(operation, {"code": code, **request}, setting))

    async def tenders(self, **options: Unpack[ListOptions]) -> Listing[records.TenderRow]:
        """Lists tenders."""
        return await self._list("tenders", records.TenderRow._of, options)

    def tenders_sync(self, **options: Unpack[ListOptions]) -> Listing[records.TenderRow]:
        """The same, on the calling thread."""
        return self._list_sync("tenders", records.TenderRow._of, options)

    async def tender(self, code: str, /, **options: Unpack[GetOptions]) -> Answer[records.Tender]:
        """Reads one tender."""
        return await self._get("tender", code, records.Tender._of, options)

    def tender_sync(self, code: str, /, **options: Unpack[GetOptions]) -> Answer[records.Tender]:
        """The same, on the calling thread."""
        return self._get_sync("tender", code, records.Tender._of, options)

    def each_tender(self, **options: Unpack[ListOptions]) -> AsyncIterator[records.TenderRow]:
        """Every one of the tenders, page after page; ``limit`` is the size of a page."""
        return _each(self.tenders, options)

    def each_tender_sync(self, **options: Unpack[ListOptions]) -> Iterator[records.TenderRow]:
        """The same, on the calling thread."""
        return _each_sync(self.tenders_sync, options)

    async def purchase_orders(self, **options: Unpack[ListOptions]) -> Listing[records.PurchaseOrderRow]:
        """Lists purchase orders."""
        return await self._list("purchase_orders", records.PurchaseOrderRow._of, options)

    def purchase_orders_sync(self, **options: Unpack[ListOptions]) -> Listing[records.PurchaseOrderRow]:
        """The same, on the calling thread."""
        return self._list_sync("purchase_orders", records.PurchaseOrderRow._of, options)

    async def purchase_order(self, code: str, /, **options: Unpack[GetOptions]) -> Answer[records.PurchaseOrder]:
        """Reads one purchase order."""
        return await self._get("purchase_order", code, records.PurchaseOrder._of, options)

    def purchase_order_sync(self, code: str, /, **options: Unpack[GetOptions]) -> Answer[records.PurchaseOrder]:
        """The same, on the calling thread."""
        return self._get_sync("purchase_order", code, records.PurchaseOrder._of, options)

    def each_purchase_order(self, **options: Unpack[ListOptions]) -> AsyncIterator[records.PurchaseOrderRow]:
        """Every one of the purchase orders, page after page; ``limit`` is the size of a page."""
        return _each(self.purchase_orders, options)

    def each_purchase_order_sync(self, **options: Unpack[ListOptions]) -> Iterator[records.PurchaseOrderRow]:
        """The same, on the calling thread."""
        return _each_sync(self.purchase_orders_sync, options)

    async def quick_purchases(self, **options: Unpack[ListOptions]) -> Listing[records.QuickPurchaseRow]:
        """Lists quick purchases (Compra Ágil)."""
        return await self._list("quick_purchases", records.QuickPurchaseRow._of, options)

    def quick_purchases_sync(self, **options: Unpack[ListOptions]) -> Listing[records.QuickPurchaseRow]:
        """The same, on the calling thread."""
        return self._list_sync("quick_purchases", records.QuickPurchaseRow._of, options)

    async def quick_purchase(self, code: str, /, **options: Unpack[GetOptions]) -> Answer[records.QuickPurchase]:
        """Reads one quick purchase."""
        return await self._get("quick_purchase", code, records.QuickPurchase._of, options)

    def quick_purchase_sync(self, code: str, /, **options: Unpack[GetOptions]) -> Answer[records.QuickPurchase]:
        """The same, on the calling thread."""
        return self._get_sync("quick_purchase", code, records.QuickPurchase._of, options)

    def each_quick_purchase(self, **options: Unpack[ListOptions]) -> AsyncIterator[records.QuickPurchaseRow]:
        """Every one of the quick purchases (Compra Ágil), page after page; ``limit`` is the size of a page."""
        return _each(self.quick_purchases, options)

    def each_quick_purchase_sync(self, **options: Unpack[ListOptions]) -> Iterator[records.QuickPurchaseRow]:
        """The same, on the calling thread."""
        return _each_sync(self.quick_purchases_sync, options)

    async def buyers(self, **options: Unpack[ListOptions]) -> Listing[records.Buyer]:
        """Lists public buyers."""
        return await self._list("buyers", records.Buyer._of, options)

    def buyers_sync(self, **options: Unpack[ListOptions]) -> Listing[records.Buyer]:
        """The same, on the calling thread."""
        return self._list_sync("buyers", records.Buyer._of, options)

    async def suppliers(self, **options: Unpack[ListOptions]) -> Listing[records.Supplier]:
        """Lists suppliers."""
        return await self._list("suppliers", records.Supplier._of, options)

    def suppliers_sync(self, **options: Unpack[ListOptions]) -> Listing[records.Supplier]:
        """The same, on the calling thread."""
        return self._list_sync("suppliers", records.Supplier._of, options)

    async def plan(self, kind: RecordKind, /, **options: Unpack[ListOptions]) -> Answer[records.Plan]:
        """Estimates what listing records of a kind costs. Nothing is sent to the source."""
        request, setting = split_options(options)
        plan = {"kind": kind, "list": _list_request(request)}
        return await self._call("plan", plan, setting, _answer(records.Plan._of))

    def plan_sync(self, kind: RecordKind, /, **options: Unpack[ListOptions]) -> Answer[records.Plan]:
        """The same, on the calling thread."""
        request, setting = split_options(options)
        plan = {"kind": kind, "list": _list_request(request)}
        return _answer(records.Plan._of)(self._native.call("plan", plan, setting))

    async def sync(
        self,
        kind: RecordKind,
        /,
        *,
        since: date | str,
        max_details: int | None = None,
        **options: Unpack[CallOptions],
    ) -> records.SyncReport:
        """Brings the store up to date and returns what changed: from ``since`` on, and later from where the last sync ended."""
        request, setting = _sync_request(kind, since, max_details, options)
        return await self._call("sync", request, setting, _sync_report)

    def sync_sync(
        self,
        kind: RecordKind,
        /,
        *,
        since: date | str,
        max_details: int | None = None,
        **options: Unpack[CallOptions],
    ) -> records.SyncReport:
        """The same, on the calling thread."""
        request, setting = _sync_request(kind, since, max_details, options)
        return _sync_report(self._native.call("sync", request, setting))

    async def events(
        self, *, after: int = 0, limit: int = 1_000, **options: Unpack[CallOptions]
    ) -> records.EventPage:
        """What the syncs have noticed, also those that failed: at most ``limit`` events after a ``position``."""
        request, setting = {"after": after, "limit": limit}, split_options(options)[1]
        return await self._call("events", request, setting, _event_page)

    def events_sync(self, *, after: int = 0, limit: int = 1_000, **options: Unpack[CallOptions]) -> records.EventPage:
        """The same, on the calling thread."""
        request, setting = {"after": after, "limit": limit}, split_options(options)[1]
        return _event_page(self._native.call("events", request, setting))

    async def quota(self, **options: Unpack[CallOptions]) -> records.Quota:
        """How much of the ticket's daily quota is used."""
        return await self._call("quota", {}, split_options(options)[1], _quota)

    def quota_sync(self, **options: Unpack[CallOptions]) -> records.Quota:
        """The same, on the calling thread."""
        return _quota(self._native.call("quota", {}, split_options(options)[1]))

    async def import_month(
        self, set: _months.BulkSet, month: str, /, **options: Unpack[_months.MonthOptions]
    ) -> _months.ImportReport:
        """Downloads a monthly file (``month`` is ``2026-06``) if it has changed, and writes its lines into the store."""
        request, setting = _months.request(set, month, options)
        return await self._call("import_month", request, setting, _months.import_report)

    def import_month_sync(
        self, set: _months.BulkSet, month: str, /, **options: Unpack[_months.MonthOptions]
    ) -> _months.ImportReport:
        """The same, on the calling thread."""
        request, setting = _months.request(set, month, options)
        return _months.import_report(self._native.call("import_month", request, setting))

    async def stored(
        self, kind: RecordKind, /, **options: Unpack[_months.StoredOptions]
    ) -> tuple[records.StoredRecord, ...]:
        """Records that syncs have stored, by code; ``text`` finds words in title and description. Asks nobody."""
        request, setting = _months.line_request(kind, options)
        return await self._call("stored", request, setting, _stored_records)

    def stored_sync(
        self, kind: RecordKind, /, **options: Unpack[_months.StoredOptions]
    ) -> tuple[records.StoredRecord, ...]:
        """The same, on the calling thread."""
        request, setting = _months.line_request(kind, options)
        return _stored_records(self._native.call("stored", request, setting))

    async def months(self, kind: RecordKind, /, **options: Unpack[CallOptions]) -> tuple[records.StoredMonth, ...]:
        """The imported months of a kind, each with its number of lines."""
        return await self._call("months", {"kind": kind}, split_options(options)[1], _stored_months)

    def months_sync(self, kind: RecordKind, /, **options: Unpack[CallOptions]) -> tuple[records.StoredMonth, ...]:
        """The same, on the calling thread."""
        return _stored_months(self._native.call("months", {"kind": kind}, split_options(options)[1]))

    async def lines(
        self, kind: RecordKind, /, **options: Unpack[_months.LineOptions]
    ) -> tuple[records.MonthLine, ...]:
        """Lines of imported months, by month and position."""
        request, setting = _months.line_request(kind, options)
        return await self._call("lines", request, setting, _month_lines)

    def lines_sync(self, kind: RecordKind, /, **options: Unpack[_months.LineOptions]) -> tuple[records.MonthLine, ...]:
        """The same, on the calling thread."""
        request, setting = _months.line_request(kind, options)
        return _month_lines(self._native.call("lines", request, setting))

    async def download_month(
        self, set: _months.BulkSet, month: str, /, **options: Unpack[_months.MonthOptions]
    ) -> _months.MonthFile:
        """Downloads a monthly file unless the local one is current."""
        request, setting = _months.request(set, month, options)
        return await self._call("download_month", request, setting, _months.month_file)

    def download_month_sync(
        self, set: _months.BulkSet, month: str, /, **options: Unpack[_months.MonthOptions]
    ) -> _months.MonthFile:
        """The same, on the calling thread."""
        request, setting = _months.request(set, month, options)
        return _months.month_file(self._native.call("download_month", request, setting))

    async def rate(
        self, currency: str, date: date | str, /, *, earlier_days: int = 0, **options: Unpack[CallOptions]
    ) -> records.Rate:
        """What one ``UF``, ``UTM``, ``USD``, ``EUR`` is worth in pesos on a day, else on the latest of the ``earlier_days`` before."""
        request = {"currency": currency, "date": _text(date), "earlier_days": earlier_days}
        return await self._call("rate", request, split_options(options)[1], _rate)

    def rate_sync(
        self, currency: str, date: date | str, /, *, earlier_days: int = 0, **options: Unpack[CallOptions]
    ) -> records.Rate:
        """The same, on the calling thread."""
        request = {"currency": currency, "date": _text(date), "earlier_days": earlier_days}
        return _rate(self._native.call("rate", request, split_options(options)[1]))

    async def convert(
        self, money: records.Money, date: date | str, /, *, earlier_days: int = 0, **options: Unpack[CallOptions]
    ) -> records.Converted:
        """An amount in pesos, and the :meth:`rate` it was converted with."""
        request = {"money": _text(money), "date": _text(date), "earlier_days": earlier_days}
        return await self._call("convert", request, split_options(options)[1], _converted)

    def convert_sync(
        self, money: records.Money, date: date | str, /, *, earlier_days: int = 0, **options: Unpack[CallOptions]
    ) -> records.Converted:
        """The same, on the calling thread."""
        request = {"money": _text(money), "date": _text(date), "earlier_days": earlier_days}
        return _converted(self._native.call("convert", request, split_options(options)[1]))

    def with_embedder(self, embedder: Embedder, /) -> Procurement:
        """The same client, which finds tenders like another by this embedder's vectors, kept in the client's store."""
        made = type(self).__new__(type(self))
        Handle.__init__(made, self._native.with_embedder(embedder._native))
        return made

    async def refresh_similar(self, **options: Unpack[CallOptions]) -> records.IndexReport:
        """Embeds the stored tenders that are new or changed. Needs :meth:`with_embedder`."""
        return await self._call("refresh_similar", {}, split_options(options)[1], _index_report)

    def refresh_similar_sync(self, **options: Unpack[CallOptions]) -> records.IndexReport:
        """The same, on the calling thread."""
        return _index_report(self._native.call("refresh_similar", {}, split_options(options)[1]))

    async def add_similar(self, codes: Sequence[str], /, **options: Unpack[CallOptions]) -> records.IndexReport:
        """Reads tenders in full and embeds them, with description and lines."""
        return await self._call("add_similar", {"codes": list(codes)}, split_options(options)[1], _index_report)

    def add_similar_sync(self, codes: Sequence[str], /, **options: Unpack[CallOptions]) -> records.IndexReport:
        """The same, on the calling thread."""
        return _index_report(self._native.call("add_similar", {"codes": list(codes)}, split_options(options)[1]))

    async def similar(
        self, code: str | None = None, /, *, text: str | None = None, **options: Unpack[SimilarOptions]
    ) -> tuple[records.SimilarTender, ...]:
        """The tenders nearest in meaning to the indexed one with this code, or to a text. Needs :meth:`with_embedder`."""
        request, setting = _similar_request(code, text, options)
        return await self._call("similar", request, setting, _similar_tenders)

    def similar_sync(
        self, code: str | None = None, /, *, text: str | None = None, **options: Unpack[SimilarOptions]
    ) -> tuple[records.SimilarTender, ...]:
        """The same, on the calling thread."""
        request, setting = _similar_request(code, text, options)
        return _similar_tenders(self._native.call("similar", request, setting))


def _similar_request(
    code: str | None, text: str | None, options: Mapping[str, Any]
) -> tuple[dict[str, Any], _ayni.CallSettings | None]:
    request, setting = split_options(options)
    closing = request.get("closing_after")
    if isinstance(closing, datetime):
        if closing.tzinfo is None:
            raise _errors.InvalidRequest("`closing_after` has no time zone")
        request["closing_after"] = closing.isoformat()
    return {"code": code, "text": text, **request}, setting


def _sync_request(
    kind: RecordKind, since: date | str, max_details: int | None, options: Mapping[str, Any]
) -> tuple[dict[str, Any], _ayni.CallSettings | None]:
    request = {"kind": kind, "since": _text(since)}
    return request | ({} if max_details is None else {"max_details": max_details}), split_options(options)[1]


def _sync_report(text: str) -> records.SyncReport:
    return records.SyncReport._of(_read(text))


def _event_page(text: str) -> records.EventPage:
    return records.EventPage._of(_read(text))


def _stored_records(text: str) -> tuple[records.StoredRecord, ...]:
    return tuple(records.StoredRecord._of(record) for record in _read(text))


def _stored_months(text: str) -> tuple[records.StoredMonth, ...]:
    return tuple(records.StoredMonth._of(month) for month in _read(text))


def _month_lines(text: str) -> tuple[records.MonthLine, ...]:
    return tuple(records.MonthLine._of(line) for line in _read(text))


def _rate(text: str) -> records.Rate:
    return records.Rate._of(_read(text))


def _converted(text: str) -> records.Converted:
    return records.Converted._of(_read(text))


def _index_report(text: str) -> records.IndexReport:
    return records.IndexReport._of(_read(text))


def _similar_tenders(text: str) -> tuple[records.SimilarTender, ...]:
    return tuple(records.SimilarTender._of(tender) for tender in json.loads(text))


def _quota(text: str) -> records.Quota:
    return records.Quota._of(_read(text))


async def _each(
    page: Callable[..., Awaitable[Listing[RecordT]]], options: Mapping[str, Any]
) -> AsyncIterator[RecordT]:
    options = dict(options)
    while True:
        listing = await page(**options)
        for row in listing.rows:
            yield row
        if listing.next_cursor is None:
            return
        options["cursor"] = listing.next_cursor


def _each_sync(page: Callable[..., Listing[RecordT]], options: Mapping[str, Any]) -> Iterator[RecordT]:
    options = dict(options)
    while True:
        listing = page(**options)
        yield from listing.rows
        if listing.next_cursor is None:
            return
        options["cursor"] = listing.next_cursor
