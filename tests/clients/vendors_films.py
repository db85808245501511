"""Stand-ins for the four vendors of video, strict where the real ones are, and a receiver of webhooks.

A job is queued, runs, and is done at the third question. Films lie on a host of their own, which refuses credentials.
"""

import base64
import hashlib
import hmac
import itertools
import json
import time
from urllib.parse import parse_qs, urlsplit

from vendors_abroad import Stand, need

FILM = b"\x00\x00\x00\x18ftypisom" + bytes(range(256)) * 300


class Films(Stand):
    """What the vendors have in common."""

    jobs: dict
    numbers: itertools.count

    @classmethod
    def start(cls):
        cls.jobs, cls.numbers = {}, itertools.count(1)
        return super().start()

    def do_GET(self):
        try:
            self.asked(urlsplit(self.path))
        except Exception as why:  # a refusal
            self.send(400, self.error(str(why)))

    def do_DELETE(self):
        self.removed(urlsplit(self.path).path)

    def make(self, prefix=""):
        job = f"{prefix}{next(self.numbers)}"
        self.jobs[job] = 0
        return job

    def step(self, job):
        """0, 1, 2: queued, running, done."""
        need(job in self.jobs, "no such job")
        self.jobs[job] += 1
        return min(self.jobs[job] - 1, 2)

    def only(self, request, *fields):
        need(not set(request) - set(fields), f"unknown field {set(request) - set(fields)}")

    def film(self):
        """Whole or in part; for nobody with a credential."""
        if "authorization" in self.headers or "x-goog-api-key" in self.headers:
            return self.send(401, {"error": "a credential that is not for this host"})
        start, end, status = 0, len(FILM) - 1, 200
        if asked := self.headers.get("range"):
            first, last = asked.removeprefix("bytes=").split("-")
            start, end, status = int(first), int(last or end), 206
            if start > end:
                self.send_response(416)
                self.send_header("content-range", f"bytes */{len(FILM)}")
                self.send_header("content-length", "0")
                return self.end_headers()
        self.send_response(status)
        self.send_header("content-type", "video/mp4")
        self.send_header("accept-ranges", "bytes")
        self.send_header("content-length", str(end - start + 1))
        if status == 206:
            self.send_header("content-range", f"bytes {start}-{end}/{len(FILM)}")
        self.end_headers()
        self.wfile.write(FILM[start : end + 1])

    def move(self, to):
        self.send_response(302)
        self.send_header("location", to)
        self.send_header("content-length", "0")
        self.end_headers()

    @property
    def here(self):
        return f"http://127.0.0.1:{self.server.server_address[1]}"


class Cdn(Films):
    def asked(self, url):
        self.film()


class MiniMaxFilms(Films):
    """Answers 200 whatever happens; a film's link is good once."""

    links: set = set()

    def error(self, why):
        return {"base_resp": {"status_code": 2013, "status_msg": why}}

    def send(self, status, body):
        super().send(200 if status == 400 else status, body)

    def let_in(self):
        ok = self.headers.get("authorization") == "Bearer minimax-secret"
        return ok or self.send(200, {"base_resp": {"status_code": 1004, "status_msg": "login fail"}})

    def answer(self, request):
        need(self.path == "/v1/video_generation", "no such route")
        if not self.let_in():
            return
        self.only(request, "model", "prompt", "duration", "resolution", "first_frame_image", "aigc_watermark", "prompt_optimizer")
        need(request["model"] == "MiniMax-Hailuo-2.3", "unknown model")
        need(0 < len(request["prompt"]) <= 2000, "invalid prompt")
        need(request["duration"] in (6, 10) and request["resolution"] in ("768P", "1080P"), "invalid duration or resolution")
        need((request["duration"], request["resolution"]) != (10, "1080P"), "10 s are for 768P")
        self.send(200, {"task_id": self.make(), "base_resp": {"status_code": 0, "status_msg": "success"}})

    def asked(self, url):
        query = {name: value[0] for name, value in parse_qs(url.query).items()}
        ok = {"status_code": 0, "status_msg": "success"}
        if url.path == "/film.mp4":
            need(query["once"] in self.links, "the link has expired")
            self.links.discard(query["once"])
            return self.film()
        if not self.let_in():
            return
        if url.path == "/v1/files/retrieve":
            once = str(next(self.numbers))
            self.links.add(once)
            file = {"file_id": int(query["file_id"]), "bytes": len(FILM), "filename": "output.mp4", "purpose": "video_generation",
                    "download_url": f"{self.here}/film.mp4?once={once}"}
            return self.send(200, {"file": file, "base_resp": ok})
        need(url.path == "/v1/query/video_generation", "no such route")
        step = self.step(query["task_id"])
        told = {"task_id": query["task_id"], "status": ("Queueing", "Processing", "Success")[step], "file_id": "", "base_resp": ok}
        self.send(200, told | ({"file_id": "1768440", "video_width": 1366, "video_height": 768} if step == 2 else {}))


class KlingFilms(Films):
    cdn = ""

    def error(self, why):
        return {"code": 1201, "message": why, "request_id": "r"}

    def is_signed(self):
        head, claims, signature = self.headers.get("authorization", "").removeprefix("Bearer ").split(".")
        want = hmac.new(b"kling-secret", f"{head}.{claims}".encode(), hashlib.sha256).digest()
        told = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
        good = hmac.compare_digest(base64.urlsafe_b64encode(want).rstrip(b"=").decode(), signature)
        return good and told["iss"] == "ak_test" and told["nbf"] <= time.time() < told["exp"] <= time.time() + 1800

    def tell(self, data):
        self.send(200, {"code": 0, "message": "SUCCEED", "request_id": "r", "data": data})

    def answer(self, request):
        if not self.is_signed():
            return self.send(401, {"code": 1002, "message": "invalid authorization", "request_id": "r"})
        family = self.path.removeprefix("/v1/videos/")
        need(family in ("text2video", "image2video"), "no such route")
        self.only(request, "model_name", "prompt", "negative_prompt", "sound", "mode", "aspect_ratio", "duration", "image", "external_task_id")
        need(request["model_name"] == "kling-v3", "unknown model")
        need(request["duration"] in [str(n) for n in range(3, 16)], "duration must be a string from 3 to 15")
        need(request["mode"] in ("std", "pro", "4k") and request["sound"] in ("on", "off"), "invalid mode or sound")
        need(request.get("aspect_ratio", "16:9") in ("16:9", "9:16", "1:1"), "invalid aspect_ratio")
        need(("image" in request) == (family == "image2video"), "image and route differ")
        need(not request.get("image", "").startswith("data:"), "image must be base64 without a prefix")
        need(not ("image" in request and "aspect_ratio" in request), "the video follows the image")
        need(f"{family}/{request['external_task_id']}" not in self.jobs, "external_task_id must be unique")
        job = self.make(f"{family}/")
        self.tell({"task_id": job.split("/")[1], "task_info": {"external_task_id": request["external_task_id"]},
                   "task_status": "submitted", "created_at": 1722769557708, "updated_at": 1722769557708})

    def asked(self, url):
        if not self.is_signed():
            return self.send(401, {"code": 1004, "message": "expired", "request_id": "r"})
        job = url.path.removeprefix("/v1/videos/")
        if job not in self.jobs:
            return self.send(404, {"code": 1203, "message": "task not found", "request_id": "r"})
        step = self.step(job)
        told = {"task_id": job.split("/")[1], "task_status": ("submitted", "processing", "succeed")[step], "task_status_msg": ""}
        made = {"task_result": {"videos": [{"id": "v", "url": f"{self.cdn}/film.mp4", "duration": "6.1"}]}, "final_unit_deduction": "3.6"}
        self.tell(told | (made if step == 2 else {}))


class ArkFilms(Films):
    cdn = ""
    TASKS = "/api/v3/contents/generations/tasks"

    def error(self, why):
        return {"error": {"code": "InvalidParameter", "message": f"{why} Request id: 0217", "param": "", "type": "BadRequest"}}

    def let_in(self):
        ok = self.headers.get("authorization") == "Bearer ark-secret"
        return ok or self.send(401, {"error": {"code": "AuthenticationError", "message": "m", "param": "", "type": "Unauthorized"}})

    def answer(self, request):
        if not self.let_in():
            return
        need(self.path == self.TASKS, "no such route")
        self.only(request, "model", "content", "resolution", "ratio", "duration", "seed", "watermark", "generate_audio",
                  "execution_expires_after", "safety_identifier")
        need(request["model"] == "doubao-seedance-1-5-pro-251215", "unknown model")
        need(request["duration"] in range(4, 13) and type(request["duration"]) is int, "invalid duration")
        need(request["resolution"] in ("480p", "720p", "1080p"), "invalid resolution")
        need(request["ratio"] in ("16:9", "4:3", "1:1", "3:4", "9:16", "21:9", "adaptive"), "invalid ratio")
        need(3600 <= request["execution_expires_after"] <= 259200, "invalid execution_expires_after")
        text = request["content"][0]
        need(text["type"] == "text" and " --" not in f" {text['text']}", "commands in the text are read by this vendor")
        self.send(200, {"id": self.make("cgt-")})

    def task(self, job):
        step = self.step(job)
        told = {"id": job, "model": "doubao-seedance-1-5-pro-251215", "status": ("queued", "running", "succeeded")[step]}
        made = {"content": {"video_url": f"{self.cdn}/film.mp4", "last_frame_url": None}, "resolution": "720p", "ratio": "16:9", "duration": 6,
                "usage": {"completion_tokens": 130500, "total_tokens": 130500}}
        return told | (made if step == 2 else {})

    def asked(self, url):
        if not self.let_in():
            return
        if url.path == self.TASKS:
            query = parse_qs(url.query)
            need(1 <= int(query["page_size"][0]) <= 100, "invalid page_size")
            items = [self.task(job) for job in query["filter.task_ids"]]
            return self.send(200, {"total": len(items), "items": items})
        self.send(200, self.task(url.path.removeprefix(self.TASKS + "/")))

    def removed(self, path):
        job = path.removeprefix(self.TASKS + "/")
        if self.jobs.get(job, 0) == 2:
            return self.send(400, {"error": {"code": "OperationDenied.InvalidState", "message": "it runs", "param": "", "type": "Forbidden"}})
        self.jobs.pop(job, None)
        self.send(200, {})


class VeoFilms(Films):
    cdn = ""
    MODEL = "models/veo-3.1-generate-001"

    def error(self, why):
        return {"error": {"code": 400, "message": why, "status": "INVALID_ARGUMENT"}}

    def let_in(self):
        ok = self.headers.get("x-goog-api-key") == "gemini-secret"
        return ok or self.send(403, {"error": {"code": 403, "message": "unregistered callers", "status": "PERMISSION_DENIED"}})

    def answer(self, request):
        if not self.let_in():
            return
        need(self.path == f"/v1beta/{self.MODEL}:predictLongRunning", "no such model")
        self.only(request, "instances", "parameters")
        [instance] = request["instances"]
        self.only(instance, "prompt", "image", "lastFrame", "referenceImages")
        need("image" not in instance or set(instance["image"]) == {"bytesBase64Encoded", "mimeType"}, "invalid image")
        options = request["parameters"]
        self.only(options, "aspectRatio", "durationSeconds", "resolution", "negativePrompt", "personGeneration", "sampleCount")
        need(options["durationSeconds"] in (4, 6, 8) and options.get("aspectRatio", "16:9") in ("16:9", "9:16"), "invalid options")
        need(options["resolution"] == "720p" or options["durationSeconds"] == 8, "invalid duration for the resolution")
        self.send(200, {"name": self.make(f"{self.MODEL}/operations/")})

    def asked(self, url):
        if not self.let_in():
            return
        if url.path == "/v1beta/files/f1:download":
            return self.move(f"{self.here}/download/v1beta/files/f1:download?alt=media")
        if url.path == "/download/v1beta/files/f1:download":
            return self.move(f"{self.cdn}/film.mp4")
        name = url.path.removeprefix("/v1beta/")
        if name not in self.jobs:
            return self.send(404, {"error": {"code": 404, "message": "no such operation", "status": "NOT_FOUND"}})
        sample = {"video": {"uri": f"{self.here}/v1beta/files/f1:download?alt=media"}}
        made = {"done": True, "response": {"generateVideoResponse": {"generatedSamples": [sample]}}}
        self.send(200, {"name": name} | (made if self.step(name) == 2 else {}))


class Receiver(Films):
    """Takes webhooks, and tells what it got."""

    got: list = []

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        self.got.append({"path": self.path, "headers": {k.lower(): v for k, v in self.headers.items()}, "body": body})
        # The first attempt at each event fails, so that there is a second.
        first = sum(1 for told in self.got if (told["path"], told["headers"]["webhook-id"]) == (self.path, self.headers["webhook-id"])) == 1
        self.send(503 if first and self.path == "/retried" else 200, {})

    def asked(self, url):
        self.send(200, self.got)


def start():
    """The vendors' addresses by name, and the receiver's."""
    cdn = Cdn.start()
    KlingFilms.cdn = ArkFilms.cdn = VeoFilms.cdn = cdn
    vendors = {"minimax": MiniMaxFilms.start(), "kling": KlingFilms.start(), "ark": ArkFilms.start() + "/api/v3", "gemini": VeoFilms.start()}
    return vendors, Receiver.start()


def config(vendors, receiver, secrets):
    keys = {"kling": 'access_key = "ak_test"\nsecret_key = "kling-secret"'}
    lines = ["[jobs]\npoll_seconds = 1\nmax_poll_seconds = 1\n[delivery]\nschedule_seconds = [0, 1, 1]\n"]
    for kind, url in vendors.items():
        key = keys.get(kind, f'api_key = "{kind}-secret"')
        lines.append(f'[providers.{kind}-films]\nkind = "{kind}"\nbase_url = "{url}"\ncontent_hosts = ["127.0.0.1"]\n{key}\n')
    models = {"minimax-video": ("minimax", 'per_video = "0.28"'), "kling-video": ("kling", 'per_video_second = "0.084"'),
              "bytedance-video": ("ark", 'output = "2.40"'), "veo": ("gemini", 'per_video_second = "0.40"')}
    for model, (kind, price) in models.items():
        lines.append(f'[models."{model}"]\nprovider = "{kind}-films"\nprice = {{ {price} }}\n')
    for path in ("hook", "retried"):
        lines.append(f'[[webhooks]]\nworkspace = "wide"\nurl = "{receiver}/{path}"\nsecret = {json.dumps(secrets)}\nallow_private = true\n')
    return "\n".join(lines)
