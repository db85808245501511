//! What every store of webhook endpoints must do. Run [`run`] on yours, in a test:
//!
//! ```
//! use kancy::store::contract::endpoints;
//! use kancy::store::memory::webhooks::MemoryEndpoints;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! endpoints::run(&MemoryEndpoints::new()).await;
//! # }
//! ```
//!
//! The checks want an empty store, and leave it empty.

use crate::base::clock::Timestamp;
use crate::base::id::new_id;
use crate::base::secret::Secret;
use crate::domain::name::Name;
use crate::domain::webhook::{Endpoint, EventKind};
use crate::store::webhooks::{EndpointStore, SignedEndpoint};

/// Every check below.
pub async fn run(store: &dyn EndpointStore) {
    endpoints_are_kept_in_order_with_their_secrets(store).await;
    one_of_the_same_id_is_replaced_in_its_place(store).await;
    a_removed_one_is_gone(store).await;
}

/// An endpoint that gets everything.
pub fn sample() -> Endpoint {
    Endpoint {
        id: new_id("whk_"),
        workspace: Name::new("contract").expect("a name of 1 to 64 of A-Z a-z 0-9 . _ -"),
        url: "https://example.com/hook".into(),
        events: EventKind::ALL.to_vec(),
        allow_private: false,
        created_at: Timestamp::from_secs(1_800_000_000),
        disabled: false,
    }
}

async fn put(store: &dyn EndpointStore, (endpoint, secrets): &SignedEndpoint) {
    store.put(endpoint.clone(), secrets.clone()).await.expect("an endpoint is stored");
}

async fn all(store: &dyn EndpointStore) -> Vec<SignedEndpoint> {
    store.all().await.expect("endpoints are read")
}

async fn clear(store: &dyn EndpointStore) {
    for (endpoint, _) in all(store).await {
        assert!(store.remove(&endpoint.id).await.expect("an endpoint is removed"));
    }
}

/// Oldest first; two secrets while they are rotated, the newest first.
pub async fn endpoints_are_kept_in_order_with_their_secrets(store: &dyn EndpointStore) {
    let both: Vec<Secret> = vec!["whsec_bmV3".into(), "whsec_b2xk".into()];
    let kept = [(sample(), both), (sample(), vec!["whsec_b25l".into()])];
    for endpoint in &kept {
        put(store, endpoint).await;
    }
    assert_eq!(all(store).await, kept);
    clear(store).await;
}

/// A change keeps an endpoint's place in the list.
pub async fn one_of_the_same_id_is_replaced_in_its_place(store: &dyn EndpointStore) {
    let (first, second) = ((sample(), vec!["whsec_b25l".into()]), (sample(), vec!["whsec_dHdv".into()]));
    put(store, &first).await;
    put(store, &second).await;
    let disabled = (Endpoint { disabled: true, ..first.0 }, vec!["whsec_bmV3".into()]);
    put(store, &disabled).await;
    assert_eq!(all(store).await, [disabled, second]);
    clear(store).await;
}

/// Removed once, then unknown.
pub async fn a_removed_one_is_gone(store: &dyn EndpointStore) {
    let gone = (sample(), vec!["whsec_b25l".into()]);
    put(store, &gone).await;
    assert!(store.remove(&gone.0.id).await.expect("an endpoint is removed"));
    assert!(!store.remove(&gone.0.id).await.expect("it is answered"), "it is gone already");
    assert_eq!(all(store).await, []);
}
