//! Webhook endpoints: those that the admin API makes, which are stored, and those of the configuration, which are not.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::base::secret::Secret;
use crate::base::store_future::StoreFuture;
use crate::domain::webhook::Endpoint;

use super::error::{StoreError, StoreErrorKind, StoreResult};

/// An endpoint and its signing secrets, the newest first.
pub type SignedEndpoint = (Endpoint, Vec<Secret>);

/// Keeps webhook endpoints and their secrets. Few, so that they are read all at once.
pub trait EndpointStore: fmt::Debug + Send + Sync + 'static {
    /// All of them, oldest first, each with its signing secrets.
    fn all(&self) -> StoreFuture<StoreResult<Vec<SignedEndpoint>>>;

    /// Adds an endpoint, or replaces the one of the same id.
    fn put(&self, endpoint: Endpoint, secrets: Vec<Secret>) -> StoreFuture<StoreResult<()>>;

    /// Removes an endpoint; `false` when there is none of this id.
    fn remove(&self, id: &str) -> StoreFuture<StoreResult<bool>>;
}

impl<T: EndpointStore + ?Sized> EndpointStore for Arc<T> {
    fn all(&self) -> StoreFuture<StoreResult<Vec<SignedEndpoint>>> {
        (**self).all()
    }

    fn put(&self, endpoint: Endpoint, secrets: Vec<Secret>) -> StoreFuture<StoreResult<()>> {
        (**self).put(endpoint, secrets)
    }

    fn remove(&self, id: &str) -> StoreFuture<StoreResult<bool>> {
        (**self).remove(id)
    }
}

/// The endpoints of the configuration before those of a store. What changes of the former is kept in this process alone.
#[derive(Debug)]
pub struct ConfiguredEndpoints {
    fixed: Mutex<Vec<SignedEndpoint>>,
    stored: Arc<dyn EndpointStore>,
}

impl ConfiguredEndpoints {
    /// `fixed`, and behind them what is `stored`.
    pub fn new(fixed: Vec<SignedEndpoint>, stored: Arc<dyn EndpointStore>) -> Self {
        Self { fixed: Mutex::new(fixed), stored }
    }

    fn fixed(&self) -> MutexGuard<'_, Vec<SignedEndpoint>> {
        self.fixed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EndpointStore for ConfiguredEndpoints {
    fn all(&self) -> StoreFuture<StoreResult<Vec<SignedEndpoint>>> {
        let mut all = self.fixed().clone();
        let stored = self.stored.all();
        StoreFuture::new(async move {
            all.extend(stored.await?);
            Ok(all)
        })
    }

    fn put(&self, endpoint: Endpoint, secrets: Vec<Secret>) -> StoreFuture<StoreResult<()>> {
        if let Some(held) = self.fixed().iter_mut().find(|(held, _)| held.id == endpoint.id) {
            *held = (endpoint, secrets);
            return StoreFuture::ready(Ok(()));
        }
        self.stored.put(endpoint, secrets)
    }

    fn remove(&self, id: &str) -> StoreFuture<StoreResult<bool>> {
        if self.fixed().iter().any(|(held, _)| *held.id == *id) {
            let message = "This webhook stands in the configuration file: change it there.";
            return StoreFuture::ready(Err(StoreError::new(StoreErrorKind::Refused, message)));
        }
        self.stored.remove(id)
    }
}
