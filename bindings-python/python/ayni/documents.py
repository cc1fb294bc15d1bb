"""Analyses and files of procurement records.

>>> from ayni import Chat, Procurement
>>> from ayni.documents import analyse_sync
>>> found = analyse_sync(Procurement(backend="scripted"), "9002-7-LR26", Chat(backend="scripted", replies=[
...     {"text": '{"claims": ["La licitación es {1}."]}'},
... ]))
>>> [claim["text"] for claim in found.claims]
['La licitación es 9002-7-LR26.']
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

from ayni import _ayni
from ayni._calls import CallOptions, awaited, split_options
from ayni._chat import Chat
from ayni._procurement import ListOptions, Procurement, RecordKind, _list_request

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["Analysis", "analyse", "analyse_sync", "export", "tender_file", "tender_file_sync"]

Ask = Literal["summary", "requirements", "risks", "go_no_go", "deadlines"]
Form = Literal["csv", "json_lines", "ocds", "pdf"]


class Analysis:
    """A model's analysis of a tender, checked against the record."""

    __slots__ = ("_native", "fields", "json")

    def __init__(self, native: _ayni.AnalysedTender) -> None:
        self._native = native
        self.json: str = native.json()
        """The whole analysis as JSON."""
        self.fields: dict[str, Any] = json.loads(self.json)
        """The same, read."""

    @property
    def claims(self) -> list[dict[str, Any]]:
        """Sentences, each with the fields that support it."""
        return list(self.fields["claims"])

    @property
    def rejected(self) -> list[dict[str, Any]]:
        """Claims that the record does not support, with the reason."""
        return list(self.fields["rejected"])

    def pdf(self, **page: str) -> bytes:
        """The tender and its analysis on one page, with the options ``language``, ``link`` and ``made_by``."""
        return self._native.pdf(page)


def _question(ask: Ask | None, question: str | None, options: Mapping[str, Any]) -> dict[str, Any]:
    asked: Any = {"free": question} if question is not None else ask or "summary"
    return {"ask": asked, **{name: value for name, value in options.items() if value is not None}}


async def analyse(
    procurement: Procurement,
    code: str,
    chat: Chat,
    *,
    ask: Ask | None = None,
    question: str | None = None,
    language: Literal["es", "en"] | None = None,
    most_claims: int | None = None,
    source: str | None = None,
    **options: Unpack[CallOptions],
) -> Analysis:
    """Asks a model about a tender: one of the prepared questions, or ``question`` of your own.

    Amounts, dates, codes and the like in the answer are checked against the record; claims that fail are in ``rejected``.
    """
    wanted = {"code": code} | ({} if source is None else {"source": source})
    asked = _question(ask, question, {"language": language, "most_claims": most_claims})
    setting = split_options(options)[1]
    return Analysis(await awaited(_ayni.analyse, procurement._native, wanted, chat._native, asked, setting=setting))


def analyse_sync(
    procurement: Procurement,
    code: str,
    chat: Chat,
    *,
    ask: Ask | None = None,
    question: str | None = None,
    language: Literal["es", "en"] | None = None,
    most_claims: int | None = None,
    source: str | None = None,
    **options: Unpack[CallOptions],
) -> Analysis:
    """The same, on the calling thread."""
    wanted = {"code": code} | ({} if source is None else {"source": source})
    asked = _question(ask, question, {"language": language, "most_claims": most_claims})
    setting = split_options(options)[1]
    return Analysis(_ayni.analyse(procurement._native, wanted, chat._native, asked, setting))


async def tender_file(
    procurement: Procurement, code: str, form: Form, /, *, settings: Mapping[str, Any] | None = None, **options: Unpack[CallOptions]
) -> bytes:
    """One tender as a file. ``settings`` belong to the form: ``separator`` of csv, ``uri`` and ``publisher`` of ocds …"""
    how, setting = {"form": form, **(settings or {})}, split_options(options)[1]
    written: bytes = await awaited(_ayni.tender_file, procurement._native, {"code": code}, how, setting=setting)
    return written


def tender_file_sync(
    procurement: Procurement, code: str, form: Form, /, *, settings: Mapping[str, Any] | None = None, **options: Unpack[CallOptions]
) -> bytes:
    """The same, on the calling thread."""
    how, setting = {"form": form, **(settings or {})}, split_options(options)[1]
    written: bytes = _ayni.tender_file(procurement._native, {"code": code}, how, setting)
    return written


async def export(
    procurement: Procurement,
    kind: RecordKind,
    form: Literal["csv", "json_lines"],
    /,
    *,
    settings: Mapping[str, Any] | None = None,
    **options: Unpack[ListOptions],
) -> AsyncIterator[bytes]:
    """Records of a list, page after page, as a file in pieces."""
    request, setting = split_options(options)
    how = {"form": form, **(settings or {})}
    pieces = await awaited(_ayni.export, procurement._native, kind, _list_request(request), how, setting=setting)
    try:
        while (piece := await awaited(pieces.next)) is not None:
            yield piece
    finally:
        pieces.close()
