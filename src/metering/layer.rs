//! The layer and its settings.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::{Method, Request};
use tower_layer::Layer;

use crate::base::clock::{Clock, SystemClock};
use crate::base::log;
use crate::domain::caller::Caller;
use crate::domain::endpoint::Endpoint;
use crate::http::closing::Closing;
use crate::http::meter::{Abandoned, counts};
use crate::store::ledger::UsageSink;

use super::service::MeteringService;

/// Writes one usage record for every model request. See the [module](super) for order and failure.
#[derive(Clone, Debug)]
pub struct MeteringLayer {
    settings: Arc<Settings>,
}

#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) sink: Arc<dyn UsageSink>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) abandoned: Abandoned,
    pub(super) closing: Closing,
    model_routes_only: bool,
    /// A request without a caller has been told of: once is enough.
    has_told: Arc<AtomicBool>,
}

impl MeteringLayer {
    /// Records go to `sink`.
    pub fn new(sink: impl UsageSink) -> Self {
        Self {
            settings: Arc::new(Settings {
                sink: Arc::new(sink),
                clock: Arc::new(SystemClock::new()),
                abandoned: Abandoned::default(),
                closing: Closing::default(),
                model_routes_only: false,
                has_told: Arc::default(),
            }),
        }
    }

    /// Takes the time from `clock` instead of the system.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        Arc::make_mut(&mut self.settings).clock = Arc::new(clock);
        self
    }

    /// What is booked for an answer that its caller did not wait for; by default [`Abandoned::Seen`].
    #[must_use]
    pub fn abandoned(mut self, abandoned: Abandoned) -> Self {
        Arc::make_mut(&mut self.settings).abandoned = abandoned;
        self
    }

    /// Meters a POST to one of the paths of [`Endpoint`] and nothing else. By default every request is metered but GET, HEAD,
    /// OPTIONS, TRACE and DELETE, which no limit counts either, as a handler of your own may stand at any path.
    #[must_use]
    pub fn model_routes_only(mut self) -> Self {
        Arc::make_mut(&mut self.settings).model_routes_only = true;
        self
    }

    /// The switch by which the host will say that it is going down. The host keeps a clone.
    #[must_use]
    pub fn closing(mut self, closing: Closing) -> Self {
        Arc::make_mut(&mut self.settings).closing = closing;
        self
    }
}

impl Settings {
    /// The caller of a request that is to be metered.
    pub(super) fn metered<B>(&self, request: &Request<B>, caller: Option<Caller>) -> Option<Caller> {
        let is_metered = match self.model_routes_only {
            true => request.method() == Method::POST && Endpoint::of(request.uri().path()).is_some(),
            false => counts(request.method()),
        };
        if is_metered && caller.is_none() && !self.has_told.swap(true, Ordering::Relaxed) {
            log::not_metered();
        }
        caller.filter(|_| is_metered)
    }
}

impl<S> Layer<S> for MeteringLayer {
    type Service = MeteringService<S>;

    fn layer(&self, inner: S) -> MeteringService<S> {
        MeteringService::new(inner, Arc::clone(&self.settings))
    }
}
