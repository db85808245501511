//! The ear: what other instances change is heard here at once.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_postgres::{AsyncMessage, Client, Config, NoTls};

use crate::store::error::{StoreError, StoreResult};

use super::{PATIENCE, Shared, failed};

pub(super) const KEYS: &str = "kancy_keys";
pub(super) const LIMITS: &str = "kancy_limits";

/// How often a broken ear is mended, and how often the epoch grows meanwhile.
const RETRY: Duration = Duration::from_millis(250);
/// How often the connection is tried: a half-open one hears nothing.
const PROBE: Duration = Duration::from_secs(2);

/// Listens until the store is closed.
pub(super) async fn run(shared: Arc<Shared>, config: Config) {
    let mut closed = shared.closed.subscribe();
    let ended = closed.wait_for(|closed| *closed);
    tokio::pin!(ended);
    loop {
        tokio::select! {
            _ = &mut ended => return,
            // It ends only by failing.
            _ = listen(&shared, &config) => {}
        }
        // Whatever changed meanwhile was not heard.
        changed(&shared);
        tokio::select! {
            _ = &mut ended => return,
            () = tokio::time::sleep(RETRY) => changed(&shared),
        }
    }
}

fn changed(shared: &Shared) {
    shared.key_changed();
    shared.limits_changed();
}

async fn listen(shared: &Shared, config: &Config) -> StoreResult<()> {
    let (client, mut connection) =
        timeout(PATIENCE, config.connect(NoTls)).await.map_err(late)?.map_err(|e| failed(&e))?;
    let hear = async {
        loop {
            match poll_fn(|cx| connection.poll_message(cx)).await {
                Some(Ok(AsyncMessage::Notification(told))) if told.channel() == KEYS => shared.key_changed(),
                Some(Ok(AsyncMessage::Notification(told))) if told.channel() == LIMITS => shared.limits_changed(),
                Some(Ok(_)) => {}
                Some(Err(e)) => return Err(failed(&e)),
                None => return Err(StoreError::unavailable("PostgreSQL: the connection is closed")),
            }
        }
    };
    tokio::select! {
        broken = hear => broken,
        broken = probe(shared, &client) => broken,
    }
}

/// Subscribes, and then asks again and again whether the connection lives.
async fn probe(shared: &Shared, client: &Client) -> StoreResult<()> {
    let subscribe = format!("LISTEN {KEYS}; LISTEN {LIMITS}");
    timeout(PATIENCE, client.batch_execute(&subscribe)).await.map_err(late)?.map_err(|e| failed(&e))?;
    // What changed before the subscription was not heard either.
    changed(shared);
    let mut ticks = interval(PROBE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        timeout(PROBE, client.batch_execute("")).await.map_err(late)?.map_err(|e| failed(&e))?;
    }
}

fn late(_: tokio::time::error::Elapsed) -> StoreError {
    StoreError::unavailable("PostgreSQL does not answer")
}
