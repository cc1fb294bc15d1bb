"""Helpers shared by the integrations."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from ayni import _errors


def image_part(url: str) -> dict[str, Any]:
    """An image of a message: the bytes of a ``data:`` URL, or an address that the backend fetches itself."""
    if url[:5].lower() != "data:":
        return {"type": "image_url", "url": url}
    try:
        return {"type": "image", "image": base64.b64decode(url.partition(",")[2], validate=True)}
    except (binascii.Error, ValueError):
        raise _errors.InvalidRequest("an image_url is not base64") from None
