"""Load a running `fclf serve` with edits from several clients, and report latency, refusals and memory.

    fclf serve RUN --embeddings FILE --port 8000 &
    python benchmarks/serve_load.py http://127.0.0.1:8000 --seconds 60 --clients 4 --pid $!

Each client draws people and attributes with a seed and asks again as soon as it is answered. A refusal (503) is counted
apart and waited for; anything else than an answer is an error, and makes the exit code 1. Memory is the resident set of
the server's process, read before, after a tenth of the time (caches are full by then) and at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from pathlib import Path

import httpx
import numpy as np

API = "/api/v1"


def resident(pid: int | None) -> float | None:
    """Resident memory in MB."""
    if pid is None:
        return None
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return round(int(next(line.split()[1] for line in lines if line.startswith("VmRSS"))) / 1024, 1)


async def client(number: int, http: httpx.AsyncClient, end: float, names: list[str], ids: list[str], out: dict) -> None:
    """Ask until the end."""
    chance = random.Random(number)
    while time.perf_counter() < end:
        body = {
            "people": [chance.choice(ids)],
            "set": {name: chance.randint(0, 1) for name in chance.sample(names, min(2, len(names)))},
            "strength": chance.randint(0, 40) / 20,  # the steps of the page's sliders
            "keep": chance.randint(0, 20) / 20 if out["keep"] else None,
        }
        begun = time.perf_counter()
        try:
            answer = await http.post(f"{API}/edit", json=body)
        except httpx.HTTPError as error:
            out["errors"].append(repr(error))
            continue
        if answer.status_code == 503:
            out["refused"] += 1
            await asyncio.sleep(float(answer.headers.get("retry-after", 1)) * chance.uniform(0.5, 1))
        elif answer.status_code != 200:
            out["errors"].append(f"{answer.status_code} {answer.text[:200]}")
        else:
            out["seconds"].append(time.perf_counter() - begun)
            out["computing"].append(answer.json()["milliseconds"])


async def load(address: str, seconds: float, clients: int, pid: int | None, token: str | None) -> dict:
    """Run the clients and summarise."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    limits = httpx.Limits(max_connections=clients, max_keepalive_connections=clients)
    async with httpx.AsyncClient(base_url=address, headers=headers, timeout=30, limits=limits) as http:
        about = (await http.get(f"{API}/about")).json()
        ids = [(await http.get(f"{API}/people/random")).json()["id"] for _ in range(200)]
        out: dict = {"seconds": [], "computing": [], "errors": [], "refused": 0, "keep": about["keep"] is not None}
        names = [one["name"] for one in about["attributes"]]
        memory = {"before": resident(pid)}
        begun = time.perf_counter()
        running = [asyncio.create_task(client(i, http, begun + seconds, names, ids, out)) for i in range(clients)]
        await asyncio.sleep(seconds / 10)
        memory["after_a_tenth"] = resident(pid)
        await asyncio.gather(*running)
        memory["end"] = resident(pid)
    took = 1000 * np.array(out["seconds"])
    return {
        "clients": clients,
        "seconds": seconds,
        "answered": len(took),
        "per_second": round(len(took) / seconds, 1),
        "refused_503": out["refused"],
        "errors": len(out["errors"]),
        "first_errors": out["errors"][:3],
        "milliseconds": {f"p{q}": round(float(np.percentile(took, q)), 1) for q in (50, 95, 99, 100)},
        "computing_milliseconds": {f"p{q}": round(float(np.percentile(out["computing"], q)), 1) for q in (50, 99)},
        "memory_mb": memory,
    }


def main() -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--pid", type=int)
    parser.add_argument("--token")
    asked = parser.parse_args()
    found = asyncio.run(load(asked.address, asked.seconds, asked.clients, asked.pid, asked.token))
    sys.stdout.write(json.dumps(found, indent=2) + "\n")
    return 1 if found["errors"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
