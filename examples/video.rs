//! Makes a video, follows it with a progress bar, and saves the file.
//!
//! ```text
//! cargo run --example video
//! GEMINI_API_KEY=… cargo run --example video -- veo "A quiet city street at sunrise"
//! ```

use std::error::Error;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use kancy::client::TokioHost;
use kancy::config::Stores;
use kancy::{Clock, Config, Gateway, HyperClient, NewKey, Secret, SystemClock};
use serde_json::{Value, json};
use tower::ServiceExt;

type AnyError = Box<dyn Error + Send + Sync>;

/// A caller of a gateway in this process.
struct Caller {
    gateway: Gateway<HyperClient>,
    key: Secret,
}

impl Caller {
    /// The demo models, and those whose credentials are in the environment.
    async fn new() -> Result<Self, AnyError> {
        let config = Config::from_env(|name| std::env::var(name).ok())?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let stores = Stores::memory(Arc::clone(&clock));
        let (minted, record) = NewKey::new("acme", "films")?.mint(clock.now());
        stores.key_admin.insert(record).await?;
        let (builder, jobs, _) = config.gateway(stores, HyperClient::new(), TokioHost, clock).await?;
        // Without this, jobs move only when somebody reads them.
        tokio::spawn(jobs.drive());
        Ok(Self { gateway: builder.build(), key: minted.text })
    }

    async fn send(&self, method: &str, path: &str, body: Value) -> Result<Bytes, AnyError> {
        let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {}", self.key.expose()))
            .header("content-type", "application/json")
            .body(Full::new(body))?;
        let response = self.gateway.clone().oneshot(request).await?;
        let status = response.status();
        let bytes = response.into_body().collect().await?.to_bytes();
        match status.is_success() {
            true => Ok(bytes),
            false => Err(complaint(&bytes).into()),
        }
    }

    async fn json(&self, method: &str, path: &str, body: Value) -> Result<Value, AnyError> {
        Ok(serde_json::from_slice(&self.send(method, path, body).await?)?)
    }
}

/// Makes a video of `model` and gives its file, telling `progress` how far it is, in percent.
pub async fn film(model: &str, prompt: &str, mut progress: impl FnMut(u64)) -> Result<Bytes, AnyError> {
    let caller = Caller::new().await?;
    let order = json!({ "model": model, "prompt": prompt, "duration": 6, "aspect_ratio": "16:9" });
    let mut job = caller.json("POST", "/v1/videos/generations", order).await?;
    let path = format!("/v1/videos/generations/{}", job["id"].as_str().unwrap_or_default());
    while matches!(job["status"].as_str(), Some("queued" | "in_progress")) {
        progress(job["progress"].as_u64().unwrap_or(0));
        tokio::time::sleep(Duration::from_millis(200)).await;
        job = caller.json("GET", &path, Value::Null).await?;
    }
    if job["status"] != "completed" {
        let why = job["error"]["message"].as_str().unwrap_or_default();
        return Err(format!("the video was not made, it is {}: {why}", job["status"].as_str().unwrap_or("lost")).into());
    }
    progress(100);
    caller.send("GET", &format!("{path}/content"), Value::Null).await
}

/// What an error answer says to people.
fn complaint(answer: &[u8]) -> String {
    let told: Value = serde_json::from_slice(answer).unwrap_or_default();
    let error = &told["error"];
    format!("{} ({})", error["message"].as_str().unwrap_or("no answer"), error["code"].as_str().unwrap_or("?"))
}

fn bar(percent: u64) {
    let done = percent as usize / 4;
    print!("\r[{}{}] {percent:3} %", "#".repeat(done), " ".repeat(25 - done));
    // A bar that cannot be drawn is no reason to give up the film.
    let _ = std::io::stdout().flush();
}

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    let mut words = std::env::args().skip(1);
    let model = words.next().unwrap_or_else(|| "demo-video".to_owned());
    let prompt = words.next().unwrap_or_else(|| "A quiet city street at sunrise".to_owned());
    let bytes = film(&model, &prompt, bar).await?;
    let path = std::env::temp_dir().join(format!("{}.mp4", model.replace(std::path::MAIN_SEPARATOR, "-")));
    std::fs::write(&path, &bytes)?;
    println!("\n{} bytes in {}", bytes.len(), path.display());
    Ok(())
}
