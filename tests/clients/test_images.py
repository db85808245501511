"""Pictures of four vendors by the OpenAI SDK, and what is on record of them. Run by stack.py."""

import base64
import io
import unittest

import openai

from test_voice import client, last_record
from vendors_image import JPEG, PICTURE

MODELS = {"openai-image": PICTURE, "google-image": PICTURE, "minimax-image": JPEG, "bytedance-image": JPEG}
PROMPT = "A clean enterprise API dashboard"


def make(model, **options):
    return client().images.generate(**{"model": model, "prompt": PROMPT} | options)


def picture(name="a.png", content=PICTURE):
    return (name, io.BytesIO(content))


class Generate(unittest.TestCase):
    def test_the_products_example_is_a_picture_of_every_vendor(self):
        for model in MODELS:
            with self.subTest(model=model):
                answer = make(model, size="1536x1024")
                self.assertEqual(len(answer.data), 1)
                self.assertTrue(answer.data[0].b64_json or answer.data[0].url)
                record = last_record()
                self.assertEqual((record["model"], record["usage"]["images"], record["outcome"], record["estimated"]), (model, 1, "completed", False))
                self.assertGreater(float(record["cost_usd"]), 0)

    def test_a_picture_comes_inline_and_as_a_url_whatever_the_vendor_gives(self):
        for model, drawn in MODELS.items():
            with self.subTest(model=model):
                inline = make(model, response_format="b64_json").data[0]
                self.assertEqual((base64.b64decode(inline.b64_json), inline.url), (drawn, None))
                link = make(model, response_format="url").data[0]
                self.assertIsNone(link.b64_json)
                if link.url.startswith("data:"):
                    self.assertEqual(base64.b64decode(link.url.split(",", 1)[1]), drawn)
                else:
                    self.assertRegex(link.url, "^https?://")

    def test_a_url_of_a_named_host_is_fetched_where_the_picture_is_wanted(self):
        answer = make("minimax-live", response_format="b64_json", n=2)
        self.assertEqual([base64.b64decode(one.b64_json) for one in answer.data], [JPEG, JPEG])

    def test_several_at_once_are_billed_by_the_picture(self):
        for model in MODELS:
            with self.subTest(model=model):
                self.assertEqual(len(make(model, n=4, response_format="b64_json").data), 4)
                self.assertEqual(last_record()["usage"]["images"], 4)
        for model, most in (("openai-image", 10), ("google-image", 10), ("minimax-image", 9), ("bytedance-image", 10)):
            with self.assertRaises(openai.BadRequestError) as raised:
                make(model, n=most + 1)
            self.assertEqual((raised.exception.param, str(most) in str(raised.exception)), ("n", True))

    def test_what_a_vendor_took_out_is_told_and_not_billed(self):
        for model in ("minimax-image", "bytedance-image"):
            with self.subTest(model=model):
                answer = make(model, n=3, prompt="sometimes")
                self.assertEqual((len(answer.data), len(answer.warnings), last_record()["usage"]["images"]), (2, 1, 2))

    def test_options_are_honoured_or_told(self):
        looks = {"quality": "high", "background": "transparent", "output_format": "webp"}
        answer = make("openai-image", size="1024x1536", **looks)
        self.assertEqual((answer.quality, answer.background, answer.output_format, answer.size), ("high", "transparent", "webp", "1024x1536"))
        self.assertFalse(hasattr(answer, "warnings"))
        answer = make("openai-image", size="1000x1000", extra_body={"seed": 7, "negative_prompt": "text"})
        self.assertEqual((answer.size, len(answer.warnings)), ("992x992", 3))
        for model in ("google-image", "minimax-image", "bytedance-image"):
            with self.subTest(model=model):
                raw = client().images.with_raw_response.generate(model=model, prompt=PROMPT, **looks)
                told = raw.parse().warnings
                self.assertTrue(all(any(f'"{name}"' in one for one in told) for name in looks), told)
                self.assertTrue(set(looks) <= set(raw.headers["x-kancy-dropped"].split(",")))
        answer = make("bytedance-image", size="1536x1024")
        self.assertTrue(any("2496x1664" in one for one in answer.warnings), answer.warnings)

    def test_dall_e_gives_urls_and_is_billed_by_size_and_quality(self):
        for options, cost in (({}, "0.040000000"), ({"quality": "hd"}, "0.080000000"), ({"quality": "hd", "size": "1024x1536"}, "0.120000000")):
            answer = make("dall-e-3", **options)
            self.assertEqual(answer.data[0].revised_prompt, "A cat, revised")
            self.assertEqual(last_record()["cost_usd"], cost)
        self.assertEqual(base64.b64decode(make("dall-e-3", response_format="b64_json").data[0].b64_json), PICTURE)

    def test_partial_pictures_are_streamed(self):
        kinds, last = [], None
        for event in make("openai-image", stream=True, partial_images=2):
            kinds.append(event.type)
            last = event
        self.assertEqual(kinds, ["image_generation.partial_image"] * 2 + ["image_generation.completed"])
        self.assertEqual((base64.b64decode(last.b64_json), last.usage.output_tokens), (PICTURE, 272))
        record = last_record()
        self.assertEqual((record["usage"]["images"], record["usage"]["output_tokens"], record["streamed"]), (1, 272, True))
        with self.assertRaises(openai.BadRequestError) as raised:
            make("google-image", stream=True)
        self.assertEqual(raised.exception.param, "stream")

    def test_a_refusal_is_one_whatever_the_vendor_calls_it(self):
        for model in MODELS:
            with self.subTest(model=model), self.assertRaises(openai.BadRequestError) as raised:
                make(model, prompt="a weapon")
            self.assertEqual((raised.exception.code, raised.exception.body["origin"]), ("content_policy_violation", "provider"))
            self.assertEqual((last_record()["usage"]["images"], last_record()["cost_usd"]), (0, "0.000000000"))

    def test_what_cannot_be_drawn_is_refused_by_name(self):
        for model in MODELS:
            for options, param in (({"size": "huge"}, "size"), ({"n": 0}, "n"), ({"prompt": ""}, "prompt")):
                with self.subTest(model=model, param=param), self.assertRaises(openai.BadRequestError) as raised:
                    make(model, **options)
                self.assertEqual((raised.exception.param, raised.exception.body["origin"]), (param, "gateway"))
        for model, most in (("openai-image", 32_000), ("minimax-image", 1_500)):
            with self.assertRaises(openai.BadRequestError) as raised:
                make(model, prompt="x" * (most + 1))
            self.assertEqual((raised.exception.param, str(most) in str(raised.exception)), ("prompt", True))


class Edit(unittest.TestCase):
    def edit(self, model="openai-image", **options):
        return client().images.edit(**{"model": model, "image": picture(), "prompt": "more sky"} | options)

    def test_a_picture_is_edited_where_the_vendor_can(self):
        for model, drawn in (("openai-image", PICTURE), ("google-image", PICTURE), ("bytedance-image", JPEG)):
            with self.subTest(model=model):
                answer = self.edit(model, **({} if model == "openai-image" else {"response_format": "b64_json"}))
                self.assertEqual(base64.b64decode(answer.data[0].b64_json), drawn)
                self.assertEqual(last_record()["endpoint"], "/v1/images/edits")

    def test_several_pictures_a_mask_and_options_go_on(self):
        answer = self.edit(image=[picture("a.png"), picture("b.png")], mask=picture("mask.png"), size="1024x1536", n=2, quality="low", input_fidelity="high")
        self.assertEqual((len(answer.data), answer.size), (2, "1024x1536"))

    def test_an_edit_is_streamed(self):
        kinds = [event.type for event in self.edit(stream=True, partial_images=1)]
        self.assertEqual(kinds, ["image_edit.partial_image", "image_edit.completed"])

    def test_what_cannot_be_edited_is_refused_by_name(self):
        for options, param in (({"model": "minimax-image"}, "image"), ({"image": picture("a.txt", b"Dear Sir")}, "image"), ({"image": picture("a.png", b"")}, "image"),
                               ({"prompt": " "}, "prompt"), ({"size": "big"}, "size"), ({"model": "google-image", "mask": picture()}, "mask")):
            with self.subTest(param=param), self.assertRaises(openai.BadRequestError) as raised:
                self.edit(**options)
            self.assertEqual(raised.exception.param, param)


if __name__ == "__main__":
    unittest.main()
