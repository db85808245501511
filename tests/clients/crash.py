"""Kills the gateway with -9 at random moments under load and checks its ledger: every answered request has exactly one
record, and what was in flight is posted at its hold.

    crash.py GATEWAY [ROUNDS]
"""

import http.client
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time

from vendor import Vendor

ADMIN = "admin-token-of-the-crash-test"
CALLERS = 8


def config(vendor, home, key):
    return f"""
[storage]
url = "sqlite:{home}/kancy.db"
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


class Gateway:
    def __init__(self, program, path):
        self.process = subprocess.Popen([program, "--config", path, "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True)
        self.address = None
        for line in self.process.stdout:
            found = re.search(r"listening on http://(\S+)", line)
            if found:
                self.address = found.group(1)
                break
        assert self.address, "the gateway did not start"
        threading.Thread(target=lambda: [None for _ in self.process.stdout], daemon=True).start()

    def call(self, key, request_id, stream):
        """True when the whole answer came."""
        body = {"model": "gpt-4o", "stream": stream, "max_tokens": 50, "messages": [{"role": "user", "content": "Hello"}]}
        connection = http.client.HTTPConnection(self.address, timeout=10)
        try:
            connection.request("POST", "/v1/chat/completions", json.dumps(body),
                               {"authorization": "Bearer " + key, "content-type": "application/json", "x-request-id": request_id})
            response = connection.getresponse()
            whole = response.read()
            return response.status == 200 and (not stream or b"[DONE]" in whole)
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def admin(self, path):
        connection = http.client.HTTPConnection(self.address, timeout=10)
        connection.request("GET", "/admin/v1" + path, headers={"authorization": "Bearer " + ADMIN})
        response = connection.getresponse()
        answer = json.loads(response.read())
        assert response.status == 200, answer
        return answer

    def records(self):
        rows, after = [], ""
        while True:
            page = self.admin("/requests?limit=1000" + after)
            rows += page["data"]
            if not page["has_more"]:
                return rows
            after = "&after=" + page["next"]


def main():
    program = os.path.abspath(sys.argv[1])
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 200
    seed = int(os.environ.get("SEED") or random.randrange(1 << 30))
    print(f"seed {seed}")
    rng = random.Random(seed)
    home = tempfile.mkdtemp()
    minted = subprocess.run([program, "--mint-key", "test"], capture_output=True, text=True, check=True).stdout
    key = re.search(r"^key: (\S+)$", minted, re.M).group(1)
    path = os.path.join(home, "kancy.toml")
    with open(path, "w") as file:
        file.write(config(Vendor.start(), home, key))
    answered, asked, lock = set(), set(), threading.Lock()
    for number in range(rounds):
        gateway = Gateway(program, path)
        stop = threading.Event()

        def caller(which):
            count = 0
            while not stop.is_set():
                request_id = f"r{number}-{which}-{count}"
                with lock:
                    asked.add(request_id)
                if gateway.call(key, request_id, stream=(which + count) % 2 == 0):
                    with lock:
                        answered.add(request_id)
                count += 1

        callers = [threading.Thread(target=caller, args=(which,)) for which in range(CALLERS)]
        for thread in callers:
            thread.start()
        time.sleep(rng.uniform(0.02, 0.4))
        gateway.process.send_signal(signal.SIGKILL)
        stop.set()
        for thread in callers:
            thread.join()
        gateway.process.wait()

    gateway = Gateway(program, path)
    rows = gateway.records()
    spend = next(row for row in gateway.admin("/limits/state")["data"] if row["measure"] == "spend")
    slots = next(row for row in gateway.admin("/limits/state")["data"] if row["measure"] == "concurrency")
    total = gateway.admin("/usage")["data"]
    gateway.process.send_signal(signal.SIGTERM)
    assert gateway.process.wait(timeout=40) == 0
    of = {}
    for row in rows:
        of.setdefault(row["request_id"], []).append(row)
    lost = [i for i in answered if i not in of]
    doubled = [i for i, found in of.items() if len(found) > 1]
    wrong = [i for i in answered & set(of) if of[i][0]["outcome"] != "completed" or of[i][0]["cost_usd"] != "0.000137500"]
    strangers = [i for i in of if i not in asked]
    unknown = [row for row in rows if row["outcome"] == "unknown_after_crash"]
    free = [row["request_id"] for row in unknown if row["cost_usd"].strip("0.") == ""]
    running = [row["request_id"] for row in rows if row["outcome"] is None]
    booked = sum(int(row["cost_usd"].replace(".", "")) for row in rows)
    print(f"{rounds} kills, {len(asked)} asked, {len(answered)} answered, {len(rows)} records, {len(unknown)} unknown after a crash")
    bad = {"lost": lost, "doubled": doubled, "wrong": wrong, "strangers": strangers, "unknown at no cost": free, "still running": running}
    bad = {what: ids[:5] for what, ids in bad.items() if ids}
    if int(spend["used"].replace(".", "")) != booked:
        bad["spend counter"] = [spend["used"], booked]
    if slots["used"] or slots["reserved"]:
        bad["leaked slots"] = [slots]
    if sum(int(row["cost_usd"].replace(".", "")) for row in total) != booked:
        bad["usage report"] = total
    print(json.dumps(bad) if bad else "1 passed, 0 failed")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
