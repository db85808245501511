//! Where connections live: on the runtime of the store's own tasks, whoever is the first to need one. A host may serve on
//! several runtimes, and end some of them while the last rows are written.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};

use deadpool_postgres::Connect;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Config, Error, NoTls};

/// Connects on this runtime.
pub(super) struct On(pub(super) Handle);

type Connected = Result<(Client, JoinHandle<()>), Error>;

impl Connect for On {
    fn connect(&self, config: &Config) -> Pin<Box<dyn Future<Output = Connected> + Send>> {
        let (runtime, config) = (self.0.clone(), config.clone());
        Box::pin(async move {
            let mut connecting = pin!(config.connect(NoTls));
            let connected = poll_fn(|cx| {
                let _within = runtime.enter();
                connecting.as_mut().poll(cx)
            });
            let (client, connection) = connected.await?;
            // What it fails of, its client tells.
            let running = runtime.spawn(async { drop(connection.await) });
            Ok((client, running))
        })
    }
}
