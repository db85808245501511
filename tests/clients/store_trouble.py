"""Stores that refuse, hang and flap, and a disk that is full: what callers see meanwhile, and that all is well again by
itself.

    store_trouble.py GATEWAY

Starts PostgreSQL and Redis, and a gateway for each trouble, which reaches its stores through proxies that misbehave at a
word. The troubles run side by side; what fails so is tried once more alone.
"""

import concurrent.futures
import json
import os
import resource
import signal
import socket
import sys
import tempfile
import threading
import time

import gateway
import servers
from gateway import ADMIN, Gateway, minted
from vendor import Vendor

CACHED = 4  # key_cache_seconds
SLACK = 0.4  # what a loaded machine may add to a tenth of a second
WELL = (200, None)
WORKSPACES = {
    "closed": ("requests", 1000, "day", ""),
    "open": ("requests", 1000, "day", 'on_store_failure = "open"'),
    "spend": ("spend", '"1000"', "day", 'on_store_failure = "open"'),
    "total": ("requests", 1000, "total", 'on_store_failure = "open"'),
}


class Proxy:
    """A TCP proxy to a port of this machine. `mode`: pass, refuse (nobody listens), hang (all stands still)."""

    def __init__(self, target):
        self.target, self.mode, self.pairs = target, "pass", []
        self.moving = threading.Event()
        self.moving.set()
        self.listen(servers.lasting_listener())
        self.port = self.listener.getsockname()[1]

    def listen(self, listener):
        self.listener = listener
        threading.Thread(target=self.accept, args=(listener,), daemon=True).start()

    def set(self, mode):
        before, self.mode = self.mode, mode
        if mode == "hang":
            self.moving.clear()
            return
        if mode == "refuse":
            # A listener that another thread accepts on is only closed when that call returns.
            self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()
            self.drop()
        elif before == "refuse":
            # A child that another thread begins holds the old one open until it runs its program.
            self.listen(servers.listener(self.port, patience=5))
        self.moving.set()

    def drop(self):
        pairs, self.pairs = self.pairs, []
        for end in (end for pair in pairs for end in pair):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            end.close()

    def accept(self, listener):
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self.connect, args=(near,), daemon=True).start()

    def connect(self, near):
        self.moving.wait()
        try:
            far = socket.create_connection(("127.0.0.1", self.target), 5)
        except OSError:
            near.close()
            return
        far.settimeout(None)
        self.pairs.append((near, far))
        for source, sink in ((near, far), (far, near)):
            threading.Thread(target=self.pump, args=(source, sink), daemon=True).start()

    def pump(self, source, sink):
        try:
            while data := source.recv(65536):
                self.moving.wait()
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            for end in (source, sink):
                end.close()


class World:
    """A gateway, its proxies, its vendor and its callers' keys."""

    def __init__(self, program, name, postgres=None, redis=None, number=0):
        self.name, self.calls, self.waiting, self.asked, self.turned_away = name, 0, False, [], set()
        self.gate = threading.Event()  # the vendor answers while it is set
        self.gate.set()
        self.database, self.redis = postgres and Proxy(postgres), redis and Proxy(redis)
        self.home = tempfile.mkdtemp()
        storage = f'url = "sqlite:{self.home}/kancy.db"'
        if postgres:
            servers.query(postgres, f"CREATE DATABASE {name}")
            storage = f'url = "{servers.postgres_url(self.database.port, name)}"'
        if redis:
            storage += f'\nquota = "redis://127.0.0.1:{self.redis.port}/{number}"'
        self.keys = {workspace: minted(program) for workspace in (*WORKSPACES, "late", "stranger")}
        path = os.path.join(self.home, "kancy.toml")
        with open(path, "w") as file:
            file.write(self.config(storage))
        self.gateway = Gateway(program, path)

    def vendor(self):
        world = self

        class Counted(Vendor):
            def do_POST(self):
                world.calls += 1
                world.waiting = not world.gate.is_set()
                world.gate.wait()
                super().do_POST()

        return Counted.start()

    def config(self, storage):
        lines = [f"""
[storage]
{storage}
[gateway]
key_cache_seconds = {CACHED}
[admin]
token = "{ADMIN}"
[providers.openai]
kind = "openai"
base_url = "{self.vendor()}/v1"
api_key = "sk-upstream-secret"
"""]
        for workspace, key in self.keys.items():
            if workspace != "stranger":
                lines.append(f'[[keys]]\nkey = "{key}"\nworkspace = "{workspace}"\nproject = "site"\n')
        for workspace, (measure, amount, per, policy) in WORKSPACES.items():
            what = f'measure = "{measure}"\namount = {amount}\nper = "{per}"\n{policy}\n'
            lines.append(f'[[limits]]\nscope = "workspace:{workspace}"\n{what}')
        return "\n".join(lines)

    def chat(self, workspace):
        """The status and an error's code, and how long they took."""
        request_id = f"{workspace}-{len(self.asked)}"
        self.asked.append(request_id)
        answer = timed(self.gateway.chat, self.keys[workspace], request_id)
        if answer[0][1] in ("auth_unavailable", "invalid_api_key"):
            self.turned_away.add(request_id)
        return answer

    def models(self, workspace):
        return timed(self.gateway.ask, "GET", "/v1/models", self.keys[workspace])

    def expect(self, answer, wanted, what):
        got, took = answer
        assert got == wanted, f"{self.name}: {what}: {got}, not {wanted}"
        return took

    def until_well(self, what, ask, workspace):
        end = time.monotonic() + 12
        while (answer := ask(workspace)[0]) != WELL:
            assert time.monotonic() < end, f"{self.name}: {what}: {workspace} still {answer}"
            time.sleep(0.2)

    def greet(self):
        self.greeted = time.monotonic()
        for workspace in WORKSPACES:
            self.until_well("before the trouble", self.chat, workspace)

    def quick(self, times, what):
        """In the middle, so that one stumble of a loaded machine does not count."""
        assert sorted(times)[len(times) // 2] < 0.1 + SLACK, f"{self.name}: {what}: {sorted(times)}"

    def check_records(self):
        """Everything that authentication let through has one record, and what was answered is in it."""
        end = time.monotonic() + 10
        while True:
            found = [row["request_id"] for row in self.gateway.records()]
            lost = set(self.asked) - self.turned_away - set(found)
            if not lost or time.monotonic() > end:
                break
            time.sleep(0.2)
        assert not lost, f"{self.name}: no record of {sorted(lost)[:5]}"
        assert len(set(found)) == len(found), f"{self.name}: doubled records"

    def stop(self):
        self.gateway.process.terminate()
        assert self.gateway.process.wait(timeout=40) == 0


def timed(ask, *args):
    start = time.monotonic()
    status, body = ask(*args)
    code = None if status == 200 else json.loads(body or b"{}").get("error", {}).get("code")
    return (status, code), time.monotonic() - start


def flapping(proxy, stop):
    while not stop.is_set():
        for mode in ("hang", "refuse"):
            proxy.set(mode)
            time.sleep(0.15)
        proxy.set("pass")


def counters_are_away(world, trouble):
    """Redis is in trouble: limits go by their policy, within a tenth of a second once the breaker is open."""
    world.greet()
    stop, flap = threading.Event(), None
    if trouble == "flap":
        flap = threading.Thread(target=flapping, args=(world.redis, stop))
        flap.start()
    else:
        world.redis.set(trouble)
    wanted = {workspace: WELL if workspace == "open" else (500, "quota_unavailable") for workspace in WORKSPACES}
    times = []
    for number in range(5):
        for workspace in WORKSPACES:
            answer = world.chat(workspace)
            if trouble != "flap":
                times.append(world.expect(answer, wanted[workspace], f"{trouble}, {workspace}"))
            else:  # in the moments between it may be counted
                times.append(answer[1])
                assert answer[0] in (WELL, wanted[workspace]), f"{world.name}: {workspace}: {answer[0]}"
    assert max(times) < 2, f"{world.name}: {trouble}: {sorted(times)}"
    world.quick(times[8:], f"{trouble}, breaker open")
    if flap:
        stop.set()
        flap.join()
    world.redis.set("pass")
    for workspace in WORKSPACES:
        world.until_well(f"after {trouble}", world.chat, workspace)
    world.check_records()
    # What was admitted meanwhile has been counted.
    answered = sum(1 for row in world.gateway.records() if (row["workspace"], row["outcome"]) == ("open", "completed"))
    rows = world.gateway.admin("/limits/state")["data"]
    used = next(row["used"] for row in rows if row["scope"] == "workspace:open")
    assert used == answered, f"{world.name}: after {trouble}: {used} counted of {answered}"


def during_an_answer(world, begin, trouble):
    """Begins the trouble while a vendor is at work; its answer goes out all the same. Returns when that was."""
    world.gate.clear()
    end = time.monotonic() + 12
    with concurrent.futures.ThreadPoolExecutor() as pool:
        midway = pool.submit(world.chat, "closed")
        while not world.waiting:
            if midway.done():  # refused by a loaded machine's slowness
                assert time.monotonic() < end, f"{world.name}: before {trouble}: still {midway.result()}"
                midway = pool.submit(world.chat, "closed")
            time.sleep(0.01)
        begin()
        since = time.monotonic()
        world.gate.set()
        took = world.expect(midway.result(), WELL, f"{trouble}: an answer that was on its way")
        assert took < 4, f"{world.name}: {trouble}: its end took {took} s"
    return since


def disk_is_full(world, trouble):
    """No file can be written: nothing is sent to a vendor that is not on record, and nothing is forgotten."""
    world.greet()
    pid = world.gateway.process.pid
    limit = lambda bytes: resource.prlimit(pid, resource.RLIMIT_FSIZE, (bytes, resource.RLIM_INFINITY))
    during_an_answer(world, lambda: limit(0), trouble)
    calls = world.calls
    for workspace in WORKSPACES:
        took = world.expect(world.chat(workspace), (500, "ledger_unavailable"), f"{trouble}: {workspace}")
        assert took < 2, f"{world.name}: a refusal took {took} s"
    assert world.calls == calls, f"{world.name}: a vendor was called off the record"
    limit(resource.RLIM_INFINITY)
    for workspace in WORKSPACES:
        world.until_well(f"after {trouble}", world.chat, workspace)
    world.check_records()


def database_is_away(world, trouble):
    """PostgreSQL is in trouble: keys stay known for a while, and nothing is sent to a vendor that is not on record."""
    world.greet()
    since = during_an_answer(world, lambda: world.database.set(trouble), trouble)
    calls = world.calls
    # On a slow machine Redis may not answer in its tenth of a second, and the key may have been forgotten by now.
    refusals = ["ledger_unavailable", "quota_unavailable"] if world.redis else ["quota_unavailable"]
    for workspace, codes in (("closed", refusals), ("open", ["ledger_unavailable"])):
        (status, code), took = world.chat(workspace)
        if time.monotonic() - world.greeted < CACHED:
            what = f"{world.name}: {trouble}: a request of a known key, limits {workspace}"
            assert status == 500 and code in codes, f"{what}: {status}, {code}"
            assert took < 4, f"{world.name}: {trouble}: a refusal took {took} s"
    for stranger in ("late", "stranger"):
        for _ in range(4):
            world.expect(world.models(stranger), (500, "auth_unavailable"), f"{trouble}: a key that was never seen")
    times = [world.expect(world.models("late"), (500, "auth_unavailable"), f"{trouble}: such a key") for _ in range(5)]
    world.quick(times, f"{trouble}, breaker open")
    time.sleep(max(0, since + CACHED + 0.2 - time.monotonic()))
    world.expect(world.models("open"), (500, "auth_unavailable"), f"{trouble}: a key that was seen too long ago")
    assert world.calls == calls, f"{world.name}: {trouble}: a vendor was called off the record"
    world.database.set("pass")
    world.until_well(f"after {trouble}", world.models, "late")
    for workspace in WORKSPACES:
        world.until_well(f"after {trouble}", world.chat, workspace)
    world.expect(world.models("stranger"), (401, "invalid_api_key"), f"after {trouble}: a stranger")
    world.check_records()


def main():
    program = os.path.abspath(sys.argv[1])
    # Inherited by the gateways: a file that must not grow is an error, not the end.
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    postgres, redis = servers.postgres(), servers.redis()
    troubles = [(counters_are_away, "refuse", redis), (counters_are_away, "hang", redis), (counters_are_away, "flap", redis),
                (database_is_away, "refuse", redis), (database_is_away, "hang", redis),
                (database_is_away, "hang", None), (disk_is_full, "full", None)]

    def run(number, attempt=0):
        trouble, mode, quota = troubles[number]
        database = None if trouble is disk_is_full else postgres
        start, number = time.monotonic(), number + attempt * len(troubles)
        world = World(program, f"{trouble.__name__}_{mode}_{number}", database, quota, number)
        trouble(world, mode)
        world.stop()
        print(f"{world.name}: {time.monotonic() - start:.1f} s")

    failed = []
    with concurrent.futures.ThreadPoolExecutor(len(troubles)) as pool:
        for number, done in enumerate([pool.submit(run, number) for number in range(len(troubles))]):
            if error := done.exception():
                failed.append(number)
                print(f"{troubles[number][0].__name__}, {troubles[number][1]}: {error!r}")
    # What is promised within a tenth of a second is no promise on a machine that does seven of these at once.
    for number in list(failed):
        try:
            run(number, attempt=1)
            failed.remove(number)
        except Exception as error:
            print(f"{troubles[number][0].__name__}, {troubles[number][1]}, alone: {error!r}")
    failed = len(failed)
    print(f"{len(troubles) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    gateway.stop_all()
    servers.stop_all()
    # Threads that still hold a connection must not keep the process.
    os._exit(code)
