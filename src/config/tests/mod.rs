//! The sample of CONTRACT section 2, and one bad file for each way to be wrong.

mod bad;
mod good;

use super::Config;

const KEY: &str = "kancy_production_000SYW7RiJxkEgOGusQGwp_3oDH4mEVFvp7u7ED6UzpF5eHPrBI5AHumY7UBpOQIJz41yIaJ";
const KEY_ID: &str = "000SYW7RiJxkEgOGusQGwp";

const SAMPLE: &str = r#"
[storage]
url = "sqlite:kancy.db"
quota = "redis://127.0.0.1:6379"
durable = true
on_store_failure = "closed"

[gateway]
max_body_bytes = 33554432
on_disconnect = "drain"
drain_seconds = 31
abandoned = "held"
shutdown_grace_seconds = 32
key_cache_seconds = 33
public_base_url = "https://ai.example.com"

[admin]
token = "env:KANCY_ADMIN_TOKEN"

[providers.openai]
kind = "openai"
base_url = "http://127.0.0.1:9000/v1/"
api_key = "env:OPENAI_API_KEY"
timeout_seconds = 601
idle_timeout_seconds = 121
content_hosts = ["cdn.example.com"]

[models."gpt-4o"]
provider = "openai"
upstream = "gpt-4o"
modality = "text"
max_output_tokens = 16384
max_reasoning_tokens = 7
max_part_tokens = 50001
price = { input = "2.50", cached_input = "1.25", output = "10.00" }
options = "nearest"

[[models."gpt-4o".price_tier]]
when = { size = "1536x1024", quality = "high", resolution = "1080p", audio = true, mode = "pro", input_over = 200000 }
price = { input = "5" }

[[keys]]
key = "env:SITE_KEY"
name = "site-prod"
workspace = "acme"
project = "site"
team = "web"
environment = "production"
models = ["gpt-4o", "claude-*"]
modalities = ["text", "image"]

[[limits]]
scope = "workspace:acme"
modality = "text"
model = "gpt-4o"
measure = "tokens"
amount = 100000
per = "minute"
mode = "enforce"
alert_at = [0.5, 0.8, 1.0]
on_store_failure = "open"

[[limits]]
scope = "key:site-prod"
measure = "spend"
amount = "12.50"
per = "total"
mode = "shadow"

[jobs]
poll_seconds = 5
max_poll_seconds = 30
deadline_seconds = 1800
on_unknown = "charge"

[delivery]
schedule_seconds = [0, 5, 300]
timeout_seconds = 20

[[webhooks]]
workspace = "acme"
url = "https://example.com/hook?a=b"
secret = ["env:HOOK_SECRET", "whsec_b2xk"]
events = ["video.generation.completed", "usage.alert.triggered"]
allow_private = false
"#;

fn env(name: &str) -> Option<String> {
    let value = match name {
        "KANCY_ADMIN_TOKEN" => "admin-secret",
        "OPENAI_API_KEY" => "sk-secret",
        "SITE_KEY" => KEY,
        "HOOK_SECRET" => "whsec_bmV3",
        "BAD" => "canary of the environment",
        _ => return None,
    };
    Some(value.to_owned())
}

fn error(file: &str) -> String {
    Config::parse(file, env).unwrap_err().to_string()
}
