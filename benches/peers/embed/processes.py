"""The processes that do the work, one library each, driven by lines."""

import contextlib
import subprocess
import time
from pathlib import Path


class Failed(Exception):
    """A process did not do what it was told."""


class Process:
    def __init__(self, name: str, command: list[str], environment: dict[str, str]):
        self.name, self.started = name, time.perf_counter()
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True, bufsize=1
        )

    def ask(self, *words: str) -> list[str]:
        """What it answers, without the first word; `Failed` with its reason if it cannot."""
        try:
            self.process.stdin.write(" ".join(words) + "\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline().split()
        except BrokenPipeError:
            answer = []
        if not answer:
            raise Failed(f"{self.name} ended with status {self.process.wait()}; its last words are above")
        if answer[0] == "failed":
            raise Failed(f"{self.name}: {' '.join(words[:2])}: {' '.join(answer[1:])}")
        return answer

    def settle(self) -> None:
        """Waits until its threads sleep. They spin on after a call (ONNX Runtime's for 50 ms), and would slow who comes
        next."""
        before = self.processor_time()
        for _ in range(100):
            time.sleep(0.005)
            now = self.processor_time()
            if now - before < 250_000:
                return
            before = now

    def processor_time(self) -> int:
        """Nanoseconds that all its threads have had."""
        found = 0
        for thread in Path(f"/proc/{self.process.pid}/task").iterdir():
            try:
                found += int((thread / "schedstat").read_text().split()[0])
            except FileNotFoundError:  # It ended meanwhile.
                continue
        return found

    def close(self) -> None:
        # What was asked of a process that has ended cannot be delivered any more.
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Processes:
    """Starts a process when it is first needed, and ends all of them."""

    def __init__(self, commands: dict[str, list[str]], environment: dict[str, str]):
        self.commands, self.environment, self.running = commands, environment, {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.running.values():
            process.close()

    def get(self, name: str) -> Process:
        if name not in self.running:
            self.running[name] = self.start(name)
        return self.running[name]

    def start(self, name: str) -> Process:
        return Process(name, self.commands[name], self.environment)


def commands(program: Path, python: Path, minilm: Path, folder: Path, threads: int, peers: list[str]) -> dict:
    """The command of each side: ours by precision, candle, and the Python libraries."""
    worker = str(Path(__file__).parent / "worker.py")
    ours = {f"ours_{kind}": kind for kind in ("auto", "f32", "bf16", "int8")} | {"candle": "candle"}
    found = {name: [str(program), "embed-worker", kind, str(minilm), str(folder)] for name, kind in ours.items()}
    return found | {name: [str(python), worker, name, str(minilm), str(folder), str(threads)] for name in peers}
