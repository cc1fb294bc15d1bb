"""Hands the events of the native code to Python's logging."""

from __future__ import annotations

import atexit
import logging
import os
import threading

from ayni import _ayni

# How long the thread waits before it looks whether the process is ending.
POLL_SECONDS = 0.2

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


class _Forwarder:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._ending = False

    def start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="ayni-log", daemon=True)
                self._thread.start()

    def start_again(self) -> None:
        """In a forked child, which has none of its parent's threads."""
        was_running, self._thread, self._lock = self._thread is not None, None, threading.Lock()
        if was_running:
            self.start()

    def stop(self) -> None:
        """Before the interpreter ends: a thread that comes back from native code later would be killed."""
        self._ending = True
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._ending:
            events = _ayni.next_events(POLL_SECONDS)
            if events is None:
                return
            for event in events:
                level = logging.getLevelName(event.pop("level", "INFO").replace("WARN", "WARNING"))
                logger = logging.getLogger(event.pop("target", "ayni").replace("::", "."))
                message = event.pop("message", "")
                named = {name.replace(".", "_"): value for name, value in event.items()}
                extra = {f"ayni_{name}" if name in _OWN else name: value for name, value in named.items()}
                logger.log(level if isinstance(level, int) else logging.INFO, "%s", message, extra=extra)


_FORWARDER = _Forwarder()


def forward_logs() -> None:
    """Hands what the native code says of its work to :mod:`logging`, under loggers such as ``ayni.call``: attempts, waits,
    failures with the status of the hosted service, loaded models. Never prompts, inputs or keys. Services do it by themselves.
    """
    _FORWARDER.start()


atexit.register(_FORWARDER.stop)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_FORWARDER.start_again)
