"""Speech, transcripts and responses by the OpenAI SDK, and what is on record of them. Run by stack.py."""

import base64
import io
import json
import os
import pathlib
import struct
import tempfile
import unittest
import urllib.request

import openai

from vendors_voice import TEXTS

# What both vendors say.
SOUND = bytes(range(256)) * 64


def client():
    return openai.OpenAI(base_url=os.environ["KANCY_BASE_URL"], api_key=os.environ["KANCY_KEY_WIDE"], max_retries=0)


def wav(seconds):
    samples = b"\0\0" * 8_000 * seconds
    head = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + len(samples), b"WAVE", b"fmt ", 16, 1, 1, 8_000, 16_000, 2, 16, b"data", len(samples))
    return ("hello.wav", io.BytesIO(head + samples))


def last_record():
    """The newest request record of the key's project."""
    url = os.environ["KANCY_BASE_URL"] + "/requests?limit=1"
    request = urllib.request.Request(url, headers={"authorization": "Bearer " + os.environ["KANCY_KEY_WIDE"]})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)["data"][0]


class Speech(unittest.TestCase):
    def test_a_text_is_streamed_to_a_file_by_either_vendor(self):
        for model in ("openai-tts", "minimax-tts"):
            for form in ("mp3", "flac", "wav", "pcm"):
                with self.subTest(model=model, form=form), tempfile.TemporaryDirectory() as home:
                    path = pathlib.Path(home) / "speech"
                    speech = client().audio.speech.with_streaming_response
                    with speech.create(model=model, voice="alloy", input="Grüße", response_format=form) as answer:
                        answer.stream_to_file(path)
                        kind = answer.headers["content-type"]
                    self.assertEqual((path.read_bytes(), kind), (SOUND, "audio/" + {"mp3": "mpeg"}.get(form, form)))
                    record = last_record()
                    self.assertEqual((record["usage"]["characters"], record["outcome"], record["estimated"]), (5, "completed", False))
                    self.assertGreater(float(record["cost_usd"]), 0)

    def test_speech_comes_in_events_by_either_vendor(self):
        for model in ("gpt-4o-mini-tts", "minimax-tts"):
            with self.subTest(model=model):
                with client().audio.speech.with_streaming_response.create(model=model, voice="alloy", input="Hi", stream_format="sse") as answer:
                    self.assertEqual(answer.headers["content-type"].split(";")[0], "text/event-stream")
                    told = [json.loads(line[6:]) for line in answer.iter_lines() if line.startswith("data: ")]
                self.assertEqual((told[0]["type"], told[-1]["type"]), ("speech.audio.delta", "speech.audio.done"))
                self.assertTrue(base64.b64decode(told[0]["audio"]))
                self.assertEqual(last_record()["outcome"], "completed")

    def test_what_cannot_be_spoken_is_refused_by_name(self):
        for options, param in (({"input": ""}, "input"), ({"model": "minimax-tts", "response_format": "opus"}, "response_format"),
                               ({"input": "a" * 4097}, "input"), ({"model": "minimax-tts", "voice": "nobody"}, None)):
            with self.assertRaises(openai.BadRequestError) as raised:
                client().audio.speech.create(**{"model": "openai-tts", "voice": "alloy", "input": "Hi"} | options)
            self.assertEqual(raised.exception.param, param)


class Transcripts(unittest.TestCase):
    def hear(self, model="whisper-asr", **options):
        return client().audio.transcriptions.create(model=model, file=options.pop("file", wav(3)), **options)

    def test_every_format_is_heard_and_billed_by_the_second(self):
        self.assertEqual(self.hear().text, "Hello")
        self.assertEqual(last_record()["usage"]["audio_seconds"], 2)
        self.assertEqual(self.hear(response_format="verbose_json").duration, 1.6)
        self.assertEqual(last_record()["usage"]["audio_seconds"], 2)
        timed = self.hear(response_format="verbose_json", timestamp_granularities=["word"])
        self.assertEqual(timed.words[0].end, 1.6)
        for form, text in TEXTS.items():
            self.assertEqual(self.hear(response_format=form), text)
            record = last_record()
            self.assertEqual((record["usage"]["audio_seconds"], record["cost_usd"], record["estimated"]), (3, "0.000300000", False))

    def test_a_translation_comes_in_every_format(self):
        translate = client().audio.translations.create
        self.assertEqual(translate(model="whisper-asr", file=wav(1)).text, "Hello")
        self.assertEqual(last_record()["endpoint"], "/v1/audio/translations")
        for form, text in TEXTS.items():
            self.assertEqual(translate(model="whisper-asr", file=wav(1), response_format=form), text)
        self.assertEqual(translate(model="whisper-asr", file=wav(1), response_format="verbose_json").duration, 1.6)

    def test_a_transcript_can_be_streamed(self):
        kinds = [event.type for event in self.hear(model="gpt-4o-transcribe", stream=True)]
        self.assertEqual(kinds, ["transcript.text.delta", "transcript.text.done"])
        self.assertEqual((last_record()["usage"]["input_tokens"], last_record()["cost_usd"]), (20, "0.000080000"))

    def test_who_speaks_is_told_whole_and_streamed(self):
        options = {"model": "gpt-4o-transcribe-diarize", "response_format": "diarized_json", "chunking_strategy": "auto"}
        heard = self.hear(**options, extra_body={"known_speaker_names": ["Ann"]})
        self.assertEqual((heard.text, heard.segments[0].speaker), ("Hello", "A"))
        self.assertEqual(last_record()["usage"]["output_tokens"], 3)
        kinds = [event.type for event in self.hear(**options, stream=True)]
        self.assertEqual(kinds, ["transcript.text.segment", "transcript.text.delta", "transcript.text.done"])
        self.assertEqual(last_record()["usage"]["input_tokens"], 20)

    def test_what_the_model_does_not_write_in_is_the_vendors_refusal(self):
        with self.assertRaises(openai.BadRequestError) as raised:
            self.hear(model="gpt-4o-transcribe", response_format="srt")
        self.assertEqual((raised.exception.param, raised.exception.body["origin"]), ("response_format", "provider"))

    def test_what_is_no_recording_is_refused_by_name(self):
        for file in (("letter.txt", b"Dear Sir or Madam,"), ("a.wav", b""), ("a.png", b"\x89PNG\r\n\x1a\n\0\0")):
            with self.assertRaises(openai.BadRequestError) as raised:
                self.hear(file=file)
            self.assertEqual(raised.exception.param, "file")


class Responses(unittest.TestCase):
    def test_a_response_comes_whole_and_streamed_and_is_stored_nowhere(self):
        self.assertEqual(client().responses.create(model="gpt-4o", input="Hi", store=True).output_text, "Hello ✓")
        with client().responses.stream(model="gpt-4o", input="Hi") as stream:
            answer = stream.get_final_response()
        self.assertEqual((answer.output_text, answer.usage.output_tokens_details.reasoning_tokens), ("Hello ✓", 5))
        usage = last_record()["usage"]
        self.assertEqual([usage[k] for k in ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens")], [21, 4, 9, 5])

    def test_what_the_vendor_would_keep_or_run_is_refused(self):
        for options, param in (({"previous_response_id": "resp_1"}, "previous_response_id"), ({"background": True}, "background"),
                               ({"tools": [{"type": "web_search"}]}, "tools[0].type")):
            with self.assertRaises(openai.BadRequestError) as raised:
                client().responses.create(model="gpt-4o", input="Hi", **options)
            self.assertEqual((raised.exception.code, raised.exception.param), ("unsupported_parameter", param))


if __name__ == "__main__":
    unittest.main()
