//! The server: connections, and a shutdown that lets requests finish.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use kancy::gateway::{GatewayBody, GatewayFuture};
use kancy::{Closing, Gateway};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tower::Service as _;

use crate::accept::accept;
use crate::ahead::InTurn;
use crate::deadline::Deadline;
use crate::greeting::Greeting;
use crate::linger::Linger;
use crate::refusal::Enveloped;
use crate::timer::HeadTimer;
use crate::workers::{OwnClient, Workers};

/// How long a caller may take for a request's headers.
const HEADERS: Duration = Duration::from_secs(30);
/// How long it may take to tell callers that they were cut.
const LAST_WORDS: Duration = Duration::from_millis(500);

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

/// Serves until a signal comes, then waits for what is in flight, at most `grace`, and tells the rest why it is cut.
pub async fn serve(
    listener: TcpListener,
    gateway: Gateway<OwnClient>,
    mut workers: Workers,
    mut signals: Signals,
    closing: Closing,
    grace: Duration,
) {
    let mut server = auto::Builder::new(Woken(closing.clone()));
    server.http2().timer(TokioTimer::new()).keep_alive_interval(Some(Duration::from_secs(20)));
    // Closed when the connections are to finish. Each holds a sender: when there is none left, all have ended.
    let (draining, (running, mut ended)) = (Closing::default(), mpsc::channel::<Infallible>(1));
    loop {
        let stream = tokio::select! {
            accepted = accept(&listener) => match accepted {
                Ok(stream) => stream,
                // Out of file descriptors, or a caller that was gone already: neither is a reason to end.
                Err(_) => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
            () = signals.any() => break,
        };
        let service = Served(RefCell::new(gateway.clone()));
        let (mut server, draining, closing, running) =
            (server.clone(), draining.clone(), closing.clone(), running.clone());
        workers.spawn(async move {
            let _running = running;
            // A connection that cannot be moved here is one that is gone.
            let Ok(stream) = stream.into_std().and_then(TcpStream::from_std) else { return };
            let stream = InTurn::new(Enveloped::new(Greeting::new(Linger::new(stream), HEADERS)));
            server.http1().timer(HeadTimer::default()).header_read_timeout(HEADERS);
            let mut connection = pin!(server.serve_connection(TokioIo::new(stream), service));
            // One that fails is its caller's affair; its request is on record.
            tokio::select! {
                biased;
                _ = &mut connection => return,
                () = draining.closed() => connection.as_mut().graceful_shutdown(),
            }
            woken(closing, connection).await;
        });
    }
    drop(listener);
    drop(running);
    draining.close();
    if tokio::time::timeout(grace, ended.recv()).await.is_err() {
        // What is cut from here on is cut by us, and recorded so when it is dropped.
        closing.close();
        let _ = tokio::time::timeout(LAST_WORDS, ended.recv()).await;
    }
    workers.stop();
}

/// A connection's gateway. It is called as it is: one that is always ready need not be cloned for each request.
struct Served(RefCell<Gateway<OwnClient>>);

impl Service<Request<Incoming>> for Served {
    type Response = Response<GatewayBody<OwnClient>>;
    type Error = Infallible;
    type Future = GatewayFuture<OwnClient, Deadline>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.0.borrow_mut().call(request.map(Deadline::new))
    }
}

/// Runs `future` to its end. It is polled once more when the server closes: then it tells its callers that they are not
/// waited for any longer.
async fn woken<F: Future>(closing: Closing, future: F) {
    let mut future = pin!(future);
    tokio::select! {
        biased;
        _ = &mut future => return,
        () = closing.closed() => {}
    }
    future.await;
}

/// Spawns what hyper wants to run beside a connection: each stream of HTTP/2.
#[derive(Clone)]
struct Woken(Closing);

impl<F> Executor<F> for Woken
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, future: F) {
        tokio::spawn(woken(self.0.clone(), future));
    }
}
