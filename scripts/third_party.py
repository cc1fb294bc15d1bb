#!/usr/bin/env python3
"""Writes the licences of the crates that are compiled into a package: the notice that a wheel or an addon ships with.

usage: scripts/third_party.py PACKAGE TARGET FILE      for example: ayni-node x86_64-unknown-linux-gnu THIRD-PARTY.txt

Lists each crate that the library of PACKAGE links for TARGET, then the licence texts of the crates, each once. Needs no network
once the crates are there. Reads the workspace of the current folder: the repository, or a source distribution."""

import json
import re
import subprocess
import sys
from pathlib import Path

NOTICE = re.compile(r"(?:.*[-_.])?(?:licen[cs]e|copying|copyright|notice|unlicense)(?:[-_.].*)?", re.I)
CODE = {".rs", ".py", ".toml", ".yml", ".html", ".hbs", ".js", ".sh"}
MIT = "Permission is hereby granted, free of charge"
APACHE = re.compile(r"\s*Apache License\s+Version 2\.0")
# Part of everything that rustc links, and no package of cargo's.
STANDARD_LIBRARY = "the standard library of Rust: MIT OR Apache-2.0, The Rust Project Developers"

OPENING = """The compiled part of this package contains the crates below, besides ayni itself (LICENSE-MIT, LICENSE-APACHE). Each line
has a crate's licence, its authors, and the numbers of its licence texts, which follow. Crates that offer the MIT licence among
others are used under it. Where a crate ships no text, the licence that it names is among the texts of the others."""


def cargo(*arguments: str) -> str:
    return subprocess.run(["cargo", *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout


def linked(package: str, target: str) -> list[dict]:
    """What cargo knows of each crate that is linked, by name and version; not of those that run only while others are compiled."""
    command = ("tree", "--package", package, "--target", target, "--edges", "normal,no-proc-macro", "--prefix", "none", "--format", "{p}")
    named = {tuple(line.split()[:2]) for line in cargo(*command).splitlines() if line}
    known = json.loads(cargo("metadata", "--format-version", "1"))["packages"]
    found = [one for one in known if (one["name"], f"v{one['version']}") in named and one["source"] is not None]
    return sorted(found, key=lambda one: (one["name"], one["version"]))


def texts_of(crate: dict) -> list[str]:
    """The texts of licences and notices in a crate's folder."""
    folder = Path(crate["manifest_path"]).parent
    named = folder / crate["license_file"] if crate["license_file"] else None
    files = [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and (path == named or NOTICE.fullmatch(path.name) and path.suffix not in CODE)
    ]
    texts = [path.read_text(encoding="utf-8", errors="replace").strip() for path in files]
    # The Apache licence is long, and several copies differ by a space.
    has_choice = " AND " not in (crate["license"] or "") and any(MIT in text for text in texts)
    return [text for text in texts if not (has_choice and APACHE.match(text))]


def notice(package: str, target: str) -> str:
    lines, texts = [], {}
    for crate in linked(package, target):
        numbers = []
        for text in texts_of(crate):
            # The same words, however they are broken into lines.
            number, _ = texts.setdefault(" ".join(text.split()), (len(texts) + 1, text))
            if number not in numbers:
                numbers.append(number)
        of = ", ".join(re.sub(r" *<[^>]*>", "", author) for author in crate["authors"])
        told = f"{crate['name']} {crate['version']}: {crate['license'] or 'see its text'}{', ' + of if of else ''}"
        lines.append(f"{told} [{', '.join(map(str, numbers)) or 'no text of its own'}]")
    if not lines:
        sys.exit(f"error: {package} links no crates for {target}")
    parts = [OPENING, "\n".join([*lines, STANDARD_LIBRARY])]
    parts += [f"{f' {number} ':=^100}\n\n{text}" for number, text in texts.values()]
    return "\n\n".join(parts) + "\n"


def main(arguments: list[str]) -> int:
    match arguments:
        case [package, target, file]:
            Path(file).write_text(notice(package, target), encoding="utf-8")
            return 0
        case _:
            print(__doc__)
            return 0 if arguments in (["-h"], ["--help"]) else 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
