#!/usr/bin/env python3
"""Checks what the guides of the systems and of services say: variables exist with the defaults that the code has, those that a
deployment sets are listed, and what a user sees is what the code says.

A table whose first head is `variable` has the default in its second column: `none`, `needed`, or values in backticks that stand near
the variable in some source file. A table whose first head is `what you see` has texts in backticks, with `…` for what varies."""

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from check_contracts import rows
from check_tree import ROOT, committed_files

GUIDES = ROOT / "docs/guides"
SERVICES = GUIDES / "services.md"
SETTINGS = ROOT / "bindings-python/python/ayni/fastapi/_settings.py"
MODES, FROM_ENV = "core/src/config/modes.rs", "core/src/config/from_env.rs"
# Each system's guide, and where its variables are told: services of the compose file; folders with a README or a ConfigMap; doc comments of
# the code, from a line on.
SYSTEMS = {
    "procurement-dashboard.md": (
        ["procurement-backend", "procurement-frontend"],
        ["procurement/backend", "procurement/frontend"],
        [(FROM_ENV, "impl Setup<ChatConfig>"), (FROM_ENV, "impl Setup<ProcurementConfig>")],
    ),
    "triage-chat.md": (
        ["triage-backend", "triage-frontend"],
        ["triage-chat/frontend", "kubernetes/triage"],
        [(MODES, "/// The chat modes, and the variables")],
    ),
    "image-search.md": (["clip", "clip-search"], ["clip-space", "clip-search/frontend", "kubernetes/clip"], []),
    "image-studio.md": (
        ["image-engine", "image-studio"],
        ["image-studio/engine", "image-studio/frontend"],
        [(FROM_ENV, "impl Setup<ImageConfig>")],
    ),
}
SOURCES = ("core/src/", "bindings-python/python/", "bindings-node/js/", "examples/")
SUFFIXES = {".rs", ".py", ".ts", ".tsx", ".mjs"}
PLACES = ("Dockerfile",)
# How far from a variable its default may stand, in characters.
NEAR = 400
# How far apart the pieces of a text may stand.
HOLE = 400
UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
NAME = re.compile(r"`([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+|PORT)`")
SPAN = re.compile(r"`([^`]+)`")


@cache
def sources() -> dict[str, str]:
    """The code by its files, with texts that go over several lines in one."""
    found = {}
    for path in committed_files():
        name = str(path.relative_to(ROOT))
        if name.startswith(SOURCES) and (path.suffix in SUFFIXES or path.name in PLACES) and "test" not in name:
            text = re.sub(r"\\\n\s*", "", path.read_text())
            found[name] = re.sub(r'"\s*\n\s*f?"', "", text)
    return found


def tables(page: Path, head: str) -> Iterator[tuple[int, list[str]]]:
    """The rows of a page's tables whose first head is that, with their lines."""
    lines = page.read_text().splitlines()
    for number, cells in rows(page.read_text()):
        above = number - 1
        while above > 0 and lines[above - 1].startswith("|"):
            above -= 1
        if lines[above].strip("| ").split(" | ")[0].strip() == head:
            yield number, cells


def stands_near(name: str, default: str) -> bool:
    wanted = re.compile(rf"(?<![\w.]){re.escape(default)}(?!\w)")
    for text in sources().values():
        for match in re.finditer(rf"\b{name}\b", text):
            if wanted.search(text[max(0, match.start() - NEAR) : match.end() + NEAR]):
                return True
    return False


def variable_faults(page: Path) -> Iterator[str]:
    for line, cells in tables(page, "variable"):
        names = NAME.findall(cells[0])
        if not names or len(cells) != 3:
            yield f"{line}: a row has the variables in backticks, their default, and what they are"
            continue
        for name in names:
            if not any(re.search(rf"\b{name}\b", text) for text in sources().values()):
                yield f"{line}: no code reads {name}"
        if page == SERVICES or cells[1] in ("none", "needed"):
            continue
        defaults = SPAN.findall(cells[1])
        if not defaults:
            yield f"{line}: the default of {names[0]} is `none`, `needed` or a value in backticks"
        for default in defaults:
            if not any(stands_near(name, default) for name in names):
                yield f"{line}: {default} is not near {' or '.join(names)} in the code"


def number(node: ast.expr | None, constants: Mapping[str, float] = {}) -> float:
    """A number as the code writes it: itself, a constant, or a product or shift of such."""
    match node:
        case ast.Constant(value=int() | float() as value):
            return value
        case ast.Name(id=name):
            return constants[name]
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            return number(left, constants) * number(right, constants)
        case ast.BinOp(left=left, op=ast.LShift(), right=right):
            return int(number(left, constants)) << int(number(right, constants))
    sys.exit(f"error: {SETTINGS.name} has a default that is no number: {ast.dump(node) if node else None}")


def service_faults() -> Iterator[str]:
    """The settings that every service has: all of them, with the defaults of the class that holds them."""
    tree = ast.parse(SETTINGS.read_text())
    assigned = [node for node in ast.walk(tree) if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)]
    fields = {node.target.id: node.value for node in assigned}
    numbers = {key.value: value.elts[0].value for key, value in zip(fields["_NUMBERS"].keys, fields["_NUMBERS"].values, strict=True)}
    constants = {node.targets[0].id: number(node.value) for node in tree.body if isinstance(node, ast.Assign) and isinstance(node.value, (ast.BinOp, ast.Constant))}
    listed = {name: cells[1] for _, cells in tables(SERVICES, "variable") for name in NAME.findall(cells[0])}
    for variable, field in numbers.items():
        default = number(fields[field], constants)
        shown = listed.get(variable, "nothing").replace(",", "")
        if unit := re.fullmatch(r"(\d+) (KiB|MiB|GiB)", shown):
            shown = str(int(unit[1]) * UNITS[unit[2]])
        if shown != f"{default:g}" and shown != str(default):
            yield f"{variable} is {default} in the code, {listed.get(variable)} on the page"


def said(text: str) -> bool:
    """Whether the code says a text: its pieces, in their order, in one file."""
    pieces = [piece.strip() for piece in text.split("…") if piece.strip()]
    pattern = re.compile(rf".{{0,{HOLE}}}?".join(map(re.escape, pieces)), re.S)
    return any(pattern.search(content) for content in sources().values())


def seen_faults(page: Path) -> Iterator[str]:
    for line, cells in tables(page, "what you see"):
        yield from (f"{line}: no code says `{text}`" for text in SPAN.findall(cells[0]) if not said(text))


def deployed(services: list[str], folders: list[str], comments: list[tuple[str, str]]) -> set[str]:
    """The variables that the compose file, READMEs, ConfigMaps and doc comments give a system."""
    compose = (ROOT / "examples/compose.yaml").read_text()
    found = set()
    for service in services:
        block = re.search(rf"^  {service}:\n((?:    .*\n|\n)+)", compose, re.M)
        found |= set(re.findall(r"^      ([A-Z][A-Z0-9_]+):", block[1], re.M)) if block else {f"no service {service}"}
    for folder in folders:
        readme, config = ROOT / "examples" / folder / "README.md", ROOT / "examples" / folder / "configmap.yaml"
        if readme.is_file():
            found |= {name for _, cells in tables(readme, "variable") for name in NAME.findall(cells[0])}
        if config.is_file():
            found |= set(re.findall(r"^  ([A-Z][A-Z0-9_]+):", config.read_text(), re.M))
    for name, start in comments:
        _, _, after = (ROOT / name).read_text().partition(start)
        table = re.search(r"(?: *///.*\n)*?((?: */// \|.*\n(?: *///\n)?)+)", after)
        found |= set(NAME.findall(table[1])) if table else {f"no table after {start}"}
    return found


def missing_faults(page: Path) -> Iterator[str]:
    common = {name for _, cells in tables(SERVICES, "variable") for name in NAME.findall(cells[0])}
    listed = {name for _, cells in tables(page, "variable") for name in NAME.findall(cells[0])}
    for name in sorted(deployed(*SYSTEMS[page.name]) - listed - common):
        yield f"1: {name} is told elsewhere, and the page does not list it"


def main() -> int:
    if sys.argv[1:]:
        print(__doc__)
        return 0 if sys.argv[1] in ("-h", "--help") else 2
    faults = [f"docs/guides/services.md: {fault}" for fault in service_faults()]
    counted = {"variable": 0, "what you see": 0}
    for page in [*(GUIDES / name for name in SYSTEMS), SERVICES, GUIDES / "deploying.md"]:
        found = [*variable_faults(page), *seen_faults(page), *(missing_faults(page) if page.name in SYSTEMS else [])]
        faults += [f"docs/guides/{page.name}:{fault}" for fault in found]
        for head in counted:
            counted[head] += len(list(tables(page, head)))
    for fault in faults:
        print(f"error: {fault}", file=sys.stderr)
    if not all(counted.values()):
        print(f"error: the guides have no such tables: {counted}", file=sys.stderr)
        return 1
    if not faults:
        print(f"guides of the systems: {counted['variable']} rows of variables and {counted['what you see']} of failures are what the code says")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
