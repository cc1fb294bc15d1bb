"""Pages of the documentation with a section for each CPU.

>>> first = replaced("", "# Speed", "One", "2026-01-01.\\n\\n### MiniLM\\n")
>>> both = replaced(first, "# Speed, read so", "One more", "2026-01-02.")
>>> print(replaced(both, "# Speed", "One", "2026-01-03."), end="")
# Speed
<BLANKLINE>
## One
<BLANKLINE>
2026-01-03.
<BLANKLINE>
## One more
<BLANKLINE>
2026-01-02.
>>> print(both, end="")
# Speed, read so
<BLANKLINE>
## One
<BLANKLINE>
2026-01-01.
<BLANKLINE>
### MiniLM
<BLANKLINE>
## One more
<BLANKLINE>
2026-01-02.
"""

import platform
import re
from pathlib import Path


def replaced(page: str, beginning: str, cpu: str, section: str) -> str:
    """The page with another beginning, and another section of this CPU; a new one is the last."""
    sections = [part.strip() for part in re.split(r"^(?=## )", page, flags=re.MULTILINE) if part.startswith("## ")]
    new, heading = f"## {cpu}\n\n{section.strip()}", f"## {cpu}\n"
    places = [at for at, old in enumerate(sections) if old.startswith(heading)]
    at = places[0] if places else len(sections)
    sections[at : at + 1] = [new]
    return "\n\n".join([beginning.strip(), *sections]) + "\n"


def cpu_name() -> str:
    return cpu_fields().get("model name") or platform.machine()


def cpu_generation() -> str:
    """The CPU's name with its family and model, which tell generations of one name apart."""
    fields = cpu_fields()
    known = "cpu family" in fields and "model" in fields
    return f"{cpu_name()} (family {fields['cpu family']}, model {fields['model']})" if known else cpu_name()


def cpu_fields() -> dict[str, str]:
    """What Linux says of the first core."""
    path = Path("/proc/cpuinfo")
    first = path.read_text().split("\n\n")[0] if path.exists() else ""
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in first.splitlines())}
