"""``ayni chat`` and ``ayni pull``."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from ayni import AyniError, Chat, Finish, InvalidRequest, Progress, Reasoning, Text


def add(commands: Any) -> None:
    """Adds the commands."""
    command = commands.add_parser(
        "chat",
        help="talk to a local model in this terminal",
        description="Talks to a local model. The conversation is kept; /new starts another one, /image FILE shows the model an "
        "image with the next question, Ctrl-C stops an answer, and Ctrl-D ends.",
    )
    command.add_argument("model", metavar="MODEL", help="a GGUF file, a folder, or org/name[:Q4_K_M][@revision] on the Hub")
    command.add_argument("--system", help="what the model is told first")
    command.add_argument("--temperature", type=float, help="0 always takes the likeliest token; by default as the model says")
    command.add_argument("--max-tokens", type=int, help="the most tokens of an answer")
    command.add_argument("--device", help="auto, cpu or cuda:N")
    command.set_defaults(run=run)
    pull = commands.add_parser(
        "pull",
        help="fetch a chat model into the cache, and check that it loads",
        description="Fetches a chat model from the Hub into the cache that Python's huggingface_hub uses, and loads it once.",
    )
    pull.add_argument("model", metavar="MODEL", help="org/name[:Q4_K_M][@revision] on the Hub")
    pull.set_defaults(run=fetch)


def fetch(given: argparse.Namespace) -> int:
    """Fetches and loads a model."""
    with Chat(given.model) as chat:
        chat.ready_sync(progress=Loading())
        print(f"{given.model}: ready, {chat.window()} tokens")
    return 0


def run(given: argparse.Namespace) -> int:
    """Answers line by line until the input ends."""
    config: dict[str, Any] = {"backend": "local", "model": given.model}
    if given.device:
        config["device"] = given.device
    options = {"temperature": given.temperature, "max_tokens": given.max_tokens}
    options = {name: value for name, value in options.items() if value is not None}
    start: list[dict[str, Any]] = [{"role": "system", "content": given.system}] if given.system else []
    with Chat(config) as chat:
        chat.ready_sync(progress=Loading())
        shows = " /image FILE shows an image," if chat.info().reads_images else ""
        keys = f"/new starts again,{shows} Ctrl-C stops an answer, Ctrl-D ends"
        print(f"{given.model}: {chat.window()} tokens; {keys}", file=sys.stderr)
        messages = list(start)
        images: list[dict[str, Any]] = []
        while (question := _question()) is not None:
            command, _, file = question.partition(" ")
            try:
                if question == "/new":
                    messages, images = list(start), []
                elif command == "/image":
                    images.append(_image(chat, file.strip()))
                elif question:
                    text: dict[str, Any] = {"type": "text", "text": question}
                    asked = [*messages, {"role": "user", "content": [*images, text] if images else question}]
                    images = []
                    messages = [*asked, {"role": "assistant", "content": _answer(chat, asked, options)}]
            except AyniError as error:
                # Somebody who sees it can go on without what could not be answered.
                if not sys.stdin.isatty():
                    raise
                print(f"ayni: {error}", file=sys.stderr)
    return 0


def _image(chat: Chat, file: str) -> dict[str, Any]:
    """The image as a part of the next question."""
    if not chat.info().reads_images:
        raise InvalidRequest("the model reads no images")
    try:
        return {"type": "image", "image": Path(file).expanduser().read_bytes()}
    except OSError as error:
        raise InvalidRequest(f"/image {file}: {error.strerror}; it takes the path of an image") from error


def _question() -> str | None:
    try:
        return input("> " if sys.stdin.isatty() else "").strip()
    except EOFError:
        return None


def _answer(chat: Chat, messages: list[dict[str, Any]], options: dict[str, Any]) -> str:
    """Prints an answer as it comes, and how quickly; returns its text."""
    text, first, start = "", 0.0, time.monotonic()
    try:
        for event in chat.stream_sync(messages, **options):
            if isinstance(event, (Text, Reasoning)):
                first = first or time.monotonic()
                print(event.text, end="", flush=True, file=sys.stdout if isinstance(event, Text) else sys.stderr)
            if isinstance(event, Text):
                text += event.text
            elif isinstance(event, Finish):
                print()
                tokens = event.usage.output_tokens or 0
                speed = tokens / max(time.monotonic() - first, 1e-3) if first else 0
                print(f"[{tokens} tokens, {speed:.0f} a second, first after {first - start:.2f} s]", file=sys.stderr)
    except KeyboardInterrupt:
        print(" [stopped]")
    return text


class Loading:
    """Tells how far loading is, where somebody sees it."""

    def __call__(self, progress: Progress) -> None:
        if not sys.stderr.isatty():
            return
        told = progress.reason or progress.type
        if progress.file:
            share = f" {progress.done / progress.of:.0%}" if progress.done and progress.of else ""
            told = f"{progress.file}{share}"
        print(f"\r{told}\x1b[K", end="\r", file=sys.stderr, flush=True)
