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
    "ChangeEvent",
    "Contact",
    "DayReport",
    "Document",
    "LineAward",
    "LineItem",
    "Money",
    "Origin",
    "Plan",
    "PurchaseOrder",
    "PurchaseOrderRow",
    "QuickPurchase",
    "QuickPurchaseRow",
    "Quota",
    "Quote",
    "Supplier",
    "SyncReport",
    "Tender",
    "TenderDates",
    "TenderRow",
]

Fields = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Tender:
    """A tender in full."""

    row: TenderRow
    """What lists say of it."""
    description: str
    """What is asked for."""
    kind: str | None
    """Which kind of tender, where the source says so."""
    buyer: Buyer | None
    """Who asks."""
    estimated_amount: Money | None
    """The amount that the buyer expects, where it is public."""
    estimation: str | None
    """What that amount is."""
    payment: str | None
    """When the buyer pays."""
    contract_duration: tuple[Decimal, str] | None
    """How long the contract runs."""
    published: datetime | None
    """When it was published."""
    dates: TenderDates
    """Its other dates."""
    award: Award | None
    """How it was decided; ``None`` while it is open, whatever the dates say."""
    items: tuple[LineItem, ...]
    """The lines of it."""
    bidders: tuple[Supplier, ...]
    """Everybody who made an offer, where the source says so (OCDS does, v1 does not)."""
    documents: tuple[Document, ...]
    """The documents that the source lists."""

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
            published=None if (given := fields.get("published")) is None else moment(given),
            dates=TenderDates._of(fields["dates"]),
            award=None if (given := fields.get("award")) is None else Award._of(given),
            items=several(LineItem._of)(fields["items"]),
            bidders=several(Supplier._of)(fields["bidders"]),
            documents=several(Document._of)(fields["documents"]),
        )


@dataclass(frozen=True, slots=True)
class TenderRow:
    """A tender as lists give it."""

    code: str
    """The tender's code."""
    name: str
    """Its title."""
    state: str
    """Its state."""
    closes: datetime | None
    """When offers close."""
    origin: Origin
    """Where the row is from."""

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
    """Where a record is from, as of when it holds, and what the source itself wrote."""

    source: str
    """Where it is from."""
    as_of: datetime
    """As of when it holds."""
    stale: bool
    """Whether it is older than it should be, because the source could not be asked."""
    raw: Any
    """The record exactly as the source wrote it."""

    @classmethod
    def _of(cls, fields: Fields) -> Origin:
        return cls(
            source=fields["source"],
            as_of=moment(fields["as_of"]),
            stale=fields["stale"],
            raw=fields["raw"],
        )


@dataclass(frozen=True, slots=True)
class Buyer:
    """A public buyer. It has three codes that are easily mistaken: of the body, of the unit, and the prefix of its
    records' codes.
    """

    code: str
    """The body's code at the source."""
    name: str
    """Its name."""
    tax_number: str | None
    """Its tax number, as the source writes it."""
    unit_code: str | None
    """The code of the unit that buys."""
    unit_name: str | None
    """The name of the unit that buys."""
    address: str | None
    """Its address."""
    commune: str | None
    """Its commune."""
    region: str | None
    """Its region, as the source names it."""
    contact: Contact | None
    """Whom to ask: personal data."""
    origin: Origin | None
    """Where the record is from; ``None`` inside another record."""

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
    """A person to ask. Personal data."""

    name: str | None
    """The person's name."""
    role: str | None
    """What the person does."""
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
    """An amount and its currency. Converting it needs a dated rate."""

    amount: Decimal
    """How much."""
    currency: str
    """Of what."""

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
    """The dates of a tender, each as the source gives it."""

    created: datetime | None
    """When it was drawn up."""
    questions_from: datetime | None
    """From when questions are taken."""
    questions_until: datetime | None
    """Until when questions are taken."""
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
    """How a tender was decided."""

    act: str | None
    """By which act."""
    number: str | None
    """The act's number."""
    date: datetime | None
    """The act's date."""
    bidders: int | None
    """What the source calls the number of bidders; one official text says awarded suppliers."""
    page: str | None
    """The page of the act."""
    value: Money | None
    """The amount, where the source sums it up."""
    suppliers: tuple[Supplier, ...]
    """Who won, where the source says so for the whole and not by line."""

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
    """The company's code at the source."""
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
    """Whom to ask: personal data."""
    origin: Origin | None
    """Where the record is from; ``None`` inside another record."""

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
    """What it is."""
    description: str | None
    """What the buyer says of it."""
    supplier_description: str | None
    """What the supplier says of it."""
    product_code: str | None
    """The product's code in the classification of the United Nations (UNSPSC)."""
    category_code: str | None
    """The category's code."""
    category: str | None
    """The category: ``level 1 / level 2 / level 3``."""
    quantity: Decimal | None
    """How much of it."""
    unit: str | None
    """In which unit."""
    unit_price: Money | None
    """The price of one unit, before taxes."""
    total: Money | None
    """The price of the line."""
    award: LineAward | None
    """Who won the line."""

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
    """Who won a line of a tender."""

    supplier: Supplier
    """Who won it."""
    quantity: Decimal | None
    """How much of it."""
    unit_price: Money | None
    """At which price of one unit."""

    @classmethod
    def _of(cls, fields: Fields) -> LineAward:
        return cls(
            supplier=Supplier._of(fields["supplier"]),
            quantity=None if (given := fields.get("quantity")) is None else Decimal(given),
            unit_price=None if (given := fields.get("unit_price")) is None else Money._of(given),
        )


@dataclass(frozen=True, slots=True)
class Document:
    """A document that a source lists."""

    id: str
    """The document's id at the source."""
    name: str
    """Its name."""
    url: str | None
    """Where it is, where the source says so."""

    @classmethod
    def _of(cls, fields: Fields) -> Document:
        return cls(
            id=fields["id"],
            name=fields["name"],
            url=fields.get("url"),
        )


@dataclass(frozen=True, slots=True)
class PurchaseOrder:
    """A purchase order in full."""

    row: PurchaseOrderRow
    """What lists say of it."""
    description: str
    """What is bought."""
    kind: str | None
    """By which mechanism."""
    tender_code: str | None
    """The tender that it follows from."""
    buyer: Buyer | None
    """Who buys."""
    supplier: Supplier | None
    """Who sells."""
    net: Money | None
    """The total before taxes."""
    taxes: Money | None
    """The taxes."""
    tax_percent: Decimal | None
    """The rate of the value-added tax, in per cent."""
    discounts: Money | None
    """What was taken off."""
    charges: Money | None
    """What was put on."""
    total: Money | None
    """The total, taxes included."""
    payment: str | None
    """When it is paid."""
    dispatch: str | None
    """How it is delivered."""
    created: datetime | None
    """When it was drawn up."""
    sent: datetime | None
    """When it was sent."""
    accepted: datetime | None
    """When the supplier accepted it."""
    cancelled: datetime | None
    """When it was called off."""
    changed: datetime | None
    """When it was last changed; this can precede its sending."""
    items: tuple[LineItem, ...]
    """The lines of it."""

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
    """A purchase order as lists give it."""

    code: str
    """The order's code."""
    name: str
    """Its title."""
    state: str
    """Its state."""
    origin: Origin
    """Where the row is from."""

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
    """A quick purchase in full."""

    row: QuickPurchaseRow
    """What lists say of it."""
    description: str
    """What is asked for."""
    buyer: Buyer | None
    """Who buys."""
    first_call_closes: datetime | None
    """When the call to small firms closes."""
    second_call_closes: datetime | None
    """When the call to all closes."""
    delivery_address: str | None
    """Where to deliver."""
    delivery_days: int | None
    """Within how many days."""
    order_code: str | None
    """The purchase order that came of it."""
    items: tuple[LineItem, ...]
    """The lines of it."""
    quotes: tuple[Quote, ...]
    """The offers, where the source shows them."""
    documents: tuple[Document, ...]
    """The documents that the source lists."""

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
        )


@dataclass(frozen=True, slots=True)
class QuickPurchaseRow:
    """A quick purchase as lists give it."""

    code: str
    """The purchase's code."""
    name: str
    """Its title."""
    state: str
    """Its state. It may lag: still published after closing."""
    published: datetime | None
    """When it was published."""
    closes: datetime | None
    """When offers close."""
    changed: datetime | None
    """When it was last changed."""
    call: int | None
    """Which call it is: 1 for small firms, 2 for all."""
    budget: Money | None
    """The money set aside."""
    budget_in_pesos: Money | None
    """The same in pesos, where the source says so."""
    buyer_name: str | None
    """Who buys."""
    buyer_tax_number: str | None
    """The buyer's tax number."""
    region: int | None
    """The region's number, 1 to 16."""
    offers: int | None
    """How many offers there are."""
    origin: Origin
    """Where the row is from."""

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
    """Who offers."""
    description: str | None
    """What is offered."""
    net: Money | None
    """The price before taxes."""
    total: Money | None
    """The price with taxes."""
    chosen: bool | None
    """Whether it was chosen."""
    made: datetime | None
    """When it was made."""

    @classmethod
    def _of(cls, fields: Fields) -> Quote:
        return cls(
            supplier=Supplier._of(fields["supplier"]),
            description=fields.get("description"),
            net=None if (given := fields.get("net")) is None else Money._of(given),
            total=None if (given := fields.get("total")) is None else Money._of(given),
            chosen=fields.get("chosen"),
            made=None if (given := fields.get("made")) is None else moment(given),
        )


@dataclass(frozen=True, slots=True)
class DayReport:
    """How complete one day of a listing is."""

    day: date
    """The day."""
    completeness: Literal["complete", "partial", "failed"]
    """How complete it is."""
    rows: int
    """How many rows the source gave, before filtering."""
    from_store: bool
    """Whether the rows came out of the store."""
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
    """What a request costs, told before anything is sent."""

    calls: int
    """The calls, without repetitions of failed ones."""
    exact: bool
    """Whether it will be exactly so many. It is not where details have to be read, or pages counted, to know."""
    quota_calls: int
    """Of these, the calls that count against the ticket's quota of the day."""
    quota_left: int
    """The calls that the quota of the day still allows."""
    quota_percent: float
    """The share of the day's whole quota that the request takes, in per cent."""
    least_seconds: float
    """How long it will take at least, by the gap between calls."""
    days_asked: tuple[date, ...]
    """The days that are asked for, in the order of the request."""
    days_known: tuple[date, ...]
    """The days that the store already has in full."""
    better_at_night: bool
    """Whether the source would rather have it at night, between 22:00 and 07:00 in Chile."""

    @classmethod
    def _of(cls, fields: Fields) -> Plan:
        return cls(
            calls=fields["calls"],
            exact=fields["exact"],
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
    """Requests that left, or were about to."""
    reserved: int
    """Requests that jobs have reserved and not sent yet."""
    limit: int
    """What ayni uses at most: the soft limit."""
    spent: bool
    """Whether the service itself has said that the quota is spent."""
    resets_at: datetime
    """When the quota begins anew: Santiago's midnight."""

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
    """What a sync has done."""

    events: tuple[ChangeEvent, ...]
    """The changes, in the order in which they were written. The store keeps them too."""
    rows: int
    """Rows that were looked at."""
    steps: int
    """Days or windows that were brought up to date."""
    left_over: int
    """Tenders that vanished from the lists and were not looked at, because there were too many."""

    @classmethod
    def _of(cls, fields: Fields) -> SyncReport:
        return cls(
            events=several(ChangeEvent._of)(fields["events"]),
            rows=fields["rows"],
            steps=fields["steps"],
            left_over=fields["left_over"],
        )


@dataclass(frozen=True, slots=True)
class ChangeEvent:
    """One change of one record. The store keeps an event once: two with the same kind, code, change and fingerprint
    are the same event.
    """

    kind: Literal["tender", "purchase_order", "quick_purchase"]
    """What kind of record."""
    code: str
    """Its code."""
    change: Literal["opened", "amended", "closed", "awarded", "cancelled"]
    """What happened to it."""
    fingerprint: str
    """What it changed to: state and closing time."""
    noticed: datetime
    """When it was noticed."""

    @classmethod
    def _of(cls, fields: Fields) -> ChangeEvent:
        return cls(
            kind=fields["kind"],
            code=fields["code"],
            change=fields["change"],
            fingerprint=fields["fingerprint"],
            noticed=moment(fields["noticed"]),
        )
