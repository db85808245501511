"""Starts the stand-in vendor and the gateway over it, runs a command with KANCY_BASE_URL, KANCY_API_KEY and KANCY_ADMIN set, stops both.

    stack.py GATEWAY -- COMMAND…
"""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading

import vendors_films
from vendor import Vendor
from vendors_abroad import Anthropic
from vendors_image import Ark, GeminiImages, MiniMaxImages

ADMIN = "admin-token-of-the-client-tests"
# Two, as while one takes the other's place.
HOOKS = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"]


def config(vendor: str, anthropic: str, gemini: str, ark: str, minimax: str, keys: dict) -> str:
    """One workspace, one key for all models, and keys that meet each refusal."""
    lines = [f"""
[storage]
url = "memory:"
[admin]
token = "{ADMIN}"
[providers.openai]
kind = "openai"
base_url = "{vendor}/v1"
api_key = "sk-upstream-secret"
[providers.elsewhere]
kind = "openai-compatible"
base_url = "{vendor}/v1"
api_key = "sk-wrong"
[providers.anthropic]
kind = "anthropic"
base_url = "{anthropic}"
api_key = "anthropic-secret"
[providers.gemini]
kind = "gemini"
base_url = "{gemini}"
api_key = "gemini-secret"
[providers.ark]
kind = "ark"
base_url = "{ark}/api/v3"
api_key = "ark-secret"
[providers.minimax]
kind = "minimax"
base_url = "{minimax}"
api_key = "minimax-secret"
content_hosts = ["{minimax.removeprefix("http://")}"]
[models."minimax-image"]
provider = "minimax"
price = {{ per_image = "0.0035" }}
[models."minimax-live"]
provider = "minimax"
upstream = "image-01-live"
modality = "image"
price = {{ per_image = "0.0035" }}
[models."bytedance-image"]
provider = "ark"
price = {{ per_image = "0.04" }}
[models."dall-e-3"]
provider = "openai"
modality = "image"
price = {{ per_image = "0.04" }}
[[models."dall-e-3".price_tier]]
when = {{ quality = "hd", size = "1024x1792" }}
price = {{ per_image = "0.12" }}
[[models."dall-e-3".price_tier]]
when = {{ quality = "hd" }}
price = {{ per_image = "0.08" }}
[models."gpt-4o-mini-tts"]
provider = "openai"
modality = "voice"
price = {{ input = "0.60", output = "12.00" }}
[models."gpt-4o-transcribe-diarize"]
provider = "openai"
modality = "voice"
price = {{ input = "2.50", output = "10.00" }}
[models."minimax-tts"]
provider = "minimax"
upstream = "speech-2.8-hd"
modality = "voice"
price = {{ per_character = "0.0001" }}
[models."gpt-4o-transcribe"]
provider = "openai"
modality = "voice"
price = {{ input = "2.50", output = "10.00" }}
[models."text-embedding-3-small"]
provider = "openai"
modality = "embedding"
price = {{ input = "0.02" }}
[models."unpriced"]
provider = "openai"
upstream = "gpt-4o"
max_output_tokens = 100
[models."bad-credential"]
provider = "elsewhere"
upstream = "gpt-4o"
"""]
    for fault in ("rate-limited", "overloaded", "quota", "broken", "gone", "too-long", "unsafe", "cut-midway", "error-midway"):
        lines.append(f'[models."{fault}"]\nprovider = "openai"\nprice = "free"\n')
    for name, text in keys.items():
        models = '["gpt-4o"]' if name == "narrow" else '["*"]'
        lines.append(f'[[keys]]\nkey = "{text}"\nname = "{name}"\nworkspace = "{name}"\nproject = "site"\nmodels = {models}\n')
    lines.append("""
[[limits]]
scope = "workspace:rated"
measure = "requests"
amount = 1
per = "minute"
[[limits]]
scope = "workspace:capped"
measure = "spend"
amount = "0.000001"
per = "total"
[[limits]]
scope = "workspace:daily"
measure = "requests"
amount = 0
per = "day"
""")
    return "\n".join(lines)


def main() -> int:
    gateway, command = sys.argv[1], sys.argv[sys.argv.index("--") + 1 :]
    vendors = [stand.start() for stand in (Vendor, Anthropic, GeminiImages, Ark, MiniMaxImages)]
    keys = {}
    for name in ("wide", "narrow", "rated", "capped", "daily"):
        minted = subprocess.run([gateway, "--mint-key", "test"], capture_output=True, text=True, check=True).stdout
        keys[name] = re.search(r"^key: (\S+)$", minted, re.M).group(1)
    home = tempfile.mkdtemp()
    path = os.path.join(home, "kancy.toml")
    films, hooks = vendors_films.start()
    with open(path, "w") as file:
        file.write(config(*vendors, keys) + vendors_films.config(films, hooks, HOOKS))
    program = subprocess.Popen([gateway, "--config", path, "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True)
    base = None
    for line in program.stdout:
        found = re.search(r"listening on (http://\S+)", line)
        if found:
            base = found.group(1).rstrip("/")
            break
    if base is None:
        print("the gateway did not start", file=sys.stderr)
        return 1
    threading.Thread(target=lambda: [None for _ in program.stdout], daemon=True).start()
    environment = dict(os.environ, KANCY_BASE_URL=base + "/v1", KANCY_ADMIN=ADMIN, KANCY_HOOKS=hooks, KANCY_HOOK_SECRETS=json.dumps(HOOKS),
                       PYTHONPATH=os.path.dirname(os.path.abspath(__file__)))
    environment |= {f"KANCY_KEY_{name.upper()}": text for name, text in keys.items()}
    code = subprocess.run(command, env=environment).returncode
    program.send_signal(signal.SIGTERM)
    stopped = program.wait(timeout=40)
    return code or stopped


if __name__ == "__main__":
    sys.exit(main())
