"""A gateway that is started, called and looked into."""

import atexit
import http.client
import json
import re
import subprocess
import threading
import time

ADMIN = "admin-token-of-the-store-tests"


STARTED = []


@atexit.register
def stop_all():
    while STARTED:
        STARTED.pop().kill()


def minted(program):
    """A new key."""
    told = subprocess.run([program, "--mint-key", "test"], capture_output=True, text=True, check=True).stdout
    return re.search(r"^key: (\S+)$", told, re.M).group(1)


class Gateway:
    def __init__(self, program, path, under=()):
        command = [*under, program, "--config", path, "--listen", "127.0.0.1:0"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, restore_signals=False)
        STARTED.append(self.process)
        self.address = None
        for line in self.process.stdout:
            found = re.search(r"listening on http://(\S+)", line)
            if found:
                self.address = found.group(1)
                break
        assert self.address, "the gateway did not start"
        threading.Thread(target=lambda: [None for _ in self.process.stdout], daemon=True).start()

    def ask(self, method, path, bearer, body=None, headers=None):
        """Status and body; a status of `None` where the answer did not come whole."""
        connection = http.client.HTTPConnection(self.address, timeout=10)
        try:
            connection.request(method, path, body, {"authorization": "Bearer " + bearer, **(headers or {})})
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException):
            return None, b""
        finally:
            connection.close()

    def chat(self, key, request_id, stream=False):
        """Status and body; a status of `None` where the answer did not come whole."""
        body = {"model": "gpt-4o", "stream": stream, "max_tokens": 50, "messages": [{"role": "user", "content": "Hello"}]}
        headers = {"content-type": "application/json", "x-request-id": request_id}
        status, whole = self.ask("POST", "/v1/chat/completions", key, json.dumps(body), headers)
        return (None if status == 200 and stream and b"[DONE]" not in whole else status), whole

    def admin(self, path):
        end = time.monotonic() + 15
        while True:
            status, body = self.ask("GET", "/admin/v1" + path, ADMIN)
            if status == 200:
                return json.loads(body)
            # A loaded machine is slower than a store may be.
            assert b"unavailable" in body and time.monotonic() < end, body
            time.sleep(0.3)

    def records(self):
        rows, after = [], ""
        while True:
            page = self.admin("/requests?limit=1000" + after)
            rows += page["data"]
            if not page["has_more"]:
                return rows
            after = "&after=" + page["next"]
