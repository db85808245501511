//! Makes a picture and reads a text aloud, through a gateway in this process.
//!
//! ```text
//! cargo run --example picture_and_voice
//! OPENAI_API_KEY=… cargo run --example picture_and_voice -- openai-image openai-tts
//! ```

use std::error::Error;
use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use kancy::client::TokioHost;
use kancy::config::Stores;
use kancy::wire::base64;
use kancy::{Clock, Config, Gateway, HyperClient, NewKey, Secret, SystemClock};
use serde_json::{Value, json};
use tower::ServiceExt;

type AnyError = Box<dyn Error + Send + Sync>;

/// A gateway with the demo models, and those whose credentials are in the environment; and a key that opens it.
async fn gateway() -> Result<(Gateway<HyperClient>, Secret), AnyError> {
    let config = Config::from_env(|name| std::env::var(name).ok())?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let stores = Stores::memory(Arc::clone(&clock));
    let (minted, record) = NewKey::new("acme", "studio")?.mint(clock.now());
    stores.key_admin.insert(record).await?;
    let (builder, _, _) = config.gateway(stores, HyperClient::new(), TokioHost, clock).await?;
    Ok((builder.build(), minted.text))
}

/// The answer to a POST; a refusal is an error that says why.
async fn post(path: &str, order: Value) -> Result<Bytes, AnyError> {
    let (gateway, key) = gateway().await?;
    let request = Request::post(path)
        .header("authorization", format!("Bearer {}", key.expose()))
        .header("content-type", "application/json")
        .body(Full::from(order.to_string()))?;
    let response = gateway.oneshot(request).await?;
    let status = response.status();
    let answer = response.into_body().collect().await?.to_bytes();
    if status.is_success() { Ok(answer) } else { Err(String::from_utf8_lossy(&answer).into()) }
}

/// A picture of `prompt`, as a file's bytes.
pub async fn picture(model: &str, prompt: &str) -> Result<Vec<u8>, AnyError> {
    let order = json!({ "model": model, "prompt": prompt, "size": "1536x1024", "response_format": "b64_json" });
    let answer: Value = serde_json::from_slice(&post("/v1/images/generations", order).await?)?;
    let coded = answer["data"][0]["b64_json"].as_str().ok_or("the answer has no picture")?;
    base64::decode(coded).ok_or_else(|| "the picture is no base64".into())
}

/// `text` read aloud, as a file's bytes.
pub async fn voice(model: &str, text: &str) -> Result<Bytes, AnyError> {
    let order = json!({ "model": model, "input": text, "voice": "alloy", "response_format": "wav" });
    post("/v1/audio/speech", order).await
}

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    let mut models = std::env::args().skip(1);
    let (painter, speaker) = (models.next(), models.next());
    let picture = picture(painter.as_deref().unwrap_or("demo-image"), "A quiet city street at sunrise").await?;
    std::fs::write("street.png", &picture)?;
    let voice = voice(speaker.as_deref().unwrap_or("demo-tts"), "The city is waking up.").await?;
    std::fs::write("street.wav", &voice)?;
    println!("street.png ({} bytes), street.wav ({} bytes)", picture.len(), voice.len());
    Ok(())
}
