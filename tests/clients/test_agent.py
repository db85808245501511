"""One agent loop, unchanged, on three vendors: two parallel tools, three turns, streamed and whole. Run by stack.py."""

import json
import os
import unittest

import openai

TOOLS = [{"type": "function", "function": {"name": name, "description": f"The {name} of a city", "strict": True, "parameters": {
    "$schema": "http://json-schema.org/draft-07/schema#", "type": "object", "additionalProperties": False,
    "properties": {"city": {"type": "string", "description": "Its name"}, "unit": {"type": ["string", "null"], "enum": ["C", "F", None]}},
    "required": ["city"]}}} for name in ("weather", "time")]


def client():
    return openai.OpenAI(base_url=os.environ["KANCY_BASE_URL"], api_key=os.environ["KANCY_KEY_WIDE"], max_retries=0)


def turn(model, messages, streamed):
    options = dict(model=model, messages=messages, tools=TOOLS, temperature=0.2, max_tokens=500)
    if not streamed:
        answer = client().chat.completions.create(**options)
        return answer.choices[0], answer.usage
    with client().chat.completions.stream(stream_options={"include_usage": True}, **options) as stream:
        answer = stream.get_final_completion()
    return answer.choices[0], answer.usage


class Agent(unittest.TestCase):
    def loop(self, model, streamed):
        messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Weather and time in Paris and Oslo?"}]
        calls, turns = [], 0
        while True:
            turns += 1
            choice, usage = turn(model, messages, streamed)
            self.assertEqual(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens)
            if not choice.message.tool_calls:
                return choice, calls, turns
            self.assertEqual(choice.finish_reason, "tool_calls")
            messages.append(choice.message.model_dump(exclude_none=True, exclude={"parsed"}))
            for call in choice.message.tool_calls:
                calls.append((call.function.name, json.loads(call.function.arguments)["city"]))
                messages.append({"role": "tool", "tool_call_id": call.id, "content": "mild"})

    def test_the_same_loop_runs_on_every_vendor(self):
        for model in ("gpt-4o", "claude-3-opus", "gemini-1.5-pro"):
            for streamed in (False, True):
                with self.subTest(model=model, streamed=streamed):
                    choice, calls, turns = self.loop(model, streamed)
                    self.assertEqual(calls[:2], [("weather", "Paris"), ("time", "Oslo" if model != "gpt-4o" else "Paris")])
                    self.assertEqual(choice.finish_reason, "stop")
                    self.assertTrue(choice.message.content.strip().endswith("✓"))
                    self.assertEqual(turns, 2 if model == "gpt-4o" else 3)

    def test_usage_is_the_vendors_own_sum(self):
        for model, prompt, cached in (("claude-3-opus", 50, 8), ("gemini-1.5-pro", 50, 10)):
            answer = client().chat.completions.create(model=model, messages=[{"role": "user", "content": "Hello"}])
            self.assertEqual((answer.usage.prompt_tokens, answer.usage.prompt_tokens_details.cached_tokens), (prompt, cached))

    def test_what_cannot_be_is_refused_before_the_vendor_is_called(self):
        orphan = [{"role": "user", "content": "?"}, {"role": "tool", "tool_call_id": "call_1", "content": "mild"}]
        for model in ("claude-3-opus", "gemini-1.5-pro"):
            for messages in (orphan, []):
                with self.assertRaises(openai.BadRequestError) as caught:
                    client().chat.completions.create(model=model, messages=messages)
                self.assertEqual(caught.exception.body["origin"], "gateway")
                self.assertIn("messages", caught.exception.body["param"])


if __name__ == "__main__":
    unittest.main()
