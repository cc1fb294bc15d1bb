"""``ayni doctor``."""

from __future__ import annotations

import argparse
import os
import platform
import socket
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ayni import AyniError, ChatModes, __version__, hardware
from ayni.cli._models import cache

SECRETS = (
    "HF_API_TOKEN", "HF_TOKEN", "OPENAI_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY", "GROQ_API_KEY",
    "FEATHERLESS_API_KEY", "MERCADO_PUBLICO_TICKET", "CLIP_API_KEY", "API_KEY", "DATABASE_URL",
)
PLAIN = (
    "EMBEDDING_PROVIDER", "EMBEDDING_MODEL", "CLIP_SERVICE_URL", "CLOUD_ENGINE_URL", "IMAGE_ENGINE_MODE", "SD_MODEL_ID",
    "DEFAULT_LLM_MODE", "HF_HOME", "HF_ENDPOINT", "HF_HUB_OFFLINE", "AYNI_THREADS", "AYNI_ISA", "ALLOW_ORIGINS",
)

HOSTS = (
    "huggingface.co", "router.huggingface.co", "api.mercadopublico.cl", "api2.mercadopublico.cl",
    "generativelanguage.googleapis.com", "api.groq.com", "api.featherless.ai",
)

FLAGS = ("avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "asimd", "asimddp", "bf16")


def add(commands: Any) -> None:
    """Adds the command."""
    command = commands.add_parser(
        "doctor",
        help="show what this machine and its environment offer",
        description="Shows devices, instruction sets, threads, the cache, which variables are set (never their secrets), "
        "how the chat modes are set up, and which hosts are reachable. Nothing is sent to them.",
    )
    command.add_argument("--offline", action="store_true", help="contact no host")
    command.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Prints the report."""
    for title, rows in (
        ("machine", _machine()),
        ("cache", _cache()),
        ("variables", _variables(os.environ)),
        ("chat modes", _modes()),
        ("hosts", {} if given.offline or os.environ.get("HF_HUB_OFFLINE") else _hosts()),
    ):
        print(title)
        for name, value in rows.items() if isinstance(rows, Mapping) else rows:
            print(f"  {name:36} {value}")
    return 0


def _machine() -> Iterator[tuple[str, object]]:
    yield "ayni", __version__
    yield "python", f"{platform.python_version()} at {sys.executable}"
    yield "system", f"{platform.system()} {platform.machine()}"
    yield "threads", _threads()
    yield "instruction sets", " ".join(_instruction_sets()) or "unknown"
    try:
        found = hardware()
        yield "kernels", f"{found.instruction_set}, {found.threads} threads"
        yield "precision auto", f"{found.precision}: {found.precision_reason}"
    except AyniError as error:
        yield "kernels", str(error)
    yield "device cpu", "yes"
    devices = sorted(Path("/dev").glob("nvidia[0-9]*"))
    yield "device cuda", f"{len(devices)} in this machine; this wheel is built for the CPU" if devices else "no"


def _threads() -> str:
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cgroup_quota()
    return f"{allowed} processors" + (f", limited to {quota:g} by the cgroup" if quota else "")


def _cgroup_quota() -> float | None:
    try:
        most, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        return None if most == "max" else int(most) / int(period)
    except (OSError, ValueError):
        return None


def _instruction_sets() -> list[str]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    found = next((line for line in text.splitlines() if line.startswith(("flags", "Features"))), "").split()
    return [flag for flag in FLAGS if flag in found]


def _cache() -> Iterator[tuple[str, object]]:
    folder = cache()
    models = list(folder.glob("models--*"))
    yield str(folder), f"{len(models)} models" if folder.is_dir() else "is not there yet"


def _variables(env: Mapping[str, str]) -> Iterator[tuple[str, object]]:
    for name in SECRETS:
        yield name, "set" if env.get(name, "").strip() else "not set"
    for name in PLAIN:
        value = env.get(name, "").strip()
        # Only the host of an address, because the address may contain a credential.
        shown = urlsplit(value).hostname if "://" in value and "," not in value else value
        yield name, shown or "not set"


def _modes() -> Iterator[tuple[str, object]]:
    for mode in ChatModes().describe():
        yield mode.mode, mode.problem or f"ready{f': {mode.model}' if mode.model else ''}"


def _hosts() -> dict[str, object]:
    def reachable(host: str) -> str:
        try:
            with socket.create_connection((host, 443), timeout=5):
                return "reachable"
        except OSError as error:
            return f"not reachable ({type(error).__name__})"

    with ThreadPoolExecutor(len(HOSTS)) as pool:
        return dict(zip(HOSTS, pool.map(reachable, HOSTS), strict=True))
