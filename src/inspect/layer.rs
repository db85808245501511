use std::sync::Arc;

use tower_layer::Layer;

use crate::domain::model::Catalog;

use super::accept::Rules;
use super::service::InspectService;

/// Reads request bodies. See the [module docs](super).
#[derive(Clone, Debug, Default)]
pub struct InspectLayer {
    rules: Arc<Rules>,
}

impl InspectLayer {
    /// A layer that takes any model, and bodies of up to 32 MiB (audio uploads: 25 MiB).
    pub fn new() -> Self {
        Self::default()
    }

    /// Refuses models that `catalog` does not know, that the caller may not use, or that do not fit the route.
    #[must_use]
    pub fn catalog(mut self, catalog: impl Catalog) -> Self {
        Arc::make_mut(&mut self.rules).catalog = Some(Arc::new(catalog));
        self
    }

    /// The longest body, in bytes. Default: 33,554,432.
    #[must_use]
    pub fn max_body_bytes(mut self, bytes: usize) -> Self {
        Arc::make_mut(&mut self.rules).max_body_bytes = bytes;
        self
    }

    /// The longest body of an audio upload, in bytes. Default: 26,214,400.
    #[must_use]
    pub fn max_upload_bytes(mut self, bytes: usize) -> Self {
        Arc::make_mut(&mut self.rules).max_upload_bytes = bytes;
        self
    }
}

impl<S> Layer<S> for InspectLayer {
    type Service = InspectService<S>;

    fn layer(&self, inner: S) -> InspectService<S> {
        InspectService::new(inner, self.rules.clone())
    }
}
