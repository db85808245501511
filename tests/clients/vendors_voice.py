"""Stand-ins for the voice routes: OpenAI's, mixed into its vendor, and MiniMax's. They refuse what the real ones refuse."""

import email.parser
import email.policy
import json

from vendors_abroad import Stand, need

SOUND = bytes(range(256)) * 64
VOICES = {"alloy", "ash", "ballad", "coral", "echo", "fable", "onyx", "nova", "sage", "shimmer", "verse", "marin", "cedar"}
TYPES = {"mp3": "audio/mpeg", "opus": "audio/opus", "aac": "audio/aac", "flac": "audio/flac", "wav": "audio/wav", "pcm": "audio/pcm"}
RESPONSE = {"id": "resp_1", "object": "response", "created_at": 1741569952, "status": "completed", "error": None, "incomplete_details": None,
            "model": "gpt-4o-2024-08-06", "parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "metadata": {},
            "output": [{"type": "message", "id": "msg_1", "status": "completed", "role": "assistant",
                        "content": [{"type": "output_text", "text": "Hello ✓", "annotations": []}]}],
            "usage": {"input_tokens": 21, "input_tokens_details": {"cached_tokens": 4}, "output_tokens": 9,
                      "output_tokens_details": {"reasoning_tokens": 5}, "total_tokens": 30}}


def chunked(vendor, content_type, pieces):
    vendor.send_response(200)
    vendor.send_header("content-type", content_type)
    vendor.send_header("transfer-encoding", "chunked")
    vendor.end_headers()
    for piece in pieces:
        vendor.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        vendor.wfile.flush()
    vendor.wfile.write(b"0\r\n\r\n")


def events(named, data):
    return [(f"event: {e['type']}\n" if named else "").encode() + b"data: " + json.dumps(e).encode() + b"\n\n" for e in data]


def speak(vendor, body):
    request = json.loads(body)
    if request["model"] not in ("tts-1", "gpt-4o-mini-tts"):
        return vendor.refuse(f"The model `{request['model']}` does not exist", code="model_not_found", status=404)
    if request.get("voice") not in VOICES:
        return vendor.refuse("Invalid voice", "voice")
    if request.get("stream_format") == "sse":
        done = {"type": "speech.audio.done", "usage": {"input_tokens": 3, "output_tokens": 40, "total_tokens": 43}}
        return chunked(vendor, "text/event-stream", events(False, [{"type": "speech.audio.delta", "audio": "SUQz"}, done]))
    chunked(vendor, TYPES[request.get("response_format", "mp3")], [SOUND[at : at + 1000] for at in range(0, len(SOUND), 1000)])


def form(vendor, body):
    """The parts of a form by their names."""
    head = f"content-type: {vendor.headers['content-type']}\r\n\r\n".encode()
    fields = {}
    for part in email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body).iter_parts():
        fields.setdefault(part.get_param("name", header="content-disposition"), []).append(part)
    return fields


# The formats that each model writes in.
WRITES = {"whisper-1": {"json", "text", "srt", "verbose_json", "vtt"}, "gpt-4o-transcribe": {"json"},
          "gpt-4o-transcribe-diarize": {"json", "text", "diarized_json"}}
TEXTS = {"text": "Hello\n", "srt": "1\n00:00:00,000 --> 00:00:01,600\nHello\n\n", "vtt": "WEBVTT\n\n00:00:00.000 --> 00:00:01.600\nHello\n\n"}
SEGMENT = {"type": "transcript.text.segment", "id": "seg_0", "start": 0.0, "end": 1.6, "text": "Hello", "speaker": "A"}


def hear(vendor, body):
    fields = form(vendor, body)
    text = lambda name: fields[name][0].get_content().strip() if name in fields else None
    model, written = text("model"), text("response_format") or "json"
    if model not in WRITES or (vendor.path.endswith("translations") and model != "whisper-1"):
        return vendor.refuse(f"The model `{model}` does not exist", code="model_not_found", status=404)
    if written not in WRITES[model]:
        return vendor.refuse(f"response_format '{written}' is not compatible with model '{model}'.", "response_format", "unsupported_value")
    [file] = fields["file"]
    if not file.get_filename().endswith((".flac", ".mp3", ".mp4", ".mpeg", ".mpga", ".m4a", ".ogg", ".wav", ".webm")) or not file.get_payload(decode=True).startswith(b"RIFF"):
        return vendor.refuse("Invalid file format.", "file")
    if "timestamp_granularities[]" in fields and written != "verbose_json":
        return vendor.refuse("timestamp_granularities needs verbose_json", "timestamp_granularities", "unsupported_value")
    tokens = {"type": "tokens", "input_tokens": 20, "input_token_details": {"text_tokens": 0, "audio_tokens": 20}, "output_tokens": 3, "total_tokens": 23}
    if text("stream") == "true" and model != "whisper-1":
        told = [SEGMENT] if written == "diarized_json" else []
        told += [{"type": "transcript.text.delta", "delta": "Hello"}, {"type": "transcript.text.done", "text": "Hello", "usage": tokens}]
        return chunked(vendor, "text/event-stream", events(False, told) + [b"data: [DONE]\n\n"])
    if written in TEXTS:
        return chunked(vendor, "text/plain; charset=utf-8", [TEXTS[written].encode()])
    task = "translate" if vendor.path.endswith("translations") else "transcribe"
    if written == "verbose_json":
        words = [{"word": "Hello", "start": 0.0, "end": 1.6}] if "timestamp_granularities[]" in fields else None
        return vendor.answer(200, {"task": task, "language": "english", "duration": 1.6, "text": "Hello", "segments": [], "words": words})
    if written == "diarized_json":
        return vendor.answer(200, {"task": task, "duration": 1.6, "text": "Hello", "segments": [SEGMENT], "usage": tokens})
    vendor.answer(200, {"text": "Hello", "usage": {"type": "duration", "seconds": 2} if model == "whisper-1" else tokens})


def respond(vendor, body):
    request = json.loads(body)
    if request.get("store") is not False:
        return vendor.refuse("this project keeps nothing", "store")
    if not request.get("stream"):
        return vendor.answer(200, RESPONSE)
    begun = {**RESPONSE, "status": "in_progress", "output": [], "usage": None}
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    item = RESPONSE["output"][0]
    data = [{"type": "response.created", "response": begun},
            {"type": "response.output_item.added", "output_index": 0, "item": {**item, "content": []}},
            {"type": "response.content_part.added", **place, "part": {"type": "output_text", "text": "", "annotations": []}},
            {"type": "response.output_text.delta", **place, "delta": "Hello ✓", "logprobs": []},
            {"type": "response.output_text.done", **place, "text": "Hello ✓", "logprobs": []},
            {"type": "response.output_item.done", "output_index": 0, "item": item},
            {"type": "response.completed", "response": RESPONSE}]
    chunked(vendor, "text/event-stream; charset=utf-8", events(True, [{**e, "sequence_number": n} for n, e in enumerate(data)]))


ROUTES = {"/v1/audio/speech": speak, "/v1/audio/transcriptions": hear, "/v1/audio/translations": hear, "/v1/responses": respond}


class MiniMax(Stand):
    """Answers 200 whatever happens."""

    def error(self, why):
        return {"base_resp": {"status_code": 2013, "status_msg": why}}

    def answer(self, request):
        need(self.path == "/v1/t2a_v2", "no such route")
        if self.headers.get("authorization") != "Bearer minimax-secret":
            return self.send(200, {"base_resp": {"status_code": 1004, "status_msg": "login fail"}})
        need(request["model"] == "speech-2.8-hd", "unknown model")
        need(1 <= len(request["text"]) <= 10_000, "invalid text")
        voice, sound = request["voice_setting"], request["audio_setting"]
        need(0.5 <= voice["speed"] <= 2, "invalid speed")
        need(sound["format"] in ("mp3", "pcm", "flac", "wav"), "invalid format")
        need(sound["format"] != "wav" or not request["stream"], "a wav does not stream")
        if voice["voice_id"] != "male-qn-qingse":
            return self.send(200, {"data": None, "base_resp": {"status_code": 2042, "status_msg": "no access to this voice"}})
        told = {"extra_info": {"usage_characters": len(request["text"])}, "base_resp": {"status_code": 0, "status_msg": "success"}}
        if not request["stream"]:
            return self.send(200, {"data": {"audio": SOUND.hex(), "status": 2}, **told})
        half = len(SOUND) // 2
        data = [{"data": {"audio": piece.hex(), "status": 1}, "base_resp": told["base_resp"]} for piece in (SOUND[:half], SOUND[half:])]
        self.stream([b"data: " + json.dumps(e).encode() + b"\n\n" for e in data + [{"data": {"audio": "", "status": 2}, **told}]])
