"""Kills the gateway with -9 at random moments while video jobs are ordered, followed and announced, starts it again over the
same file, and checks in the end: each order has at most one vendor job, each job one settlement and one announcement.

    crash_video.py GATEWAY [ROUNDS] [--storage sqlite|postgres|shared]

`postgres` and `shared` start a server of their own, and take some minutes in the end: what a dead instance had leased is
looked at when the lease ends. `shared` has its counters in Redis, and a second gateway that is never killed.
"""

import argparse
import http.client
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time

from crash import nanos, storage
from gateway import ADMIN, Gateway, minted
from vendors_video import FILM, Kling, MiniMax, Receiver, Tasks

CALLERS = 4
VIDEOS = "/v1/videos/generations"
PRICE = {"kling-video": 100_000_000, "minimax-video": 50_000_000}  # nano-dollars a second


def config(storage, kling, minimax, receiver, key):
    host = lambda url: url.removeprefix("http://")
    return f"""
[storage]
{storage}
[admin]
token = "{ADMIN}"
[providers.kling]
kind = "kling"
base_url = "{kling}"
access_key = "ak_test"
secret_key = "kling-secret"
content_hosts = ["{host(kling)}"]
[providers.minimax]
kind = "minimax"
base_url = "{minimax}"
api_key = "minimax-secret"
content_hosts = ["{host(minimax)}"]
[models."kling-video"]
provider = "kling"
price = {{ per_video_second = "0.10" }}
[models."minimax-video"]
provider = "minimax"
price = {{ per_video_second = "0.05" }}
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
measure = "video_seconds"
amount = 1000000
per = "month"
[[limits]]
scope = "workspace:acme"
measure = "concurrency"
amount = 100000
[jobs]
poll_seconds = 1
max_poll_seconds = 1
[delivery]
schedule_seconds = [0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]
timeout_seconds = 1
[[webhooks]]
workspace = "acme"
url = "{receiver}/hook"
secret = "{Receiver.SECRET}"
allow_private = true
"""


class Caller:
    """Orders videos, each until it has an answer: what a crash cut is asked for again, under the same key."""

    def __init__(self, which, key, rng):
        self.which, self.key, self.rng, self.count, self.open = which, key, rng, 0, None
        # By tag: the job's id, or None where there is none.
        self.jobs = {}

    def ask(self, address, method, path, body=None, headers=None):
        """Status, body; `None` when the gateway went down."""
        connection = http.client.HTTPConnection(address, timeout=120)
        try:
            connection.request(method, path, body and json.dumps(body), {"authorization": "Bearer " + self.key, "content-type": "application/json"} | (headers or {}))
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def order(self, address):
        if self.open is None:
            model = self.rng.choice(list(PRICE))
            self.open = (f"order {self.which}-{self.count}", model, 6 if model == "minimax-video" else self.rng.randint(3, 15))
            self.count += 1
        tag, model, seconds = self.open
        body = {"model": model, "prompt": tag, "duration": seconds, "aspect_ratio": "16:9"}
        answer = self.ask(address, "POST", VIDEOS, body, {"idempotency-key": tag})
        if answer is None:
            return
        status, text = answer
        if status == 500 and json.loads(text)["error"]["origin"] == "gateway":
            return  # a store that took its time on a loaded machine
        assert status in (202, 429), (status, text)
        self.jobs[tag] = json.loads(text)["id"] if status == 202 else None
        self.open = None

    def run(self, address, stop):
        while not stop.is_set():
            self.order(address)
            known = [job for job in self.jobs.values() if job]
            if known:
                self.ask(address, "GET", f"{VIDEOS}/{self.rng.choice(known)}")
            time.sleep(self.rng.uniform(0, 0.2))


def round_of(gateway, callers, pause):
    stop = threading.Event()
    threads = [threading.Thread(target=caller.run, args=(gateway.address, stop)) for caller in callers]
    for thread in threads:
        thread.start()
    time.sleep(pause)
    gateway.process.send_signal(signal.SIGKILL)
    stop.set()
    for thread in threads:
        thread.join()
    gateway.process.wait()


def all_jobs(caller, address):
    jobs, after = [], ""
    while True:
        status, text = caller.ask(address, "GET", f"{VIDEOS}?limit=100{after}")
        page = json.loads(text)
        assert status == 200, page
        jobs += page["data"]
        if not page["has_more"]:
            return jobs
        after = "&after=" + page["last_id"]


def settled(gateway, caller, patience):
    """All jobs, once nothing is left to follow or to announce."""
    end = time.monotonic() + patience
    while True:
        jobs = all_jobs(caller, gateway.address)
        open_jobs = [job["id"] for job in jobs if job["status"] in ("queued", "in_progress")]
        running = [row["id"] for row in gateway.records() if row["outcome"] is None]
        pending = [d["id"] for d in gateway.admin("/webhooks/deliveries?limit=1000")["data"] if d["status"] == "pending"]
        held = [limit["measure"] for limit in gateway.admin("/limits/state")["data"] if nanos(str(limit["reserved"]))]
        if not (open_jobs or running or pending or held):
            return jobs
        assert time.monotonic() < end, {"open": open_jobs[:5], "running": running[:5], "not announced": pending[:5], "held": held}
        time.sleep(0.2)


def check(gateway, callers, tasks, jobs):
    """What is wrong, by name."""
    rows = gateway.records()
    states = {row["measure"]: row for row in gateway.admin("/limits/state")["data"]}
    made = {}
    for task in tasks.made:
        made.setdefault(task["prompt"], []).append(task)
    of_tag = {tag: job for caller in callers for tag, job in caller.jobs.items()}
    by_id = {job["id"]: job for job in jobs}
    told = {}
    for event_id, event in Receiver.told:
        told.setdefault(event["data"]["id"], {}).setdefault(event_id, []).append(event)
    bad = {
        "orders made twice": [tag for tag, found in made.items() if len(found) > 1],
        "lost jobs": [tag for tag, job in of_tag.items() if job and job not in by_id],
        "jobs of refused orders": [job["id"] for job in jobs if job["id"] not in of_tag.values()],
        "not announced under one id": [job for job in by_id if len(told.get(job, {})) != 1],
        "announced otherwise": [job for job, events in told.items() if any(e["data"]["status"] != by_id[job]["status"] for found in events.values() for e in found)],
        "strangers announced": [job for job in told if job not in by_id],
        "forged": Receiver.forged,
        "posted at a hold": [row["id"] for row in rows if row["outcome"] == "unknown_after_crash"],
        "doubled records": [row["id"] for row in rows if sum(other["id"] == row["id"] for other in rows) > 1],
    }
    wrong, cost = [], 0
    for tag, job in of_tag.items():
        if job is None or job not in by_id:
            continue
        job, task = by_id[job], (made.get(tag) or [None])[0]
        kling = job["model"] == "kling-video"
        if job["status"] == "completed":
            seconds, paid = job["usage"]["video_seconds"], nanos(job["usage"]["cost"]["amount"])
            cost += paid
            if task is None or task["fails"] or seconds != task["seconds"] or paid != seconds * PRICE[job["model"]]:
                wrong.append((tag, job, task))
        # The vendor's word counts wherever it was heard; Kling is asked by our own id, too.
        elif task is not None and not task["fails"] and (kling or job["error"]["code"] != "provider_timeout"):
            wrong.append((tag, job, task))
    bad["not as the vendor says"] = wrong
    booked = sum(nanos(row["cost_usd"]) for row in rows)
    seconds = sum(row["usage"]["video_seconds"] for row in rows)
    paid = [row for row in rows if nanos(row["cost_usd"])]
    completed = [job for job in jobs if job["status"] == "completed"]
    if not cost == booked == nanos(states["spend"]["used"]) or seconds != states["video_seconds"]["used"]:
        bad["money"] = [cost, booked, states]
    if len(paid) != len(completed):
        bad["settlements"] = [len(paid), len(completed)]
    held = [name for name, state in states.items() if nanos(str(state["reserved"])) or name == "concurrency" and state["used"]]
    if held:
        bad["still held"] = [held, states]
    if completed:
        status, film = callers[0].ask(gateway.address, "GET", f"{VIDEOS}/{completed[0]['id']}/content")
        if (status, film) != (200, FILM):
            bad["content"] = [status, len(film)]
    if not completed or not any(job["status"] == "failed" for job in jobs):
        bad["too little happened"] = [len(jobs), len(completed)]
    return {what: found[:3] for what, found in bad.items() if found}, rows, completed


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("gateway")
    parser.add_argument("rounds", type=int, nargs="?", default=100)
    parser.add_argument("--storage", choices=("sqlite", "postgres", "shared"), default="sqlite")
    args = parser.parse_args()
    program, rounds = os.path.abspath(args.gateway), args.rounds
    seed = int(os.environ.get("SEED") or random.randrange(1 << 30))
    print(f"{args.storage}, {rounds} kills, seed {seed}")
    rng = random.Random(seed)
    home, key, tasks = tempfile.mkdtemp(), minted(program), Tasks(seed)
    path = os.path.join(home, "kancy.toml")
    with open(path, "w") as file:
        file.write(config(storage(args.storage, home), Kling.over(tasks), MiniMax.over(tasks), Receiver.start(), key))
    callers = [Caller(which, key, random.Random(seed + which)) for which in range(CALLERS)]
    survivor = Gateway(program, path) if args.storage == "shared" else None
    for _ in range(rounds):
        longest = 1.5 if args.storage == "sqlite" else 4
        round_of(Gateway(program, path), callers, rng.uniform(0.02, longest))

    gateway = survivor or Gateway(program, path)
    for caller in callers:
        if caller.open:
            caller.order(gateway.address)
    jobs = settled(gateway, callers[0], 60 if args.storage == "sqlite" else 400)
    bad, rows, completed = check(gateway, callers, tasks, jobs)
    gateway.process.send_signal(signal.SIGTERM)
    assert gateway.process.wait(timeout=40) == 0
    unknown = sum(1 for job in jobs if job["error"] and job["error"]["code"] == "provider_timeout")
    print(f"{len(tasks.made)} videos made, {len(jobs)} jobs, {len(completed)} completed, {unknown} of unknown fate, "
          f"{len(rows)} records, {len(Receiver.told)} webhooks")
    print(json.dumps(bad) if bad else "1 passed, 0 failed")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
