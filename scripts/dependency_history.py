"""What the registry knows of the locked crates beside their code: when they were last released, and which advisories name
them. Reads cargo's own copy of the index, and a copy of the RustSec database where ADVISORY_DB names one."""

import datetime
import json
import os
import re
import tomllib
from pathlib import Path

Version = tuple[int, ...]


def version_of(text: str) -> Version:
    """The numbers of a version; what follows a `-` or `+` is left out."""
    return (*map(int, re.split(r"[-+]", text, maxsplit=1)[0].split(".")), 0, 0)[:3]


def index_entries(name: str) -> list[dict]:
    """Every release of a crate, as cargo has the index cached."""
    home = Path(os.environ.get("CARGO_HOME") or Path.home() / ".cargo")
    prefix = {1: "1", 2: "2", 3: f"3/{name[:1]}"}.get(len(name), f"{name[:2]}/{name[2:4]}").lower()
    found = []
    for path in home.glob(f"registry/index/*/.cache/{prefix}/{name.lower()}"):
        for part in path.read_bytes().split(b"\0"):
            if part.startswith(b"{"):
                found.append(json.loads(part))
    return found


def released(name: str) -> datetime.date | None:
    """When a crate was released last; nothing where the index does not say."""
    times = [entry["pubtime"][:10] for entry in index_entries(name) if entry.get("pubtime") and not entry.get("yanked")]
    return datetime.date.fromisoformat(max(times)) if times else None


def old_crates(names: set[str], years: int) -> dict[str, datetime.date]:
    """The crates whose last release is so many years before the newest release of any of them."""
    dates = {name: date for name in names if (date := released(name)) is not None}
    if not dates:
        return {}
    limit = max(dates.values()) - datetime.timedelta(days=365 * years)
    return {name: date for name, date in dates.items() if date < limit}


def satisfies(version: Version, requirement: str) -> bool:
    """Whether a version is in a range such as `>= 1.2, < 2`, `^1.4` or `1.2`."""
    for part in filter(None, (part.strip() for part in requirement.split(","))):
        sign, text = re.fullmatch(r"([<>=^~]*)\s*(.+)", part).groups()
        wanted = version_of(text)
        fits = {
            ">=": version >= wanted, ">": version > wanted, "<": version < wanted, "<=": version <= wanted,
            "=": version == wanted, "~": version >= wanted and version[:2] == wanted[:2],
        }.get(sign)
        if fits is None:
            # `^`, and a version alone: up to the next one that may break.
            fixed = next((place for place, number in enumerate(wanted) if number), 2) + 1
            fits = version >= wanted and version[:fixed] == wanted[:fixed]
        if not fits:
            return False
    return True


def advisories(packages: list[dict], database: Path) -> list[str]:
    """The advisories that name a locked version, as `ID crate version: title`."""
    found = []
    for package in packages:
        for path in sorted((database / "crates" / package["name"]).glob("*.md")):
            head, _, rest = path.read_text(encoding="utf-8").removeprefix("```toml\n").partition("```")
            data = tomllib.loads(head)
            ranges = data.get("versions", {})
            safe = [*ranges.get("patched", []), *ranges.get("unaffected", [])]
            if data["advisory"].get("withdrawn") or any(satisfies(version_of(package["version"]), one) for one in safe):
                continue
            title = next((line[2:] for line in rest.splitlines() if line.startswith("# ")), "")
            found.append(f"{data['advisory']['id']} {package['name']} {package['version']}: {title}")
    return found
