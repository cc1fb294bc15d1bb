"""The portal's monthly files: every line of purchase orders, tenders with every offer, quotes of quick purchases."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from ayni import _ayni
from ayni._calls import CallOptions, split_options
from ayni._reading import moment

BulkSet = Literal["order_lines", "tender_offers", "quotes"]


class MonthOptions(CallOptions, total=False):
    """How to download a monthly file, and what to keep of it."""

    folder: os.PathLike[str] | str | None
    """The folder of the file; by default one beside the store."""
    most_bytes: int | None
    """The most bytes of the compressed file; 2 GiB by default."""
    anew: bool | None
    """Whether to download it although it has not changed."""
    unknown_columns: Literal["refuse", "keep"] | None
    """What an import does with columns that ayni does not know; ``refuse`` by default."""
    raw: bool | None
    """Whether an import keeps the whole text of each row, which takes four times the space."""
    keep_file: bool | None
    """Whether an import keeps the file."""


class LineOptions(CallOptions, total=False):
    """Which lines of imported months to read."""

    from_: str | None
    """The first month: ``2026-06``."""
    to: str | None
    """The last month."""
    code: str | None
    product: str | None
    supplier: str | None
    """The supplier's tax number, as the source writes it."""
    after: tuple[str, int] | None
    """Month and position of the last line of the page before."""
    limit: int


class StoredOptions(CallOptions, total=False):
    """Which records in the store to read."""

    text: str | None
    """Words that title or description must have, whole; case, accents and Spanish endings do not matter."""
    form: Literal["row", "detail"]
    open: bool | None
    from_: str | None
    """The first day: ``2026-11-20``."""
    to: str | None
    """The last day."""
    after: str | None
    """The code of the last record of the page before."""
    limit: int


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What the import of a month did."""

    set: BulkSet
    month: str
    changed: bool
    """Whether the month had changed, so that its lines were rewritten."""
    lines: int
    """How many lines the store now has of it."""
    unread: int
    """How many of them have a column that could not be read and is missing."""
    as_of: datetime


@dataclass(frozen=True, slots=True)
class MonthFile:
    """A monthly file on disk: a zip of CSV files."""

    path: Path
    bytes: int
    etag: str | None
    last_modified: str | None
    as_of: datetime
    changed: bool
    """Whether it was downloaded just now; else it is from an earlier call."""


def request(set: BulkSet, month: str, options: Mapping[str, Any]) -> tuple[dict[str, Any], _ayni.CallSettings | None]:
    """The request for a month, and the settings of its call."""
    fields, setting = split_options(options)
    return {"set": set, "month": month, **fields}, setting


def line_request(kind: str, options: Mapping[str, Any]) -> tuple[dict[str, Any], _ayni.CallSettings | None]:
    """The request for lines of months, and the settings of its call."""
    fields, setting = split_options(options)
    return {"kind": kind, **{"from" if name == "from_" else name: value for name, value in fields.items()}}, setting


def import_report(text: str) -> ImportReport:
    """Reads a report."""
    fields = json.loads(text)
    return ImportReport(**{**fields, "as_of": moment(fields["as_of"])})


def month_file(text: str) -> MonthFile:
    """Reads the outcome of a download."""
    [(outcome, fields)] = json.loads(text).items()
    known = {**fields, "path": Path(fields["path"]), "as_of": moment(fields["as_of"])}
    return MonthFile(**known, changed=outcome == "fetched")
