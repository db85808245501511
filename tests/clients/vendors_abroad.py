"""Stand-ins for Anthropic's Messages API and Gemini's generateContent, strict where the real ones are."""

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NAME = re.compile(r"^[a-zA-Z0-9_-]{1,64}$")
CITIES = ("Paris", "Oslo")


class Refused(Exception):
    pass


def need(condition, why):
    if not condition:
        raise Refused(why)


class Stand(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @classmethod
    def start(cls):
        server = ThreadingHTTPServer(("127.0.0.1", 0), cls)
        server.daemon_threads = True
        server.handle_error = lambda *_: None
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_address[1]}"

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        try:
            self.answer(json.loads(body))
        except Refused as why:
            self.send(400, self.error(str(why)))

    def send(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def stream(self, blocks):
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for block in blocks:
            for part in (block[: len(block) // 3], block[len(block) // 3 :]):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
                self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")


class Anthropic(Stand):
    FIELDS = {"model", "max_tokens", "messages", "system", "tools", "tool_choice", "stream", "temperature", "top_p", "stop_sequences", "metadata", "thinking"}

    def error(self, why):
        return {"type": "error", "error": {"type": "invalid_request_error", "message": why}, "request_id": "req_stand_in"}

    def answer(self, request):
        need(self.path == "/v1/messages", f"no such path: {self.path}")
        if self.headers.get("x-api-key") != "anthropic-secret":
            return self.send(401, {"type": "error", "error": {"type": "authentication_error", "message": "invalid x-api-key"}})
        need(self.headers.get("anthropic-version") == "2023-06-01", "anthropic-version: header is required")
        if request.get("model") != "claude-3-opus-20240229":
            return self.send(404, {"type": "error", "error": {"type": "not_found_error", "message": f"model: {request.get('model')}"}})
        need(not set(request) - self.FIELDS, f"{(set(request) - self.FIELDS)}: Extra inputs are not permitted")
        need(0 < request.get("max_tokens", 0) <= 4096, "max_tokens: must be between 1 and 4096")
        rounds = self.check(request["messages"])
        for tool in request.get("tools", []):
            need(NAME.match(tool["name"]) and tool["input_schema"]["type"] == "object", "tools.0.custom.input_schema: wrong")
        calls = [{"type": "tool_use", "id": f"toolu_{rounds}_{i}", "name": tool["name"], "input": {"city": CITIES[i]}}
                 for i, tool in enumerate(request.get("tools", [])[: 2 - rounds])] if rounds < 2 else []
        content = ([{"type": "text", "text": "Let me look."}] + calls) if calls else [{"type": "text", "text": "Mild – in both ✓"}]
        usage = {"input_tokens": 40 + rounds, "cache_read_input_tokens": 8, "cache_creation_input_tokens": 2, "output_tokens": 12}
        message = {"id": f"msg_{rounds}", "type": "message", "role": "assistant", "model": request["model"], "content": content,
                   "stop_reason": "tool_use" if calls else "end_turn", "stop_sequence": None, "usage": usage}
        self.stream(self.events(message)) if request.get("stream") else self.send(200, message)

    def check(self, messages):
        """Roles alternate, each tool_use is answered at once, in the very next message; the number of rounds so answered."""
        need(messages and messages[0]["role"] == "user", "messages: first message must use the \"user\" role")
        rounds, open_calls = 0, []
        for i, message in enumerate(messages):
            need(message["role"] == ("user", "assistant")[i % 2], f"messages.{i}: roles must alternate")
            blocks = message["content"] if isinstance(message["content"], list) else [{"type": "text", "text": message["content"]}]
            need(blocks, f"messages.{i}: content must not be empty")
            need(all(b["type"] != "text" or b["text"].strip() for b in blocks), f"messages.{i}: text content blocks must be non-empty")
            results = [b["tool_use_id"] for b in blocks if b["type"] == "tool_result"]
            need(results == open_calls[: len(results)] and len(results) == len(open_calls),
                 f"messages.{i}: `tool_use` ids were found without `tool_result` blocks immediately after: {open_calls}")
            need([b["type"] for b in blocks[: len(results)]] == ["tool_result"] * len(results), f"messages.{i}: tool_result blocks come first")
            rounds += bool(results)
            open_calls = [b["id"] for b in blocks if b["type"] == "tool_use"]
            need(all(isinstance(b["input"], dict) for b in blocks if b["type"] == "tool_use"), f"messages.{i}: input should be an object")
        need(not open_calls and messages[-1]["role"] == "user", "messages: the last message must be the user's")
        return rounds

    def events(self, message):
        def event(kind, **fields):
            return b"event: %s\ndata: %s\n\n" % (kind.encode(), json.dumps({"type": kind, **fields}).encode())

        yield event("message_start", message=dict(message, content=[], stop_reason=None, usage=dict(message["usage"], output_tokens=1)))
        yield event("ping")
        for i, block in enumerate(message["content"]):
            if block["type"] == "text":
                yield event("content_block_start", index=i, content_block={"type": "text", "text": ""})
                for word in block["text"].split(" "):
                    yield event("content_block_delta", index=i, delta={"type": "text_delta", "text": word + " "})
            else:
                yield event("content_block_start", index=i, content_block=dict(block, input={}))
                text = json.dumps(block["input"])
                for part in ("", text[:5], text[5:]):
                    yield event("content_block_delta", index=i, delta={"type": "input_json_delta", "partial_json": part})
            yield event("content_block_stop", index=i)
        yield event("message_delta", delta={"stop_reason": message["stop_reason"], "stop_sequence": None}, usage={"output_tokens": 12})
        yield event("message_stop")


class Gemini(Stand):
    FIELDS = {"contents", "systemInstruction", "tools", "toolConfig", "generationConfig", "safetySettings"}
    SCHEMA = {"type", "format", "title", "description", "nullable", "enum", "items", "properties", "required", "minItems", "maxItems",
              "minimum", "maximum", "anyOf", "propertyOrdering"}

    def error(self, why):
        return {"error": {"code": 400, "message": why, "status": "INVALID_ARGUMENT"}}

    def answer(self, request):
        found = re.fullmatch(r"/v1beta/models/gemini-1\.5-pro:(generateContent|streamGenerateContent\?alt=sse)", self.path)
        if not found:
            return self.send(404, {"error": {"code": 404, "message": f"{self.path} is not found", "status": "NOT_FOUND"}})
        need(self.headers.get("x-goog-api-key") == "gemini-secret", "API key not valid. Please pass a valid API key.")
        need(not set(request) - self.FIELDS, f"Unknown name: {set(request) - self.FIELDS}")
        rounds = self.check(request["contents"])
        tools = [d for t in request.get("tools", []) for d in t["functionDeclarations"]]
        for tool in tools:
            need(NAME.match(tool["name"]), "invalid function name")
            self.schema(tool.get("parameters") or {})
        calls = [{"functionCall": {"name": tool["name"], "args": {"city": CITIES[i]}}} for i, tool in enumerate(tools[: 2 - rounds])] if rounds < 2 else []
        parts = calls or [{"text": "Mild – "}, {"text": "in both ✓"}]
        usage = {"promptTokenCount": 50 + rounds, "cachedContentTokenCount": 10, "candidatesTokenCount": 12, "totalTokenCount": 62 + rounds}
        if not found.group(1).startswith("stream"):
            return self.send(200, {"candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": "STOP", "index": 0}], "usageMetadata": usage})
        chunks = [{"candidates": [{"content": {"role": "model", "parts": [part]}, "index": 0}], "usageMetadata": {"promptTokenCount": 50 + rounds}} for part in parts]
        chunks[-1]["candidates"][0]["finishReason"] = "STOP"
        chunks[-1]["usageMetadata"] = usage
        self.stream(b"data: %s\r\n\r\n" % json.dumps(chunk).encode() for chunk in chunks)

    def check(self, contents):
        need(contents, "contents is not specified")
        rounds, open_calls = 0, []
        for i, content in enumerate(contents):
            need(content.get("role") in ("user", "model"), "Please use a valid role: user, model.")
            need(content.get("parts"), f"contents[{i}].parts must not be empty")
            results = [p["functionResponse"]["name"] for p in content["parts"] if "functionResponse" in p]
            need(results == open_calls, "Please ensure that the number of function response parts is equal to the number of function call parts of the function call turn.")
            need(all(isinstance(p["functionResponse"]["response"], dict) for p in content["parts"] if "functionResponse" in p), "response must be an object")
            rounds += bool(results)
            open_calls = [p["functionCall"]["name"] for p in content["parts"] if "functionCall" in p]
        need(contents[-1]["role"] == "user", "Please ensure that the last turn is the user's.")
        return rounds

    def schema(self, schema):
        need(not set(schema) - self.SCHEMA, f"Unknown name in schema: {set(schema) - self.SCHEMA}")
        for inner in (schema.get("properties") or {}).values():
            self.schema(inner)
