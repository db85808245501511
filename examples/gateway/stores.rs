//! From `[storage]` to the stores.

use std::sync::Arc;

use kancy::config::{StorageUrl, Stores};
use kancy::{Clock, Config};

/// Opens what the configuration names.
pub async fn open(config: &Config, clock: &Arc<dyn Clock>) -> Result<Stores, String> {
    match &config.storage.url {
        StorageUrl::Memory | StorageUrl::Sqlite(_) => Ok(Stores::memory(Arc::clone(clock))),
        _ => Err("storage.url: postgres:// is not available in this build; use \"memory:\"".to_owned()),
    }
}
