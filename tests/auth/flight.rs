//! One lookup for all who wait for the same key.

use std::panic::{AssertUnwindSafe, catch_unwind};

use kancy::MintedKey;
use tokio_test::{assert_pending, assert_ready, task};

use crate::setup::{Mood, Setup};

#[tokio::test]
async fn requests_for_the_same_key_share_a_lookup_and_each_gets_its_own_verdict() {
    let setup = Setup::new();
    let key = setup.key("acme").await;
    setup.keys.set(Mood::Slow);
    let mut good: Vec<_> = (0..10).map(|_| task::spawn(setup.ask_as(&key))).collect();
    let mut impostor = task::spawn(setup.ask_as(&MintedKey::rotate(&key.id, None)));
    let mut stranger = task::spawn(setup.ask_as(&MintedKey::new(None)));
    for waiting in &mut good {
        assert_pending!(waiting.poll());
    }
    assert_pending!(impostor.poll());
    assert_pending!(stranger.poll());
    assert_eq!(setup.keys.lookups(), 2);

    setup.keys.gate.add_permits(2);
    assert!(good.iter().all(|waiting| waiting.is_woken()) && impostor.is_woken() && stranger.is_woken());
    for waiting in &mut good {
        assert_ready!(waiting.poll()).passes();
    }
    assert_ready!(impostor.poll()).is(401, "invalid_api_key");
    assert_ready!(stranger.poll()).is(401, "invalid_api_key");
    assert_eq!(setup.keys.lookups(), 2);
}

#[tokio::test]
async fn when_the_request_that_began_a_lookup_goes_the_others_carry_it_on() {
    let setup = Setup::new();
    let key = setup.key("acme").await;
    setup.keys.set(Mood::Slow);
    let mut first = task::spawn(setup.ask_as(&key));
    let mut second = task::spawn(setup.ask_as(&key));
    assert_pending!(first.poll());
    assert_pending!(second.poll());
    setup.keys.gate.add_permits(1);
    assert!(first.is_woken() && second.is_woken());
    drop(first);
    assert_ready!(second.poll()).passes();
    assert_eq!(setup.keys.lookups(), 1);
}

#[tokio::test]
async fn a_lookup_that_nobody_waits_for_any_more_is_given_up() {
    let setup = Setup::new();
    let key = setup.key("acme").await;
    setup.keys.set(Mood::Slow);
    let mut gone = task::spawn(setup.ask_as(&key));
    assert_pending!(gone.poll());
    drop(gone);
    setup.keys.set(Mood::Prompt);
    setup.ask_as(&key).await.passes();
    assert_eq!((setup.keys.lookups(), setup.passed()), (2, 1));
}

#[tokio::test]
async fn a_store_that_panics_fails_those_who_wait_and_nobody_after() {
    let setup = Setup::new();
    let key = setup.key("acme").await;
    setup.keys.set(Mood::Panicking);
    let mut first = task::spawn(setup.ask_as(&key));
    let mut second = task::spawn(setup.ask_as(&key));
    assert_pending!(first.poll());
    assert_pending!(second.poll());
    setup.keys.gate.add_permits(1);
    assert!(first.is_woken() && second.is_woken());
    assert!(catch_unwind(AssertUnwindSafe(|| first.poll().map(drop))).is_err());
    assert_ready!(second.poll()).is(500, "auth_unavailable");
    drop((first, second));
    setup.keys.set(Mood::Prompt);
    setup.ask_as(&key).await.passes();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_verdict_is_lost_while_keys_change_and_requests_vanish() {
    let setup = Setup::new();
    let key = setup.key("acme").await;
    setup.keys.set(Mood::Slow);
    let mut tasks = Vec::new();
    for n in 0..2_000 {
        if n % 7 == 0 {
            setup.keys.hint();
        }
        let task = tokio::spawn(setup.ask_as(&key));
        if n % 5 == 0 {
            task.abort();
        } else {
            tasks.push(task);
        }
        setup.keys.gate.add_permits(usize::from(n % 3 == 0));
    }
    setup.keys.gate.add_permits(2_000);
    for task in tasks {
        task.await.unwrap().passes();
    }
}
