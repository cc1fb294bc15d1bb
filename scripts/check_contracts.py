#!/usr/bin/env python3
"""Checks docs/contracts.md: every test that a row names exists, and a row without one says so."""

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/contracts.md"
NOBODY = "**nobody**"


def rows(text: str) -> list[tuple[int, list[str]]]:
    """The rows of the page's tables by their lines, without heads."""
    found = []
    lines = text.splitlines()
    for number, line in enumerate(lines, 1):
        is_head = number < len(lines) and re.fullmatch(r"[| -]+", lines[number]) is not None
        if line.startswith("|") and not is_head and not re.fullmatch(r"[| -]+", line):
            found.append((number, [cell.strip() for cell in line.strip("|").split(" | ")]))
    return found


def has_test(path: Path, name: str) -> bool:
    if path == ROOT / "core/conformance/cases":
        return (path / f"{name}.json").is_file()
    if path.suffix == ".json":
        return any(case["name"] == name for case in json.loads(path.read_text())["cases"])
    text = path.read_text()
    if path.suffix == ".mjs":
        return any(f"test({quote}{name}{quote}" in text for quote in "\"'`")
    return re.search(rf"\b(?:def|fn) {re.escape(name)}\(", text) is not None


def main() -> int:
    if sys.argv[1:]:
        print(__doc__)
        return 0 if sys.argv[1] in ("-h", "--help") else 2
    files: dict[str, Path] = {}
    faults, driven, undriven = [], 0, 0
    for line, cells in rows(PAGE.read_text()):
        if len(cells) != 2:
            faults.append(f"{line}: {len(cells)} cells; a row has two")
            continue
        if short := re.fullmatch(r"`([\w-]+)`", cells[0]):
            files[short[1]] = ROOT / cells[1].partition(":")[0]
            if not files[short[1]].exists():
                faults.append(f"{line}: {cells[1]} does not exist")
            continue
        named = re.findall(r"`([\w-]+)::([^`]+)`", cells[1])
        is_nobody = cells[1].startswith(NOBODY)
        if not named and not is_nobody:
            faults.append(f"{line}: no test, and no {NOBODY}")
        driven, undriven = driven + (not is_nobody), undriven + is_nobody
        for short, name in named:
            if short not in files:
                faults.append(f"{line}: `{short}` is no file of the first table")
            elif files[short].exists() and not has_test(files[short], name):
                faults.append(f"{line}: {files[short].relative_to(ROOT)} has no test `{name}`")
    for fault in faults:
        print(f"error: docs/contracts.md:{fault}", file=sys.stderr)
    if not faults:
        print(f"docs/contracts.md: {driven} rows with tests that exist, {undriven} that nobody drives")
    return 1 if faults or not driven else 0


if __name__ == "__main__":
    sys.exit(main())
