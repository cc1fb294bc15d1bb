"""Checks that a wheel runs where its name says: by auditwheel, which reads the symbols that its libraries ask for.
Usage: check_wheel.py WHEEL, with a Python that has auditwheel."""

import re
import subprocess
import sys

wheel = sys.argv[1]
told = subprocess.run([sys.executable, "-m", "auditwheel", "show", wheel], check=True, stdout=subprocess.PIPE, text=True).stdout
consistent = re.search(r'consistent\s+with\s+the\s+following\s+platform\s+tag:\s+"(\w+)"', told)
named = wheel.removesuffix(".whl").rpartition("-")[2].split(".")
if consistent is None:
    sys.exit(f"error: auditwheel says of {wheel}:\n{told}")


def oldest(tag: str) -> tuple[int, ...]:
    return tuple(map(int, re.search(r"linux_(\d+)_(\d+)", tag).groups()))


if any(oldest(tag) < oldest(consistent[1]) for tag in named if re.search(r"linux_\d", tag)) or "linux_x86_64" in named:
    sys.exit(f"error: {wheel} is named for {named}; auditwheel says that it needs {consistent[1]}")
print(f"{wheel}: named for {', '.join(named)}; auditwheel finds that it needs {consistent[1]}")
