//! The gateway on plain hyper, without a framework.
//!
//! ```text
//! cargo run --example hyper_service
//! ```

use std::error::Error;
use std::sync::Arc;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use kancy::{Clock, Gateway, HyperClient, KeyAdmin, MemoryKeys, MemoryLedger, NewKey, Registry, Secret, SystemClock};
use tokio::net::TcpListener;

/// Serves the gateway until the process ends.
pub async fn serve(listener: TcpListener, gateway: Gateway<HyperClient>) -> Result<(), Box<dyn Error + Send + Sync>> {
    loop {
        let (stream, _) = listener.accept().await?;
        // Without this the end of each stream waits for the caller's delayed ACK, some 40 ms.
        stream.set_nodelay(true)?;
        let service = TowerToHyperService::new(gateway.clone());
        tokio::spawn(async move {
            // A connection that fails is its caller's affair.
            let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// A gateway with the offline models, and a key that opens it.
pub async fn gateway() -> Result<(Gateway<HyperClient>, Secret), Box<dyn Error>> {
    let keys = Arc::new(MemoryKeys::new());
    let (minted, record) = NewKey::new("acme", "site")?.mint(SystemClock::new().now());
    keys.insert(record).await?;
    let gateway = Gateway::builder(Registry::offline(), HyperClient::new())
        .keys(keys)
        .ledger(Arc::new(MemoryLedger::new()))
        .build();
    Ok((gateway, minted.text))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let (gateway, key) = gateway().await.map_err(|e| e.to_string())?;
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    println!("curl -H 'Authorization: Bearer {}' http://{}/v1/models", key.expose(), listener.local_addr()?);
    serve(listener, gateway).await
}
