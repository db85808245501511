"""The example job on all four vendors by the OpenAI SDK, from create to a downloaded file and a verified webhook. Run by stack.py."""

import base64
import hashlib
import hmac
import json
import os
import pathlib
import tempfile
import time
import unittest
import urllib.error
import urllib.request

import openai

# What every vendor makes.
FILM = b"\x00\x00\x00\x18ftypisom" + bytes(range(256)) * 300

COSTS = {"minimax-video": "0.280000000", "kling-video": "0.504000000", "bytedance-video": "0.313200000", "veo": "2.400000000"}
EXAMPLE = {"prompt": "A quiet city street at sunrise", "duration": 6, "aspect_ratio": "16:9"}


def client(key="WIDE", **options):
    return openai.OpenAI(base_url=os.environ["KANCY_BASE_URL"], api_key=os.environ[f"KANCY_KEY_{key}"], max_retries=0, **options)


def ask(path, body=None, key="WIDE", method=None, headers=None):
    """A plain request: (status, headers, bytes)."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"authorization": "Bearer " + os.environ[f"KANCY_KEY_{key}"], "content-type": "application/json"} | (headers or {})
    request = urllib.request.Request(os.environ["KANCY_BASE_URL"] + path, data, headers, method=method)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.headers, refused.read()


def until(check, seconds=40):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if (found := check()) is not None:
            return found
        time.sleep(0.1)
    raise AssertionError("it did not happen in time")


def received(path, job):
    with urllib.request.urlopen(os.environ["KANCY_HOOKS"] + "/received") as answer:
        told = json.load(answer)
    return [one for one in told if one["path"] == path and json.loads(one["body"])["data"].get("id") == job]


def verify(told, secrets):
    """By the standard alone: which of the secrets signed, each in its place."""
    headers, signed = told["headers"], []
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.{told['body']}".encode()
    for signature, secret in zip(headers["webhook-signature"].split(" "), secrets, strict=True):
        key = base64.b64decode(secret.removeprefix("whsec_"))
        want = "v1," + base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
        signed.append(hmac.compare_digest(want, signature))
    assert abs(time.time() - int(headers["webhook-timestamp"])) < 300
    return all(signed)


class Example(unittest.TestCase):
    def test_the_example_runs_on_every_vendor_from_create_to_file_and_webhook(self):
        made = {}
        for model in COSTS:
            status, headers, body = ask("/videos/generations", {"model": model, **EXAMPLE})
            job = json.loads(body)
            self.assertEqual((status, job["status"], job["prompt"], job["duration"]), (202, "queued", None, 6), job)
            self.assertEqual(headers["location"], f"/v1/videos/generations/{job['id']}")
            made[model] = job["id"]
        for model, job in made.items():
            with self.subTest(model=model), tempfile.TemporaryDirectory() as home:
                video = client().videos.poll(job, poll_interval_ms=200)
                self.assertEqual((video.status, video.progress, video.seconds, video.model), ("completed", 100, "6", model), video)
                path = pathlib.Path(home) / "film.mp4"
                client().videos.download_content(job).write_to_file(path)
                self.assertEqual(path.read_bytes(), FILM)
                status, headers, part = ask(f"/videos/{job}/content", headers={"range": "bytes=4-7"})
                self.assertEqual((status, part, headers["content-range"]), (206, b"ftyp", f"bytes 4-7/{len(FILM)}"))
                shown = json.loads(ask(f"/videos/generations/{job}")[2])
                self.assertEqual((shown["usage"]["cost"]["amount"], shown["usage"]["video_seconds"]), (COSTS[model], 6))
                self.assertEqual(shown["data"][0]["content_url"], f"/v1/videos/generations/{job}/content?index=0")
                record = next(r for r in json.loads(ask("/requests?limit=100")[2])["data"] if r["model"] == model)
                self.assertEqual((record["outcome"], record["cost_usd"], record["status"]), ("completed", COSTS[model], 202))
                secrets = json.loads(os.environ["KANCY_HOOK_SECRETS"])
                [told] = until(lambda job=job: received("/hook", job) or None)
                self.assertTrue(verify(told, secrets))
                event = json.loads(told["body"])
                self.assertEqual((event["type"], event["id"]), ("video.generation.completed", told["headers"]["webhook-id"]))
                self.assertEqual(event["data"]["status"], "completed")
                retried = until(lambda job=job: (lambda all: all if len(all) == 2 else None)(received("/retried", job)))
                self.assertEqual(len({one["headers"]["webhook-id"] for one in retried}), 1)
                self.assertTrue(all(verify(one, secrets) for one in retried))
                for hidden in ("127.0.0.1", "-secret", "sunrise"):
                    self.assertNotIn(hidden, json.dumps(shown) + told["body"])


class Sdk(unittest.TestCase):
    def test_create_and_poll_list_delete(self):
        video = client().videos.create_and_poll(model="kling-video", prompt="A street", seconds="4", size="720x1280", poll_interval_ms=200)
        self.assertEqual((video.status, video.seconds, video.size), ("completed", "4", "720x1280"))
        listed = next(v for v in client().videos.list(limit=2) if v.id == video.id)
        self.assertEqual(listed.object, "video")
        self.assertEqual(client().videos.delete(video.id).deleted, True)
        with self.assertRaises(openai.NotFoundError) as gone:
            client().videos.retrieve(video.id)
        self.assertEqual(gone.exception.code, "not_found")

    def test_a_picture_is_sent_along(self):
        picture = ("first.png", base64.b64decode("iVBORw0KGgo="), "image/png")
        for model in ("veo", "kling-video"):
            video = client().videos.create(model=model, prompt="It moves", seconds="4", input_reference=picture)
            self.assertEqual(client().videos.poll(video.id, poll_interval_ms=200).status, "completed")

    def test_every_video_of_a_long_list_is_seen_once(self):
        mine = [client().videos.create(model="bytedance-video", prompt="A street", seconds="4").id for _ in range(5)]
        seen = [video.id for video in client().videos.list(limit=2)]
        self.assertEqual([job for job in seen if job in mine], mine[::-1])
        self.assertEqual(len(seen), len(set(seen)))
        for job in mine:
            self.assertEqual(client().videos.poll(job, poll_interval_ms=200).status, "completed")

    def test_refusals(self):
        for options, param in (({"seconds": "7"}, "duration"), ({"size": "x"}, "size"), ({"seconds": "soon"}, "seconds")):
            with self.assertRaises(openai.BadRequestError) as refused:
                client().videos.create(**{"model": "veo", "prompt": "p"} | options)
            self.assertEqual((refused.exception.code, refused.exception.param), ("invalid_parameter", param))
        early = client().videos.create(model="veo", prompt="p", seconds="4")
        with self.assertRaises(openai.BadRequestError) as refused:
            client().videos.download_content(early.id)
        self.assertEqual(refused.exception.code, "video_not_ready")
        client().videos.poll(early.id, poll_interval_ms=200)

    def test_another_tenant_sees_nothing(self):
        job = client().videos.create(model="veo", prompt="p", seconds="4").id
        for path, method in ((f"/videos/{job}", "GET"), (f"/videos/{job}", "DELETE"), (f"/videos/{job}/content", "GET"),
                             (f"/videos/generations/{job}/cancel", "POST")):
            foreign, unknown = (ask(p, method=method, key="NARROW") for p in (path, path.replace(job, "vidgen_0")))
            bare = lambda answer: (answer[0], {k: v for k, v in json.loads(answer[2])["error"].items() if k != "request_id"})
            self.assertEqual(bare(foreign), bare(unknown))
            self.assertEqual(foreign[0], 404)
        client().videos.poll(job, poll_interval_ms=200)

    def test_a_job_that_waits_is_cancelled_where_the_vendor_can(self):
        job = json.loads(ask("/videos/generations", {"model": "bytedance-video", **EXAMPLE})[2])["id"]
        status, _, body = ask(f"/videos/generations/{job}/cancel", method="POST")
        self.assertEqual((status, json.loads(body)["status"]), (200, "cancelled"), body)
        self.assertEqual(client().videos.retrieve(job).status, "failed")
        [told] = until(lambda: received("/hook", job) or None)
        self.assertEqual(json.loads(told["body"])["type"], "video.generation.cancelled")


if __name__ == "__main__":
    unittest.main()
