"""Refuses sub-interpreters, whose end would wait for threads that can attach to the main one only."""

from importlib import import_module


def check_main_interpreter() -> None:
    """Fails in a sub-interpreter, before native code is loaded."""
    for name in ("_interpreters", "_xxsubinterpreters"):
        try:
            interpreters = import_module(name)
        except ImportError:
            continue
        if interpreters.get_current() != interpreters.get_main():
            raise ImportError("ayni works in the main interpreter only (mod_wsgi: WSGIApplicationGroup %{GLOBAL})")
        return


check_main_interpreter()
