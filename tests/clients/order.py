"""The order of the gateway's functions: those that a start and plain requests run, so that the linker puts them side by side.

    order.py                    builds the program without an order, runs it under valgrind and writes examples/gateway/order
    order.py --check GATEWAY    fails where the file is out of date or the linker did not follow it

To be made anew when the check fails.
"""

import concurrent.futures
import bisect
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import tempfile

from gateway import Gateway, minted
from vendor import Vendor

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
FILE = os.path.join(ROOT, "examples/gateway/order")
PROGRAM = os.path.join(os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target")), "release/examples/gateway")
SECTION = ".text.order"
HEAD = """\
# The functions that a start and plain requests run, in the order in which they are to lie in the gateway's program: else
# each page of 64 KB holds a few of them, and all are mapped. build.rs tells the linker; what it does not know stays behind.
# Hashes are left out, and a name may end before one. Made by tests/clients/order.py.
"""
CONFIG = """
[storage]
url = "{storage}"
[providers.openai]
kind = "openai"
base_url = "{vendor}/v1"
api_key = "sk-upstream-secret"
[models."gpt-4o"]
provider = "openai"
[[keys]]
key = "{key}"
name = "main"
workspace = "acme"
project = "site"
team = "web"
environment = "production"
"""
LIMITS = [("workspace:acme", "requests", 1_000_000, "minute"), ("team:acme/web", "tokens", 10**10, "minute"),
          ("project:acme/site", "spend", 1_000, "month"), ("key:main", "concurrency", 1_000, None)]


def name_of(symbol):
    """A symbol without its hashes, which every build, or every compiler, makes anew."""
    without = re.sub(r"17h[0-9a-f]{16}E.*$", "17h", re.sub(r"\.llvm\.\d+$", "", symbol))
    return re.sub(r"Cs[0-9A-Za-z]+_", "Cs*_", without) if without.startswith("_R") else without


def functions(program):
    """Where each function begins, how long it is and its name."""
    listed = subprocess.run(["nm", "-S", "-n", "--defined-only", program], capture_output=True, text=True, check=True).stdout
    fields = (line.split() for line in listed.splitlines())
    return [(int(f[0], 16), int(f[1], 16), name_of(f[3])) for f in fields if len(f) == 4 and f[2] in "tTwW"]


def with_variants(ran, known):
    """And those that take another's place on a processor that can do more than valgrind's."""
    plain = lambda name: re.sub(r"\d+", "", name.lower())
    wide = {plain(name) for name in ran if "avx" in name}
    return ran | {name for name in known if plain(name) in wide or "x86_sha" in name}


def ask(address, key, bodies):
    """Asks one after the other, on one connection."""
    connection = http.client.HTTPConnection(address, timeout=120)
    for body in bodies:
        connection.request("POST", "/v1/chat/completions", json.dumps(body), {"authorization": "Bearer " + key, "content-type": "application/json"})
        answer = connection.getresponse()
        whole = answer.read()
        assert answer.status == 200, whole
    connection.close()


TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}
FULL = {"user": "somebody", "temperature": 0.5, "n": 1, "stop": ["\n\n"], "seed": 7, "metadata": {"a": "b"}, "tools": [TOOL],
        "tool_choice": "auto", "parallel_tool_calls": True, "response_format": {"type": "json_object"}, "logprobs": False}


def run(program, storage, requests):
    """The addresses of the instructions that a start and some requests run, as callgrind notes them."""
    key = minted(program)
    home = tempfile.mkdtemp()
    path, notes = os.path.join(home, "kancy.toml"), os.path.join(home, "notes")
    with open(path, "w") as file:
        file.write(CONFIG.format(storage=storage.format(home=home), vendor=Vendor.start(), key=key))
        for scope, measure, amount, per in LIMITS:
            amount = f'"{amount}"' if measure == "spend" else amount
            file.write(f'[[limits]]\nscope = "{scope}"\nmeasure = "{measure}"\namount = {amount}\n' + (f'per = "{per}"\n' if per else ""))
    valgrind = ["valgrind", "--tool=callgrind", "--dump-instr=yes", f"--callgrind-out-file={notes}"]
    gateway = Gateway(program, path, under=valgrind)
    text = lambda length: [{"role": "user", "content": "Tell me of the \"sea\".\n" * (length // 20)}]
    plain = {"model": "gpt-4o", "max_tokens": 50, "messages": text(1_000)}
    bodies = [plain | {"stream": True}, plain | FULL, plain | {"messages": text(100_000)}] * 10
    with concurrent.futures.ThreadPoolExecutor(16) as callers:
        list(callers.map(lambda _: ask(gateway.address, key, bodies + [plain] * (requests // 16)), range(16)))
    gateway.process.send_signal(signal.SIGTERM)
    assert gateway.process.wait(timeout=120) == 0
    return addresses(notes, os.path.basename(program))


def addresses(notes, program):
    """What callgrind wrote down of `program`'s own code. Addresses are written whole or as steps from the last."""
    objects, current, last = {}, None, 0
    for line in open(notes):
        named = re.match(r"c?ob=\((\d+)\) (.*)", line)
        if named:
            objects[named[1]] = named[2].strip()
        if line.startswith("ob="):
            current = objects.get(re.match(r"ob=\((\d+)\)", line)[1], "")
        elif re.match(r"0x|[+*-]", line):
            step = line.split()[0]
            last = int(step, 16) if step.startswith("0x") else last if step == "*" else last + int(step, 0)
            if current and os.path.basename(current) == program:
                yield last


def save(names):
    with open(FILE, "w") as file:
        file.write(HEAD + "".join(name + "\n" for name in names))


def make(program):
    # Valgrind knows one section of code only.
    before = open(FILE).read() if os.path.exists(FILE) else ""
    save([])
    try:
        subprocess.run(["cargo", "build", "--release", "--example", "gateway"], cwd=ROOT, check=True)
        save(names_of_what_runs(program))
    except BaseException:
        open(FILE, "w").write(before)
        raise


def names_of_what_runs(program):
    """In the order in which they lie in a program without an order."""
    known = functions(program)
    starts = [start for start, _, _ in known]
    all_names = [name for _, _, name in known]
    names = {}
    # Without a database first, so that its functions lie behind all others; and until its ledger has let go of many records.
    for storage, requests in (("memory:", 20_000), ("sqlite:{home}/kancy.db", 1_000)):
        ran = {all_names[max(0, bisect.bisect_right(starts, address) - 1)] for address in run(program, storage, requests)}
        ran = with_variants(ran, all_names)
        names |= {name: None for name in all_names if name in ran}
    print(f"{len(names)} functions")
    return names


def check(program):
    wanted = {line.strip() for line in open(FILE) if not line.startswith("#")}
    listed = subprocess.run(["nm", "--format=sysv", "--defined-only", program], capture_output=True, text=True, check=True).stdout
    rows = ([field.strip() for field in line.split("|")] for line in listed.splitlines())
    sections = {name_of(row[0]): row[-1] for row in rows if len(row) == 7}
    there = wanted & sections.keys()
    assert len(there) > 0.8 * len(wanted), f"only {len(there)} of {len(wanted)} functions are in the program: run tests/clients/order.py again"
    # Those in assembly and the C library's have no sections of their own.
    followed = sum(sections[name] == SECTION for name in there)
    assert followed > 0.9 * len(there), f"the linker put only {followed} of {len(there)} functions in their place"
    print(f"order: {len(there)} of {len(wanted)} functions are in the program, {followed} in their place")


if __name__ == "__main__":
    if "--check" in sys.argv:
        check(sys.argv[2] if len(sys.argv) > 2 else PROGRAM)
    else:
        make(PROGRAM)
