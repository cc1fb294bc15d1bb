#!/usr/bin/env python3
"""Checks what a release uploads: one version and the same licences everywhere, crates that hold every file they read, recipes
for every platform in the workflow.

  --tag vX.Y.Z  also that this is the version, and that the changelog has it
  --crates      instead, prints the crates in the order of uploading
  --files PATH… instead, finished packages: their version, README and licences; no folder of this machine in any of their files"""

import io
import json
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LICENSES = ("LICENSE-MIT", "LICENSE-APACHE")
# What cargo adds to a crate's own files.
BY_CARGO = {"Cargo.toml", "Cargo.toml.orig", "Cargo.lock", ".cargo_vcs_info.json"}
# Read while tests or documentation are compiled, in the repository only.
IN_TESTS = re.compile(r"(?:^|[/_])tests?(?:\.rs|/)|doc_tests\.rs$")
INCLUDED = re.compile(r'include_(?:str|bytes)!\(\s*"([^"]+)"|#\[path = "([^"]+)"\]')


def read(name: str) -> str:
    return (ROOT / name).read_text()


def workspace_version() -> str:
    return tomllib.loads(read("Cargo.toml"))["workspace"]["package"]["version"]


def version_faults(version: str) -> list[str]:
    dependencies = tomllib.loads(read("Cargo.toml"))["workspace"]["dependencies"]
    lock = json.loads(read("bindings-node/package-lock.json"))
    found = {
        **{
            f"Cargo.toml: the dependency `{name}`": dependencies[name]["version"]
            for name in dependencies
            if name.startswith("ayni")
        },
        "bindings-node/package.json": json.loads(read("bindings-node/package.json"))["version"],
        "bindings-node/package-lock.json": lock["version"],
        "bindings-node/package-lock.json, its package": lock["packages"][""]["version"],
        "bindings-node/js/generated/version.ts": re.findall(r'version = "(.*)"', read("bindings-node/js/generated/version.ts"))[0],
    }
    faults = [f"{place} says {other}; the version is {version}" for place, other in found.items() if other != version]
    for package in ("core", "core/kernels", "core/samples", "core/testkit", "bindings-python", "bindings-node"):
        if tomllib.loads(read(f"{package}/Cargo.toml"))["package"]["version"] != {"workspace": True}:
            faults.append(f"{package}/Cargo.toml has a version of its own; write `version.workspace = true`")
    if "version" not in tomllib.loads(read("bindings-python/pyproject.toml"))["project"]["dynamic"]:
        faults.append("bindings-python/pyproject.toml has a version of its own; it is `dynamic`")
    return faults


def changelog_faults(version: str, tag: str | None) -> list[str]:
    headings = re.findall(r"^## \[([^\]]+)\](.*)$", read("CHANGELOG.md"), re.M)
    faults = []
    if not headings or headings[0][0] not in ("Unreleased", version):
        faults.append(f"CHANGELOG.md begins with {headings[:1]}; it begins with [Unreleased] or [{version}]")
    if tag is not None:
        if tag != f"v{version}":
            faults.append(f"the tag is {tag}; the version is {version}")
        if not any(name == version and re.fullmatch(r" - \d{4}-\d\d-\d\d", date) for name, date in headings):
            faults.append(f"CHANGELOG.md has no heading `## [{version}] - YYYY-MM-DD`")
    return faults


def license_faults() -> list[str]:
    folders = ("core", "core/kernels", "core/samples", "core/testkit", "bindings-python", "bindings-node")
    texts = {name: read(name) for name in LICENSES}
    copies = [ROOT / folder / name for folder in folders for name in LICENSES]
    return [
        f"{path.relative_to(ROOT)} is missing, or is not the one at the top"
        for path in copies
        if not path.is_file() or path.read_text() != texts[path.name]
    ]


def published() -> list[dict]:
    """The crates that are uploaded, each after those that it depends on."""
    command = ["cargo", "metadata", "--format-version", "1", "--no-deps", "--locked"]
    told = json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)
    waiting = {package["name"]: package for package in told["packages"] if package["publish"] != []}
    ordered: list[dict] = []
    while waiting:
        free = [
            name
            for name, package in waiting.items()
            # Dependencies of tests by their path alone are left out of the uploaded manifest.
            if not any(one["name"] in waiting and one["name"] != name and one["req"] != "*" for one in package["dependencies"])
        ]
        if not free:
            sys.exit(f"error: the crates {sorted(waiting)} need each other, so none can be uploaded first")
        ordered += [waiting.pop(name) for name in sorted(free)]
    return ordered


def crate_faults(package: dict) -> list[str]:
    folder = Path(package["manifest_path"]).parent
    command = ["cargo", "package", "--list", "--allow-dirty", "--locked", "--manifest-path", package["manifest_path"]]
    listed = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.split("\n")
    files = {Path(name).as_posix() for name in listed if name}
    faults = [f"it lacks {name}" for name in ("README.md", *LICENSES) if name not in files]
    faults += [f"its manifest lacks `{name}`" for name in ("description", "license", "repository", "readme") if not package[name]]
    faults += [
        f"it holds {name}, which is neither source nor README nor licence nor a sample model"
        for name in sorted(files - BY_CARGO - {"README.md", *LICENSES})
        if not name.startswith(("src/", "models/"))
    ]
    committed = subprocess.run(["git", "ls-files", "src"], cwd=folder, check=True, stdout=subprocess.PIPE, text=True).stdout
    faults += [f"it lacks {name}" for name in committed.splitlines() if name not in files and (folder / name).exists()]
    for name in sorted(files):
        if name.endswith(".rs") and not IN_TESTS.search(name):
            for pair in INCLUDED.findall((folder / name).read_text()):
                wanted = (folder / name).parent / "".join(pair)
                inside = wanted.resolve().is_relative_to(folder) and wanted.resolve().relative_to(folder).as_posix() in files
                if not inside:
                    faults.append(f"{name} includes {''.join(pair)}, which is not in the package")
    return [f"crate {package['name']}: {fault}" for fault in faults]


def recipe_faults() -> list[str]:
    """The release workflow builds each platform that the recipes know, twice: for npm and for Python."""
    platforms = re.search(r"^platforms=\((.*)\)$", read("scripts/platforms"), re.M)[1].split()
    workflow = read(".github/workflows/release.yml")
    built = re.findall(r"platform: ([\w-]+)", workflow)
    calls = [f"scripts/{script}-packages" for script in ("node", "python")]
    faults = [f".github/workflows/release.yml does not call {call}" for call in calls if call not in workflow]
    if sorted(built) != sorted(platforms):
        faults.append(f".github/workflows/release.yml builds {built}; scripts/platforms has {platforms}")
    return faults


def members(path: Path) -> Iterator[tuple[str, bytes]]:
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as archive:
            yield from ((name, archive.read(name)) for name in archive.namelist())
        return
    with tarfile.open(fileobj=io.BytesIO(path.read_bytes())) as archive:
        yield from ((one.name, archive.extractfile(one).read()) for one in archive if one.isfile())


def file_faults(path: Path, version: str) -> list[str]:
    """What is wrong with a finished package."""
    folders = {str(ROOT).encode(), str(Path.home()).encode() + b"/"}
    faults, names = [], set()
    for name, content in members(path):
        names.add(Path(name).name)
        faults += [
            f"{name} names {folder.decode()}, a folder of this machine: {content[max(0, at - 20) : at + 60]!r}"
            for folder in folders
            if (at := content.find(folder)) >= 0
        ]
    is_compiled = path.suffix == ".whl" or any(name.endswith(".node") for name in names)
    wanted = (*LICENSES, "THIRD-PARTY.txt") if is_compiled else LICENSES
    faults += [f"it lacks {name}" for name in wanted if name not in names]
    # The npm package of a platform is part of another one, and a wheel's README is its METADATA.
    if not names & {"README.md", "METADATA"} and not any(name.endswith(".node") for name in names):
        faults.append("it lacks a README")
    if version not in path.name:
        faults.append(f"its name is not of version {version}")
    return [f"{path.name}: {fault}" for fault in faults]


def main(arguments: list[str]) -> int:
    version = workspace_version()
    match arguments:
        case ["--files", *paths] if paths:
            faults = [fault for path in paths for fault in file_faults(Path(path), version)]
            told = f"{len(paths)} packages: version, licences and contents are in order"
        case [] | ["--tag", _]:
            crates = published()
            faults = version_faults(version) + changelog_faults(version, arguments[1] if arguments else None)
            faults += license_faults() + recipe_faults() + [fault for crate in crates for fault in crate_faults(crate)]
            told = f"{version}: versions, licences, recipes and crates ({', '.join(crate['name'] for crate in crates)}) are in order"
        case ["--crates"]:
            print(*(crate["name"] for crate in published()))
            return 0
        case _:
            print(__doc__)
            return 0 if arguments in (["-h"], ["--help"]) else 2
    for fault in faults:
        print(f"error: {fault}", file=sys.stderr)
    if not faults:
        print(told)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
