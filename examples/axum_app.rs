//! An axum application with routes of its own and the gateway's beside them.
//!
//! `POST /summaries` is the team's: a key opens it, limits hold for it, and its handler says what it used.
//! `/v1` is the gateway: chat on the offline model `demo-chat`.
//!
//! ```text
//! cargo run --example axum_app
//! ```

use std::error::Error;
use std::sync::Arc;

use axum::extract::Request;
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use axum::{Extension, Json, Router};
use kancy::{
    Caller, Clock, Gateway, HyperClient, KancyAuth, KeyAdmin, Limit, LimitBook, LimitKey, Measure, MemoryKeys,
    MemoryLedger, MemoryQuota, Meter, MeteringLayer, NewKey, Per, QuotaLayer, Registry, Secret, SystemClock, Usage,
};
use serde_json::{Value, json};
use tower::ServiceBuilder;

/// The team's handler: who is calling comes from the key, what was used goes into the meter.
async fn summarise(
    Extension(caller): Extension<Caller>,
    Extension(meter): Extension<Meter>,
    text: String,
) -> Json<Value> {
    let summary: String = text.chars().take(20).collect();
    meter.add(Usage { characters: text.chars().count() as u64, ..Usage::NONE });
    Json(json!({ "for": caller.home().workspace.as_str(), "summary": summary }))
}

/// The application, and a key that opens it.
pub async fn app() -> Result<(Router, Secret, Arc<MemoryLedger>), Box<dyn Error>> {
    let keys = Arc::new(MemoryKeys::new());
    let (minted, record) = NewKey::new("acme", "site")?.mint(SystemClock::new().now());
    keys.insert(record).await?;

    let ledger = Arc::new(MemoryLedger::new());
    let quota = Arc::new(MemoryQuota::new());
    let limits = Arc::new(LimitBook::new([Limit::new(
        LimitKey {
            scope: "workspace:acme".parse()?,
            modality: None,
            model: None,
            measure: Measure::Requests,
            per: Some(Per::Minute),
        },
        3,
    )])?);

    let governed = ServiceBuilder::new()
        .layer(KancyAuth::new(Arc::clone(&keys)))
        .layer(MeteringLayer::new(Arc::clone(&ledger)))
        .layer(QuotaLayer::new(Arc::clone(&quota), Arc::clone(&limits)));
    let gateway = Gateway::builder(Registry::offline(), HyperClient::new())
        .keys(keys)
        .ledger(Arc::clone(&ledger))
        .quota(quota, limits)
        .build();

    let app = Router::new()
        .route("/", get(|_: Request| async { "an application of its own\n" }))
        .route("/summaries", post(summarise).layer(governed))
        .nest_service("/v1", gateway);
    Ok((app, minted.text, ledger))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (app, key, _) = app().await?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    println!(
        "curl -H 'Authorization: Bearer {}' -d 'A long text' http://{}/summaries",
        key.expose(),
        listener.local_addr()?
    );
    // Without this the end of each stream waits for the caller's delayed ACK, some 40 ms.
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, app).await?;
    Ok(())
}
