//! From `[storage]` to the stores.

use std::sync::Arc;

use kancy::config::{StorageUrl, Stores};
use kancy::{Clock, Config, Pepper, PostgresOptions, PostgresStore, SqliteOptions, SqliteStore};

/// Opens what the configuration names.
pub async fn open(config: &Config, clock: &Arc<dyn Clock>) -> Result<Stores, String> {
    let durable = config.storage.durable;
    let stores = match &config.storage.url {
        StorageUrl::Memory => Stores::memory(Arc::clone(clock)),
        StorageUrl::Sqlite(path) => {
            let mut options = SqliteOptions::default();
            options.durable = durable;
            let store = SqliteStore::open_with(path, options).map_err(|e| e.to_string())?;
            if store.recovered() > 0 {
                println!("recovered {} requests that were in flight, posted at what they held", store.recovered());
            }
            Stores::sqlite(store, Arc::clone(clock))
        }
        StorageUrl::Postgres(url) => {
            let mut options = PostgresOptions::default();
            options.durable = durable;
            let store = PostgresStore::connect_with(url.expose(), options).await;
            Stores::postgres(store.map_err(|e| format!("storage.url: {e}"))?)
        }
        _ => return Err("storage.url: this build has no such store".to_owned()),
    };
    let stores = match &config.storage.quota {
        Some(url) => stores.with_redis(url.expose()).await.map_err(|e| format!("storage.quota: {e}"))?,
        None => stores,
    };
    match std::env::var("KANCY_KEY_PEPPER") {
        Ok(pepper) => Ok(stores.pepper(Pepper::new(pepper).map_err(|e| format!("KANCY_KEY_PEPPER: {e}"))?)),
        Err(_) => Ok(stores),
    }
}
