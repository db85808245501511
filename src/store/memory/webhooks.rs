//! Webhook endpoints in memory.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::base::secret::Secret;
use crate::base::store_future::StoreFuture;
use crate::domain::webhook::Endpoint;
use crate::store::error::StoreResult;
use crate::store::webhooks::{EndpointStore, SignedEndpoint};

/// Keeps webhook endpoints, and forgets them with the process.
#[derive(Debug, Default)]
pub struct MemoryEndpoints(Mutex<Vec<SignedEndpoint>>);

impl MemoryEndpoints {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<SignedEndpoint>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EndpointStore for MemoryEndpoints {
    fn all(&self) -> StoreFuture<StoreResult<Vec<SignedEndpoint>>> {
        StoreFuture::ready(Ok(self.lock().clone()))
    }

    fn put(&self, endpoint: Endpoint, secrets: Vec<Secret>) -> StoreFuture<StoreResult<()>> {
        let mut all = self.lock();
        match all.iter_mut().find(|(held, _)| held.id == endpoint.id) {
            Some(held) => *held = (endpoint, secrets),
            None => all.push((endpoint, secrets)),
        }
        StoreFuture::ready(Ok(()))
    }

    fn remove(&self, id: &str) -> StoreFuture<StoreResult<bool>> {
        let mut all = self.lock();
        let before = all.len();
        all.retain(|(held, _)| *held.id != *id);
        StoreFuture::ready(Ok(all.len() < before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::contract;

    #[tokio::test]
    async fn the_contract_holds() {
        contract::endpoints::run(&MemoryEndpoints::new()).await;
    }
}
