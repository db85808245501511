//! Databases on a throw-away PostgreSQL server.

use std::time::{Duration, Instant};

use kancy::PostgresStore;
use kancy::base::id::new_id;

use crate::servers::Server;

/// A database of its own on `server`, and its URL.
pub async fn database(server: &Server) -> String {
    let name = new_id::<String>("db").to_lowercase();
    let end = Instant::now() + Duration::from_secs(30);
    let client = loop {
        match tokio_postgres::connect(&server.url, tokio_postgres::NoTls).await {
            Ok((client, connection)) => {
                tokio::spawn(connection);
                break client;
            }
            Err(error) => assert!(Instant::now() < end, "PostgreSQL does not come up: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    client.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
    server.url.replace("/postgres?", &format!("/{name}?"))
}

#[allow(dead_code, reason = "some tests connect with options")]
pub async fn connect(url: &str) -> PostgresStore {
    PostgresStore::connect(url).await.unwrap()
}
