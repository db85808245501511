//! Keys that open nothing without the operator's pepper.

use std::sync::Arc;

use kancy::store::peppered::PepperedKeys;
use kancy::{AuthLayer, KeyAdmin, MintedKey, Pepper};

use crate::setup::{START, Setup, mint};

fn pepper(text: &str) -> Pepper {
    Pepper::new(text).unwrap()
}

#[tokio::test]
async fn a_peppered_key_opens_with_its_pepper_alone() {
    let mut setup = Setup::new();
    let (plain, (key, record)) = (setup.key("acme").await, mint("acme"));
    let admin = PepperedKeys::new(Arc::clone(&setup.keys.held), pepper("the pepper of this test"));
    let stored = admin.insert(record).await.unwrap();
    assert_ne!(stored.digest, key.digest, "what is stored is no digest of the key");

    setup.ask_as(&key).await.is(401, "invalid_api_key");
    let layer = |text| AuthLayer::new(Arc::clone(&setup.keys)).clock(Arc::clone(&setup.clock)).pepper(pepper(text));
    let (right, wrong) = (layer("the pepper of this test"), layer("another pepper than that"));
    setup.layer = right;
    setup.ask_as(&key).await.passes();
    setup.ask_as(&plain).await.is(401, "invalid_api_key");
    setup.layer = wrong;
    setup.ask_as(&key).await.is(401, "invalid_api_key");
}

#[tokio::test]
async fn a_peppered_key_is_rotated_under_its_pepper() {
    let mut setup = Setup::new();
    let admin = PepperedKeys::new(Arc::clone(&setup.keys.held), pepper("the pepper of this test"));
    setup.layer = AuthLayer::new(Arc::clone(&setup.keys))
        .pepper(pepper("the pepper of this test"))
        .clock(Arc::clone(&setup.clock));
    let (old, record) = mint("acme");
    admin.insert(record).await.unwrap();
    let new = MintedKey::rotate(&old.id, None);
    admin.rotate(&old.id, new.digest, START, START).await.unwrap();
    setup.ask_as(&new).await.passes();
    setup.ask_as(&old).await.is(401, "key_revoked");
}
