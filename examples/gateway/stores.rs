//! From `[storage]` to the stores.

use std::sync::Arc;

use kancy::config::{StorageUrl, Stores};
use kancy::{Clock, Config, SqliteOptions, SqliteStore};

/// Opens what the configuration names.
pub async fn open(config: &Config, clock: &Arc<dyn Clock>) -> Result<Stores, String> {
    match &config.storage.url {
        StorageUrl::Memory => Ok(Stores::memory(Arc::clone(clock))),
        StorageUrl::Sqlite(path) => {
            let mut options = SqliteOptions::default();
            options.durable = config.storage.durable;
            let store = SqliteStore::open_with(path, options).map_err(|e| e.to_string())?;
            if store.recovered() > 0 {
                println!("recovered {} requests that were in flight, posted at what they held", store.recovered());
            }
            Ok(Stores::sqlite(store, Arc::clone(clock)))
        }
        _ => Err("storage.url: postgres:// is not available in this build; use \"memory:\"".to_owned()),
    }
}
