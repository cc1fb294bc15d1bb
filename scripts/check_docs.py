#!/usr/bin/env python3
"""Checks what the Markdown files name: links and their headings, paths of this repository, and the crates that Rust
snippets import. With --api FOLDER, the output of `cargo doc`, every `ayni::` path too.

Decision records and the changelog say how things were, so their paths and names are left alone; links must work there
as well."""

import re
import sys
import tomllib
from pathlib import Path

from check_tree import ROOT, committed_files

HISTORY = ("docs/decisions/", "CHANGELOG.md")
CRATES = ("ayni", "ayni_kernels", "ayni_testkit")
# What a Rust path may begin with that is no dependency.
NO_DEPENDENCY = {"std", "core", "alloc", "crate", "self", "super"}
# Where a path in a page may start, besides the root and the page's own folder.
SOURCES = (ROOT / "core/src", ROOT / "core")

FENCE = re.compile(r"^ *(`{3,})([^\n]*)\n(.*?)^ *\1 *$", re.M | re.S)
LINK = re.compile(r"\[[^\]\n]*(?:\n[^\]\n]*)?\]\(([^)\s]+)\)")
SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
RUST_PATH = re.compile(r"\b(?:%s)(?:::\w+)+" % "|".join(CRATES))


def line_of(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def without_fences(text: str) -> str:
    """The prose alone, with every line where it was."""
    return FENCE.sub(lambda match: "\n" * match.group().count("\n"), text)


def headings(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    names = re.findall(r"^#{1,6} +(.+?) *$", without_fences(page.read_text()), re.M)
    plain = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", name) for name in names)
    return {re.sub(r"[^\w\- ]", "", name.lower()).replace(" ", "-") for name in plain}


def link_faults(page: Path, prose: str) -> list[str]:
    faults = []
    for match in LINK.finditer(SPAN.sub(lambda span: " " * len(span.group()), prose)):
        target, _, anchor = match[1].partition("#")
        # Links of rustdoc name items; rustdoc itself checks those.
        if re.match(r"[a-z+]+[:@]", target) or "::" in target:
            continue
        path = (page.parent / target).resolve() if target else page
        if not path.exists():
            faults.append(f"{line_of(prose, match.start())}: the link {match[1]} leads nowhere")
        elif anchor and path.suffix == ".md" and anchor not in headings(path):
            faults.append(f"{line_of(prose, match.start())}: {path.name} has no heading for #{anchor}")
    return faults


def braces(text: str) -> list[str]:
    """`a/{b,c}.rs` gives a/b.rs and a/c.rs."""
    match = re.search(r"\{([^{}]*)\}", text)
    if not match:
        return [text]
    head, tail = text[: match.start()], text[match.end() :]
    return [path for part in match[1].split(",") for path in braces(head + part.strip() + tail)]


def is_path(span: str, top: set[str], rooms: set[str]) -> bool:
    """Whether a code span means a path of this repository: it begins with a folder of ours. A room of core/src is
    such a folder only where the span ends as a Rust file or a folder does, because `image/png` is none."""
    first, slash, _ = span.partition("/")
    if not slash or re.search(r"[^\w./{},<>*-]", span):
        return False
    return first in top or first in rooms and span.endswith((".rs", "/"))


def path_faults(page: Path, prose: str, top: set[str], rooms: set[str]) -> list[str]:
    faults = []
    for match in SPAN.finditer(prose):
        span = re.sub(r", (?=[^{}]*\})", ",", match[1])
        if not is_path(span, top, rooms):
            continue
        for path in braces(span):
            pattern = re.sub(r"<\w+>", "*", path).strip("/")
            if not any(next(base.glob(pattern), None) for base in (ROOT, page.parent, *SOURCES)):
                faults.append(f"{line_of(prose, match.start())}: `{path}` does not exist")
    return faults


def imports(snippet: str) -> set[str]:
    """The crates that the visible lines of a snippet take something from."""
    code = "\n".join(line for line in snippet.splitlines() if not re.match(r" *#( |$)", line))
    code = re.sub(r'r#".*?"#|"(?:\\.|[^"\\])*"', '""', code, flags=re.S)
    code = re.sub(r"//[^\n]*", "", code)
    uses = "".join(re.findall(r"\buse [^;]+;", code))
    brought_in = set(re.findall(r"\b(\w+)(?= *[,;}])", uses))
    firsts = set(re.findall(r"(?<![\w:])([a-z]\w*)::(?=[\w{])", code))
    return firsts - brought_in - NO_DEPENDENCY


def dependencies(text: str) -> dict[str, str]:
    """Names and versions in a page's blocks of Cargo.toml."""
    found = {}
    for _, info, body in FENCE.findall(text):
        if info.strip() == "toml":
            manifest = tomllib.loads(body)
            table = manifest.get("dependencies", {}) | manifest.get("dev-dependencies", {})
            for name, entry in table.items():
                found[name.replace("-", "_")] = entry if isinstance(entry, str) else entry.get("version", "")
    return found


def dependency_faults(text: str, version: str) -> list[str]:
    faults = []
    named = dependencies(text)
    for crate in named.keys() & set(CRATES):
        if not f"{version}.".startswith(f"{named[crate]}."):
            faults.append(f"1: the page depends on `{crate}` {named[crate]}; the version is {version}")
    snippets = [match for match in FENCE.finditer(text) if match[2].split(",")[0].strip() == "rust"]
    lines = {crate: line_of(text, match.start()) for match in reversed(snippets) for crate in imports(match[3])}
    faults += [
        f"{line}: the snippet uses `{crate}`, which no `[dependencies]` of the page names"
        for crate, line in sorted(lines.items())
        if crate not in named
    ]
    return faults


class Api:
    """The public names of our crates, read from what rustdoc wrote."""

    def __init__(self, folder: Path):
        self.folder = folder
        if not (folder / "ayni/index.html").is_file():
            sys.exit(f"error: {folder} does not hold the documentation of ayni")

    def knows(self, path: str) -> bool:
        *modules, name = path.split("::")
        # An item of a module, or what belongs to an item: a method, a variant, a field.
        return self.item(modules, name) is not None or bool(modules[1:]) and self.member(modules, name)

    def item(self, modules: list[str], name: str) -> Path | None:
        folder = self.folder.joinpath(*modules)
        if (folder / name / "index.html").is_file():
            return folder / name / "index.html"
        page = next(folder.glob(f"*.{name}.html"), None)
        if page is None and (index := folder / "index.html").is_file():
            page = index if f'id="reexport.{name}"' in index.read_text() else None
        return page

    def member(self, modules: list[str], name: str) -> bool:
        page = self.item(modules[:-1], modules[-1])
        return page is not None and re.search(rf'id="\w+\.{name}"', page.read_text()) is not None


def log_targets() -> set[str]:
    """The targets of our `tracing` events, which look like paths."""
    sources = (path.read_text() for path in (ROOT / "core/src").rglob("*.rs"))
    return {target for source in sources for target in re.findall(r'target: "(ayni::\w+)"', source)}


def api_faults(text: str, api: Api) -> list[str]:
    targets = log_targets()
    return [
        f"{line_of(text, match.start())}: {match.group()} is no public name"
        for match in RUST_PATH.finditer(text)
        if match.group() not in targets and not api.knows(match.group())
    ]


def untested_faults(pages: list[Path]) -> list[str]:
    """Rust snippets of guides are compiled and run only if the page is among the tests."""
    tests = (ROOT / "core/src/doc_tests.rs").read_text()
    return [
        f"{page.relative_to(ROOT)}: core/src/doc_tests.rs does not name the page, so its Rust snippets are not tested"
        for page in pages
        if page.parent == ROOT / "docs/guides" and "```rust" in page.read_text() and page.name not in tests
    ]


def is_for_dependents(name: str) -> bool:
    """Whether a page's snippets are for programs that depend on ayni, rather than for its own sources."""
    return name.startswith("docs/guides/") or name in ("README.md", "core/README.md", "core/testkit/README.md")


def main() -> int:
    api = None
    match sys.argv[1:]:
        case []:
            pass
        case ["--api", folder]:
            api = Api(Path(folder))
        case arguments:
            print(__doc__)
            return 0 if arguments[0] in ("-h", "--help") else 2
    version = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    top = {path.relative_to(ROOT).parts[0] for path in committed_files() if path.parent != ROOT}
    rooms = {path.name for path in SOURCES[0].iterdir() if path.is_dir()}
    pages = [path for path in committed_files() if path.suffix == ".md"]
    faults = untested_faults(pages)
    for page in pages:
        name, text = str(page.relative_to(ROOT)), page.read_text()
        prose = without_fences(text)
        found = link_faults(page, prose)
        if not name.startswith(HISTORY):
            found += path_faults(page, prose, top, rooms)
            found += api_faults(text, api) if api else []
        if is_for_dependents(name):
            found += dependency_faults(text, version)
        faults += [f"{name}:{fault}" for fault in found]
    for fault in faults:
        print(f"error: {fault}", file=sys.stderr)
    if not faults:
        print(f"{len(pages)} pages: links, paths{', names' if api else ''} and dependencies are in order")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
