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


def ports():
    """Some that no outgoing connection is given, in no order."""
    return random.sample(range(20_000, 32_000), 1_000)


def listener(port, patience=0):
    """A socket that listens, after `patience` seconds at most in which the port is still held."""
    end = time.monotonic() + patience
    while True:
        found = socket.socket()
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind(("127.0.0.1", port))
            found.listen(64)
            return found
        except OSError:
            found.close()
            if time.monotonic() > end:
                raise
            time.sleep(0.02)


def lasting_listener():
    """A socket that listens on a port which stays ours while nobody listens on it."""
    for port in ports():
        try:
            return listener(port)
        except OSError:
            pass
    raise RuntimeError("no port is free")


def listens(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


def started(launch, home, stop):
    """The port of the server that `launch` starts; one whose port was taken goes at once, and another is started."""
    for port in ports()[:10]:
        if listens(port):
            continue
        process, end = launch(port), time.monotonic() + PATIENCE
        while process.poll() is None and time.monotonic() < end:
            if listens(port):
                STARTED.append((process, home, stop))
                return port
            time.sleep(0.02)
        process.kill()
        process.wait()
    raise RuntimeError("no server came up")


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
    data = os.path.join(home, "data")
    subprocess.run([*as_postgres, initdb, "--username=kancy", "--auth=trust", "--no-sync", "-D", data], check=True, **quiet)
    options = ["-c", "listen_addresses=127.0.0.1", "-c", "max_connections=200", "-c", "shared_buffers=32MB", "-k", home, "-D", data]
    command = [*as_postgres, os.path.join(folder, "postgres"), *options]
    port = started(lambda port: subprocess.Popen([*command, "-p", str(port)], **quiet), home, signal.SIGQUIT)
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
    home = tempfile.mkdtemp(prefix="kancy-redis-")
    command = [program, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", home]
    launch = lambda port: subprocess.Popen([*command, "--port", str(port)], stdout=subprocess.DEVNULL)
    return started(launch, home, signal.SIGKILL)
