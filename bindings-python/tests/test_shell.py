import json
from importlib import metadata
from importlib.resources import files
from pathlib import Path

import ayni

ROOT = Path(__file__).resolve().parents[2]


def test_the_package_is_the_installed_wheel():
    assert ROOT / "bindings-python" not in Path(ayni.__file__).parents


def test_the_version_is_the_one_of_the_wheel():
    assert ayni.__version__ == metadata.version("ayni")


def test_the_error_kinds_are_the_documented_ones():
    documented = json.loads((ROOT / "docs/reference/error-kinds.json").read_text())
    assert list(ayni.ERROR_KINDS) == [entry["kind"] for entry in documented]


def test_type_checkers_find_the_types():
    assert files("ayni").joinpath("py.typed").is_file()
    assert files("ayni").joinpath("_ayni.pyi").is_file()
