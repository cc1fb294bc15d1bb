"""Load on services of embeddings: clients that ask one after the other, throughput and latencies.

    python benches/http/load.py ours=http://127.0.0.1:7860 peer=http://127.0.0.1:7861 --clients 64 --seconds 15

The services are measured in turns, so that what the machine does besides hits them alike.
"""

import argparse
import asyncio
import json
import statistics
import time
from urllib.parse import urlsplit

WORDS = "adquisición de ambulancias para el hospital regional servicio de aseo y mantención de calderas papel tamaño carta".split()
# Captions and queries: 4 to 16 words.
TEXTS = [" ".join(WORDS[(start * 7 + at) % len(WORDS)] for at in range(4 + start % 13)) for start in range(200)]


async def exchange(reader, writer, host, path, body):
    """One request on an open connection; gives the status and the body."""
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    status = int((await reader.readline()).split()[1])
    length = 0
    while (line := (await reader.readline()).strip()):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return status, await reader.readexactly(length)


async def client(url, number, end, latencies, failures):
    """Asks until the end, one request after the other."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    at = number
    while time.perf_counter() < end:
        body = json.dumps({"text": TEXTS[at % len(TEXTS)]}).encode()
        began = time.perf_counter()
        status, answer = await exchange(reader, writer, parts.netloc, "/embed/text", body)
        latencies.append(time.perf_counter() - began)
        if status != 200 or not answer.startswith(b'{"embedding":['):
            failures.append(status)
        at += 1
    writer.close()


async def measured(url, clients, seconds):
    """Throughput and latencies of one turn."""
    latencies, failures = [], []
    began = time.perf_counter()
    await asyncio.gather(*(client(url, number, began + seconds, latencies, failures) for number in range(clients)))
    return latencies, failures, time.perf_counter() - began


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("services", nargs="+", metavar="NAME=URL")
    arguments.add_argument("--clients", type=int, default=64)
    arguments.add_argument("--seconds", type=float, default=10, help="length of a turn")
    arguments.add_argument("--turns", type=int, default=2)
    given = arguments.parse_args()
    services = dict(service.split("=", 1) for service in given.services)
    all_of = {name: ([], [], []) for name in services}
    for url in services.values():
        asyncio.run(measured(url, given.clients, 1))
    for _ in range(given.turns):
        for name, url in services.items():
            latencies, failures, seconds = asyncio.run(measured(url, given.clients, given.seconds))
            for kept, new in zip(all_of[name], (latencies, failures, [seconds]), strict=True):
                kept.extend(new)
    for name, (latencies, failures, seconds) in all_of.items():
        cuts = statistics.quantiles(latencies, n=100)
        rate = len(latencies) / sum(seconds)
        print(
            f"{name:8} {rate:8.1f} requests/s  p50 {cuts[49] * 1000:7.1f} ms  p99 {cuts[98] * 1000:7.1f} ms  "
            f"{len(latencies)} requests, {len(failures)} failures"
        )


if __name__ == "__main__":
    main()
