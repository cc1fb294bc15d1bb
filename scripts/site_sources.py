#!/usr/bin/env python3
"""Lays out the pages of the site: the README as its front page, docs/ below it; and the configuration of mkdocs.

usage: site_sources.py FOLDER            links out of docs/ lead to the repository
       site_sources.py --check SITE      checks the finished site: its search finds words of several pages, and nothing that a
                                         page needs comes from elsewhere"""

import json
import re
import shutil
import sys
import tomllib
from pathlib import Path

from check_docs import FENCE, LINK

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
# The parts of the site, in their order; their pages by name.
PARTS = {"Guides": "guides", "Reference": "reference", "Decisions": "decisions"}
SEARCHED = {"Retry-After": "guides/", "fingerprint": "decisions/", "min_gap_seconds": "reference/", "Quechua": ""}


def repository() -> str:
    return tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["repository"]


def link(target: str, page: Path) -> str:
    """A link of a page as it is on the site: pages among each other, everything else in the repository."""
    path, hash_, anchor = target.partition("#")
    if not path or re.match(r"[a-z+]+:", target):
        return target
    found = (page.parent / path).resolve()
    if not found.exists():
        sys.exit(f"error: {page.relative_to(ROOT)}: the link {target} leads nowhere")
    if found.is_relative_to(DOCS) and found.is_file() and found.suffix in (".md", ".json", ".png", ".svg"):
        inside = found.relative_to(DOCS).as_posix()
        up = "" if page == ROOT / "README.md" else "../" * len(page.relative_to(DOCS).parent.parts)
        return f"{up}{inside}{hash_}{anchor}"
    return f"{repository()}/blob/main/{found.relative_to(ROOT).as_posix()}{hash_}{anchor}"


def as_on_site(page: Path) -> str:
    """The text of a page with its links as they are there; code is left alone."""
    text = page.read_text()
    fences = [(match.start(), match.end()) for match in FENCE.finditer(text)]

    def changed(match: re.Match[str]) -> str:
        if any(start <= match.start() < end for start, end in fences) or "::" in match[1]:
            return match[0]
        return match[0].replace(f"]({match[1]})", f"]({link(match[1], page)})")

    return LINK.sub(changed, text)


def title(page: Path) -> str:
    found = re.search(r"^# (.+)$", page.read_text(), re.M)
    return found[1].replace("`", "") if found else page.stem


def lay_out(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    pages = folder / "pages"
    for path in sorted(DOCS.rglob("*")):
        if path.is_file():
            to = pages / path.relative_to(DOCS)
            to.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix == ".md":
                to.write_text(as_on_site(path))
            else:
                shutil.copy(path, to)
    (pages / "index.md").write_text(as_on_site(ROOT / "README.md"))
    top = [{title(path): path.name} for path in sorted(DOCS.glob("*.md"))]
    parts = [
        {name: [{title(path): f"{part}/{path.name}"} for path in sorted((DOCS / part).glob("*.md"))]}
        for name, part in PARTS.items()
    ]
    # No font from elsewhere: pages are complete in themselves.
    palette = [
        {"media": f"(prefers-color-scheme: {scheme})", "scheme": name, "toggle": {"icon": icon, "name": f"Use {other}"}}
        for scheme, name, icon, other in (
            ("light", "default", "material/weather-night", "dark"),
            ("dark", "slate", "material/weather-sunny", "light"),
        )
    ]
    features = ["navigation.instant", "navigation.top", "search.suggest", "search.highlight", "content.code.copy"]
    configuration = {
        "site_name": "ayni",
        "repo_url": repository(),
        "docs_dir": str(pages),
        "nav": [{"ayni": "index.md"}, parts[0], parts[1], *top, parts[2]],
        "theme": {"name": "material", "font": False, "palette": palette, "features": features},
        "plugins": ["search"],
        "markdown_extensions": ["tables", "pymdownx.superfences", {"toc": {"permalink": True}}],
        "validation": {"links": {"not_found": "warn", "anchors": "warn", "unrecognized_links": "warn"}},
    }
    # JSON is YAML too.
    (folder / "mkdocs.json").write_text(json.dumps(configuration, indent=2))


def check(site: Path) -> int:
    index = json.loads((site / "search/search_index.json").read_text())["docs"]
    faults = [
        f"the search does not find {word!r} below /{below}"
        for word, below in SEARCHED.items()
        if not any(word in entry["text"] and entry["location"].startswith(below) for entry in index)
    ]
    for page in site.rglob("*.html"):
        loaded = re.findall(r'<(?:script|img)[^>]*\bsrc="([^"]+)"|<link[^>]*rel="stylesheet"[^>]*href="([^"]+)"', page.read_text())
        faults += [f"{page.relative_to(site)} loads {''.join(one)}" for one in loaded if "".join(one).startswith(("http", "//"))]
    for fault in faults:
        print(f"error: {fault}", file=sys.stderr)
    if not faults:
        print(f"{site}: {len(list(site.rglob('*.html')))} pages, {len(index)} entries to search; nothing comes from elsewhere")
    return 1 if faults else 0


def main(arguments: list[str]) -> int:
    match arguments:
        case ["--check", site]:
            return check(Path(site))
        case [folder] if not folder.startswith("-"):
            lay_out(Path(folder))
            return 0
    print(__doc__)
    return 0 if arguments in (["-h"], ["--help"]) else 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
