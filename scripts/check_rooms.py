#!/usr/bin/env python3
"""Draws which rooms of core/src use which, from the paths in the code, and fails on an arrow that runs up or on a
circle between rooms. A room is a folder or a file at the top of core/src; tests inside the files do not count.
docs/ARCHITECTURE.md must hold the picture of it: --draw prints it, --write puts it there."""

import re
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "core" / "src"
PAGE = ROOT / "docs" / "ARCHITECTURE.md"
# What the picture stands between in that page.
BEGIN, END = "```text rooms\n", "```\n"

# From the ground up. A room may use the rooms of the layers below its own, and those listed before it in its own.
LAYERS = [
    ("ground", ["secret", "error", "runtime", "env", "info", "media", "transport", "context"]),
    ("contracts", ["embed", "chat", "image", "procure"]),
    ("HTTP, policy", ["http", "policy"]),
    ("wire formats", ["wire"]),
    ("backends", ["backends", "local"]),
    ("configuration", ["config"]),
    ("crate", ["blocking", "lib"]),
]
# The layers whose rooms may not use each other at all.
APART = {"backends"}


def without_tests(text: str) -> str:
    """The text without comments, strings' contents left alone, and without modules of tests."""
    text = re.sub(r"//[^\n]*", "", text)
    pieces, position = [], 0
    for match in re.finditer(r"#\[cfg\((?:all\()?(?:test|doctest)\b[^\]]*\]\s*(?:#\[[^\]]*\]\s*)*(?:pub(?:\([^)]*\))?\s+)?(mod|use|fn|impl|const|static)\b", text):
        if match.start() < position:
            continue
        pieces.append(text[position : match.start()])
        position = end_of_item(text, match.end())
    return "".join(pieces) + text[position:]


def end_of_item(text: str, start: int) -> int:
    depth = 0
    for index in range(start, len(text)):
        if text[index] == "{":
            depth += 1
        elif text[index] == "}":
            depth -= 1
            if depth == 0:
                return index + 1
        elif text[index] == ";" and depth == 0:
            return index + 1
    return len(text)


def expand(tree: str) -> list[str]:
    """The paths of a use tree: `a::{b, c::{d, e}}` gives a::b, a::c::d, a::c::e."""
    tree = tree.strip()
    brace = tree.find("{")
    if brace < 0:
        return [tree.split(" as ")[0].strip()]
    head, body = tree[:brace], tree[brace + 1 : tree.rfind("}")]
    parts, depth, begin = [], 0, 0
    for index, character in enumerate(body):
        depth += (character == "{") - (character == "}")
        if character == "," and depth == 0:
            parts.append(body[begin:index])
            begin = index + 1
    parts.append(body[begin:])
    return [head + path for part in parts if part.strip() for path in expand(part)]


def room_of(path: Path) -> str:
    first = path.relative_to(SOURCE).parts[0]
    return first.removesuffix(".rs")


def crate_names(rooms: set[str]) -> dict[str, str]:
    """Which room each name at the crate's root comes from."""
    names = {}
    text = without_tests((SOURCE / "lib.rs").read_text())
    for tree in re.findall(r"\bpub use ([^;]+);", text, re.S):
        for path in expand(tree):
            segments = path.split("::")
            if segments[0] in rooms:
                names[segments[-1]] = segments[0]
    return names


def rooms_of_source() -> set[str]:
    return {room_of(path) for path in SOURCE.rglob("*.rs") if not is_test(path)}


def arrows() -> dict[tuple[str, str], list[str]]:
    """From room to room: where, as `file: path`."""
    files = [path for path in sorted(SOURCE.rglob("*.rs")) if not is_test(path)]
    rooms = rooms_of_source()
    names = crate_names(rooms)
    found = defaultdict(list)
    for path in files:
        room = room_of(path)
        if room == "lib":
            continue
        text = without_tests(path.read_text())
        used = [tree for tree in re.findall(r"\buse (crate::[^;]+);", text, re.S)]
        paths = [one for tree in used for one in expand(tree)]
        paths += re.findall(r"\bcrate::\w+", re.sub(r"\buse [^;]+;", "", text))
        for one in (re.sub(r"\s+", "", path) for path in paths):
            first = one.split("::")[1]
            target = first if first in rooms else names.get(first)
            if target and target != room:
                found[room, target].append(f"{path.relative_to(ROOT)}: {one}")
    return found


def is_test(path: Path) -> bool:
    return "tests" in path.parts or path.stem.endswith("_tests") or path.stem in ("tests", "test_server", "testing", "doc_tests")


def place(room: str) -> tuple[int, int] | None:
    """A room's layer, and its position in it."""
    for number, (_, rooms) in enumerate(LAYERS):
        if room in rooms:
            return number, rooms.index(room)
    return None


def faults(found: dict[tuple[str, str], list[str]]) -> list[str]:
    known = {room for _, rooms in LAYERS for room in rooms}
    errors = [f"{room}: a room without a layer in scripts/check_rooms.py" for room in sorted(rooms_of_source() - known)]
    for (room, target), uses in sorted(found.items()):
        upper, lower = place(room), place(target)
        if upper is None or lower is None:
            continue
        if lower > upper:
            errors += [f"{room} -> {target} runs up: {use}" for use in uses]
        elif lower[0] == upper[0] and LAYERS[upper[0]][0] in APART:
            errors += [f"{room} -> {target} runs between rooms that may not use each other: {use}" for use in uses]
    return errors


def draw(found: dict[tuple[str, str], list[str]]) -> str:
    uses = defaultdict(set)
    for room, target in found:
        uses[room].add(target)
    lines = []
    for name, rooms in reversed(LAYERS):
        present = [room for room in rooms if (SOURCE / room).exists() or (SOURCE / f"{room}.rs").exists()]
        for room in reversed(present):
            order = [one for _, members in LAYERS for one in members if one in uses[room]]
            lines.append(f"{name:<14} {room:<9} {' '.join(order) or '-'}")
            name = ""
    return "\n".join(lines)


def put_picture(page: str, picture: str) -> str:
    """The page with this picture in the place of its own."""
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"error: {PAGE.relative_to(ROOT)} has no block that begins with {BEGIN.strip()}")
    return head + begin + picture + "\n" + end + tail


def main() -> int:
    found = arrows()
    page = PAGE.read_text()
    current = put_picture(page, draw(found))
    match sys.argv[1:]:
        case []:
            pass
        case ["--draw"]:
            print(draw(found))
            return 0
        case ["--write"]:
            PAGE.write_text(current)
            return 0
        case arguments:
            print(__doc__)
            return 0 if arguments[0] in ("-h", "--help") else 2
    errors = faults(found)
    if page != current:
        errors.append(f"the picture in {PAGE.relative_to(ROOT)} is not what the code says: make gen")
    for error in errors:
        print(f"error: {error}", file=sys.stderr)
    if not errors:
        print(f"{len({room for room, _ in found})} rooms: every arrow runs down")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
