"""Kills the gateway with -9 at random moments under load and checks its ledger: every answered request has exactly one
record, what was in flight is posted at its hold, the counters come to the sum of the records (in Redis, to no less), and no
slot is left taken.

    crash.py GATEWAY [ROUNDS] [--storage sqlite|postgres|shared]

`postgres` and `shared` start a server of their own. `shared` has its counters in Redis, and a second gateway over the
same two stores that is never killed.
"""

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time

import servers
from gateway import ADMIN, Gateway, minted
from vendor import Vendor

CALLERS = 8
# An instance that is not heard of for 15 seconds is taken for dead.
STALE = 40


def storage(kind, home):
    if kind == "sqlite":
        return f'url = "sqlite:{home}/kancy.db"'
    url = f'url = "{servers.postgres_url(servers.postgres())}"'
    return url if kind == "postgres" else f'{url}\nquota = "redis://127.0.0.1:{servers.redis()}"'


def config(storage, vendor, key):
    return f"""
[storage]
{storage}
[admin]
token = "{ADMIN}"
[providers.openai]
kind = "openai"
base_url = "{vendor}/v1"
api_key = "sk-upstream-secret"
[[keys]]
key = "{key}"
workspace = "acme"
project = "site"
[[limits]]
scope = "workspace:acme"
measure = "spend"
amount = "1000000"
per = "total"
[[limits]]
scope = "workspace:acme"
measure = "concurrency"
amount = 1000
"""


def nanos(usd):
    return int(usd.replace(".", ""))


def call_until(stop, gateway, key, prefix, asked, answered, refused):
    """Calls one request after the other; the sets are shared by all callers (adding is atomic)."""
    count = 0
    while not stop.is_set():
        request_id = f"{prefix}-{count}"
        asked.add(request_id)
        status, _ = gateway.chat(key, request_id, stream=count % 2 == 0)
        if status == 200:
            answered.add(request_id)
        elif status is not None:  # a loaded machine is slower than a store may be
            refused.add(request_id)
        count += 1


def callers_of(gateway, key, prefix, asked, answered, refused):
    stop = threading.Event()
    threads = [threading.Thread(target=call_until, args=(stop, gateway, key, f"{prefix}-{n}", asked, answered, refused)) for n in range(CALLERS)]
    for thread in threads:
        thread.start()
    return stop, threads


def counters(gateway):
    rows = gateway.admin("/limits/state")["data"]
    spend, slots = (next(row for row in rows if row["measure"] == measure) for measure in ("spend", "concurrency"))
    return nanos(spend["used"]), nanos(spend["reserved"]), slots["used"], slots["reserved"]


def settled(gateway):
    """The records, once nothing of a dead instance is left running."""
    end = time.time() + STALE
    while True:
        rows = gateway.records()
        if time.time() > end or (all(row["outcome"] for row in rows) and counters(gateway)[1:] == (0, 0, 0)):
            return rows
        time.sleep(0.5)


def verdict(kind, gateway, asked, answered, refused):
    rows = settled(gateway)
    spend, reserved, slots, slots_reserved = counters(gateway)
    of = {}
    for row in rows:
        of.setdefault(row["request_id"], []).append(row)
    unknown = [row for row in rows if row["outcome"] == "unknown_after_crash"]
    booked = sum(nanos(row["cost_usd"]) for row in rows)
    # Redis posts at its hold what it was not told of, whatever the ledger knows; never less.
    hold = max((nanos(row["cost_usd"]) for row in unknown), default=0)
    excess = hold * len(asked - answered) if kind == "shared" else 0
    print(f"{len(asked)} asked, {len(answered)} answered, {len(rows)} records, {len(unknown)} unknown after a crash")
    bad = {
        "not answered by a gateway that lives": [i for i in asked - answered - refused if i.startswith("survivor")],
        "lost": [i for i in answered if i not in of],
        "doubled": [i for i, found in of.items() if len(found) > 1],
        "wrong": [i for i in answered & set(of) if of[i][0]["outcome"] != "completed" or of[i][0]["cost_usd"] != "0.000137500"],
        "strangers": [i for i in of if i not in asked],
        "unknown at no cost": [row["request_id"] for row in unknown if nanos(row["cost_usd"]) == 0],
        "still running": [row["request_id"] for row in rows if row["outcome"] is None],
        "leaked slots": [(slots, slots_reserved)] if slots or slots_reserved else [],
        "money still held": [reserved] if reserved else [],
        "spend counter is not the sum of the records": [spend, booked] if not booked <= spend <= booked + excess else [],
    }
    report = gateway.admin("/usage")["data"]
    if sum(nanos(row["cost_usd"]) for row in report) != booked:
        bad["usage report"] = report
    return {what: found[:5] for what, found in bad.items() if found}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("gateway")
    parser.add_argument("rounds", type=int, nargs="?", default=200)
    parser.add_argument("--storage", choices=("sqlite", "postgres", "shared"), default="sqlite")
    args = parser.parse_args()
    program, rounds = os.path.abspath(args.gateway), args.rounds
    seed = int(os.environ.get("SEED") or random.randrange(1 << 30))
    print(f"{args.storage}, {rounds} kills, seed {seed}")
    rng = random.Random(seed)
    home = tempfile.mkdtemp()
    key = minted(program)
    path = os.path.join(home, "kancy.toml")
    with open(path, "w") as file:
        file.write(config(storage(args.storage, home), Vendor.start(), key))
    asked, answered, refused = set(), set(), set()
    survivor = Gateway(program, path) if args.storage == "shared" else None
    beside = survivor and callers_of(survivor, key, "survivor", asked, answered, refused)
    for number in range(rounds):
        gateway = Gateway(program, path)
        stop, callers = callers_of(gateway, key, f"r{number}", asked, answered, refused)
        time.sleep(rng.uniform(0.02, 0.4))
        gateway.process.send_signal(signal.SIGKILL)
        stop.set()
        for thread in callers:
            thread.join()
        gateway.process.wait()
    if beside:
        beside[0].set()
        for thread in beside[1]:
            thread.join()
    last = survivor or Gateway(program, path)
    bad = verdict(args.storage, last, asked, answered, refused)
    last.process.send_signal(signal.SIGTERM)
    assert last.process.wait(timeout=40) == 0
    print(json.dumps(bad) if bad else "1 passed, 0 failed")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
