"""Pages that are complete in themselves: the front page for people, and the documentation. Nothing is fetched elsewhere."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib import resources
from typing import Any, Literal

from starlette.responses import HTMLResponse

POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self' https://huggingface.co"
)
"""What the pages may do: talk to their own service."""


@dataclass(frozen=True)
class Input:
    """One field of a form."""

    name: str
    label: str
    kind: Literal["line", "text", "image", "number", "choice"] = "line"
    value: str = ""
    choices: Sequence[str] = ()
    required: bool = True


@dataclass(frozen=True)
class Form:
    """Something that people can try."""

    title: str
    path: str
    inputs: Sequence[Input]
    shows: Literal["text", "images", "vector", "rows"]
    body: Mapping[str, Any] | None = None
    """The JSON to send, with ``$name`` where the value of an input belongs; ``None`` for a GET with the inputs as its query."""
    hints: Sequence[str] = field(default=())


def page_response(page: str) -> HTMLResponse:
    """A page with the headers that keep it to itself."""
    headers = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
    return HTMLResponse(page, headers={**headers, "Cache-Control": "no-cache"})


def front_page(title: str, forms: Sequence[Form], *, needs_key: bool) -> str:
    """The page that browsers get at ``/``."""
    return _written("front.html", title, {"forms": [asdict(form) for form in forms], "needsKey": needs_key})


def docs_page(title: str) -> str:
    """The page at ``/docs``: what ``/openapi.json`` says, to read and to try."""
    return _written("docs.html", title, {})


def _written(name: str, title: str, data: Mapping[str, Any]) -> str:
    # `<` would end the script.
    script = json.dumps(data).replace("<", "\\u003c")
    page = _file(name).replace("/*style*/", _file("style.css")).replace("{{title}}", html.escape(title))
    return page.replace('"{{data}}"', script)


@cache
def _file(name: str) -> str:
    return resources.files("ayni.fastapi").joinpath("pages", name).read_text(encoding="utf-8")
