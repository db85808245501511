//! The server: connections, and a shutdown that lets requests finish.

use std::io;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use kancy::{Closing, Gateway, HyperClient};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::linger::Linger;

/// How long a caller may take for a request's headers.
const HEADERS: Duration = Duration::from_secs(30);

/// SIGINT and SIGTERM, caught from the moment that this is made: before anybody is told that the server is up.
pub struct Signals(Signal, Signal);

impl Signals {
    pub fn new() -> io::Result<Self> {
        Ok(Self(signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?))
    }

    async fn any(&mut self) {
        tokio::select! {
            _ = self.0.recv() => {}
            _ = self.1.recv() => {}
        }
    }
}

/// Serves until a signal comes, then waits for what is in flight, at most `grace`.
pub async fn serve(
    listener: TcpListener,
    gateway: Gateway<HyperClient>,
    mut signals: Signals,
    closing: Closing,
    grace: Duration,
) {
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new()).header_read_timeout(HEADERS);
    server.http2().timer(TokioTimer::new()).keep_alive_interval(Some(Duration::from_secs(20)));
    let connections = GracefulShutdown::new();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                // Out of file descriptors, or a caller that was gone already: neither is a reason to end.
                Err(_) => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
            () = signals.any() => break,
        };
        // Without this the end of each stream waits for the caller's delayed ACK, some 40 ms.
        let _ = stream.set_nodelay(true);
        let service = TowerToHyperService::new(gateway.clone());
        let connection = server.serve_connection(TokioIo::new(Linger::new(stream)), service).into_owned();
        let connection = connections.watch(connection);
        tokio::spawn(async move {
            // A connection that fails is its caller's affair; its request is on record.
            let _ = connection.await;
        });
    }
    drop(listener);
    if tokio::time::timeout(grace, connections.shutdown()).await.is_err() {
        // What is cut from here on is cut by us, and recorded so when the runtime drops it.
        closing.close();
    }
}
