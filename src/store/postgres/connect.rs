//! Where connections live: on the runtime of the store's own tasks, whoever is the first to need one. A host may serve on
//! several runtimes, and end some of them while the last rows are written.

use std::future::{Future, pending};
use std::pin::Pin;

use deadpool_postgres::Connect;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Config, Error, NoTls};

/// Connects on this runtime.
pub(super) struct On(pub(super) Handle);

type Connected = Result<(Client, JoinHandle<()>), Error>;

impl Connect for On {
    fn connect(&self, config: &Config) -> Pin<Box<dyn Future<Output = Connected> + Send>> {
        let config = config.clone();
        let connecting = self.0.spawn(async move {
            let (client, connection) = config.connect(NoTls).await?;
            // What it fails of, its client tells.
            Ok((client, tokio::spawn(async { drop(connection.await) })))
        });
        Box::pin(async {
            match connecting.await {
                Ok(connected) => connected,
                // The runtime has ended: whoever asks runs out of patience.
                Err(_) => pending().await,
            }
        })
    }
}
