"""The command line: ``ayni``, ``python -m ayni``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from ayni import AyniError, __version__
from ayni.cli import _chat, _completion, _doctor, _embed, _models, _serve


def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    top = argparse.ArgumentParser(prog="ayni", description="Local and hosted models behind one typed interface.")
    top.add_argument("--version", action="version", version=f"ayni {__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in (_serve, _chat, _embed, _models, _doctor, _completion):
        command.add(commands)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns the exit status of the process."""
    given = parser().parse_args(arguments)
    try:
        status: int = given.run(given)
    except AyniError as error:
        print(f"ayni: {error}", file=sys.stderr)
        return 1
    except ImportError as error:
        print(f"ayni: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 141
    return status
