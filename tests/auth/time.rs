//! Expiry, revocation and rotation.

use std::time::Duration;

use kancy::domain::key::KeyDigest;
use kancy::{KeyAdmin, KeyRecord, MintedKey};
use tokio_test::{assert_pending, assert_ready, task};

use crate::setup::{Mood, START, Setup, mint};

const NANO: Duration = Duration::from_nanos(1);

#[tokio::test]
async fn a_key_expires_at_its_very_moment_however_lately_it_was_looked_up() {
    let setup = Setup::new();
    let (minted, record) = mint("acme");
    let record = KeyRecord { expires_at: Some(START.plus(Duration::from_secs(10))), ..record };
    setup.keys.held.insert(record).await.unwrap();
    setup.clock.advance(Duration::from_secs(10) - NANO);
    setup.ask_as(&minted).await.passes();
    setup.clock.advance(NANO);
    setup.ask_as(&minted).await.is(401, "key_expired");
    assert_eq!(setup.keys.lookups(), 1, "the second verdict came of what was remembered");
}

#[tokio::test]
async fn a_key_that_expires_while_it_is_looked_up_is_refused() {
    let setup = Setup::new();
    let (minted, record) = mint("acme");
    let record = KeyRecord { expires_at: Some(START.plus(Duration::from_secs(10))), ..record };
    setup.keys.held.insert(record).await.unwrap();
    setup.keys.set(Mood::Slow);
    let mut waiting = task::spawn(setup.ask_as(&minted));
    assert_pending!(waiting.poll());
    setup.clock.advance(Duration::from_secs(10));
    setup.keys.gate.add_permits(1);
    assert_ready!(waiting.poll()).is(401, "key_expired");
}

#[tokio::test]
async fn a_revocation_is_seen_by_the_next_request_where_the_store_can_tell() {
    let setup = Setup::new();
    let key = setup.key("acme").await;
    setup.ask_as(&key).await.passes();
    setup.keys.held.revoke(&key.id, START).await.unwrap();
    setup.ask_as(&key).await.is(401, "key_revoked");
}

#[tokio::test]
async fn a_revocation_that_the_store_cannot_tell_of_is_seen_when_the_cache_ends() {
    let setup = Setup::untold();
    let key = setup.key("acme").await;
    setup.ask_as(&key).await.passes();
    setup.keys.held.revoke(&key.id, START).await.unwrap();
    setup.clock.advance(Duration::from_secs(30) - NANO);
    setup.ask_as(&key).await.passes();
    setup.clock.advance(NANO);
    setup.ask_as(&key).await.is(401, "key_revoked");
}

#[tokio::test]
async fn a_revocation_during_a_lookup_is_seen_by_the_requests_that_come_after_it() {
    let setup = Setup::new();
    let key = setup.key("acme").await;
    setup.keys.set(Mood::Slow);
    let mut before = task::spawn(setup.ask_as(&key));
    assert_pending!(before.poll());
    setup.keys.held.revoke(&key.id, START).await.unwrap();
    let mut after = task::spawn(setup.ask_as(&key));
    assert_pending!(after.poll());
    assert_eq!(setup.keys.lookups(), 2, "the first lookup may have read what was before");

    setup.keys.gate.add_permits(2);
    assert_ready!(after.poll()).is(401, "key_revoked");
    assert_ready!(before.poll()).passes();
    setup.keys.set(Mood::Prompt);
    setup.ask_as(&key).await.is(401, "key_revoked");
}

#[tokio::test]
async fn an_old_secret_opens_until_its_grace_ends_and_the_cache_does_not_prolong_it() {
    let setup = Setup::new();
    let old = setup.key("acme").await;
    let new = MintedKey::rotate(&old.id, None);
    let end = START.plus(Duration::from_secs(20));
    setup.keys.held.rotate(&old.id, new.digest, end, START).await.unwrap();
    setup.clock.advance(Duration::from_secs(20) - NANO);
    setup.ask_as(&old).await.passes();
    setup.ask_as(&new).await.passes();
    setup.clock.advance(NANO);
    setup.ask_as(&old).await.is(401, "key_revoked");
    setup.ask_as(&new).await.passes();
    assert_eq!(setup.keys.lookups(), 1);
    assert!(setup.seen.lock().unwrap().iter().all(|(caller, _)| caller.key_id() == old.id.as_str()));

    setup.keys.held.rotate(&old.id, KeyDigest::from_bytes([0; 32]), end, end).await.unwrap();
    setup.ask_as(&old).await.is(401, "key_revoked");
    setup.ask_as(&new).await.is(401, "key_revoked");
}
