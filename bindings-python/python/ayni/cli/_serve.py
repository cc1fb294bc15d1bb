"""``ayni serve``."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ayni.fastapi import ServiceRouter

VARIABLES = """\
Variables of every service: API_KEY, ALLOW_ORIGINS, MAX_BODY_BYTES, MAX_CONCURRENCY, BODY_TIMEOUT_SECONDS,
REQUEST_TIMEOUT_SECONDS, DRAIN_SECONDS, LOG_FORMAT (json, text, none)."""

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
        "IMAGE_ENGINE_MODE (auto, local, cloud), CLOUD_ENGINE_URL, SD_MODEL_ID, SD_LCM_LORA_ID, SD_DEVICE, SD_PRECISION",
    ),
    "openai": (
        "speaks OpenAI's API: /v1/chat/completions, /v1/embeddings, /v1/models",
        "GEMINI_API_KEY, GROQ_API_KEY or FEATHERLESS_API_KEY for chat; EMBEDDING_PROVIDER and its companions",
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
        if name in ("clip", "openai"):
            one.add_argument("--model", help="a local model of embeddings: a folder, or org/name on the Hub")
        if name == "openai":
            one.add_argument("--config", help="a JSON file: {'chat': …, 'embedder': …, 'images': …}, each a configuration")
        elif name != "triage":
            one.add_argument("--config", help="a JSON file with the configuration of the backend")
        one.set_defaults(run=run, service=name)


def _port(service: str) -> int:
    return 7860 if service == "clip" else 8000


def run(given: argparse.Namespace) -> int:
    """Serves until stopped."""
    try:
        import uvicorn

        from ayni import fastapi as services
    except ImportError as error:
        raise ImportError("`ayni serve` needs FastAPI and uvicorn: pip install 'ayni[fastapi]'") from error

    router = ROUTERS[given.service](given)
    app = services.service(router, title=f"ayni {given.service}")
    settings = services.ServiceSettings.from_env()
    uvicorn.run(
        app,
        host=given.host,
        port=given.port,
        access_log=False,
        log_config=_logging(settings.log),
        timeout_graceful_shutdown=int(settings.drain_seconds) + 1,
        server_header=False,
    )
    return 0


def _logging(form: str | None) -> dict[str, Any]:
    """The logging of the server, in the form of our own."""
    handler = {"class": "logging.StreamHandler", "formatter": "own", "stream": "ext://sys.stderr"}
    logger = {"handlers": [] if form is None else ["own"], "level": "INFO", "propagate": False}
    formatter = {"()": "ayni.fastapi.JsonLines"} if form == "json" else {"format": "%(levelname)-7s %(name)s: %(message)s"}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"own": formatter},
        "handlers": {"own": handler},
        "loggers": {"uvicorn": logger},
    }


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

    return image_router(_config(given))


def _openai(given: argparse.Namespace) -> ServiceRouter:
    from ayni import Chat, ConfigInvalid, Embedder, ImageGenerator
    from ayni.fastapi import openai_router

    config = _config(given) or {}
    if unknown := config.keys() - {"chat", "embedder", "images"}:
        raise ConfigInvalid(f"{given.config} has '{min(unknown)}'; valid: chat, embedder, images")
    embedder = chat = images = None
    if given.model or "embedder" in config:
        embedder = Embedder(given.model or config["embedder"])
    elif os.environ.get("EMBEDDING_PROVIDER"):
        embedder = Embedder.from_env()
    if "chat" in config:
        chat = Chat(config["chat"])
    elif any(os.environ.get(f"{vendor}_API_KEY") for vendor in ("GEMINI", "GROQ", "FEATHERLESS")):
        chat = Chat.from_env()
    if "images" in config:
        images = ImageGenerator(config["images"])
    if chat is None and embedder is None and images is None:
        raise ConfigInvalid("there is nothing to serve: give --model or --config, or set the variables of --help")
    return openai_router(chat, embedder, images)


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
