//! What every store of keys must do. Run [`run`] on yours, in a test:
//!
//! ```
//! use kancy::MemoryKeys;
//! use kancy::store::contract::keys;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let mine = MemoryKeys::new();
//! keys::run(&mine, &mine).await;
//! # }
//! ```
//!
//! The checks keep to workspaces of random names, so they may share a store with one another and with other data.
//! They panic at the first thing that is wrong, saying what was expected.

use std::time::Duration;

use crate::base::clock::Timestamp;
use crate::base::id::new_id;
use crate::domain::caller::Home;
use crate::domain::key::{KeyDigest, KeyRecord, KeyRefusal, KeySource, MintedKey};
use crate::domain::name::Name;
use crate::store::error::StoreErrorKind;
use crate::store::keys::{KeyAdmin, KeyFilter, KeyStore};
use crate::store::tables::Page;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

/// Every check below, on one store through both of its traits.
pub async fn run(store: &dyn KeyStore, admin: &dyn KeyAdmin) {
    inserted_keys_are_found(store, admin).await;
    a_known_id_is_refused(admin).await;
    every_change_raises_the_epoch(store, admin).await;
    rotation_leaves_one_old_secret(store, admin).await;
    rotation_is_refused_where_nothing_can_come_of_it(admin).await;
    revocation_is_for_good(store, admin).await;
    configuration_replaces_all_but_the_revocation(store, admin).await;
    lists_are_newest_first_and_paged(admin).await;
    lists_keep_to_their_filter(admin).await;
    touching_changes_no_verdict(store, admin).await;
}

/// A record of a fresh key.
pub fn sample(workspace: &str, project: &str) -> KeyRecord {
    fresh(workspace, project).1
}

fn fresh(workspace: &str, project: &str) -> (MintedKey, KeyRecord) {
    let name = |text: &str| Name::new(text).expect("a name of 1 to 64 of A-Z a-z 0-9 . _ -");
    let home = Home { workspace: name(workspace), project: name(project), team: None, environment: None };
    let minted = MintedKey::new(None);
    let record = KeyRecord::new(minted.id.clone(), minted.digest, home, NOW);
    (minted, record)
}

fn somewhere() -> String {
    new_id("contract-")
}

async fn added(admin: &dyn KeyAdmin) -> KeyRecord {
    let record = sample(&somewhere(), "p");
    admin.insert(record.clone()).await.expect("a new key can be inserted");
    record
}

async fn verdict(store: &dyn KeyStore, of: &KeyRecord, digest: &KeyDigest, now: Timestamp) -> Result<(), KeyRefusal> {
    let found = store.lookup(&of.id).await.expect("lookup answers");
    found.expect("an inserted key is found").check(digest, now)
}

/// A key is found as it was inserted, by its id alone; an unknown id is `None`, no error.
pub async fn inserted_keys_are_found(store: &dyn KeyStore, admin: &dyn KeyAdmin) {
    let name = Name::new("site-prod").expect("a good name");
    let record = KeyRecord {
        name: Some(name),
        expires_at: Some(NOW.plus(Duration::from_nanos(1_500_000_001))),
        ..sample(&somewhere(), "p")
    };
    let unknown = sample("w", "p").id;
    assert_eq!(*admin.insert(record.clone()).await.expect("insert"), record, "insert answers with what it kept");
    assert_eq!(store.lookup(&record.id).await.expect("lookup").as_deref(), Some(&record), "lookup shows what was kept");
    assert_eq!(admin.get(&record.id).await.expect("get").as_deref(), Some(&record), "get shows what was kept");
    assert_eq!(store.lookup(&unknown).await, Ok(None), "lookup of an unknown id");
    assert_eq!(admin.get(&unknown).await, Ok(None), "get of an unknown id");
}

/// An id that is taken is refused, and what it stands for stays.
pub async fn a_known_id_is_refused(admin: &dyn KeyAdmin) {
    let record = added(admin).await;
    let usurper = KeyRecord { id: record.id.clone(), ..sample(&somewhere(), "p") };
    let error = admin.insert(usurper).await.expect_err("an id is given once");
    assert_eq!(error.kind(), StoreErrorKind::Refused);
    assert_eq!(admin.get(&record.id).await.expect("get").as_deref(), Some(&record), "the first one stays");
}

/// The epoch grows with every insert, rotation and revocation.
pub async fn every_change_raises_the_epoch(store: &dyn KeyStore, admin: &dyn KeyAdmin) {
    let mut last = store.epoch();
    let mut grew = |after: &str| {
        let epoch = store.epoch();
        assert!(epoch > last, "the epoch grows after {after}");
        last = epoch;
    };
    let record = added(admin).await;
    grew("insert");
    admin.rotate(&record.id, KeyDigest::from_bytes([1; 32]), NOW, NOW).await.expect("rotate");
    grew("rotate");
    admin.revoke(&record.id, NOW).await.expect("revoke");
    grew("revoke");
}

/// After a rotation the new secret opens the key, the old one until its grace ends, one still older never; the id stays.
pub async fn rotation_leaves_one_old_secret(store: &dyn KeyStore, admin: &dyn KeyAdmin) {
    let record = added(admin).await;
    let (first, second, third) = (record.digest, KeyDigest::from_bytes([2; 32]), KeyDigest::from_bytes([3; 32]));
    let grace_end = NOW.plus(Duration::from_secs(60));
    let just_before = grace_end.minus(Duration::from_nanos(1));

    let kept = admin.rotate(&record.id, second, grace_end, NOW).await.expect("rotate");
    assert_eq!((&kept.id, kept.created_at), (&record.id, record.created_at), "a rotated key is the same key");
    assert_eq!(verdict(store, &record, &second, NOW).await, Ok(()));
    assert_eq!(verdict(store, &record, &first, just_before).await, Ok(()), "within the grace");
    assert_eq!(verdict(store, &record, &first, grace_end).await, Err(KeyRefusal::Revoked), "at the end of the grace");

    admin.rotate(&record.id, third, NOW, NOW).await.expect("rotate again");
    assert_eq!(verdict(store, &record, &third, NOW).await, Ok(()));
    assert_eq!(verdict(store, &record, &second, NOW).await, Err(KeyRefusal::Revoked), "a grace of nothing");
    assert_eq!(verdict(store, &record, &first, NOW).await, Err(KeyRefusal::Revoked), "one old secret at a time");
    let never = KeyDigest::from_bytes([9; 32]);
    assert_eq!(verdict(store, &record, &never, NOW).await, Err(KeyRefusal::Invalid), "never a secret of this key");
}

/// Keys of the configuration, revoked and expired ones are not rotated; an unknown one is not found.
pub async fn rotation_is_refused_where_nothing_can_come_of_it(admin: &dyn KeyAdmin) {
    let end = Some(NOW);
    let of_config = KeyRecord { source: KeySource::Config, ..sample(&somewhere(), "p") };
    let revoked = KeyRecord { revoked_at: end, ..sample(&somewhere(), "p") };
    let expired = KeyRecord { expires_at: end, ..sample(&somewhere(), "p") };
    for record in [of_config, revoked, expired] {
        admin.insert(record.clone()).await.expect("insert");
        let error = admin.rotate(&record.id, KeyDigest::from_bytes([4; 32]), NOW, NOW).await;
        assert_eq!(error.expect_err("nothing to rotate").kind(), StoreErrorKind::Refused, "{record:?}");
        assert_eq!(admin.get(&record.id).await.expect("get").as_deref(), Some(&record), "it stays as it was");
    }
    let unknown = sample("w", "p").id;
    let error = admin.rotate(&unknown, KeyDigest::from_bytes([4; 32]), NOW, NOW).await;
    assert_eq!(error.expect_err("nothing to rotate").kind(), StoreErrorKind::NotFound);
}

/// A revoked key does not open; revoking again keeps the first time; an unknown one is not found.
pub async fn revocation_is_for_good(store: &dyn KeyStore, admin: &dyn KeyAdmin) {
    let record = added(admin).await;
    let later = NOW.plus(Duration::from_secs(5));
    let revoked = admin.revoke(&record.id, NOW).await.expect("revoke");
    assert_eq!(revoked.revoked_at, Some(NOW));
    assert_eq!(verdict(store, &record, &record.digest, NOW).await, Err(KeyRefusal::Revoked), "at once");
    let again = admin.revoke(&record.id, later).await.expect("a second revocation is no error");
    assert_eq!(again.revoked_at, Some(NOW), "the first time stands");
    let unknown = sample("w", "p").id;
    assert_eq!(admin.revoke(&unknown, NOW).await.expect_err("unknown").kind(), StoreErrorKind::NotFound);
}

/// Inserting a key of the configuration again replaces it; a revocation wins over the configuration.
pub async fn configuration_replaces_all_but_the_revocation(store: &dyn KeyStore, admin: &dyn KeyAdmin) {
    let first = KeyRecord { source: KeySource::Config, ..sample(&somewhere(), "p") };
    let second = KeyRecord { id: first.id.clone(), source: KeySource::Config, ..sample(&somewhere(), "q") };
    admin.insert(first.clone()).await.expect("insert");
    let kept = admin.insert(second.clone()).await.expect("a key of the configuration is inserted at every start");
    assert_eq!((&kept.home, kept.digest, kept.revoked_at), (&second.home, second.digest, None));
    assert_eq!(verdict(store, &second, &first.digest, NOW).await, Err(KeyRefusal::Invalid));

    admin.revoke(&first.id, NOW).await.expect("revoke");
    let kept = admin.insert(second.clone()).await.expect("insert after a revocation");
    assert_eq!(kept.revoked_at, Some(NOW), "the revocation is kept");
    assert_eq!(verdict(store, &second, &second.digest, NOW).await, Err(KeyRefusal::Revoked));
}

/// Pages join into the whole list, newest first, also among keys of the same moment; cursors are URL-safe and one that
/// is none is refused.
pub async fn lists_are_newest_first_and_paged(admin: &dyn KeyAdmin) {
    let workspace = somewhere();
    let mut want = Vec::new();
    for second in [3, 1, 2, 2, 2] {
        let created_at = NOW.plus(Duration::from_secs(second));
        let record = KeyRecord { created_at, ..sample(&workspace, "p") };
        want.push((created_at, record.id.clone()));
        admin.insert(record).await.expect("insert");
    }
    want.sort_by(|a, b| b.cmp(a));

    let filter = KeyFilter { workspace: Name::new(&workspace).ok(), project: None };
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = admin.list(filter.clone(), Page { after, limit: 2 }).await.expect("list");
        assert!(page.items.len() <= 2, "a page holds no more than was asked for");
        seen.extend(page.items.iter().map(|r| (r.created_at, r.id.clone())));
        after = page.next;
        match &after {
            Some(next) => {
                assert!(seen.len() < want.len(), "the last page has no next");
                assert!(
                    next.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b)),
                    "{next:?} is URL-safe"
                );
            }
            None => break,
        }
    }
    assert_eq!(seen, want, "newest first, each once; of the same moment the greater id first");

    let bad = Page { after: Some("nonsense".to_owned()), limit: 2 };
    assert_eq!(admin.list(filter, bad).await.expect_err("no cursor of ours").kind(), StoreErrorKind::Refused);
}

/// A listing shows the keys of the workspace and project that it was asked for.
pub async fn lists_keep_to_their_filter(admin: &dyn KeyAdmin) {
    let (workspace, other) = (somewhere(), somewhere());
    let site = sample(&workspace, "site");
    for record in [site.clone(), sample(&workspace, "blog"), sample(&other, "site")] {
        admin.insert(record).await.expect("insert");
    }
    let list = async |project: Option<&str>| {
        let filter =
            KeyFilter { workspace: Name::new(&workspace).ok(), project: project.and_then(|p| Name::new(p).ok()) };
        admin.list(filter, Page { after: None, limit: 10 }).await.expect("list").items
    };
    assert_eq!(list(None).await.len(), 2);
    let of_site: Vec<_> = list(Some("site")).await.iter().map(|r| r.id.clone()).collect();
    assert_eq!(of_site, [site.id]);
    assert!(list(Some("nowhere")).await.is_empty());
}

/// A touch of a known or unknown key is harmless, and never shows a use later than the latest.
pub async fn touching_changes_no_verdict(store: &dyn KeyStore, admin: &dyn KeyAdmin) {
    let record = added(admin).await;
    store.touch(&record.id, NOW);
    store.touch(&sample("w", "p").id, NOW);
    assert_eq!(verdict(store, &record, &record.digest, NOW).await, Ok(()));
    let shown = admin.get(&record.id).await.expect("get").expect("the key");
    assert!(shown.last_used_at.is_none_or(|at| at <= NOW), "no use lies ahead of the last touch");
}
