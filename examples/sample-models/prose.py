"""Paragraphs of English: the documentation of this repository, and what comes with Python."""

from __future__ import annotations

import ast
import random
import re
import sysconfig
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
# One page of five is never trained on.
HELD_OUT_OF = 5
WORDS = 16
FROM_PYTHON = 3000


def halves(paragraph: str) -> tuple[str, str]:
    words = paragraph.split()
    return " ".join(words[: len(words) // 2]), " ".join(words[len(words) // 2 :])


def pages() -> dict[str, list[list[str]]]:
    """The sections of each page of this repository's documentation, each a list of paragraphs."""
    found = {}
    for path in sorted([REPOSITORY / "README.md", *(REPOSITORY / "docs").glob("**/*.md")]):
        text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text).replace("`", "").replace("*", "")
        sections = []
        for section in re.split(r"^#+ .*$", text, flags=re.M):
            blocks = [" ".join(block.split()) for block in re.split(r"\n\s*\n|\n- ", section)]
            sections.append([block for block in blocks if len(block.split()) >= WORDS and not block.startswith(("|", "<"))])
        found[path.relative_to(REPOSITORY).as_posix()] = [section for section in sections if section]
    return found


def is_prose(block: str) -> bool:
    """Whether it is mostly words."""
    words = block.split()
    plain = [word for word in words if re.fullmatch(r"[A-Za-z'-]+[.,:;]?", word)]
    return WORDS <= len(words) <= 150 and len(plain) > 0.8 * len(words)


def of_python() -> list[str]:
    """Paragraphs of the docstrings of Python's own modules, and of its help."""
    from pydoc_data import topics

    texts = [topics.topics[name] for name in sorted(topics.topics)]
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8", errors="ignore"))
        documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        texts += [ast.get_docstring(node) or "" for node in ast.walk(tree) if isinstance(node, documented)]
    blocks = [" ".join(block.replace("*", "").replace("`", "").split()) for text in texts for block in re.split(r"\n\s*\n", text)]
    found = list(dict.fromkeys(block for block in blocks if is_prose(block)))
    return random.Random(35).sample(found, min(FROM_PYTHON, len(found)))
