"""The types that the wheel ships, as type checkers see them."""

import re
import subprocess
import sys
from pathlib import Path

USE = Path(__file__).with_name("typed_use.py")


def checked(*arguments, folder):
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder)


def test_the_package_is_typed_strictly(tmp_path):
    found = checked("mypy", "--strict", "-p", "ayni", folder=tmp_path)
    assert found.returncode == 0, found.stdout


def test_the_stub_is_what_the_native_module_has(tmp_path):
    (tmp_path / "allowed").write_text("ayni._ayni.panic_inside\nayni._ayni.__all__\n")
    options = ["--allowlist", "allowed", "--ignore-unused-allowlist"]
    found = checked("mypy.stubtest", "ayni._ayni", *options, folder=tmp_path)
    assert found.returncode == 0, found.stdout


def test_right_use_passes_and_wrong_use_is_found(tmp_path):
    found = checked("mypy", "--strict", "--warn-unused-ignores", str(USE), folder=tmp_path)
    faults = re.findall(r"typed_use\.py:(\d+): error: .*\[([\w-]+)\]$", found.stdout, re.M)
    expected = [
        (str(number), line.partition("# wrong: ")[2])
        for number, line in enumerate(USE.read_text().splitlines(), 1)
        if "# wrong: " in line
    ]
    assert faults == expected, found.stdout
    assert len(expected) > 5
