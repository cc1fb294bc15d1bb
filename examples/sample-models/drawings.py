"""The drawings, their captions in English and Spanish, and which of them are held out of the training.

    python drawings.py render FOLDER    # writes the held-out drawings as PNG, with captions.tsv: what `make samples-check` asks
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

# Drawings: MIT and Apache-2.0. Captions: MIT.
PACKAGES = {
    "@iconify-json/fluent-emoji-flat": "1.2.6",
    "@iconify-json/noto": "1.2.9",
    "emojibase-data": "17.0.0",
    "@iconify-json/fluent-emoji": "1.2.7",
    "@iconify-json/fluent-emoji-high-contrast": "1.2.6",
    "@iconify-json/noto-v1": "1.2.5",
    "@iconify-json/fxemoji": "1.2.2",
}
# The sets that drawings are held out of.
SETS = ("fluent-emoji-flat", "noto")
# Sets that are trained on besides, and the one whose artist drew them too.
TRAINED_ON = {"fluent-emoji": "fluent-emoji-flat", "fluent-emoji-high-contrast": "fluent-emoji-flat", "noto-v1": "noto", "fxemoji": None}
WORK = Path(os.environ.get("CARGO_TARGET_DIR") or Path(__file__).resolve().parents[2] / "target") / "sample-models"

# One drawing of ten is never trained on.
HELD_OUT_OF = 10
# Flags can't be told from a name, and emojibase counts them as one group; skin tones repeat one drawing five times.
FLAGS = 9
# How much alike (correlation of 16 × 16 pixels) two drawings of a thing by one artist are copies of each other. Three of
# four pairs by different artists are less alike.
COPY, SIDE = 0.8, 16


@dataclass(frozen=True)
class Drawing:
    """A drawing of one of the sets."""

    source: str
    concept: str
    english: str
    spanish: str
    english_tags: tuple[str, ...]
    spanish_tags: tuple[str, ...]
    group: int
    subgroup: int
    svg: str

    @property
    def is_asked(self) -> bool:
        """Whether it is never trained on, and the models are judged by it: one of ten of the two sets."""
        return self.source in SETS and _is_chosen(self.source, self.concept)

    @property
    def is_version_of_asked(self) -> bool:
        """Whether such a drawing is of the same thing and by the same artist."""
        origin = TRAINED_ON.get(self.source)
        return origin is not None and _is_chosen(origin, self.concept)


def _is_chosen(source: str, concept: str) -> bool:
    digest = hashlib.sha256(f"{source} {concept}".encode()).digest()
    return int.from_bytes(digest[:4], "big") % HELD_OUT_OF == 0


def package(name: str) -> Path:
    """The unpacked files of an npm package, fetched once."""
    folder = WORK / "packages" / name.replace("/", "-")
    if not folder.is_dir():
        downloads = WORK / "downloads"
        downloads.mkdir(parents=True, exist_ok=True)
        command = ["npm", "pack", "--silent", f"{name}@{PACKAGES[name]}", "--pack-destination", str(downloads)]
        archive = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()[-1]
        with tarfile.open(downloads / Path(archive).name) as files:
            files.extractall(folder.with_suffix(".part"), filter="data")
        folder.with_suffix(".part").rename(folder)
    return folder / "package"


def _read(name: str, path: str):
    return json.loads((package(name) / path).read_text(encoding="utf-8"))


def _concept(hexcode: str) -> str:
    """A code without variation selectors, which the packages write differently."""
    return "-".join(part for part in hexcode.upper().split("-") if part != "FE0F")


def _squeezed(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def load(every_set: bool = False) -> list[Drawing]:
    """All drawings of the two sets, or of every set, that have a caption in both languages, in a fixed order."""
    spanish = {_concept(row["hexcode"]): row for row in _read("emojibase-data", "es/data.json")}
    english = {_concept(row["hexcode"]): row for row in _read("emojibase-data", "en/data.json")}
    found, concept_of = [], {_squeezed(row["label"]): concept for concept, row in english.items()}
    for source in (*SETS, *TRAINED_ON) if every_set else SETS:
        icons = _read(f"@iconify-json/{source}", "icons.json")
        pairs = [(name, _concept(code)) for code, name in _read(f"@iconify-json/{source}", "chars.json").items()]
        # Some sets have names only. They are those of the label, or of another set.
        pairs = pairs or [(name, concept_of.get(_squeezed(name))) for name in icons["icons"]]
        concept_of = {_squeezed(name): concept for name, concept in pairs if concept} | concept_of
        for name, concept in sorted(pairs, key=lambda pair: (pair[1] or "", pair[0])):
            one, other, icon = english.get(concept), spanish.get(concept), icons["icons"].get(name)
            if one is None or other is None or icon is None or one.get("group") in (None, FLAGS):
                continue
            width, height = icon.get("width", icons.get("width", 16)), icon.get("height", icons.get("height", 16))
            svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">{icon["body"]}</svg>'
            found.append(
                Drawing(
                    source, concept, one["label"], other["label"], tuple(one.get("tags", ())),
                    tuple(other.get("tags", ())), one["group"], one.get("subgroup", -1), svg,
                )
            )
    unique = {(drawing.source, drawing.concept): drawing for drawing in found}
    return list(unique.values())


def more_captions(concepts: set[str]) -> list[tuple[str, str]]:
    """Spanish with its English, besides the drawings' captions: how Mexico names these things, and the names of flags."""
    english = {_concept(row["hexcode"]): row for row in _read("emojibase-data", "en/data.json")}
    found = []
    for language in ("es", "es-mx"):
        for row in _read("emojibase-data", f"{language}/data.json"):
            concept = _concept(row["hexcode"])
            if concept in english and (concept in concepts or row.get("group") == FLAGS):
                found.append((row["label"], english[concept]["label"]))
    return found


def write_card(name: str, out: Path, rows: list[list[object]], **facts: object) -> None:
    """The model's card: the text in cards/, with its figures as a table and the facts in their places."""
    text = (Path(__file__).resolve().parent / "cards" / f"{name}.md").read_text(encoding="utf-8")
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    lines.insert(1, "| --- " * len(rows[0]) + "|")
    versions = dict(zip(("FLUENT", "NOTO", "EMOJIBASE"), PACKAGES.values()))
    for place, fact in {"FIGURES": "\n".join(lines), **versions, **facts}.items():
        text = text.replace(place, str(fact))
    (out / "README.md").write_text(text, encoding="utf-8")


def png(drawing: Drawing, size: int) -> bytes:
    """A drawing as PNG, transparent where it is empty."""
    import resvg_py

    return bytes(resvg_py.svg_to_bytes(svg_string=drawing.svg, width=size, height=size))


def rendered(drawings: list[Drawing], size: int):
    """All drawings as `[drawing, channel, height, width]` of bytes, RGBA; kept in a file, since it takes a while."""
    import numpy
    from PIL import Image

    key = hashlib.sha256("".join(drawing.svg for drawing in drawings).encode()).hexdigest()[:16]
    path = WORK / f"rendered-{size}-{key}.npy"
    if not path.is_file():
        images = [Image.open(io.BytesIO(png(one, size))).convert("RGBA").resize((size, size)) for one in drawings]
        numpy.save(path, numpy.stack([numpy.asarray(image).transpose(2, 0, 1) for image in images]))
    return numpy.load(path)


def taught(drawings: list[Drawing], size: int) -> list[int]:
    """The places of those that are trained on: not what the models are judged by, nor an artist's near copy of it."""
    import numpy

    images = rendered(drawings, size)
    place_of = {(one.source, one.concept): place for place, one in enumerate(drawings)}

    def small(place: int):
        rgba = images[place].reshape(4, SIDE, size // SIDE, SIDE, size // SIDE).astype("float32") / 255
        pixels = (rgba[:3] * rgba[3:] + 1 - rgba[3:]).mean((2, 4)).ravel()
        pixels -= pixels.mean()
        return pixels / max(float(numpy.linalg.norm(pixels)), 1e-6)

    def is_copy(place: int, one: Drawing) -> bool:
        origin = place_of.get((TRAINED_ON.get(one.source), one.concept))
        return origin is not None and one.is_version_of_asked and small(place) @ small(origin) >= COPY

    return [place for place, one in enumerate(drawings) if not one.is_asked and not is_copy(place, one)]


def write_held_out(folder: Path, size: int = 128) -> int:
    """Writes the drawings that the models are judged by on white, with a table of their captions."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for drawing in load():
        if not drawing.is_asked:
            continue
        name = f"{drawing.source}-{drawing.concept}.png"
        image = Image.open(io.BytesIO(png(drawing, size))).convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        Image.alpha_composite(white, image).convert("RGB").save(folder / name)
        rows.append("\t".join((name, drawing.concept, drawing.english, drawing.spanish)))
    (folder / "captions.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return len(rows)


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] != "render":
        sys.exit(__doc__)
    print(f"{write_held_out(Path(sys.argv[2]))} held-out drawings in {sys.argv[2]}")
