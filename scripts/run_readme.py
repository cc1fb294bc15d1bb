"""Runs the examples of the README that an installed wheel carries. scripts/release-check gives it to that wheel's Python."""

import doctest
import importlib.metadata
import sys

readme = importlib.metadata.metadata("ayni").get_payload()
examples = doctest.DocTestParser().get_doctest(readme, {}, "README", "README.md", 0)
found = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(examples)
print(f"README.md of the wheel: {found.attempted} examples, {found.failed} failed")
sys.exit(1 if found.failed or not found.attempted else 0)
