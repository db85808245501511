//! See the [module docs](super).

use std::sync::Arc;
use std::time::Duration;

use tower_layer::Layer;

use crate::base::clock::{Clock, SystemClock};
use crate::domain::pepper::Pepper;
use crate::store::keys::KeyStore;

use super::cache::KeyCache;
use super::service::AuthService;

/// Lets requests with a good key pass, as their [`Caller`](crate::Caller). See the [module docs](super).
///
/// All services made by one layer, and by its clones, share what is remembered of keys.
#[derive(Clone, Debug)]
pub struct AuthLayer {
    keys: Arc<KeyCache>,
    passes_known: bool,
}

/// [`AuthLayer`] under the product's name.
pub type KancyAuth = AuthLayer;

impl AuthLayer {
    /// Authenticates by the keys of `keys`: a store, or an `Arc` of one.
    pub fn new(keys: impl KeyStore) -> Self {
        const CACHE_FOR: Duration = Duration::from_secs(30);
        let clock = Arc::new(SystemClock::new());
        Self { keys: Arc::new(KeyCache::new(Arc::new(keys), clock, CACHE_FOR)), passes_known: false }
    }

    /// How long an answer of the store may be relied on while the store cannot tell of changes, or cannot be reached.
    /// 30 s by default; zero asks the store at every request.
    #[must_use]
    pub fn cache_for(self, time: Duration) -> Self {
        Self { keys: Arc::new(self.keys.with_cache_for(time)), ..self }
    }

    /// Where the time comes from; the machine's clock by default.
    #[must_use]
    pub fn clock(self, clock: impl Clock) -> Self {
        Self { keys: Arc::new(self.keys.with_clock(Arc::new(clock))), ..self }
    }

    /// Keys are stored under this pepper: see [`Pepper`].
    #[must_use]
    pub fn pepper(self, pepper: Pepper) -> Self {
        Self { keys: Arc::new(self.keys.with_pepper(pepper)), ..self }
    }

    /// Lets a request without a key pass whose extensions bear a [`Caller`](crate::Caller): an auth layer further out has
    /// taken the key, or a handler of the host's own asks in its caller's name. Nobody outside of this process can put one
    /// there; but whether the key still opens is not asked again, so do not keep a `Caller` for longer than its request.
    #[must_use]
    pub fn pass_known_callers(self) -> Self {
        Self { passes_known: true, ..self }
    }
}

impl<S> Layer<S> for AuthLayer {
    type Service = AuthService<S>;

    fn layer(&self, inner: S) -> AuthService<S> {
        AuthService::new(inner, Arc::clone(&self.keys), self.passes_known)
    }
}
