"""``ayni models``."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from ayni import embedding_architectures, known_models, models_sync, sample_models


def add(commands: Any) -> None:
    """Adds the command."""
    command = commands.add_parser(
        "models",
        help="list the models in the cache, those that run here, or those that a vendor offers",
        description="Lists the sample models of the package and the models in the Hub's cache on this machine; with --supported the architectures and "
        "well-known models that run in this process; with --vendor those that an OpenAI-compatible vendor offers.",
    )
    command.add_argument("--supported", action="store_true", help="what runs in this process")
    command.add_argument("--vendor", help="openai, groq, hf-router, ollama, ... (docs/reference/configuration.md)")
    command.add_argument("--base-url", help="where the vendor's API is, if elsewhere")
    command.set_defaults(run=run)


def cache() -> Path:
    """The folder of the Hub's cache."""
    if found := os.environ.get("HF_HUB_CACHE"):
        return Path(found)
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "huggingface"
    return Path(home) / "hub"


def run(given: argparse.Namespace) -> int:
    """Prints the list."""
    if given.vendor:
        # A configuration must name a model, although listing does not need one.
        config = {"backend": "openai", "vendor": given.vendor, "model": "any"}
        if given.base_url:
            config["base_url"] = given.base_url
        for model in models_sync(config, deadline=60):
            print(model.get("id"))
        return 0
    if given.supported:
        print(f"architectures of embedding models: {', '.join(embedding_architectures())}")
        print(f"{'model':60} {'width':>6} {'window':>7} {'parameters':>11}  {'languages':13} licence")
        for known in known_models():
            parameters = f"{known.parameters_in_millions} M"
            print(
                f"{known.id:60} {known.dimensions:6} {known.window:7} {parameters:>11}  {known.languages:13} "
                f"{known.licence or 'not named'}"
            )
        return 0
    for sample in sample_models():
        if sample.bytes:
            print(f"{sample.reference:60} {sample.bytes / 1e6:10.1f} MB  in the package: {sample.what}")
        elif sample.fetched_from:
            print(f"{sample.reference:60} {'':13}  fetched: {sample.fetched_from}")
    found = sorted(cache().glob("models--*"))
    for folder in found:
        size = sum(blob.stat().st_size for blob in (folder / "blobs").glob("*") if blob.is_file())
        print(f"{folder.name.removeprefix('models--').replace('--', '/'):60} {size / 1e6:10.1f} MB")
    if not found:
        print(f"no models in {cache()}")
    return 0
