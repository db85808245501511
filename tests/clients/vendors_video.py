"""Stand-ins for two video vendors, Kling (which knows a task by our own id, too) and MiniMax (which does not), and a receiver of webhooks."""

import base64
import hashlib
import hmac
import json
import random
import threading
import time
import urllib.parse

from vendors_abroad import Refused, Stand, need

FILM = b"\0\0\0\x18ftypisom" + bytes(range(256)) * 16
OK = {"status_code": 0, "status_msg": "success"}


class Tasks:
    """What both vendors have made. Each runs for a moment; one in ten fails, and one create in twenty is refused."""

    def __init__(self, seed):
        self.random, self.lock, self.made, self.refused = random.Random(seed), threading.Lock(), [], []

    def make(self, prompt, seconds, own_id=None):
        """The new task; `None` when the vendor is busy."""
        with self.lock:
            if self.random.random() < 0.05:
                self.refused.append(prompt)
                return None
            need(own_id is None or all(task["own_id"] != own_id for task in self.made), "external_task_id is not unique")
            task = {"id": str(7_000_000_000 + len(self.made)), "own_id": own_id, "prompt": prompt, "seconds": seconds,
                    "fails": self.random.random() < 0.1, "done_at": time.monotonic() + self.random.uniform(0.2, 2)}
            self.made.append(task)
        # Somewhere in here it has been made and nobody has heard of it.
        time.sleep(self.random.uniform(0, 0.05))
        return task

    def find(self, name):
        with self.lock:
            return next((task for task in self.made if name in (task["id"], task["own_id"])), None)

    def state(self, task):
        """0 waiting, 1 running, 2 done, 3 failed."""
        left = task["done_at"] - time.monotonic()
        return 0 if left > 1 else 1 if left > 0 else 3 if task["fails"] else 2


class Vendor(Stand):
    tasks: Tasks

    @classmethod
    def over(cls, tasks):
        return type(cls.__name__, (cls,), {"tasks": tasks}).start()

    def do_GET(self):
        if self.path.startswith("/film/"):
            self.send_response(200)
            self.send_header("content-type", "video/mp4")
            self.send_header("content-length", str(len(FILM)))
            self.end_headers()
            return self.wfile.write(FILM)
        try:
            self.read(urllib.parse.urlsplit(self.path))
        except Refused as why:
            self.send(400, self.error(str(why)))

    def film(self, task):
        return f"http://{self.headers['host']}/film/{task['id']}.mp4"


class Kling(Vendor):
    PATH = "/v1/videos/text2video"
    FIELDS = {"model_name", "prompt", "duration", "external_task_id", "mode", "aspect_ratio", "negative_prompt", "sound", "watermark_info", "callback_url"}

    def error(self, why):
        return {"code": 1201, "message": why, "request_id": "r"}

    def is_signed(self):
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        parts = token.split(".")
        if scheme != "Bearer" or len(parts) != 3:
            return False
        mac = hmac.new(b"kling-secret", ".".join(parts[:2]).encode(), hashlib.sha256).digest()
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        fresh = claims["nbf"] <= time.time() < claims["exp"] and claims["iss"] == "ak_test"
        return fresh and hmac.compare_digest(base64.urlsafe_b64encode(mac).rstrip(b"="), parts[2].encode())

    def tell(self, data):
        self.send(200, {"code": 0, "message": "SUCCEED", "request_id": "r", "data": data})

    def answer(self, request):
        if not self.is_signed():
            return self.send(401, {"code": 1000, "message": "Authentication failed", "request_id": "r"})
        need(self.path == self.PATH, "no such route")
        need(not set(request) - self.FIELDS, f"unknown fields: {set(request) - self.FIELDS}")
        need(request["model_name"] == "kling-v3", "unknown model")
        need(request["duration"] in [str(n) for n in range(3, 16)], "duration is a string from 3 to 15")
        need(request["aspect_ratio"] in ("16:9", "9:16", "1:1"), "invalid aspect_ratio")
        need(0 < len(request["prompt"]) <= 2500, "invalid prompt")
        task = self.tasks.make(request["prompt"], int(request["duration"]), request["external_task_id"])
        if task is None:
            return self.send(429, {"code": 1303, "message": "parallel task over resource pack limit", "request_id": "r"})
        self.tell({"task_id": task["id"], "task_info": {"external_task_id": task["own_id"]}, "task_status": "submitted"})

    def read(self, url):
        if not self.is_signed():
            return self.send(401, {"code": 1000, "message": "Authentication failed", "request_id": "r"})
        task = self.tasks.find(url.path.removeprefix(self.PATH + "/"))
        if task is None:
            return self.send(404, {"code": 1203, "message": "task not found", "request_id": "r"})
        state = self.tasks.state(task)
        told = {"task_id": task["id"], "task_status": ("submitted", "processing", "succeed", "failed")[state],
                "task_status_msg": "model error" if state == 3 else "", "task_info": {"external_task_id": task["own_id"]}}
        if state == 2:
            told["task_result"] = {"videos": [{"id": "v", "url": self.film(task), "duration": f"{task['seconds']}.1"}]}
        self.tell(told)


class MiniMax(Vendor):
    """Answers 200 whatever happens."""

    FIELDS = {"model", "prompt", "duration", "resolution", "aigc_watermark", "callback_url"}

    def error(self, why):
        return {"base_resp": {"status_code": 2013, "status_msg": why}}

    def is_known(self):
        known = self.headers.get("authorization") == "Bearer minimax-secret"
        if not known:
            self.send(200, {"base_resp": {"status_code": 1004, "status_msg": "login fail"}})
        return known

    def answer(self, request):
        if not self.is_known():
            return
        need(self.path == "/v1/video_generation", "no such route")
        need(not set(request) - self.FIELDS, f"unknown fields: {set(request) - self.FIELDS}")
        need(request["model"] == "MiniMax-Hailuo-2.3", "unknown model")
        need(request["duration"] in (6, 10) and request["resolution"] in ("768P", "1080P"), "invalid duration or resolution")
        task = self.tasks.make(request["prompt"], request["duration"])
        if task is None:
            return self.send(200, {"task_id": "", "base_resp": {"status_code": 1002, "status_msg": "rate limit"}})
        self.send(200, {"task_id": task["id"], "base_resp": OK})

    def read(self, url):
        if not self.is_known():
            return
        asked = dict(urllib.parse.parse_qsl(url.query))
        if url.path == "/v1/files/retrieve":
            task = self.tasks.find(asked["file_id"].removeprefix("9"))
            return self.send(200, {"file": {"file_id": int(asked["file_id"]), "download_url": self.film(task)}, "base_resp": OK})
        need(url.path == "/v1/query/video_generation", "no such route")
        task = self.tasks.find(asked["task_id"])
        need(task is not None, "record not found")
        state = self.tasks.state(task)
        if state == 3:
            return self.send(200, {"task_id": task["id"], "status": "Fail", "base_resp": {"status_code": 1000, "status_msg": "unknown error"}})
        told = {"task_id": task["id"], "status": ("Queueing", "Processing", "Success")[state], "base_resp": OK}
        self.send(200, told | ({"file_id": "9" + task["id"], "video_width": 1366, "video_height": 768} if state == 2 else {}))


class Receiver(Stand):
    """Takes webhooks, but for one in five, and keeps each with its id."""

    SECRET = "whsec_" + base64.b64encode(b"the secret of the crash test 32!").decode()
    random, lock, told, forged = random.Random(7), threading.Lock(), [], []

    def answer(self, event):
        body = json.dumps(event, separators=(",", ":"), ensure_ascii=False)
        signed = ".".join((self.headers["webhook-id"], self.headers["webhook-timestamp"], self.body.decode()))
        mac = hmac.new(base64.b64decode(self.SECRET[6:]), signed.encode(), hashlib.sha256).digest()
        with self.lock:
            if self.headers["webhook-signature"] != "v1," + base64.b64encode(mac).decode():
                self.forged.append(body)
            self.told.append((self.headers["webhook-id"], event))
            takes = self.random.random() > 0.2
        self.send(200 if takes else 503, {})

    def do_POST(self):
        self.body = self.rfile.read(int(self.headers.get("content-length") or 0))
        self.answer(json.loads(self.body))
