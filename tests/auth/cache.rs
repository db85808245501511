//! What is remembered of keys, and a store that fails.

use std::time::Duration;

use kancy::{KeyAdmin, MintedKey};

use crate::setup::{Mood, Setup, mint};

#[tokio::test]
async fn a_remembered_key_and_a_remembered_stranger_cost_one_lookup_each() {
    let setup = Setup::new();
    let (key, stranger) = (setup.key("acme").await, MintedKey::new(None));
    for _ in 0..5 {
        setup.ask_as(&key).await.passes();
        setup.ask_as(&stranger).await.is(401, "invalid_api_key");
    }
    assert_eq!(setup.keys.lookups(), 2);
}

#[tokio::test]
async fn the_store_is_told_of_a_use_once_a_second_and_of_a_refusal_never() {
    let setup = Setup::new();
    let key = setup.key("acme").await;
    setup.ask_as(&MintedKey::rotate(&key.id, None)).await.is(401, "invalid_api_key");
    assert_eq!(setup.keys.touches(), 0);
    for _ in 0..5 {
        setup.ask_as(&key).await.passes();
    }
    assert_eq!(setup.keys.touches(), 1);
    setup.clock.advance(Duration::from_secs(1));
    setup.ask_as(&key).await.passes();
    assert_eq!(setup.keys.touches(), 2);
}

#[tokio::test]
async fn a_key_that_is_made_after_it_was_refused_opens_at_once() {
    let setup = Setup::new();
    let (minted, record) = mint("acme");
    setup.ask_as(&minted).await.is(401, "invalid_api_key");
    setup.keys.held.insert(record).await.unwrap();
    setup.ask_as(&minted).await.passes();
}

#[tokio::test]
async fn while_the_store_fails_remembered_keys_go_on_for_as_long_as_the_cache_holds() {
    let setup = Setup::new();
    let (key, never_seen) = (setup.key("acme").await, setup.key("acme").await);
    setup.ask_as(&key).await.passes();
    setup.keys.set(Mood::Failing);
    setup.keys.hint();
    setup.ask_as(&never_seen).await.is(500, "auth_unavailable");
    setup.clock.advance(Duration::from_nanos(29_999_999_999));
    setup.ask_as(&key).await.passes();
    setup.clock.advance(Duration::from_nanos(1));
    let answer = setup.ask_as(&key).await;
    answer.is(500, "auth_unavailable");
    assert!(!answer.text.contains("connection refused"), "what the store said is the operator's: {answer:?}");

    setup.keys.set(Mood::Prompt);
    setup.ask_as(&key).await.passes();
    setup.ask_as(&never_seen).await.passes();
}

#[tokio::test]
async fn with_no_time_to_remember_every_request_asks() {
    let mut setup = Setup::new();
    setup.layer = setup.layer.cache_for(Duration::ZERO);
    let key = setup.key("acme").await;
    setup.ask_as(&key).await.passes();
    setup.ask_as(&key).await.passes();
    assert_eq!(setup.keys.lookups(), 2);
}
