"""``ayni completion``."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

BASH = """\
_ayni() {
  local word="${COMP_WORDS[COMP_CWORD]}" path="" index words
  for ((index = 1; index < COMP_CWORD; index++)); do
    case "$path ${COMP_WORDS[index]}" in
%(paths)s
    esac
  done
  case "$path" in
%(words)s
  esac
  COMPREPLY=($(compgen -W "$words" -- "$word"))
  [ "${#COMPREPLY[@]}" -gt 0 ] || COMPREPLY=($(compgen -f -- "$word"))
}
complete -o filenames -F _ayni ayni
"""


def add(commands: Any) -> None:
    """Adds the command."""
    command = commands.add_parser(
        "completion",
        help="print what makes a shell complete this command",
        description='Bash and zsh: eval "$(ayni completion bash)" (or zsh) in .bashrc (or .zshrc). Fish: ayni completion fish | source.',
    )
    command.add_argument("shell", choices=["bash", "zsh", "fish"])
    command.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Prints the script."""
    from ayni.cli import parser

    tree = list(_tree(parser(), ()))
    print(_fish(tree) if given.shell == "fish" else _bash(tree, is_zsh=given.shell == "zsh"), end="")
    return 0


def _tree(parser: argparse.ArgumentParser, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    """Every command, and the words that may follow it."""
    words = [option for action in parser._actions for option in action.option_strings if option.startswith("--")]
    inner: dict[str, argparse.ArgumentParser] = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            inner |= action.choices
        elif action.choices and not action.option_strings:
            words += map(str, action.choices)
    yield path, [*inner, *words]
    for name, one in inner.items():
        yield from _tree(one, (*path, name))


def _bash(tree: list[tuple[tuple[str, ...], list[str]]], *, is_zsh: bool) -> str:
    def spelt(path: tuple[str, ...]) -> str:
        return "".join(f" {word}" for word in path)

    paths = "\n".join(f'      "{spelt(path)}") path="{spelt(path)}" ;;' for path, _ in tree if path)
    words = "\n".join(f'    "{spelt(path)}") words="{" ".join(words)}" ;;' for path, words in tree)
    start = "autoload -U +X bashcompinit && bashcompinit\n" if is_zsh else ""
    return start + BASH % {"paths": paths, "words": words}


def _fish(tree: list[tuple[tuple[str, ...], list[str]]]) -> str:
    lines = []
    for path, words in tree:
        seen = [f"__fish_seen_subcommand_from {word}" for word in path]
        first = f"; and not __fish_seen_subcommand_from {' '.join(words)}" if path else ""
        condition = "; and ".join(seen) if seen else "__fish_use_subcommand"
        for word in words:
            given = f"-l {word.removeprefix('--')}" if word.startswith("--") else f"-f -a {word}"
            lines.append(f"complete -c ayni -n '{condition}{'' if word.startswith('--') else first}' {given}\n")
    return "".join(lines)
