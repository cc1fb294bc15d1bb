"""``ayni serve``."""

from __future__ import annotations

import argparse
import json
import logging
import os
import socket
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ayni import AyniError

if TYPE_CHECKING:
    from fastapi import FastAPI

    from ayni.fastapi import ServiceRouter

VARIABLES = """\
Variables of every service: API_KEY, ALLOW_ORIGINS, ALLOW_HOSTS, MAX_BODY_BYTES, MAX_TEXT_BYTES, MAX_CONCURRENCY,
MAX_CONNECTIONS, HEADER_TIMEOUT_SECONDS, BODY_TIMEOUT_SECONDS, REQUEST_TIMEOUT_SECONDS, WRITE_TIMEOUT_SECONDS,
KEEP_ALIVE_SECONDS, DRAIN_SECONDS, LOG_FORMAT (json, text, none). AYNI_MAX_IMAGE_PIXELS limits images of local models."""

START_FAILED = 3
"""The exit status of a service that cannot start."""

WORKER = "AYNI_SERVE"
"""The variable that hands the arguments to further processes."""

SERVICES = {
    "clip": (
        "embeds texts and images: POST /embed/text, /embed/image",
        "EMBEDDING_PROVIDER, EMBEDDING_MODEL (openai/clip-vit-base-patch32 in this process by default)",
    ),
    "triage": (
        "answers patients' questions by the model of a mode: POST /triage",
        "DEFAULT_LLM_MODE, HF_API_TOKEN, HF_SMOLLM2_MODEL_ID, HF_QWEN_MODEL_ID, HF_TIMEOUT_SECONDS,\n"
        "HF_MAX_NEW_TOKENS, HF_TEMPERATURE. Local chat models (gguf, qwen) are not in this version.",
    ),
    "procurement": (
        "reads Chilean public procurement: GET /api/purchase-orders, /api/tenders, ...",
        "MERCADO_PUBLICO_TICKET, DATABASE_URL; GEMINI_API_KEY, GEMINI_MODEL, GROQ_API_KEY or FEATHERLESS_API_KEY",
    ),
    "images": (
        "generates images: POST /generate, /refine",
        "IMAGE_ENGINE_MODE (auto, local, cloud), CLOUD_ENGINE_URL, SD_MODEL_ID, SD_LCM_LORA_ID, SD_DEVICE, SD_PRECISION, SD_SAFETY",
    ),
    "openai": (
        "speaks OpenAI's API: /v1/chat/completions, /v1/responses, /v1/embeddings, /v1/models",
        "OPENAI_API_KEY and OPENAI_MODELS (names separated by commas; gpt-4o-mini by default), GEMINI_API_KEY,\n"
        "GROQ_API_KEY or FEATHERLESS_API_KEY for chat; EMBEDDING_PROVIDER and its companions",
    ),
}


def add(commands: Any) -> None:
    """Adds the command."""
    command = commands.add_parser("serve", help="serve one of the services over HTTP")
    services = command.add_subparsers(title="services", metavar="SERVICE", required=True)
    for name, (what, variables) in SERVICES.items():
        one = services.add_parser(
            name,
            aliases=["image"] if name == "images" else [],
            help=what,
            description=f"{what[0].upper()}{what[1:]}. /docs describes it.",
            epilog=f"Variables: {variables}\n\n{VARIABLES}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        one.add_argument("--host", default="127.0.0.1", help="the address to listen on (%(default)s)")
        one.add_argument("--port", type=int, default=_port(name), help="the port (%(default)s); 0 takes any")
        one.add_argument("--workers", type=int, default=1, help="processes that serve, each with its own models (%(default)s)")
        one.add_argument(
            "--keep-alive", type=float, metavar="SECONDS", help="how long a stream is silent before a comment (15)"
        )
        if name == "openai":
            one.add_argument(
                "--token-ids",
                metavar="ENCODING",
                help="whose token ids /v1/embeddings takes: tiktoken's cl100k_base, as LangChain sends them; by default the model's own",
            )
        if name in ("clip", "openai"):
            one.add_argument("--model", help="a local model of embeddings: a folder, org/name on the Hub, or tiny:clip")
        if name == "images":
            one.add_argument("--model", help="a local image model: a folder, a file, or org/name on the Hub")
        if name == "openai":
            one.add_argument(
                "--config",
                help="a JSON file: {'chat': …, 'embedder': …, 'images': …}, each a configuration, or several by their names",
            )
        elif name != "triage":
            one.add_argument("--config", help="a JSON file with the configuration of the backend")
        one.set_defaults(run=run, service=name)


def _port(service: str) -> int:
    return 7860 if service == "clip" else 8000


def run(given: argparse.Namespace) -> int:
    """Serves until stopped."""
    try:
        import uvicorn
    except ImportError as error:
        raise ImportError("`ayni serve` needs FastAPI and uvicorn: pip install 'ayni[fastapi]'") from error
    if given.keep_alive is not None:
        os.environ["KEEP_ALIVE_SECONDS"] = str(given.keep_alive)
    try:
        return _workers(given) if given.workers > 1 else _serve(given, uvicorn)
    except AyniError as error:
        print(f"ayni: {error}", file=sys.stderr)
        return START_FAILED


def _serve(given: argparse.Namespace, uvicorn: Any) -> int:
    from ayni.fastapi import ServiceSettings, server_options

    failures: list[Exception] = []

    def failed(error: Exception) -> None:
        failures.append(error)
        server.should_exit = True

    app = _app(given, failed)
    listening = _listening(given.host, given.port)
    options = server_options(ServiceSettings.from_env())
    server = uvicorn.Server(uvicorn.Config(app, host=given.host, port=given.port, **options))
    _say_where(listening)
    server.run(sockets=[listening])
    for error in failures[:1]:
        print(f"ayni: {_sentence(error)}", file=sys.stderr)
    return START_FAILED if failures else 0


def _workers(given: argparse.Namespace) -> int:
    """Several processes on one port: each is started anew, and one that dies is replaced."""
    import uvicorn

    from ayni.fastapi import HttpProtocol, ServiceSettings, server_options

    _app(given, lambda _: None)  # What is wrong is said here, once.
    wanted = {name: value for name, value in vars(given).items() if name != "run"}
    os.environ[WORKER] = json.dumps(wanted)
    options = {**server_options(ServiceSettings.from_env()), "http": HttpProtocol}
    _listening(given.host, given.port).close()
    uvicorn.run("ayni.cli._serve:worker", factory=True, workers=given.workers, host=given.host, port=given.port, **options)
    return 0


def worker() -> FastAPI:
    """The app of one of several processes. One that cannot load its models ends, and is started again."""

    def failed(error: Exception) -> None:
        print(f"ayni: {_sentence(error)}", file=sys.stderr)
        os._exit(START_FAILED)

    return _app(argparse.Namespace(**json.loads(os.environ[WORKER])), failed)


def _app(given: argparse.Namespace, failed: Callable[[Exception], None]) -> FastAPI:
    from ayni.fastapi import service

    return service(ROUTERS[given.service](given), title=f"ayni {given.service}", on_failure=failed)


def _listening(host: str, port: int) -> socket.socket:
    """The socket, before anything is loaded: a port that is taken is noticed at once."""
    from ayni import ConfigInvalid
    from ayni.fastapi._server import BACKLOG

    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        found = socket.socket(family)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
        found.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or error
        raise ConfigInvalid(f"{host}:{port} cannot be listened on: {why}") from None
    return found


def _say_where(listening: socket.socket) -> None:
    address, port = listening.getsockname()[:2]
    shown = f"[{address}]" if ":" in address else address
    logging.getLogger("uvicorn.error").info("Uvicorn running on http://%s:%d", shown, port)


def _sentence(error: Exception) -> str:
    # Of what nobody expected only the type: its text may hold anything.
    return str(error) if isinstance(error, (AyniError, ImportError)) else f"unexpected {type(error).__name__}"


def _clip(given: argparse.Namespace) -> ServiceRouter:
    from ayni.fastapi import clip_router

    return clip_router(given.model or _config(given))


def _triage(given: argparse.Namespace) -> ServiceRouter:
    from ayni.fastapi import triage_router

    return triage_router()


def _procurement(given: argparse.Namespace) -> ServiceRouter:
    from ayni.fastapi import procurement_router

    return procurement_router(_config(given))


def _images(given: argparse.Namespace) -> ServiceRouter:
    from ayni.fastapi import image_router

    return image_router({"backend": "local", "model": given.model} if given.model else _config(given))


def _openai(given: argparse.Namespace) -> ServiceRouter:
    from ayni import Chat, ConfigInvalid, Embedder, ImageGenerator
    from ayni.fastapi import openai_router

    config = _config(given) or {}
    if unknown := config.keys() - {"chat", "embedder", "images"}:
        raise ConfigInvalid(f"{given.config} has '{min(unknown)}'; valid: chat, embedder, images")
    embedder = given.model and Embedder(given.model)
    if embedder is None:
        embedder = _opened(Embedder, config.get("embedder"))
    if embedder is None and os.environ.get("EMBEDDING_PROVIDER"):
        embedder = Embedder.from_env()
    chat = _opened(Chat, config.get("chat")) or _chats_of_environment()
    images = _opened(ImageGenerator, config.get("images"))
    if chat is None and embedder is None and images is None:
        raise ConfigInvalid("there is nothing to serve: give --model or --config, or set the variables of --help")
    return openai_router(chat, embedder, images, text_of_tokens=_text_of_tokens(given.token_ids))


def _text_of_tokens(encoding: str | None) -> Any:
    """What makes texts of token ids that are not the model's own."""
    from ayni import ConfigInvalid

    if encoding is None:
        return None
    try:
        import tiktoken

        return tiktoken.get_encoding(encoding).decode
    except ImportError:
        raise ConfigInvalid("`--token-ids` needs the package tiktoken: pip install tiktoken") from None
    except Exception as error:  # It may have to download the encoding, and fails in many ways.
        raise ConfigInvalid(f"tiktoken has no encoding '{encoding}' ({type(error).__name__})") from None


def _opened(kind: Any, config: Any) -> Any:
    """A handle of a configuration, or handles by name of several."""
    if config is None:
        return None
    if "backend" in config:
        return kind(config)
    return {name: kind(one) for name, one in config.items()}


def _chats_of_environment() -> Any:
    from ayni import Chat

    if os.environ.get("OPENAI_API_KEY", "").strip():
        names = [name.strip() for name in os.environ.get("OPENAI_MODELS", "").split(",")]
        models = [name for name in names if name] or ["gpt-4o-mini"]
        return {model: Chat(backend="openai", vendor="openai", model=model) for model in models}
    if any(os.environ.get(f"{vendor}_API_KEY", "").strip() for vendor in ("GEMINI", "GROQ", "FEATHERLESS")):
        return Chat.from_env()
    return None


ROUTERS: dict[str, Callable[[argparse.Namespace], ServiceRouter]] = {
    "clip": _clip,
    "triage": _triage,
    "procurement": _procurement,
    "images": _images,
    "openai": _openai,
}


def _config(given: argparse.Namespace) -> dict[str, Any] | None:
    import json
    from pathlib import Path

    from ayni import ConfigInvalid

    if given.config is None:
        return None
    try:
        found = json.loads(Path(given.config).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigInvalid(f"{given.config} cannot be read as JSON ({type(error).__name__})") from None
    if not isinstance(found, dict):
        raise ConfigInvalid(f"{given.config} holds no JSON object")
    return found
