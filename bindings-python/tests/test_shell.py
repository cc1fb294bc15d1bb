import doctest
import importlib
import json
import pkgutil
import types
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


def test_the_examples_of_the_documentation_run():
    names = [found.name for found in pkgutil.iter_modules(ayni.__path__) if found.name != "__main__"]
    modules = [importlib.import_module(f"ayni.{name}") for name in names]
    results = [doctest.testmod(module, optionflags=doctest.ELLIPSIS) for module in modules]
    assert sum(result.failed for result in results) == 0
    assert sum(result.attempted for result in results) > 8


def test_everything_public_is_listed_and_documented():
    for name in ayni.__all__:
        value = getattr(ayni, name)
        assert not isinstance(value, (type, types.FunctionType)) or value.__doc__, name
    assert len(ayni.__all__) == len(set(ayni.__all__))
