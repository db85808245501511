//! The server: connections, and a shutdown that lets requests finish.

use std::pin::pin;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use kancy::{Closing, Gateway, HyperClient};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// How long a caller may take for a request's headers.
const HEADERS: Duration = Duration::from_secs(30);

/// Serves until SIGINT or SIGTERM, then waits for what is in flight, at most `grace`.
pub async fn serve(listener: TcpListener, gateway: Gateway<HyperClient>, closing: Closing, grace: Duration) {
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new()).header_read_timeout(HEADERS);
    server.http2().timer(TokioTimer::new()).keep_alive_interval(Some(Duration::from_secs(20)));
    let connections = GracefulShutdown::new();
    let mut stop = pin!(asked_to_stop());
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
            () = &mut stop => break,
        };
        // Without this the end of each stream waits for the caller's delayed ACK, some 40 ms.
        let _ = stream.set_nodelay(true);
        let service = TowerToHyperService::new(gateway.clone());
        let connection = server.serve_connection(TokioIo::new(stream), service).into_owned();
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

async fn asked_to_stop() {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
