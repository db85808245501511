"""Throw-away servers: started on free ports, stopped and wiped at the end. PostgreSQL runs as `postgres` where we are root."""

import atexit
import glob
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time

PATIENCE = 30


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def lasting_port():
    """One that no outgoing connection is given while nobody listens on it."""
    for port in random.sample(range(20_000, 32_000), 1_000):
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
                return port
            except OSError:
                pass
    raise RuntimeError("no port is free")


def wait_for(port):
    end = time.time() + PATIENCE
    while time.time() < end:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise RuntimeError(f"nothing listens on port {port}")


STARTED = []


@atexit.register
def stop_all():
    while STARTED:
        process, home, stop = STARTED.pop()
        process.send_signal(stop)
        process.wait()
        shutil.rmtree(home, ignore_errors=True)


def postgres():
    """The port of a new PostgreSQL server; its superuser is `kancy`, its empty database `postgres`."""
    bins = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"))
    initdb = bins[-1] if bins else shutil.which("initdb")
    if not initdb:
        raise SystemExit("PostgreSQL is not installed: run .ci/servers")
    folder = os.path.dirname(os.path.realpath(initdb))
    home = tempfile.mkdtemp(prefix="kancy-postgres-")
    as_postgres = []
    if os.getuid() == 0:
        shutil.chown(home, "postgres")
        as_postgres = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--"]
    quiet = {"cwd": home, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    data, port = os.path.join(home, "data"), free_port()
    subprocess.run([*as_postgres, initdb, "--username=kancy", "--auth=trust", "--no-sync", "-D", data], check=True, **quiet)
    options = ["-p", str(port), "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=200", "-c", "shared_buffers=32MB", "-k", home, "-D", data]
    STARTED.append((subprocess.Popen([*as_postgres, os.path.join(folder, "postgres"), *options], **quiet), home, signal.SIGQUIT))
    wait_for(port)
    query(port, "SELECT 1")
    return port


def postgres_url(port, database="postgres"):
    return f"postgres://kancy@127.0.0.1:{port}/{database}?sslmode=disable"


def query(port, sql, database="postgres"):
    """Runs a statement with psql, waiting for the server to be up; its rows as text."""
    psql = shutil.which("psql") or sorted(glob.glob("/usr/lib/postgresql/*/bin/psql"))[-1]
    end = time.time() + PATIENCE
    while True:
        done = subprocess.run([psql, "-h", "127.0.0.1", "-p", str(port), "-U", "kancy", "-d", database, "-Atqc", sql],
                              capture_output=True, text=True)
        if done.returncode == 0:
            return done.stdout.strip()
        if time.time() > end:
            raise RuntimeError(done.stderr)
        time.sleep(0.1)


def redis():
    """The port of a new Redis server."""
    program = shutil.which("redis-server")
    if not program:
        raise SystemExit("redis-server is not installed: run .ci/servers")
    home, port = tempfile.mkdtemp(prefix="kancy-redis-"), free_port()
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", home]
    STARTED.append((subprocess.Popen(command, stdout=subprocess.DEVNULL), home, signal.SIGKILL))
    wait_for(port)
    return port
