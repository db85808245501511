"""A stand-in for an OpenAI-shaped vendor: answers as the real one does, and refuses what the real one refuses."""

import base64
import json
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import vendors_image
import vendors_voice

USAGE = {"prompt_tokens": 21, "completion_tokens": 9, "total_tokens": 30, "prompt_tokens_details": {"cached_tokens": 4}}
KNOWN = {"model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens", "temperature", "top_p", "n", "tools",
         "tool_choice", "parallel_tool_calls", "response_format", "seed", "stop", "user", "metadata", "store", "logprobs"}
FAULTS = {
    "rate-limited": (429, {"message": "Rate limit reached for requests", "type": "requests", "param": None, "code": "rate_limit_exceeded"}, {"retry-after": "7"}),
    "quota": (429, {"message": "You exceeded your current quota", "type": "insufficient_quota", "param": None, "code": "insufficient_quota"}, {}),
    "overloaded": (503, {"message": "The engine is currently overloaded", "type": "server_error", "param": None, "code": None}, {}),
    "broken": (500, {"message": "The server had an error", "type": "server_error", "param": None, "code": None}, {}),
    "gone": (404, {"message": "The model `gone` does not exist", "type": "invalid_request_error", "param": None, "code": "model_not_found"}, {}),
    "too-long": (400, {"message": "This model's maximum context length is 8 tokens.", "type": "invalid_request_error", "param": "messages", "code": "context_length_exceeded"}, {}),
    "unsafe": (400, {"message": "Your request was rejected by the safety system", "type": "invalid_request_error", "param": None, "code": "content_policy_violation"}, {}),
}


def chunk(model, choices, **extra):
    return {"id": "chatcmpl-stand-in", "object": "chat.completion.chunk", "created": 1754324362, "model": model, "choices": choices, **extra}


def delta(content, finish=None):
    return [{"index": 0, "delta": content, "logprobs": None, "finish_reason": finish}]


class Vendor(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @classmethod
    def start(cls):
        server = ThreadingHTTPServer(("127.0.0.1", 0), cls)
        server.handle_error = lambda *_: None  # a gateway that was killed hangs up in mid-sentence
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_address[1]}"

    def log_message(self, *_):
        pass

    def answer(self, status, body, headers=None):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.send_header("x-request-id", "req_stand_in")
        self.send_header("set-cookie", "session=secret")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def refuse(self, message, param=None, code=None, status=400):
        self.answer(status, {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}})

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.headers.get("authorization") != "Bearer sk-upstream-secret":
            return self.refuse("Incorrect API key provided: sk-wrong.", code="invalid_api_key", status=401)
        media = vendors_voice.ROUTES | vendors_image.ROUTES
        if self.path in media:
            return media[self.path](self, body)
        request = json.loads(body)
        fault = FAULTS.get(request.get("model"))
        if fault:
            return self.answer(fault[0], {"error": fault[1]}, fault[2])
        if self.path == "/v1/embeddings":
            return self.embed(request)
        if self.path != "/v1/chat/completions":
            return self.refuse(f"Invalid URL (POST {self.path})", status=404)
        unknown = set(request) - KNOWN
        if unknown:
            return self.refuse(f"Unrecognized request argument supplied: {unknown.pop()}")
        if "stream_options" in request and not request.get("stream"):
            return self.refuse("The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options")
        if request["model"] not in ("gpt-4o", "cut-midway", "error-midway"):
            return self.refuse(f"The model `{request['model']}` does not exist", code="model_not_found", status=404)
        self.stream(request) if request.get("stream") else self.complete(request)

    def message(self, request):
        last = request["messages"][-1]
        if request.get("tools") and last["role"] == "user":
            calls = [{"id": f"call_{i}", "type": "function", "function": {"name": t["function"]["name"], "arguments": '{"city":"Paris"}'}}
                     for i, t in enumerate(request["tools"])]
            return {"role": "assistant", "content": None, "tool_calls": calls, "refusal": None}, "tool_calls"
        return {"role": "assistant", "content": "Hello – from the stand-in ✓", "refusal": None}, "stop"

    def complete(self, request):
        message, finish = self.message(request)
        self.answer(200, {"id": "chatcmpl-stand-in", "object": "chat.completion", "created": 1741569952, "model": "gpt-4o-2024-08-06",
                          "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish}], "usage": USAGE})

    def stream(self, request):
        message, finish = self.message(request)
        model, events = "gpt-4o-2024-08-06", []
        wants_usage = (request.get("stream_options") or {}).get("include_usage")
        extra = {"usage": None} if wants_usage else {}
        events.append(chunk(model, delta({"role": "assistant", "content": None if message.get("tool_calls") else "", "refusal": None}), **extra))
        for i, call in enumerate(message.get("tool_calls") or []):
            events.append(chunk(model, delta({"tool_calls": [{"index": i, "id": call["id"], "type": "function", "function": {"name": call["function"]["name"], "arguments": ""}}]}), **extra))
            for piece in ('{"city":', '"Paris"}'):
                events.append(chunk(model, delta({"tool_calls": [{"index": i, "function": {"arguments": piece}}]}), **extra))
        for word in (message["content"] or "").split(" "):
            if word:
                events.append(chunk(model, delta({"content": word + " "}), **extra))
        if request["model"] == "cut-midway":
            events = events[:3]
        elif request["model"] == "error-midway":
            events = events[:3] + [{"error": {"message": "The server had an error while processing", "type": "server_error", "param": None, "code": None}}]
        else:
            events.append(chunk(model, delta({}, finish), **extra))
            if wants_usage:
                events.append(chunk(model, [], usage=USAGE))
        self.send_response(200)
        self.send_header("content-type", "text/event-stream; charset=utf-8")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        lines = [b"data: " + json.dumps(e).encode() + b"\n\n" for e in events]
        if request["model"] == "gpt-4o":
            lines.append(b"data: [DONE]\n\n")
        for line in lines:
            for part in (line[: len(line) // 2], line[len(line) // 2 :]):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
                self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def embed(self, request):
        texts = request["input"] if isinstance(request["input"], list) else [request["input"]]
        vector = [0.25, -0.5, 1.0]
        packed = base64.b64encode(struct.pack("<3f", *vector)).decode()
        data = [{"object": "embedding", "index": i, "embedding": packed if request.get("encoding_format") == "base64" else vector} for i in range(len(texts))]
        self.answer(200, {"object": "list", "data": data, "model": request["model"], "usage": {"prompt_tokens": 5 * len(texts), "total_tokens": 5 * len(texts)}})
