//! Runtimes that end or stand still, while the pool and its connections stay.

use std::sync::Arc;

use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use super::*;
use crate::http::timeout::TimedOut;

#[test]
fn the_limits_hold_where_nobody_drives_the_runtime_that_dialled() {
    let (dialler, other) = (runtime(), runtime());
    let mut world = World::new();
    let end = dialler.block_on(async {
        let asked = world.ask();
        let mut end = world.end().await;
        serve(&mut end).await;
        asked.await.unwrap().unwrap();
        settle().await;
        end
    });
    let limited = async { timeout(LIMITS.first_byte * 2, world.head()).await };
    let error = other.block_on(limited).expect("no limit").unwrap_err();
    assert_eq!(TimedOut::in_chain(&*error), Some(TimedOut::FirstByte));
    world.no_further_connection();
    drop(end);
}

#[test]
fn an_answer_may_outlive_the_runtime_of_its_connection() {
    let (dialler, other) = (runtime(), runtime());
    let mut world = World::new();
    let (answer, end) = dialler.block_on(async {
        let head = tokio::spawn(world.head());
        let mut end = world.end().await;
        heard(&mut end).await;
        end.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\nhi").await.unwrap();
        (head.await.unwrap().unwrap(), end)
    });
    // Polled once, so that its limit is there.
    let mut body = answer.into_body();
    other.block_on(async {
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "hi");
        assert!(timeout(Duration::from_secs(1), body.frame()).await.is_err());
    });
    drop(dialler);
    assert!(other.block_on(body.frame()).unwrap().is_err(), "cut short");
    drop((body, end));
    other.block_on(async {
        let asked = world.ask();
        serve(&mut world.end().await).await;
        assert_eq!(asked.await.unwrap().unwrap(), "hi");
    });
}

#[test]
fn a_runtime_may_end_with_requests_in_every_stage() {
    for threads in [false, true] {
        let dying = if threads { Runtime::new().unwrap() } else { runtime() };
        let mut world = World::with(false, Duration::ZERO, Vec::new());
        let (answer, ends) = dying.block_on(async {
            let head = tokio::spawn(world.head());
            let mut end = world.end().await;
            serve(&mut end).await;
            let answer = head.await.unwrap().unwrap();
            // One that is sent, one whose body is read, one that waits for its connection.
            drop(world.ask());
            let mut sent = world.end().await;
            heard(&mut sent).await;
            drop(world.ask());
            let mut read = world.end().await;
            heard(&mut read).await;
            read.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\nhi").await.unwrap();
            settle().await;
            drop(world.ask());
            (answer, [end, sent, read])
        });
        drop(dying);
        drop((answer, ends));
        let mut late = World { pool: world.pool, ends: world.ends };
        runtime().block_on(async {
            let asked = late.ask();
            loop {
                let mut end = late.end().await;
                if heard_or_closed(&mut end).await {
                    end.write_all(ANSWER).await.unwrap();
                    break;
                }
            }
            assert_eq!(asked.await.unwrap().unwrap(), "hi");
        });
    }
}

#[test]
fn an_origin_goes_whose_connections_ended_with_their_runtime() {
    let mut world = World::new();
    let origin = runtime().block_on(async {
        let asked = world.ask();
        serve(&mut world.end().await).await;
        asked.await.unwrap().unwrap();
        settle().await;
        Arc::downgrade(&world.pool.origin(&"http://vendor.test:8080".parse().unwrap()).unwrap())
    });
    assert!(origin.upgrade().is_some());
    world.pool.origin(&"http://another.test".parse().unwrap()).unwrap();
    assert!(origin.upgrade().is_none());
}

/// Stands still where nobody waits, and the clock leaps where all wait for it.
fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
}

/// Whether a request came.
async fn heard_or_closed(end: &mut DuplexStream) -> bool {
    let mut seen = Vec::new();
    let mut piece = [0; 1024];
    while !seen.ends_with(b"body") {
        match end.read(&mut piece).await {
            Ok(read) if read > 0 => seen.extend_from_slice(&piece[..read]),
            _ => return false,
        }
    }
    true
}
