"""``ayni image``."""

from __future__ import annotations

import argparse
import re
import sys
import time
from pathlib import Path
from typing import Any

from ayni import ImageGenerator, InvalidRequest, Progress
from ayni.cli._chat import Loading

BAR = 24


def add(commands: Any) -> None:
    """Adds the command."""
    command = commands.add_parser(
        "image",
        help="draw an image, or change one",
        description="Draws an image from a prompt; with --from it changes one. Without --model it is the engine of the "
        "variables IMAGE_ENGINE_MODE and SD_MODEL_ID. The file's ending says its format: .png, .jpg, .webp.",
    )
    command.add_argument("prompt", metavar="PROMPT")
    command.add_argument("-o", "--out", default="image.png", metavar="FILE", help="where to write it (%(default)s)")
    command.add_argument("--from", dest="source", metavar="FILE", help="the image to change")
    command.add_argument("--mask", metavar="FILE", help="where to change it: white pixels")
    command.add_argument("--model", help="a folder of diffusers, a file, or org/name on the Hub")
    command.add_argument("--lora", action="append", default=[], metavar="LORA[=WEIGHT]", help="a LoRA, with its weight")
    command.add_argument("--negative", help="what must not be shown")
    command.add_argument("--size", metavar="WxH", help="width and height in pixels: 768x512")
    for name, kind in (("steps", int), ("guidance", float), ("seed", int), ("strength", float)):
        command.add_argument(f"--{name}", type=kind)
    command.add_argument("--scheduler", help="euler, euler_ancestral, dpmpp_2m_karras, lcm, ...")
    command.add_argument("--device", help="auto, cpu or cuda:N")
    command.add_argument("--precision", help="auto, f32, bf16 or int8")
    command.add_argument(
        "--safety", choices=("off", "mark", "blank", "refuse"), help="what is done where the model's safety checker finds something"
    )
    command.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Draws and writes the file."""
    out = Path(given.out)
    kind = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp"}.get(out.suffix.lower())
    if kind is None:
        raise InvalidRequest(f"{out.name} has no ending of an image; valid: .png, .jpg, .webp")
    if not out.parent.is_dir():
        raise InvalidRequest(f"there is no folder {out.parent}")
    if given.source is None and (given.mask or given.strength is not None):
        raise InvalidRequest("--mask and --strength say how an image is changed: name it by --from")
    options: dict[str, Any] = {name: getattr(given, name) for name in ("steps", "guidance", "seed")}
    options |= {"negative_prompt": given.negative, "size": _size(given.size)}
    options = {name: value for name, value in options.items() if value is not None}
    extra = {"format": kind} if kind != "png" else {}
    with _generator(given) as generator:
        generator.ready_sync(progress=Loading())
        start, bar = time.monotonic(), _Bar()
        if given.source is None:
            if given.scheduler:
                options["scheduler"] = given.scheduler
            options |= {"extra": extra} if extra else {}
            made = generator.generate_sync(given.prompt, progress=bar, **options)
        else:
            extra |= {"scheduler": given.scheduler} if given.scheduler else {}
            options |= {"strength": given.strength} if given.strength is not None else {}
            options |= {"mask": Path(given.mask)} if given.mask else {}
            options |= {"extra": extra} if extra else {}
            made = generator.refine_sync(given.prompt, Path(given.source), progress=bar, **options)
        bar.end()
    if made.image.media_type != f"image/{kind}":
        # A hosted engine has a format of its own.
        out = out.with_suffix(f".{made.image.media_type.removeprefix('image/')}")
    try:
        made.image.save(out)
    except OSError as error:
        raise InvalidRequest(f"{out} cannot be written: {error.strerror}") from None
    width, height = made.size or (0, 0)
    told = [f"{width}x{height}", f"seed {made.seed}", f"{made.steps} steps", str(made.scheduler), made.route.model]
    for safety in made.safety:
        told.append("checked" if not safety.flagged else "blanked by the safety checker" if safety.blanked else "flagged")
    print(f"{out}: {', '.join(told)}, {time.monotonic() - start:.1f} s")
    return 0


def _generator(given: argparse.Namespace) -> ImageGenerator:
    if given.model is None:
        if given.lora or given.device or given.precision or given.safety:
            raise InvalidRequest("--lora, --device, --precision and --safety need --model; else the variables SD_... say them")
        return ImageGenerator.from_env()
    loras = []
    for lora in given.lora:
        model, _, weight = lora.rpartition("=")
        loras.append({"model": model, "weight": _number(weight)} if model else {"model": weight})
    config: dict[str, Any] = {"backend": "local", "model": given.model, "loras": loras}
    config |= {name: value for name in ("device", "precision", "safety") if (value := getattr(given, name))}
    return ImageGenerator(config)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InvalidRequest(f"'{text}' is no weight of a LoRA; write LORA=0.8") from None


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    if (found := re.fullmatch(r"(\d{1,5})[x×](\d{1,5})", text)) is None:
        raise InvalidRequest(f"'{text}' is no size; write 768x512")
    return int(found[1]), int(found[2])


class _Bar:
    """Shows the steps, where somebody sees them."""

    def __init__(self) -> None:
        self._is_seen = sys.stderr.isatty()

    def __call__(self, progress: Progress) -> None:
        if not self._is_seen or progress.type != "image_step" or not progress.of:
            return
        done = progress.done or 0
        filled = BAR * done // progress.of
        bar = f"[{'#' * filled}{'.' * (BAR - filled)}] {done}/{progress.of}"
        print(f"\r{bar}\x1b[K", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Clears the line."""
        if self._is_seen:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
