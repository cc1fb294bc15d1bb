"""``ayni embed``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from ayni import Embedder, InvalidRequest

BATCH_SIZE = 256


def add(commands: Any) -> None:
    """Adds the command."""
    command = commands.add_parser(
        "embed",
        help="embed the lines of a file, or an image",
        description="Writes one JSON object a line: the input's position, and its vector. An image file "
        "(.png, .jpg, .jpeg, .webp, .gif, .bmp) is one input; any other file has one text a line; - is standard input.",
    )
    command.add_argument("file", metavar="FILE")
    command.add_argument("--model", help="a local model: a folder, org/name on the Hub, or tiny:clip; else that of EMBEDDING_PROVIDER")
    command.add_argument("--role", choices=["query", "document"], help="which side of a search the texts are on")
    command.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Embeds the inputs and prints their vectors."""
    embedder = Embedder(given.model) if given.model else Embedder.from_env()
    options = {"role": given.role} if given.role else {}
    with embedder:
        position = 0
        for inputs in _batches(_inputs(given.file)):
            response = embedder.embed_sync(inputs, **options)
            for offset, vector in enumerate(response.tolist()):
                line = {"index": position + offset, "embedding": vector}
                print(json.dumps(line | ({"truncated": True} if offset in response.truncated else {})))
            position += len(inputs)
    return 0


def _inputs(file: str) -> Iterator[Any]:
    if file == "-":
        yield from _lines(sys.stdin)
        return
    path = Path(file)
    if path.suffix.lower() in (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp"):
        yield path
        return
    try:
        with path.open(encoding="utf-8") as lines:
            yield from _lines(lines)
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"{file} cannot be read: {getattr(error, 'strerror', None) or 'it is not UTF-8'}") from None


def _lines(lines: Iterable[str]) -> Iterator[str]:
    return (line.rstrip("\r\n") for line in lines)


def _batches(inputs: Iterator[Any]) -> Iterator[list[Any]]:
    while batch := list(islice(inputs, BATCH_SIZE)):
        yield batch
