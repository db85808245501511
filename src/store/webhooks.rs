//! Stores of webhook endpoints that the admin API made (those of the configuration are never stored).

use std::fmt;
use std::sync::Arc;

use crate::base::secret::Secret;
use crate::base::store_future::StoreFuture;
use crate::domain::webhook::Endpoint;

use super::error::StoreResult;

/// Keeps webhook endpoints and their secrets. Few, so that they are read all at once.
pub trait EndpointStore: fmt::Debug + Send + Sync + 'static {
    /// All of them, oldest first, each with its signing secrets.
    fn all(&self) -> StoreFuture<StoreResult<Vec<(Endpoint, Vec<Secret>)>>>;

    /// Adds an endpoint, or replaces the one of the same id.
    fn put(&self, endpoint: Endpoint, secrets: Vec<Secret>) -> StoreFuture<StoreResult<()>>;

    /// Removes an endpoint; `false` when there is none of this id.
    fn remove(&self, id: &str) -> StoreFuture<StoreResult<bool>>;
}

impl<T: EndpointStore + ?Sized> EndpointStore for Arc<T> {
    fn all(&self) -> StoreFuture<StoreResult<Vec<(Endpoint, Vec<Secret>)>>> {
        (**self).all()
    }

    fn put(&self, endpoint: Endpoint, secrets: Vec<Secret>) -> StoreFuture<StoreResult<()>> {
        (**self).put(endpoint, secrets)
    }

    fn remove(&self, id: &str) -> StoreFuture<StoreResult<bool>> {
        (**self).remove(id)
    }
}
