"""The OpenAI SDK for Python against the gateway. Run by stack.py."""

import json
import os
import unittest
import urllib.error
import urllib.request

import openai


def client(key="WIDE", **options):
    return openai.OpenAI(base_url=os.environ["KANCY_BASE_URL"], api_key=os.environ[f"KANCY_KEY_{key}"], max_retries=0, **options)


def ask(model="gpt-4o", key="WIDE", **options):
    return client(key).chat.completions.create(model=model, messages=[{"role": "user", "content": "Hello"}], **options)


TOOLS = [{"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}
         for name in ("weather", "time")]


class Sdk(unittest.TestCase):
    def test_chat(self):
        answer = ask(temperature=0.2)
        self.assertEqual(answer.choices[0].message.content, "Hello – from the stand-in ✓")
        self.assertEqual(answer.usage.total_tokens, 30)
        self.assertTrue(answer._request_id)

    def test_streaming_hides_the_usage_that_was_not_asked_for(self):
        chunks = list(ask(stream=True))
        text = "".join(c.choices[0].delta.content or "" for c in chunks)
        self.assertEqual(text.strip(), "Hello – from the stand-in ✓")
        self.assertFalse(any(not c.choices for c in chunks))
        self.assertEqual(chunks[-1].choices[0].finish_reason, "stop")

    def test_streaming_with_usage(self):
        chunks = list(ask(stream=True, stream_options={"include_usage": True}))
        self.assertEqual(chunks[-1].usage.total_tokens, 30)

    def test_tool_calls_in_a_loop(self):
        messages = [{"role": "user", "content": "Weather and time in Paris?"}]
        first = client().chat.completions.create(model="gpt-4o", messages=messages, tools=TOOLS)
        calls = first.choices[0].message.tool_calls
        self.assertEqual([c.function.name for c in calls], ["weather", "time"])
        messages.append(first.choices[0].message.model_dump(exclude_none=True))
        messages += [{"role": "tool", "tool_call_id": c.id, "content": "mild"} for c in calls]
        second = client().chat.completions.create(model="gpt-4o", messages=messages, tools=TOOLS)
        self.assertEqual(second.choices[0].finish_reason, "stop")

    def test_streamed_tool_calls(self):
        with client().chat.completions.stream(model="gpt-4o", messages=[{"role": "user", "content": "?"}], tools=TOOLS) as stream:
            final = stream.get_final_completion()
        self.assertEqual([json.loads(c.function.arguments) for c in final.choices[0].message.tool_calls], [{"city": "Paris"}] * 2)

    def test_embeddings(self):
        answer = client().embeddings.create(model="text-embedding-3-small", input=["a", "b"])
        self.assertEqual(answer.data[1].embedding, [0.25, -0.5, 1.0])

    def test_models_are_those_of_the_key(self):
        self.assertIn("gpt-4o", [m.id for m in client().models.list()])
        self.assertEqual([m.id for m in client("NARROW").models.list()], ["gpt-4o"])
        self.assertEqual(client().models.retrieve("gpt-4o").id, "gpt-4o")
        with self.assertRaises(openai.NotFoundError):
            client("NARROW").models.retrieve("unpriced")

    def refused(self, kind, code, status, call, origin="gateway"):
        with self.assertRaises(kind) as caught:
            call()
        error = caught.exception
        self.assertEqual((error.status_code, error.code, error.body["origin"]), (status, code, origin))
        self.assertEqual(error.body["request_id"], error.request_id)
        return error

    def test_what_the_caller_got_wrong_is_a_bad_request(self):
        bad = openai.BadRequestError
        self.refused(bad, "model_not_found", 400, lambda: ask("nope"))
        self.refused(bad, "missing_parameter", 400, lambda: client().post("/chat/completions", body={"model": "gpt-4o"}, cast_to=object))
        self.refused(bad, "invalid_parameter", 400, lambda: ask(max_tokens=-1))
        self.refused(bad, "model_not_found", 400, lambda: ask("gone"), "provider")
        self.refused(bad, "context_length_exceeded", 400, lambda: ask("too-long"), "provider")
        self.refused(bad, "content_policy_violation", 400, lambda: ask("unsafe"), "provider")
        self.refused(bad, "model_not_priced", 400, lambda: ask("unpriced", "CAPPED"))

    def test_a_key_that_does_not_open_is_an_authentication_error(self):
        auth = openai.AuthenticationError
        wrong = openai.OpenAI(base_url=os.environ["KANCY_BASE_URL"], api_key="sk-nothing", max_retries=0)
        self.refused(auth, "invalid_api_key", 401, wrong.models.list)
        self.refused(auth, "insufficient_permissions", 401, lambda: ask("unpriced", "NARROW"))

    def test_limits_are_rate_limit_errors_that_say_when_to_come_back(self):
        limit = openai.RateLimitError
        ask(key="RATED")
        error = self.refused(limit, "rate_limit_exceeded", 429, lambda: ask(key="RATED"))
        self.assertTrue(1 <= int(error.response.headers["retry-after"]) <= 60)
        self.assertEqual(error.body["limit"]["scope"], "workspace:rated")
        error = self.refused(limit, "spend_cap_exceeded", 429, lambda: ask(key="CAPPED"))
        self.assertEqual(error.response.headers["x-should-retry"], "false")
        self.refused(limit, "quota_exceeded", 429, lambda: ask(key="DAILY"))
        error = self.refused(limit, "provider_rate_limited", 429, lambda: ask("rate-limited"), "provider")
        self.assertEqual(error.response.headers["retry-after"], "7")

    def test_a_vendor_in_trouble_is_an_internal_server_error(self):
        server = openai.InternalServerError
        for model, code in (("broken", "provider_error"), ("overloaded", "provider_overloaded"), ("quota", "provider_quota_exhausted"),
                            ("bad-credential", "provider_auth_error")):
            error = self.refused(server, code, 500, lambda: ask(model), "provider")
            self.assertNotIn("sk-", str(error))

    def test_a_stream_that_breaks_is_an_error_and_not_an_end(self):
        for model in ("error-midway", "cut-midway"):
            with self.assertRaises(openai.APIError):
                list(ask(model, stream=True))

    def test_an_upload_that_is_refused_half_way_still_gets_its_answer(self):
        # urllib writes the whole body before it reads: a connection that is reset meanwhile would hide the answer.
        upload = urllib.request.Request(os.environ["KANCY_BASE_URL"] + "/chat/completions", b" " * (33 << 20), headers={
            "authorization": "Bearer " + os.environ["KANCY_KEY_WIDE"], "content-type": "application/json"})
        with self.assertRaises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(upload)
        self.assertEqual((caught.exception.code, json.load(caught.exception)["error"]["code"]), (400, "request_too_large"))

    def test_the_ledger_has_one_record_of_each_request(self):
        mark = {"extra_headers": {"x-request-id": "the-one-to-find"}}
        ask(**mark)
        asked = urllib.request.Request(
            os.environ["KANCY_BASE_URL"].removesuffix("/v1") + "/admin/v1/requests?request_id=the-one-to-find",
            headers={"authorization": "Bearer " + os.environ["KANCY_ADMIN"]})
        rows = json.load(urllib.request.urlopen(asked))["data"]
        self.assertEqual(len(rows), 1)
        self.assertEqual((rows[0]["outcome"], rows[0]["usage"]["cached_input_tokens"]), ("completed", 4))
        # (21 - 4) x 2.50 + 4 x 1.25 + 9 x 10.00 USD per million tokens
        self.assertEqual(rows[0]["cost_usd"], "0.000137500")


if __name__ == "__main__":
    unittest.main()
