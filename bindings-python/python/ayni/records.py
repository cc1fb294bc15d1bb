"""Records of public procurement. Amounts are exact, moments are Santiago's, ``raw`` is what the source wrote."""

# Written by `make gen` from the code. Change the code, not this file.

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal

from ayni._reading import moment, pair, several

__all__ = [
    "Award",
    "Buyer",
    "CallCount",
    "ChangeEvent",
    "Contact",
    "Converted",
    "DayReport",
    "Document",
    "EventPage",
    "FailedRead",
    "IndexReport",
    "LineAward",
    "LineItem",
    "Money",
    "MonthLine",
    "Origin",
    "Plan",
    "PurchaseOrder",
    "PurchaseOrderRow",
    "QuickPurchase",
    "QuickPurchaseRow",
    "Quota",
    "Quote",
    "Rate",
    "RelatedProcess",
    "SimilarTender",
    "StoredLine",
    "StoredMonth",
    "StoredRecord",
    "Supplier",
    "SyncReport",
    "Tender",
    "TenderDates",
    "TenderRow",
]

Fields = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Tender:
    """The details of a tender."""

    row: TenderRow
    """The part that is in lists too."""
    description: str
    """The description."""
    kind: str | None
    """The type of tender, if the source says it."""
    buyer: Buyer | None
    """The buyer."""
    estimated_amount: Money | None
    """The buyer's estimate, if it is public."""
    estimation: str | None
    """What the estimate is based on."""
    payment: str | None
    """When the buyer pays."""
    contract_duration: tuple[Decimal, str] | None
    """The duration of the contract."""
    renewable: bool | None
    """Whether the contract can be renewed."""
    subcontracting: bool | None
    """Whether the supplier may have parts done by others."""
    payment_contact: Contact | None
    """Who answers for the payment; personal data."""
    contract_contact: Contact | None
    """Who answers for the contract; personal data."""
    published: datetime | None
    """When it was published."""
    dates: TenderDates
    """The other dates."""
    award: Award | None
    """The decision; ``None`` while the tender is open, whatever the dates say."""
    items: tuple[LineItem, ...]
    """The lines."""
    bidders: tuple[Supplier, ...]
    """All suppliers that made an offer, if the source names them (OCDS does, v1 does not)."""
    documents: tuple[Document, ...]
    """The documents that the source lists."""
    related: tuple[RelatedProcess, ...]
    """Other processes that it belongs to, as OCDS has them: the framework agreement of an order."""

    @classmethod
    def _of(cls, fields: Fields) -> Tender:
        return cls(
            row=TenderRow._of(fields["row"]),
            description=fields["description"],
            kind=fields.get("kind"),
            buyer=None if (given := fields.get("buyer")) is None else Buyer._of(given),
            estimated_amount=None if (given := fields.get("estimated_amount")) is None else Money._of(given),
            estimation=fields.get("estimation"),
            payment=fields.get("payment"),
            contract_duration=None if (given := fields.get("contract_duration")) is None else pair(Decimal, str)(given),
            renewable=fields.get("renewable"),
            subcontracting=fields.get("subcontracting"),
            payment_contact=None if (given := fields.get("payment_contact")) is None else Contact._of(given),
            contract_contact=None if (given := fields.get("contract_contact")) is None else Contact._of(given),
            published=None if (given := fields.get("published")) is None else moment(given),
            dates=TenderDates._of(fields["dates"]),
            award=None if (given := fields.get("award")) is None else Award._of(given),
            items=several(LineItem._of)(fields["items"]),
            bidders=several(Supplier._of)(fields["bidders"]),
            documents=several(Document._of)(fields["documents"]),
            related=several(RelatedProcess._of)(fields["related"]),
        )


@dataclass(frozen=True, slots=True)
class TenderRow:
    """A tender in a list."""

    code: str
    """The tender's code."""
    name: str
    """Its title."""
    state: str
    """Its state."""
    closes: datetime | None
    """When offers close."""
    origin: Origin
    """The origin of the row."""

    @classmethod
    def _of(cls, fields: Fields) -> TenderRow:
        return cls(
            code=fields["code"],
            name=fields["name"],
            state=fields["state"],
            closes=None if (given := fields.get("closes")) is None else moment(given),
            origin=Origin._of(fields["origin"]),
        )


@dataclass(frozen=True, slots=True)
class Origin:
    """The source of a record, the time as of which it is valid, and the source's own text."""

    source: str
    """The source."""
    as_of: datetime
    """The time as of which it is valid."""
    stale: bool
    """Whether it is an old answer, used because the source was unavailable."""
    raw: Any
    """The record exactly as the source wrote it."""
    unread: tuple[str, ...]
    """The members of ``raw`` that have a value of another kind than expected, so that it is missing in the record."""

    @classmethod
    def _of(cls, fields: Fields) -> Origin:
        return cls(
            source=fields["source"],
            as_of=moment(fields["as_of"]),
            stale=fields["stale"],
            raw=fields["raw"],
            unread=tuple(fields.get("unread", ())),
        )


@dataclass(frozen=True, slots=True)
class Buyer:
    """A public buyer. Do not confuse its three codes: that of the body, that of the unit, and the prefix of its
    records' codes.
    """

    code: str
    """The source's code of the body."""
    name: str
    """Its name."""
    tax_number: str | None
    """Its tax number, as the source writes it."""
    unit_code: str | None
    """The code of the buying unit."""
    unit_name: str | None
    """The name of the buying unit."""
    address: str | None
    """Its address."""
    commune: str | None
    """Its commune."""
    region: str | None
    """Its region, as the source names it."""
    contact: Contact | None
    """The contact person; personal data."""
    origin: Origin | None
    """The origin of the record; ``None`` inside another record."""

    @classmethod
    def _of(cls, fields: Fields) -> Buyer:
        return cls(
            code=fields["code"],
            name=fields["name"],
            tax_number=fields.get("tax_number"),
            unit_code=fields.get("unit_code"),
            unit_name=fields.get("unit_name"),
            address=fields.get("address"),
            commune=fields.get("commune"),
            region=fields.get("region"),
            contact=None if (given := fields.get("contact")) is None else Contact._of(given),
            origin=None if (given := fields.get("origin")) is None else Origin._of(given),
        )


@dataclass(frozen=True, slots=True)
class Contact:
    """A contact person. Personal data."""

    name: str | None
    """The person's name."""
    role: str | None
    """The person's role."""
    telephone: str | None
    """The telephone number."""
    mail: str | None
    """The mail address."""

    @classmethod
    def _of(cls, fields: Fields) -> Contact:
        return cls(
            name=fields.get("name"),
            role=fields.get("role"),
            telephone=fields.get("telephone"),
            mail=fields.get("mail"),
        )


@dataclass(frozen=True, slots=True)
class Money:
    """An amount with its currency. Converting it needs the rate of a day."""

    amount: Decimal
    """The amount."""
    currency: str
    """The currency."""

    def __str__(self) -> str:
        return f"{self.amount} {self.currency}"

    @classmethod
    def _of(cls, fields: Fields) -> Money:
        return cls(
            amount=Decimal(fields["amount"]),
            currency=fields["currency"],
        )


@dataclass(frozen=True, slots=True)
class TenderDates:
    """The dates of a tender, as the source has them."""

    created: datetime | None
    """When it was created."""
    questions_from: datetime | None
    """When the period for questions starts."""
    questions_until: datetime | None
    """When the period for questions ends."""
    answers: datetime | None
    """When the answers are published."""
    technical_opening: datetime | None
    """When technical offers are opened."""
    economic_opening: datetime | None
    """When economic offers are opened."""
    expected_award: datetime | None
    """When the buyer expects to decide."""
    awarded: datetime | None
    """When the buyer decided; ``None`` while the tender is open."""
    site_visit: datetime | None
    """When the site can be visited."""
    expected_signature: datetime | None
    """When the contract is expected to be signed."""

    @classmethod
    def _of(cls, fields: Fields) -> TenderDates:
        return cls(
            created=None if (given := fields.get("created")) is None else moment(given),
            questions_from=None if (given := fields.get("questions_from")) is None else moment(given),
            questions_until=None if (given := fields.get("questions_until")) is None else moment(given),
            answers=None if (given := fields.get("answers")) is None else moment(given),
            technical_opening=None if (given := fields.get("technical_opening")) is None else moment(given),
            economic_opening=None if (given := fields.get("economic_opening")) is None else moment(given),
            expected_award=None if (given := fields.get("expected_award")) is None else moment(given),
            awarded=None if (given := fields.get("awarded")) is None else moment(given),
            site_visit=None if (given := fields.get("site_visit")) is None else moment(given),
            expected_signature=None if (given := fields.get("expected_signature")) is None else moment(given),
        )


@dataclass(frozen=True, slots=True)
class Award:
    """The decision about a tender."""

    act: str | None
    """The kind of act."""
    number: str | None
    """The act's number."""
    date: datetime | None
    """The act's date."""
    bidders: int | None
    """The source's number of bidders. One official text says that it counts awarded suppliers."""
    page: str | None
    """The web page of the act."""
    value: Money | None
    """The total amount, if the source has it."""
    suppliers: tuple[Supplier, ...]
    """The winners, if the source names them for the whole tender and not by line."""

    @classmethod
    def _of(cls, fields: Fields) -> Award:
        return cls(
            act=fields.get("act"),
            number=fields.get("number"),
            date=None if (given := fields.get("date")) is None else moment(given),
            bidders=fields.get("bidders"),
            page=fields.get("page"),
            value=None if (given := fields.get("value")) is None else Money._of(given),
            suppliers=several(Supplier._of)(fields["suppliers"]),
        )


@dataclass(frozen=True, slots=True)
class Supplier:
    """A supplier."""

    code: str
    """The source's code of the company."""
    name: str
    """Its name."""
    tax_number: str | None
    """Its tax number, as the source writes it."""
    branch_code: str | None
    """The code of the branch."""
    commune: str | None
    """Its commune."""
    region: str | None
    """Its region, as the source names it."""
    contact: Contact | None
    """The contact person; personal data."""
    origin: Origin | None
    """The origin of the record; ``None`` inside another record."""

    @classmethod
    def _of(cls, fields: Fields) -> Supplier:
        return cls(
            code=fields["code"],
            name=fields["name"],
            tax_number=fields.get("tax_number"),
            branch_code=fields.get("branch_code"),
            commune=fields.get("commune"),
            region=fields.get("region"),
            contact=None if (given := fields.get("contact")) is None else Contact._of(given),
            origin=None if (given := fields.get("origin")) is None else Origin._of(given),
        )


@dataclass(frozen=True, slots=True)
class LineItem:
    """A line of a tender, an order or a quick purchase."""

    number: int | None
    """The line's number."""
    name: str
    """The product or service."""
    description: str | None
    """The buyer's description."""
    supplier_description: str | None
    """The supplier's description."""
    product_code: str | None
    """The product's UNSPSC code."""
    category_code: str | None
    """The category's code."""
    category: str | None
    """The category: ``level 1 / level 2 / level 3``."""
    quantity: Decimal | None
    """The quantity."""
    unit: str | None
    """The unit of the quantity."""
    unit_price: Money | None
    """The price per unit, before taxes."""
    total: Money | None
    """The price of the line."""
    award: LineAward | None
    """The award of the line."""

    @classmethod
    def _of(cls, fields: Fields) -> LineItem:
        return cls(
            number=fields.get("number"),
            name=fields["name"],
            description=fields.get("description"),
            supplier_description=fields.get("supplier_description"),
            product_code=fields.get("product_code"),
            category_code=fields.get("category_code"),
            category=fields.get("category"),
            quantity=None if (given := fields.get("quantity")) is None else Decimal(given),
            unit=fields.get("unit"),
            unit_price=None if (given := fields.get("unit_price")) is None else Money._of(given),
            total=None if (given := fields.get("total")) is None else Money._of(given),
            award=None if (given := fields.get("award")) is None else LineAward._of(given),
        )


@dataclass(frozen=True, slots=True)
class LineAward:
    """The award of a line of a tender."""

    supplier: Supplier
    """The winner."""
    quantity: Decimal | None
    """The quantity."""
    unit_price: Money | None
    """The price per unit."""

    @classmethod
    def _of(cls, fields: Fields) -> LineAward:
        return cls(
            supplier=Supplier._of(fields["supplier"]),
            quantity=None if (given := fields.get("quantity")) is None else Decimal(given),
            unit_price=None if (given := fields.get("unit_price")) is None else Money._of(given),
        )


@dataclass(frozen=True, slots=True)
class Document:
    """A document that the source lists."""

    id: str
    """The source's id of the document."""
    name: str
    """Its name."""
    url: str | None
    """The URL, if the source has it."""

    @classmethod
    def _of(cls, fields: Fields) -> Document:
        return cls(
            id=fields["id"],
            name=fields["name"],
            url=fields.get("url"),
        )


@dataclass(frozen=True, slots=True)
class RelatedProcess:
    """A process that another one belongs to."""

    id: str
    """The source's id of the relation."""
    identifier: str | None
    """The code of the other process."""
    title: str | None
    """Its title."""
    relationships: tuple[str, ...]
    """The kinds of relation, in OCDS's words: ``framework``, ``prior``."""

    @classmethod
    def _of(cls, fields: Fields) -> RelatedProcess:
        return cls(
            id=fields["id"],
            identifier=fields.get("identifier"),
            title=fields.get("title"),
            relationships=tuple(fields["relationships"]),
        )


@dataclass(frozen=True, slots=True)
class PurchaseOrder:
    """The details of a purchase order."""

    row: PurchaseOrderRow
    """The part that is in lists too."""
    description: str
    """The description."""
    kind: str | None
    """The mechanism."""
    tender_code: str | None
    """The tender that led to it."""
    buyer: Buyer | None
    """The buyer."""
    supplier: Supplier | None
    """The supplier."""
    net: Money | None
    """The total before taxes."""
    taxes: Money | None
    """The taxes."""
    tax_percent: Decimal | None
    """The rate of the value-added tax, in per cent."""
    discounts: Money | None
    """The discounts."""
    charges: Money | None
    """The additional charges."""
    total: Money | None
    """The total, taxes included."""
    payment: str | None
    """The payment term."""
    dispatch: str | None
    """The way of delivery."""
    created: datetime | None
    """When it was created."""
    sent: datetime | None
    """When it was sent."""
    accepted: datetime | None
    """When the supplier accepted it."""
    cancelled: datetime | None
    """When it was cancelled."""
    changed: datetime | None
    """When it was last changed. This can be before it was sent."""
    items: tuple[LineItem, ...]
    """The lines."""

    @classmethod
    def _of(cls, fields: Fields) -> PurchaseOrder:
        return cls(
            row=PurchaseOrderRow._of(fields["row"]),
            description=fields["description"],
            kind=fields.get("kind"),
            tender_code=fields.get("tender_code"),
            buyer=None if (given := fields.get("buyer")) is None else Buyer._of(given),
            supplier=None if (given := fields.get("supplier")) is None else Supplier._of(given),
            net=None if (given := fields.get("net")) is None else Money._of(given),
            taxes=None if (given := fields.get("taxes")) is None else Money._of(given),
            tax_percent=None if (given := fields.get("tax_percent")) is None else Decimal(given),
            discounts=None if (given := fields.get("discounts")) is None else Money._of(given),
            charges=None if (given := fields.get("charges")) is None else Money._of(given),
            total=None if (given := fields.get("total")) is None else Money._of(given),
            payment=fields.get("payment"),
            dispatch=fields.get("dispatch"),
            created=None if (given := fields.get("created")) is None else moment(given),
            sent=None if (given := fields.get("sent")) is None else moment(given),
            accepted=None if (given := fields.get("accepted")) is None else moment(given),
            cancelled=None if (given := fields.get("cancelled")) is None else moment(given),
            changed=None if (given := fields.get("changed")) is None else moment(given),
            items=several(LineItem._of)(fields["items"]),
        )


@dataclass(frozen=True, slots=True)
class PurchaseOrderRow:
    """A purchase order in a list."""

    code: str
    """The order's code."""
    name: str
    """Its title."""
    state: str
    """Its state."""
    origin: Origin
    """The origin of the row."""

    @classmethod
    def _of(cls, fields: Fields) -> PurchaseOrderRow:
        return cls(
            code=fields["code"],
            name=fields["name"],
            state=fields["state"],
            origin=Origin._of(fields["origin"]),
        )


@dataclass(frozen=True, slots=True)
class QuickPurchase:
    """The details of a quick purchase."""

    row: QuickPurchaseRow
    """The part that is in lists too."""
    description: str
    """The description."""
    buyer: Buyer | None
    """The buyer."""
    first_call_closes: datetime | None
    """When the call to small firms closes."""
    second_call_closes: datetime | None
    """When the call to all closes."""
    delivery_address: str | None
    """The delivery address."""
    delivery_days: int | None
    """The days until delivery."""
    order_code: str | None
    """The resulting purchase order."""
    items: tuple[LineItem, ...]
    """The lines."""
    quotes: tuple[Quote, ...]
    """The offers, if the source shows them."""
    documents: tuple[Document, ...]
    """The documents that the source lists."""
    cancel_reason: str | None
    """Why it was cancelled, in the buyer's words."""
    deserted_reason: str | None
    """Why no offer was accepted."""
    choice_reason: str | None
    """Why the supplier was chosen."""
    penalties: bool | None
    """Whether there are penalties."""
    environmental_requirements: bool | None
    """Whether there are environmental requirements."""
    social_requirements: bool | None
    """Whether there are social or economic requirements."""

    @classmethod
    def _of(cls, fields: Fields) -> QuickPurchase:
        return cls(
            row=QuickPurchaseRow._of(fields["row"]),
            description=fields["description"],
            buyer=None if (given := fields.get("buyer")) is None else Buyer._of(given),
            first_call_closes=None if (given := fields.get("first_call_closes")) is None else moment(given),
            second_call_closes=None if (given := fields.get("second_call_closes")) is None else moment(given),
            delivery_address=fields.get("delivery_address"),
            delivery_days=fields.get("delivery_days"),
            order_code=fields.get("order_code"),
            items=several(LineItem._of)(fields["items"]),
            quotes=several(Quote._of)(fields["quotes"]),
            documents=several(Document._of)(fields["documents"]),
            cancel_reason=fields.get("cancel_reason"),
            deserted_reason=fields.get("deserted_reason"),
            choice_reason=fields.get("choice_reason"),
            penalties=fields.get("penalties"),
            environmental_requirements=fields.get("environmental_requirements"),
            social_requirements=fields.get("social_requirements"),
        )


@dataclass(frozen=True, slots=True)
class QuickPurchaseRow:
    """A quick purchase in a list."""

    code: str
    """The purchase's code."""
    name: str
    """Its title."""
    state: str
    """Its state. It may be out of date: still published after closing."""
    published: datetime | None
    """When it was published."""
    closes: datetime | None
    """When offers close."""
    changed: datetime | None
    """When it was last changed."""
    call: int | None
    """The call: 1 for small firms, 2 for all."""
    budget: Money | None
    """The budget."""
    budget_in_pesos: Money | None
    """The budget in pesos, if the source has it."""
    buyer_name: str | None
    """The buyer's name."""
    buyer_tax_number: str | None
    """The buyer's tax number."""
    region: int | None
    """The region's number, 1 to 16."""
    offers: int | None
    """The number of offers."""
    origin: Origin
    """The origin of the row."""

    @classmethod
    def _of(cls, fields: Fields) -> QuickPurchaseRow:
        return cls(
            code=fields["code"],
            name=fields["name"],
            state=fields["state"],
            published=None if (given := fields.get("published")) is None else moment(given),
            closes=None if (given := fields.get("closes")) is None else moment(given),
            changed=None if (given := fields.get("changed")) is None else moment(given),
            call=fields.get("call"),
            budget=None if (given := fields.get("budget")) is None else Money._of(given),
            budget_in_pesos=None if (given := fields.get("budget_in_pesos")) is None else Money._of(given),
            buyer_name=fields.get("buyer_name"),
            buyer_tax_number=fields.get("buyer_tax_number"),
            region=fields.get("region"),
            offers=fields.get("offers"),
            origin=Origin._of(fields["origin"]),
        )


@dataclass(frozen=True, slots=True)
class Quote:
    """An offer for a quick purchase."""

    supplier: Supplier
    """The supplier."""
    description: str | None
    """The description."""
    net: Money | None
    """The price before taxes."""
    total: Money | None
    """The price with taxes."""
    chosen: bool | None
    """Whether it was chosen."""
    made: datetime | None
    """When the offer was made."""
    valid_until: datetime | None
    """Until when it holds."""
    taxes: Money | None
    """The taxes."""
    shipping: Money | None
    """The price of the delivery."""
    inadmissible: str | None
    """Why the buyer did not admit it."""
    items: tuple[LineItem, ...]
    """The lines."""

    @classmethod
    def _of(cls, fields: Fields) -> Quote:
        return cls(
            supplier=Supplier._of(fields["supplier"]),
            description=fields.get("description"),
            net=None if (given := fields.get("net")) is None else Money._of(given),
            total=None if (given := fields.get("total")) is None else Money._of(given),
            chosen=fields.get("chosen"),
            made=None if (given := fields.get("made")) is None else moment(given),
            valid_until=None if (given := fields.get("valid_until")) is None else moment(given),
            taxes=None if (given := fields.get("taxes")) is None else Money._of(given),
            shipping=None if (given := fields.get("shipping")) is None else Money._of(given),
            inadmissible=fields.get("inadmissible"),
            items=several(LineItem._of)(fields["items"]),
        )


@dataclass(frozen=True, slots=True)
class DayReport:
    """How complete one day of a listing is."""

    day: date
    """The day."""
    completeness: Literal["complete", "partial", "failed"]
    """How complete it is."""
    rows: int
    """The number of the source's rows, before filtering."""
    from_store: bool
    """Whether the rows are from the store."""
    problem: str | None
    """Why it failed, in one sentence."""

    @classmethod
    def _of(cls, fields: Fields) -> DayReport:
        return cls(
            day=date.fromisoformat(fields["day"]),
            completeness=fields["completeness"],
            rows=fields["rows"],
            from_store=fields["from_store"],
            problem=fields.get("problem"),
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """The cost of a request, known before anything is sent. It never takes more calls than this, apart from retries."""

    calls: int
    """The most calls that the request makes, without retries."""
    exact: bool
    """Whether it makes exactly that many. It may make fewer if that depends on details or on the number of pages."""
    max_calls: int
    """The ceiling of the request: when it is reached, the listing ends with a cursor."""
    total_calls: int | None
    """The calls of the whole list over all its cursors; ``None`` if that depends on details or on the number of
    pages.
    """
    quota_calls: int
    """The number of these that count against the ticket's daily quota."""
    quota_left: int
    """The calls left in the daily quota."""
    quota_percent: float
    """The request's share of the whole daily quota, in per cent."""
    least_seconds: float
    """The shortest time that it takes, because of the gap between calls."""
    days_asked: tuple[date, ...]
    """The days of the request, in its order."""
    days_known: tuple[date, ...]
    """The days that are already in the store."""
    better_at_night: bool
    """Whether it is large enough that the source asks to run it at night, between 22:00 and 07:00 in Chile."""

    @classmethod
    def _of(cls, fields: Fields) -> Plan:
        return cls(
            calls=fields["calls"],
            exact=fields["exact"],
            max_calls=fields["max_calls"],
            total_calls=fields.get("total_calls"),
            quota_calls=fields["quota_calls"],
            quota_left=fields["quota_left"],
            quota_percent=fields["quota_percent"],
            least_seconds=fields["least_seconds"],
            days_asked=several(date.fromisoformat)(fields["days_asked"]),
            days_known=several(date.fromisoformat)(fields["days_known"]),
            better_at_night=fields["better_at_night"],
        )


@dataclass(frozen=True, slots=True)
class Quota:
    """How much of a day's quota is used."""

    day: date
    """The day, in Santiago."""
    used: int
    """Requests that were sent, or are about to be."""
    reserved: int
    """Requests that are reserved and not sent yet."""
    limit: int
    """The most requests that ayni sends: the soft limit."""
    spent: bool
    """Whether the service has said that the quota is used up."""
    resets_at: datetime
    """When the count starts again: Santiago's midnight."""

    @property
    def left(self) -> int:
        """What is left for whoever has reserved nothing."""
        return 0 if self.spent else max(0, self.limit - self.used - self.reserved)

    @classmethod
    def _of(cls, fields: Fields) -> Quota:
        return cls(
            day=date.fromisoformat(fields["day"]),
            used=fields["used"],
            reserved=fields["reserved"],
            limit=fields["limit"],
            spent=fields["spent"],
            resets_at=moment(fields["resets_at"]),
        )


@dataclass(frozen=True, slots=True)
class SyncReport:
    """The result of a sync."""

    events: tuple[ChangeEvent, ...]
    """The changes, in the order in which they were written. They are in the store too."""
    rows: int
    """Rows that were compared."""
    steps: int
    """Days or windows that were brought up to date."""
    left_over: int
    """Tenders that vanished from the lists and were not read, because there were more than ``max_details``."""
    unread: Mapping[str, int]
    """How many of the rows have a value that cannot be read, by its name. The stored body has it."""
    failed: tuple[FailedRead, ...]
    """What could not be read, now or earlier. Later syncs try again."""

    @classmethod
    def _of(cls, fields: Fields) -> SyncReport:
        return cls(
            events=several(ChangeEvent._of)(fields["events"]),
            rows=fields["rows"],
            steps=fields["steps"],
            left_over=fields["left_over"],
            unread=fields.get("unread", {}),
            failed=several(FailedRead._of)(fields["failed"]),
        )


@dataclass(frozen=True, slots=True)
class ChangeEvent:
    """A change of a record. A store keeps one event for each revision of a record."""

    kind: Literal["tender", "purchase_order", "quick_purchase"]
    """The kind of record."""
    code: str
    """Its code."""
    change: Literal["opened", "amended", "closed", "awarded", "cancelled"]
    """What happened to it."""
    fingerprint: str
    """The new state and closing time."""
    noticed: datetime
    """When the sync noticed it, to the millisecond, as stores keep it."""

    @classmethod
    def _of(cls, fields: Fields) -> ChangeEvent:
        return cls(
            kind=fields["kind"],
            code=fields["code"],
            change=fields["change"],
            fingerprint=fields["fingerprint"],
            noticed=moment(fields["noticed"]),
        )


@dataclass(frozen=True, slots=True)
class FailedRead:
    """A record, or the list of a day, that a sync could not read."""

    name: str
    """The code of the record, or the day."""
    problem: str
    """Why, in one sentence."""
    attempts: int
    """How often it failed."""
    retry_at: datetime
    """From when on a sync tries again."""

    @classmethod
    def _of(cls, fields: Fields) -> FailedRead:
        return cls(
            name=fields["name"],
            problem=fields["problem"],
            attempts=fields["attempts"],
            retry_at=moment(fields["retry_at"]),
        )


@dataclass(frozen=True, slots=True)
class EventPage:
    """Events of all syncs, in the order in which they were written."""

    events: tuple[ChangeEvent, ...]
    """The events."""
    position: int
    """The position of the last one, after which to go on."""

    @classmethod
    def _of(cls, fields: Fields) -> EventPage:
        return cls(
            events=several(ChangeEvent._of)(fields["events"]),
            position=fields["position"],
        )


@dataclass(frozen=True, slots=True)
class StoredMonth:
    """A published month, and its number of lines."""

    month: str
    """The month."""
    lines: int
    """Its number of lines."""

    @classmethod
    def _of(cls, fields: Fields) -> StoredMonth:
        return cls(
            month=fields["month"],
            lines=fields["lines"],
        )


@dataclass(frozen=True, slots=True)
class MonthLine:
    """A line and its month."""

    month: str
    """The month."""
    line: StoredLine
    """The line."""

    @classmethod
    def _of(cls, fields: Fields) -> MonthLine:
        return cls(
            month=fields["month"],
            line=StoredLine._of(fields["line"]),
        )


@dataclass(frozen=True, slots=True)
class StoredLine:
    """A line of an order, an offer for a line of a tender, or a quote for a product of a quick purchase."""

    position: int
    """The position in the month's files, from 1."""
    code: str
    """The code of the order, tender or quick purchase."""
    line_id: int | None
    """The source's number of the line."""
    day: date | None
    """The day on which it was sent or published."""
    state: str
    """The state of the order, tender or quick purchase."""
    buyer: str | None
    """The buyer's code; for quick purchases its tax number."""
    supplier: str | None
    """The supplier's tax number, as the source writes it."""
    supplier_name: str | None
    """The supplier's name."""
    product: str | None
    """The product's UNSPSC code."""
    name: str
    """The product or service."""
    description: str | None
    """The buyer's description."""
    quantity: Decimal | None
    """The quantity."""
    unit: str | None
    """The unit of the quantity."""
    unit_price: Money | None
    """The price per unit."""
    total: Money | None
    """The price of the line."""
    chosen: bool | None
    """Whether the offer or quote was chosen."""
    body: Any
    """The whole row as JSON; empty if it was not stored."""

    @classmethod
    def _of(cls, fields: Fields) -> StoredLine:
        return cls(
            position=fields["position"],
            code=fields["code"],
            line_id=fields.get("line_id"),
            day=None if (given := fields.get("day")) is None else date.fromisoformat(given),
            state=fields["state"],
            buyer=fields.get("buyer"),
            supplier=fields.get("supplier"),
            supplier_name=fields.get("supplier_name"),
            product=fields.get("product"),
            name=fields["name"],
            description=fields.get("description"),
            quantity=None if (given := fields.get("quantity")) is None else Decimal(given),
            unit=fields.get("unit"),
            unit_price=None if (given := fields.get("unit_price")) is None else Money._of(given),
            total=None if (given := fields.get("total")) is None else Money._of(given),
            chosen=fields.get("chosen"),
            body=fields["body"],
        )


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A record in the store: the source's own text, and the fields by which records are queried."""

    kind: Literal["tender", "purchase_order", "quick_purchase"]
    """The kind."""
    form: Literal["row", "detail"]
    """The form."""
    code: str
    """The code."""
    state: str
    """The state, as its [``Display``](fmt::Display) writes it."""
    open: bool
    """Whether it is open for offers, or may still change for another reason."""
    day: date | None
    """The day on which the source lists it."""
    closes: datetime | None
    """When offers close."""
    source: str
    """The source."""
    as_of: datetime
    """The time of the answer that it is from."""
    revision: int
    """The revision: 1 at first, one more with each change."""
    body: Any
    """The source's own text."""

    @classmethod
    def _of(cls, fields: Fields) -> StoredRecord:
        return cls(
            kind=fields["kind"],
            form=fields["form"],
            code=fields["code"],
            state=fields["state"],
            open=fields["open"],
            day=None if (given := fields.get("day")) is None else date.fromisoformat(given),
            closes=None if (given := fields.get("closes")) is None else moment(given),
            source=fields["source"],
            as_of=moment(fields["as_of"]),
            revision=fields["revision"],
            body=fields["body"],
        )


@dataclass(frozen=True, slots=True)
class CallCount:
    """The calls that a listing made, and its ceiling."""

    made: int
    """The calls that it made, with retries."""
    max: int
    """The most that it could make. A listing that needs more ends there with a cursor."""

    @classmethod
    def _of(cls, fields: Fields) -> CallCount:
        return cls(
            made=fields["made"],
            max=fields["max"],
        )


@dataclass(frozen=True, slots=True)
class Converted:
    """An amount in pesos, and the rate by which it was converted."""

    pesos: Money
    """The amount."""
    rate: Rate
    """The rate, with its day."""

    @classmethod
    def _of(cls, fields: Fields) -> Converted:
        return cls(
            pesos=Money._of(fields["pesos"]),
            rate=Rate._of(fields["rate"]),
        )


@dataclass(frozen=True, slots=True)
class Rate:
    """The value of one unit of a currency on a day."""

    currency: str
    """The currency or unit of account."""
    date: date
    """The day; for the UTM, whose rate is monthly, the first of the month."""
    pesos: Decimal
    """The value of one unit in pesos."""
    source: str
    """The source of the rate."""

    @classmethod
    def _of(cls, fields: Fields) -> Rate:
        return cls(
            currency=fields["currency"],
            date=date.fromisoformat(fields["date"]),
            pesos=Decimal(fields["pesos"]),
            source=fields["source"],
        )


@dataclass(frozen=True, slots=True)
class SimilarTender:
    """A tender that was found."""

    code: str
    """Its code."""
    name: str
    """Its title."""
    state: str
    """Its state when it was last indexed."""
    closes: datetime | None
    """When offers close."""
    score: float
    """The cosine similarity; 1 for the same text."""

    @classmethod
    def _of(cls, fields: Fields) -> SimilarTender:
        return cls(
            code=fields["code"],
            name=fields["name"],
            state=fields["state"],
            closes=None if (given := fields.get("closes")) is None else moment(given),
            score=fields["score"],
        )


@dataclass(frozen=True, slots=True)
class IndexReport:
    """The result of updating an index."""

    seen: int
    """Tenders that were compared."""
    embedded: int
    """Of these, tenders that were embedded because they are new or their text changed."""
    restated: int
    """Of these, tenders whose state or closing time changed, but not their text."""
    without_text: int
    """Of these, tenders without text."""

    @classmethod
    def _of(cls, fields: Fields) -> IndexReport:
        return cls(
            seen=fields["seen"],
            embedded=fields["embedded"],
            restated=fields["restated"],
            without_text=fields["without_text"],
        )
