#!/usr/bin/env python3
"""Checks the tree: size budgets, words that must not be committed, one list of features everywhere, and that
every command in the documents' bash blocks exists."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

MOST_LINES = 600
CODE = {".rs", ".py", ".pyi", ".mjs", ".cjs", ".js", ".ts", ".tsx"}
# Written by tools, or the exact text of others.
EXEMPT = {"Cargo.lock", "package-lock.json", "LICENSE-APACHE"}
# What `make gen` has written says so at its beginning; it is as long as the code makes it.
GENERATED = "Written by `make gen`"

# The patterns are put together from parts so that this file does not hold what it looks for.
FORBIDDEN = [
    (re.compile(r"\b(?:todo|unimplemented)" + r"!\("), "unfinished code"),
    (re.compile(r"#\[" + r"ignore\b"), "a test that does not run"),
    (re.compile(r"`{3}[\w,]*\b(?:ignore|no" + r"_run)\b"), "a doc block that does not run"),
    (re.compile(r"(?<![\w.~$}])/" + r"work/|\." + r"library/"), "a path of one machine"),
    (
        re.compile("|".join((r"\bpypi\." + "org", r"pythonhosted\." + "org", r"registry\.npmjs\." + "org"))),
        "the host of a package registry",
    ),
    (re.compile(r"\b(?:static|index)\.crates\." + r"io|\bdeb\.debian\." + "org"), "the host of a package registry"),
    (re.compile(r"^(?:<{7}|>{7}) ", re.M), "a merge conflict"),
]

# What a bash block of the documents may call besides `make TARGET`.
OTHER_COMMANDS = {
    "bash .ci/run",
    # `scripts/test behavior` runs the same test with the features of the whole workspace.
    "cargo test -p ayni --test behavior",
    "cargo test -p ayni --features candle --test behavior",
    # In the crate outside that the page about adding a backend makes; a test follows that page.
    "cargo test --test behavior",
}


def committed_files() -> list[Path]:
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True,
    ).stdout
    return [path for name in listing.split("\0") if name and (path := ROOT / name).is_file()]


def text_of(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None


def content_faults(path: Path, text: str) -> list[str]:
    name = path.relative_to(ROOT)
    faults = []
    lines = text.count("\n")
    if path.suffix in CODE and lines > MOST_LINES and GENERATED not in text[:300]:
        faults.append(f"{name}: {lines} lines; split it before {MOST_LINES}")
    for pattern, meaning in FORBIDDEN:
        for match in pattern.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            faults.append(f"{name}:{line}: {match.group()!r}: {meaning}")
    return faults


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.M))


def command_faults(path: Path, text: str, targets: set[str]) -> list[str]:
    """Every line of every bash block is a target of the Makefile, or known to run."""
    faults = []
    for block in re.findall(r"^```(?:bash|sh|console)\n(.*?)^```", text, re.M | re.S):
        for line in filter(None, (line.split("#")[0].strip() for line in block.splitlines())):
            made = re.fullmatch(r"(?:[A-Z_]+=\S+ )?make((?: [a-z-]+)+)(?: [A-Z_]+=(?:'[^']*'|\S+))*", line)
            if made and set(made[1].split()) <= targets:
                continue
            if not is_known(line):
                faults.append(f"{path.relative_to(ROOT)}: `{line}` is neither a make target nor known to run")
    return faults


def is_known(line: str) -> bool:
    """Whether the Makefile or a script of ours runs the line, or the line runs a script of ours. Variables
    before a command and arguments for a test program after `--` are free."""
    line = re.sub(r"^(?:[A-Z_]+=\S+ )+", "", line.partition(" -- ")[0])
    first = line.split()[0]
    if line in OTHER_COMMANDS:
        return True
    if first.startswith("scripts/"):
        return (ROOT / first).is_file()
    return any(line in path.read_text() for path in (ROOT / "Makefile", *(ROOT / "scripts").iterdir()) if path.is_file())


def feature_faults() -> list[str]:
    """docs.rs shows every feature that the tests are built with."""
    tested = subprocess.run([ROOT / "scripts/features"], check=True, stdout=subprocess.PIPE, text=True).stdout
    shown = tomllib.loads((ROOT / "core/Cargo.toml").read_text())["package"]["metadata"]["docs"]["rs"]["features"]
    if set(tested.strip().split(",")) == set(shown):
        return []
    return [f"core/Cargo.toml: docs.rs has the features {shown}; the tests have {tested.strip()}"]


def main() -> int:
    if sys.argv[1:]:
        print(__doc__)
        return 0 if sys.argv[1] in ("-h", "--help") else 2
    targets = make_targets()
    files = [path for path in committed_files() if path.name not in EXEMPT]
    faults = feature_faults()
    for path in files:
        if (text := text_of(path)) is None:
            continue
        faults += content_faults(path, text)
        if path.suffix == ".md":
            faults += command_faults(path, text, targets)
    for fault in faults:
        print(f"error: {fault}", file=sys.stderr)
    if not faults:
        print(f"{len(files)} files: sizes, words and commands are in order")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
