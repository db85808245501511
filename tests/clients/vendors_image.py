"""Stand-ins for the image routes: OpenAI's, mixed into its vendor, Google's, Ark's and MiniMax's. They refuse what the real ones refuse."""

import base64
import json
import re
import struct
import zlib

from vendors_abroad import Gemini, Stand, need
from vendors_voice import MiniMax, chunked, events, form


def png(width=2, height=2):
    """A picture that any program can open."""
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    rows = b"".join(b"\0" + b"\x20\x80\xff" * width for _ in range(height))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


PICTURE = png()
JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(range(256))
text = lambda picture: base64.b64encode(picture).decode()

GPT = {"model", "prompt", "n", "size", "quality", "output_format", "output_compression", "background", "moderation", "user", "stream", "partial_images"}
DALL_E_3 = {"model", "prompt", "n", "size", "quality", "response_format", "style", "user"}
USAGE = {"input_tokens": 14, "output_tokens": 272, "total_tokens": 286, "input_tokens_details": {"text_tokens": 14, "image_tokens": 0},
         "output_tokens_details": {"image_tokens": 272, "text_tokens": 0}}


def refuse(vendor, message, param, code="invalid_value"):
    return vendor.answer(400, {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}})


def wrong(request):
    """What gpt-image-2 or dall-e-3 would not take: a message, the parameter, a code."""
    gpt = request["model"] == "gpt-image-2"
    unknown = set(request) - (GPT if gpt else DALL_E_3)
    if unknown:
        name = sorted(unknown)[0]
        return f"Unknown parameter: '{name}'.", name, "unknown_parameter"
    if not 1 <= len(request.get("prompt", "")) <= (32_000 if gpt else 4_000):
        return "Invalid 'prompt'.", "prompt", "string_above_max_length"
    if not 1 <= request.get("n", 1) <= (10 if gpt else 1):
        return "Invalid 'n'.", "n", "integer_above_max_value"
    size = request.get("size", "1024x1024")
    if not gpt:
        fits = size in ("1024x1024", "1792x1024", "1024x1792")
    else:
        width, height = (int(side) for side in size.split("x")) if size != "auto" else (1024, 1024)
        fits = width % 16 == height % 16 == 0 and 1 / 3 <= width / height <= 3 and 655_360 <= width * height <= 3840 * 2160
    if not fits:
        return f"Invalid value: '{size}'.", "size", "invalid_value"
    if request.get("quality", "standard" if not gpt else "auto") not in (("low", "medium", "high", "auto") if gpt else ("standard", "hd")):
        return "Invalid value for 'quality'.", "quality", "invalid_value"
    if request.get("background", "auto") not in ("auto", "opaque", "transparent"):
        return "Invalid value for 'background'.", "background", "invalid_value"
    if request.get("background") == "transparent" and request.get("output_format") == "jpeg":
        return "Transparent background is not supported for JPEG output.", "background", "invalid_value"


def draw(vendor, body):
    request = json.loads(body)
    if request.get("model") not in ("gpt-image-2", "dall-e-3"):
        return vendor.refuse(f"The model `{request.get('model')}` does not exist", code="model_not_found", status=404)
    why = wrong(request)
    if why:
        return refuse(vendor, *why)
    if "weapon" in request["prompt"]:
        error = {"message": "Your request was rejected by the safety system.", "type": "image_generation_user_error", "param": None, "code": "moderation_blocked"}
        return vendor.answer(400, {"error": error})
    if request["model"] == "dall-e-3":
        made = {"b64_json": text(PICTURE)} if request.get("response_format") == "b64_json" else {"url": "https://oaidalleapiprodscus.blob.core.windows.net/a.png"}
        return vendor.answer(200, {"created": 1713833628, "data": [{**made, "revised_prompt": "A cat, revised"}]})
    give(vendor, request, "image_generation")


def give(vendor, request, kind):
    n, looks = request.get("n", 1), {"size": request.get("size", "1024x1024"), "quality": request.get("quality", "low"),
                                     "background": request.get("background", "opaque"), "output_format": request.get("output_format", "png")}
    if not request.get("stream"):
        return vendor.answer(200, {"created": 1713833628, "data": [{"b64_json": text(PICTURE)}] * n, **looks, "usage": USAGE})
    told = [{"type": f"{kind}.partial_image", "b64_json": text(PICTURE), "created_at": 1713833628, **looks, "partial_image_index": at}
            for at in range(request.get("partial_images", 0))]
    told += [{"type": f"{kind}.completed", "b64_json": text(PICTURE), "created_at": 1713833628, **looks, "usage": USAGE}] * n
    chunked(vendor, "text/event-stream", [piece[at : at + 50] for piece in events(True, told) for at in range(0, len(piece), 50)])


def edit(vendor, body):
    fields = form(vendor, body)
    request = {name: part[0].get_content().strip() for name, part in fields.items() if not part[0].get_filename()}
    for name in ("n", "partial_images", "output_compression"):
        if name in request:
            request[name] = int(request[name])
    request["stream"] = request.get("stream") == "true"
    pictures = fields.get("image", []) + fields.get("image[]", [])
    if request.get("model") != "gpt-image-2":
        return vendor.refuse(f"The model `{request.get('model')}` does not exist", code="model_not_found", status=404)
    why = wrong({name: value for name, value in request.items() if name != "input_fidelity"})
    if why:
        return refuse(vendor, *why)
    if not 1 <= len(pictures) <= 16:
        return refuse(vendor, "Missing required parameter: 'image'.", "image", "missing_required_parameter")
    for part in pictures + fields.get("mask", []):
        if not part.get_payload(decode=True).startswith((b"\x89PNG", b"\xff\xd8\xff", b"RIFF")):
            return refuse(vendor, "Invalid image file or mode.", "image", "invalid_image_file")
    give(vendor, request, "image_edit")


ROUTES = {"/v1/images/generations": draw, "/v1/images/edits": edit}


class GeminiImages(Gemini):
    RATIOS = {"1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9"}

    def answer(self, request):
        if "gemini-2.5-flash-image" not in self.path:
            return super().answer(request)
        need(self.path == "/v1beta/models/gemini-2.5-flash-image:generateContent", "no such method")
        need(self.headers.get("x-goog-api-key") == "gemini-secret", "API key not valid. Please pass a valid API key.")
        need(not set(request) - self.FIELDS, f"Unknown name: {set(request) - self.FIELDS}")
        config = request["generationConfig"]
        need(not set(config) - {"responseModalities", "imageConfig", "seed"}, f"Unknown name in generationConfig: {set(config)}")
        need(config["responseModalities"] == ["TEXT", "IMAGE"], "The requested combination of response modalities is not supported.")
        need(config.get("imageConfig", {"aspectRatio": "1:1"}).keys() == {"aspectRatio"}, "imageSize is not supported for this model")
        need(config.get("imageConfig", {}).get("aspectRatio", "1:1") in self.RATIOS, "aspect_ratio must be one of")
        parts = request["contents"][0]["parts"]
        for part in parts[:-1]:
            need(base64.b64decode(part["inlineData"]["data"]).startswith(b"\x89PNG"), "Unable to process input image.")
        if "weapon" in parts[-1]["text"]:
            return self.send(200, {"candidates": [{"finishReason": "IMAGE_SAFETY", "index": 0}], "usageMetadata": {"promptTokenCount": 5, "totalTokenCount": 5}})
        drawn = [{"text": "Here it is."}, {"thought": True, "inlineData": {"mimeType": "image/png", "data": "ZHJhZnQ="}},
                 {"inlineData": {"mimeType": "image/png", "data": text(PICTURE)}}]
        usage = {"promptTokenCount": 5, "candidatesTokenCount": 1290, "totalTokenCount": 1295, "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1290}]}
        self.send(200, {"candidates": [{"content": {"role": "model", "parts": drawn}, "finishReason": "STOP", "index": 0}], "usageMetadata": usage})


class Ark(Stand):
    FIELDS = {"model", "prompt", "image", "size", "seed", "guidance_scale", "watermark", "response_format", "sequential_image_generation", "output_format", "stream"}
    asked = 0

    def error(self, why):
        return {"error": {"code": "InvalidParameter", "message": f"{why} Request id: 0217", "param": "", "type": "BadRequest"}}

    def answer(self, request):
        need(self.path == "/api/v3/images/generations", f"no such path: {self.path}")
        if self.headers.get("authorization") != "Bearer ark-secret":
            return self.send(401, {"error": {"code": "AuthenticationError", "message": "the API key is missing or invalid", "param": "", "type": "Unauthorized"}})
        if request.get("model") != "doubao-seedream-4-5-251128":
            return self.send(404, {"error": {"code": "InvalidEndpointOrModel.NotFound", "message": "The model does not exist", "param": "", "type": "NotFound"}})
        need(not set(request) - self.FIELDS, f"unknown field: {set(request) - self.FIELDS}")
        need("seed" not in request and "output_format" not in request, "not supported by this model")
        need(request.get("watermark") is False, "this test wants no watermark")
        size = request.get("size", "2048x2048")
        if not re.fullmatch("[24]K", size):
            width, height = map(int, size.split("x"))
            need(3_686_400 <= width * height <= 16_777_216, "image size must be at least 3686400 pixels.")
        images = request.get("image", [])
        need(all(one.startswith(("https://", "data:image/")) for one in ([images] if isinstance(images, str) else images)), "invalid image")
        Ark.asked += 1
        if "weapon" in request["prompt"] or ("sometimes" in request["prompt"] and Ark.asked % 3 == 0):
            failed = {"error": {"code": "OutputImageSensitiveContentDetected", "message": "The output may contain sensitive information."}}
            return self.send(200, {"model": request["model"], "created": 1757321139, "data": [failed], "usage": {"generated_images": 0}})
        made = {"b64_json": text(JPEG)} if request.get("response_format") == "b64_json" else {"url": "https://ark.tos-cn-beijing.volces.com/a.jpeg?X-Tos-Expires=86400"}
        self.send(200, {"model": request["model"], "created": 1757321139, "data": [{**made, "size": size}], "usage": {"generated_images": 1, "output_tokens": 16384, "total_tokens": 16384}})


class MiniMaxImages(MiniMax):
    RATIOS = {"1:1", "16:9", "4:3", "3:2", "2:3", "3:4", "9:16", "21:9"}

    def do_GET(self):
        assert "authorization" not in self.headers, "a fetch bears a credential"
        self.send_response(200)
        self.send_header("content-type", "image/jpeg")
        self.send_header("content-length", str(len(JPEG)))
        self.end_headers()
        self.wfile.write(JPEG)

    def answer(self, request):
        if self.path != "/v1/image_generation":
            return super().answer(request)
        need(self.headers.get("authorization") == "Bearer minimax-secret", "login fail")
        need(request["model"] in ("image-01", "image-01-live"), "unknown model")
        need(1 <= len(request["prompt"]) <= 1_500, "invalid params, prompt")
        need(1 <= request.get("n", 1) <= 9, "invalid params, n")
        need(("width" in request) == ("height" in request) and ("width" in request) != ("aspect_ratio" in request), "invalid params, size")
        need(all(512 <= request.get(side, 512) <= 2048 and request.get(side, 512) % 8 == 0 for side in ("width", "height")), "invalid params, size")
        need(request.get("aspect_ratio", "1:1") in self.RATIOS, "invalid params, aspect_ratio")
        need(request["response_format"] in ("url", "base64"), "invalid params, response_format")
        need("image-01" == request["model"] or "width" not in request, "invalid params, width")
        if "weapon" in request["prompt"]:
            return self.send(200, {"id": "1", "data": {}, "base_resp": {"status_code": 1026, "status_msg": "input new_sensitive"}})
        failed = 1 if "sometimes" in request["prompt"] else 0
        made = request.get("n", 1) - failed
        # The live model answers with URLs whatever it is asked.
        inline = request["response_format"] == "base64" and request["model"] == "image-01"
        urls = [f"http://{self.headers['host']}/{at}.jpeg" for at in range(made)]
        data = {"image_urls": None if inline else urls, "image_base64": [text(JPEG)] * made if inline else None}
        self.send(200, {"id": "1", "data": data, "metadata": {"success_count": str(made), "failed_count": str(failed)}, "base_resp": {"status_code": 0, "status_msg": "success"}})
