//! Many requests, connections that fail in every way, and callers who leave: whoever asks is told, once.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::Uri;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::*;
use crate::client::pool::Origin;

/// Numbers that look like chance.
#[derive(Clone)]
struct Dice(Arc<AtomicU64>);

impl Dice {
    fn throw(&self, sides: u64) -> u64 {
        let mut seed = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        seed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        seed = (seed ^ (seed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (seed ^ (seed >> 31)) % sides
    }

    /// Now and then long, mostly none.
    async fn pause(&self) {
        match self.throw(4) {
            0 => sleep(Duration::from_millis(self.throw(20))).await,
            1 => yield_now().await,
            _ => {}
        }
    }
}

/// A vendor that cannot be relied upon.
#[derive(Clone)]
struct Vendor {
    dice: Dice,
    heard: Arc<Mutex<HashSet<String>>>,
}

impl Dial for Vendor {
    fn dial(&self, _: Uri) -> Pin<Box<dyn Future<Output = Result<Dialled, BoxError>> + Send>> {
        let vendor = self.clone();
        Box::pin(async move {
            vendor.dice.pause().await;
            if vendor.dice.throw(4) == 0 {
                return Err("no connection".into());
            }
            let (ours, theirs) = duplex(256);
            tokio::spawn(async move { vendor.serve(theirs).await });
            let (sender, connection) = http1::handshake(TokioIo::new(ours)).await?;
            tokio::spawn(connection);
            Ok(Dialled::Http1(sender))
        })
    }
}

impl Vendor {
    async fn serve(&self, mut end: DuplexStream) -> Option<()> {
        while self.dice.throw(8) > 0 {
            let mut seen = String::new();
            while !seen.ends_with("body") {
                seen.push(end.read_u8().await.ok()?.into());
            }
            let id = seen.split(' ').nth(1)?.to_owned();
            assert!(self.heard.lock().unwrap().insert(id.clone()), "{id} came twice");
            self.dice.pause().await;
            let (head, rest) = match self.dice.throw(8) {
                0 => return None,
                1 => ("connection: close\r\n", ""),
                2 => ("", "!"),
                _ => ("", ""),
            };
            let head = format!("HTTP/1.1 200 OK\r\n{head}content-length: {}\r\n\r\n", id.len());
            end.write_all(head.as_bytes()).await.ok()?;
            self.dice.pause().await;
            end.write_all(id.as_bytes()).await.ok()?;
            end.write_all(rest.as_bytes()).await.ok()?;
            self.dice.pause().await;
        }
        None
    }
}

async fn ask(origin: Arc<Origin>, id: String, dice: Dice) {
    dice.pause().await;
    let request = Request::post(format!("http://vendor.test{id}")).body(CallBody::from(Bytes::from("body"))).unwrap();
    let answer = send(origin, request);
    let leaves = dice.throw(4);
    let answer = async {
        let body = answer.await?.into_body();
        if leaves == 1 {
            return Ok(None);
        }
        Ok::<_, BoxError>(Some(body.collect().await?.to_bytes()))
    };
    if leaves == 0 {
        let _ = timeout(Duration::from_millis(dice.throw(20)), answer).await;
        return;
    }
    let answer = timeout(Duration::from_secs(10), answer).await.unwrap_or_else(|_| panic!("{id} waits for ever"));
    if let Ok(Some(answer)) = answer {
        assert_eq!(answer, id);
    }
}

fn chaos(runtime: &Runtime, seed: u64, requests: usize) {
    let dice = Dice(Arc::new(AtomicU64::new(seed)));
    let vendor = Vendor { dice: dice.clone(), heard: Arc::default() };
    let pool = Pool::new(vendor.clone());
    let origin = pool.origin(&Uri::from_static("http://vendor.test")).unwrap();
    runtime.block_on(async {
        let mut asking = JoinSet::new();
        for n in 0..requests {
            asking.spawn(ask(origin.clone(), format!("/{n}"), dice.clone()));
            while asking.len() > 12 {
                asking.join_next().await.unwrap().unwrap();
            }
        }
        while let Some(asked) = asking.join_next().await {
            asked.unwrap();
        }
    });
    assert!(vendor.heard.lock().unwrap().len() > requests / 8);
}

#[test]
fn whoever_asks_is_told_and_no_request_comes_twice() {
    for seed in 0..50 {
        let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        chaos(&runtime, seed, 200);
    }
}

#[test]
fn whoever_asks_is_told_on_several_threads_too() {
    let runtime = Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    for seed in 0..5 {
        chaos(&runtime, seed, 400);
    }
}

/// Makes the third connection first, then the second, and never the first.
struct Backwards {
    ends: UnboundedSender<DuplexStream>,
    made: AtomicU64,
}

impl Dial for Backwards {
    fn dial(&self, _: Uri) -> Pin<Box<dyn Future<Output = Result<Dialled, BoxError>> + Send>> {
        let (ends, earlier) = (self.ends.clone(), self.made.fetch_add(1, Ordering::Relaxed));
        Box::pin(async move {
            sleep(Duration::from_secs(3 - earlier)).await;
            if earlier == 0 {
                return Err("the last one".into());
            }
            let (ours, theirs) = duplex(256);
            ends.send(theirs)?;
            let (sender, connection) = http1::handshake(TokioIo::new(ours)).await?;
            tokio::spawn(connection);
            Ok(Dialled::Http1(sender))
        })
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_while_others_got_the_connections_learns_that_the_last_one_failed() {
    let (sender, ends) = unbounded_channel();
    let mut world = World { pool: Pool::new(Backwards { ends: sender, made: AtomicU64::new(0) }), ends };
    let (_first, _second, third) = (world.ask(), world.ask(), world.ask());
    let _ends = (world.end().await, world.end().await);
    let asked = timeout(Duration::from_secs(5), third).await.unwrap().unwrap();
    assert_eq!(why(&*asked.unwrap_err()), "the last one");
}
