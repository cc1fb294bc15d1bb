"""Mixed load on `ayni serve clip` for minutes: good requests, bad bodies, callers who leave, callers who are slow. At the end
no request may be stuck and memory may not have grown.

    python benches/http/soak.py http://127.0.0.1:7860 --seconds 600
"""

import argparse
import asyncio
import contextlib
import json
import random
import sys
import time
import urllib.request
from collections import Counter
from urllib.parse import urlsplit

BAD = (b"", b"{", b"null", b'{"text": ""}', b'{"text": 5}', b"\xff" * 100, b'{"image": "%"}', b"x" * 100_000)


def head(path, length):
    text = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n"
    return f"{text}Content-Length: {length}\r\n\r\n".encode()


async def status_of(reader):
    line = await asyncio.wait_for(reader.readline(), 60)
    await reader.read()
    return int(line.split()[1])


async def caller(address, chance, end, seen):
    """One caller after another, each with its own manners."""
    while time.monotonic() < end:
        manner = chance.choices(("good", "bad", "leaves", "slow", "huge"), (70, 10, 10, 8, 2))[0]
        good = json.dumps({"text": " ".join(chance.choices("uno dos tres cuatro".split(), k=chance.randint(1, 60)))}).encode()
        path = "/embed/image" if manner == "bad" and chance.random() < 0.3 else "/embed/text"
        body = chance.choice(BAD) if manner == "bad" else good
        reader, writer = await asyncio.open_connection(*address)
        with contextlib.suppress(ConnectionError):
            if manner == "leaves":
                writer.write(head(path, len(body)) + body[: chance.randint(0, len(body))])
                await asyncio.sleep(chance.random() * 0.02)
                seen["left"] += 1
            elif manner == "slow":
                writer.write(head(path, len(body)))
                for at in range(0, len(body), 16):
                    writer.write(body[at : at + 16])
                    await asyncio.sleep(0.02)
                seen[manner, await status_of(reader)] += 1
            elif manner == "huge":
                writer.write(head(path, 50_000_000) + b"x" * 1000)
                seen[manner, int((await asyncio.wait_for(reader.readline(), 60)).split()[1])] += 1
            else:
                writer.write(head(path, len(body)) + body)
                seen[manner, await status_of(reader)] += 1
        writer.close()
        await asyncio.sleep(chance.random() * 0.05)


def metrics(url):
    lines = urllib.request.urlopen(f"{url}/metrics", timeout=30).read().decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[:1] != "#")}


async def run(url, callers, seconds):
    parts, seen = urlsplit(url), Counter()
    address = (parts.hostname, parts.port)

    async def phase(length):
        end = time.monotonic() + length
        await asyncio.gather(*(caller(address, random.Random(number), end, seen) for number in range(callers)))

    # Pools and caches fill first.
    await phase(seconds * 0.2)
    start = (await asyncio.to_thread(metrics, url))["process_resident_memory_bytes"]
    await phase(seconds * 0.8)
    await asyncio.sleep(6)
    last = await asyncio.to_thread(metrics, url)
    growth = last["process_resident_memory_bytes"] / start - 1
    print(f"memory {start / 1e6:.1f} MB, then {growth:+.1%}; in flight at the end: {last['ayni_http_requests_in_flight']:.0f}")
    print(", ".join(f"{what}: {count}" for what, count in sorted(seen.items(), key=str)))
    wrong = [what for what in seen if what[0] in ("good", "slow") and what[1] != 200 or what[-1] == 500]
    return not wrong and growth < 0.05 and last["ayni_http_requests_in_flight"] == 0


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("url")
    arguments.add_argument("--seconds", type=float, default=600)
    arguments.add_argument("--callers", type=int, default=24)
    given = arguments.parse_args()
    return 0 if asyncio.run(run(given.url, given.callers, given.seconds)) else 1


if __name__ == "__main__":
    sys.exit(main())
