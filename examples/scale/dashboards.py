"""Starts several backends of ../procurement on this machine, as several machines would run them: they share DATABASE_URL, and with
it the ticket's records, its turn and its quota.

    DATABASE_URL=postgres://… MERCADO_PUBLICO_TICKET=… python dashboards.py --count 3 --port 8000
"""

import argparse
import os
import signal
import subprocess
import sys
from pathlib import Path

BACKEND = Path(__file__).resolve().parent.parent / "procurement/backend"


def start(ports: list[int], env: dict[str, str]) -> list[subprocess.Popen[bytes]]:
    """A backend on each port."""
    if not env.get("DATABASE_URL", "").startswith(("postgres://", "postgresql://")):
        raise SystemExit("DATABASE_URL must name a PostgreSQL database: backends with a store of their own do not share a quota")
    serve = [sys.executable, "-m", "uvicorn", "app:app", "--no-access-log", "--timeout-graceful-shutdown", "31"]
    return [subprocess.Popen([*serve, "--port", str(port)], cwd=BACKEND, env=env) for port in ports]


def main() -> None:
    parser = argparse.ArgumentParser(description="Starts several backends of the procurement dashboard over one PostgreSQL.")
    parser.add_argument("--count", type=int, default=3)
    parser.add_argument("--port", type=int, default=8000, help="of the first; the others follow")
    given = parser.parse_args()
    backends = start(list(range(given.port, given.port + given.count)), dict(os.environ))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        # One that ends does not end the others.
        for backend in backends:
            backend.wait()
    except KeyboardInterrupt:
        pass
    finally:
        for backend in backends:
            backend.terminate()
        for backend in backends:
            backend.wait()


if __name__ == "__main__":
    main()
