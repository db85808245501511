//! Authentication: a bearer key becomes a [`Caller`](crate::Caller).
//!
//! Whoever meters, limits or pays for a request must know whose it is, and must not learn it from anything that the
//! caller can write. [`AuthLayer`] reads `Authorization: Bearer kancy_…`, asks a [`KeyStore`](crate::KeyStore) for the
//! key, and puts a `Caller` into the request's extensions. Nothing else in this crate, and nothing outside of it, can
//! make one.
//!
//! ```
//! use std::convert::Infallible;
//! use std::sync::Arc;
//!
//! use http::{Request, Response};
//! use kancy::domain::{caller::Home, name::Name};
//! use kancy::{Caller, Clock, KancyAuth, KeyAdmin, KeyRecord, MemoryKeys, MintedKey, SystemClock};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let keys = Arc::new(MemoryKeys::new());
//! let home = Home { workspace: Name::new("acme")?, project: Name::new("site")?, team: None, environment: None };
//! let minted = MintedKey::new(None);
//! keys.insert(KeyRecord::new(minted.id, minted.digest, home, SystemClock::new().now())).await?;
//!
//! let whoami = service_fn(|request: Request<String>| async move {
//!     let caller: &Caller = request.extensions().get().expect("AuthLayer stands in front");
//!     Ok::<_, Infallible>(Response::new(caller.home().workspace.to_string()))
//! });
//! let service = ServiceBuilder::new().layer(KancyAuth::new(keys)).service(whoami);
//!
//! let request = Request::builder().header("authorization", format!("Bearer {}", minted.text.expose()));
//! assert_eq!(service.clone().oneshot(request.body(String::new())?).await?.status(), 200);
//! assert_eq!(service.oneshot(Request::new(String::new())).await?.status(), 401);
//! # Ok(()) }
//! ```
//!
//! # Order
//!
//! Outermost. Any layer in front of it would work for callers without a key: a body collected, a record written, an
//! upstream called. A layer of this crate that needs a `Caller` and finds none answers with a failure of the gateway.
//!
//! The key goes no further: the headers that carry it are taken from the request that is handed on.
//!
//! # What is refused
//!
//! A refusal is a response, never an error of the service: JSON, or gRPC headers where the request is gRPC.
//!
//! | request | answer |
//! |---|---|
//! | no key, not exactly `Bearer <key>`, two `Authorization` headers, a wrong checksum or secret | 401 `invalid_api_key` |
//! | another credential beside the key, in `x-api-key`, `api-key` or `x-goog-api-key` | 401 `invalid_api_key` |
//! | the time of expiry has come | 401 `key_expired` |
//! | revoked, or replaced and its grace is over | 401 `key_revoked` |
//! | the store fails, and nothing recent is known of the key | 500 `auth_unavailable` |
//!
//! # Failure, and how soon a revocation is seen
//!
//! What the store answered is remembered, for at most [`cache_for`](AuthLayer::cache_for) (30 s) and as long as the
//! store's [`epoch`](crate::KeyStore::epoch) stands still. So a revocation is seen at once where the store can tell,
//! else after `cache_for`. A store that fails is survived for as long by keys it has answered for; expiry and the end of
//! a grace are checked at every request and wait for nothing.
//!
//! Requests that need the same key while it is being looked up share that lookup; if the one that began it goes away,
//! the others carry it on. There is no timer in here: a store must bound its own answers.

mod bounded;
mod cache;
mod credential;
mod flight;
mod future;
mod layer;
mod service;

pub use future::ResponseFuture;
pub use layer::{AuthLayer, KancyAuth};
pub use service::AuthService;
