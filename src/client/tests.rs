//! The client over connections that a test holds the other end of.

mod answers;
mod chaos;
mod runtimes;
mod shared;

use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::server::conn::http2 as server;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{JoinHandle, yield_now};
use tokio::time::{Instant, sleep};

use super::BoxError;
use super::exchange::Exchange;
use super::pool::{Dial, Dialled, Origin, Pool};
use super::service::ClientFuture;
use crate::http::body::CallBody;
use crate::http::vendor::NoConnection;
use crate::provider::traits::Timeouts;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";
const LIMITS: Timeouts = Timeouts { first_byte: Duration::from_secs(600), idle: Duration::from_secs(120) };

/// Connections whose other ends go to the test.
struct Wires {
    ends: UnboundedSender<DuplexStream>,
    http2: bool,
    /// Waited for before each connection.
    delay: Duration,
    /// Answered instead of a connection, in turn.
    errors: Mutex<Vec<&'static str>>,
}

impl Dial for Wires {
    fn dial(&self, _: http::Uri) -> Pin<Box<dyn Future<Output = Result<Dialled, BoxError>> + Send>> {
        let (ends, http2, delay) = (self.ends.clone(), self.http2, self.delay);
        let error = self.errors.lock().unwrap().pop();
        Box::pin(async move {
            sleep(delay).await;
            if let Some(error) = error {
                return Err(error.into());
            }
            let (ours, theirs) = duplex(64 * 1024);
            ends.send(theirs)?;
            if http2 {
                let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(ours)).await?;
                tokio::spawn(connection);
                return Ok(Dialled::Http2(sender));
            }
            let (sender, connection) = http1::handshake(TokioIo::new(ours)).await?;
            tokio::spawn(connection);
            Ok(Dialled::Http1(sender))
        })
    }
}

struct World {
    pool: Pool,
    ends: UnboundedReceiver<DuplexStream>,
}

impl World {
    fn new() -> Self {
        Self::with(false, Duration::ZERO, Vec::new())
    }

    fn with(http2: bool, delay: Duration, errors: Vec<&'static str>) -> Self {
        let (sender, ends) = unbounded_channel();
        Self { pool: Pool::new(Wires { ends: sender, http2, delay, errors: Mutex::new(errors) }), ends }
    }

    /// A request under way in a task of its own, and its answer's text.
    fn ask(&self) -> JoinHandle<Result<String, BoxError>> {
        let answer = self.head();
        tokio::spawn(async move {
            let body = answer.await?.into_body().collect().await?.to_bytes();
            Ok(String::from_utf8(body.to_vec())?)
        })
    }

    /// As far as the answer's head.
    fn head(&self) -> ClientFuture {
        let request = Request::post("http://vendor.test:8080/v1/chat?a=b");
        let request = request.body(CallBody::from(Bytes::from("body"))).unwrap();
        send(self.pool.origin(request.uri()).unwrap(), request)
    }

    /// The vendor's end of the next connection.
    async fn end(&mut self) -> DuplexStream {
        self.ends.recv().await.unwrap()
    }

    fn no_further_connection(&mut self) {
        assert!(self.ends.try_recv().is_err());
    }
}

fn send(origin: Arc<Origin>, request: Request<CallBody>) -> ClientFuture {
    ClientFuture::new(Exchange::new(origin, request), LIMITS)
}

/// Why there is no connection.
fn why(error: &(dyn Error + 'static)) -> String {
    error.downcast_ref::<NoConnection>().and_then(Error::source).unwrap().to_string()
}

/// Reads one request off the wire.
async fn heard(end: &mut DuplexStream) -> String {
    let mut seen = Vec::new();
    while !seen.ends_with(b"body") {
        let mut piece = [0; 1024];
        let read = end.read(&mut piece).await.unwrap();
        assert_ne!(read, 0, "closed after {:?}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&piece[..read]);
    }
    String::from_utf8(seen).unwrap()
}

async fn serve(end: &mut DuplexStream) {
    heard(end).await;
    end.write_all(ANSWER).await.unwrap();
}

async fn closed(end: &mut DuplexStream) {
    assert_eq!(end.read(&mut [0; 16]).await.unwrap(), 0);
}

/// Lets every other task go as far as it can.
async fn settle() {
    for _ in 0..20 {
        yield_now().await;
    }
}

#[tokio::test]
async fn a_request_names_host_and_path_and_its_connection_serves_the_next_one() {
    let mut world = World::new();
    let asked = world.ask();
    let mut end = world.end().await;
    let first = heard(&mut end).await;
    assert!(first.starts_with("POST /v1/chat?a=b HTTP/1.1\r\n"), "{first}");
    assert!(first.contains("host: vendor.test:8080\r\n"), "{first}");
    end.write_all(ANSWER).await.unwrap();
    assert_eq!(asked.await.unwrap().unwrap(), "hi");

    for _ in 0..3 {
        let asked = world.ask();
        assert_eq!(heard(&mut end).await, first);
        end.write_all(ANSWER).await.unwrap();
        assert_eq!(asked.await.unwrap().unwrap(), "hi");
    }
    world.no_further_connection();
}

#[tokio::test]
async fn a_connection_serves_one_request_at_a_time() {
    let mut world = World::new();
    let (one, two) = (world.ask(), world.ask());
    let (mut first, mut second) = (world.end().await, world.end().await);
    serve(&mut first).await;
    serve(&mut second).await;
    assert_eq!((one.await.unwrap().unwrap(), two.await.unwrap().unwrap()), ("hi".into(), "hi".into()));
}

#[tokio::test]
async fn an_answer_that_nobody_reads_on_ends_its_connection() {
    let mut world = World::new();
    let head = tokio::spawn(world.head());
    let mut end = world.end().await;
    heard(&mut end).await;
    end.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\nhi").await.unwrap();
    drop(head.await.unwrap().unwrap());
    closed(&mut end).await;
    let asked = world.ask();
    serve(&mut world.end().await).await;
    assert_eq!(asked.await.unwrap().unwrap(), "hi");
}

#[tokio::test]
async fn an_answer_may_be_dropped_outside_of_the_runtime() {
    let mut world = World::new();
    let head = tokio::spawn(world.head());
    let mut end = world.end().await;
    serve(&mut end).await;
    let answer = head.await.unwrap().unwrap();
    std::thread::spawn(|| drop(answer)).join().unwrap();
    settle().await;
    let asked = world.ask();
    serve(&mut end).await;
    assert_eq!(asked.await.unwrap().unwrap(), "hi");
}

#[tokio::test]
async fn a_request_that_nobody_waits_for_ends_its_connection() {
    let mut world = World::new();
    let asked = world.ask();
    let mut end = world.end().await;
    heard(&mut end).await;
    asked.abort();
    closed(&mut end).await;
}

#[tokio::test]
async fn a_request_goes_out_anew_where_its_connection_ended_between_two_requests() {
    let mut world = World::new();
    let asked = world.ask();
    let mut end = world.end().await;
    serve(&mut end).await;
    asked.await.unwrap().unwrap();
    // Nothing has told the client when it sends.
    drop(end);
    let asked = world.ask();
    serve(&mut world.end().await).await;
    assert_eq!(asked.await.unwrap().unwrap(), "hi");
}

#[tokio::test]
async fn a_request_that_a_vendor_may_have_seen_is_not_repeated() {
    let mut world = World::new();
    let asked = world.ask();
    let mut end = world.end().await;
    serve(&mut end).await;
    asked.await.unwrap().unwrap();
    let asked = world.ask();
    heard(&mut end).await;
    drop(end);
    assert!(asked.await.unwrap().is_err());
    settle().await;
    world.no_further_connection();
}

#[tokio::test]
async fn an_answer_cut_short_is_an_error_and_its_connection_serves_nobody() {
    let mut world = World::new();
    let asked = world.ask();
    let mut end = world.end().await;
    heard(&mut end).await;
    end.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\nhi").await.unwrap();
    drop(end);
    assert!(asked.await.unwrap().is_err());
    let asked = world.ask();
    serve(&mut world.end().await).await;
    assert_eq!(asked.await.unwrap().unwrap(), "hi");
}

#[tokio::test(start_paused = true)]
async fn each_request_learns_of_its_own_failed_connection() {
    let mut world = World::with(false, Duration::from_secs(1), vec!["the second", "the first"]);
    let asked = [world.ask(), world.ask(), world.ask()];
    serve(&mut world.end().await).await;
    let mut answers = Vec::new();
    for one in asked {
        answers.push(one.await.unwrap().map_err(|error| why(&*error)));
    }
    assert_eq!(answers, [Err("the first".into()), Err("the second".into()), Ok("hi".into())]);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_connection_gets_one_that_is_free_before() {
    let mut world = World::with(false, Duration::from_secs(1), Vec::new());
    let first = world.ask();
    let mut end = world.end().await;
    heard(&mut end).await;
    let second = world.ask();
    end.write_all(ANSWER).await.unwrap();
    assert_eq!(first.await.unwrap().unwrap(), "hi");
    let asked = Instant::now();
    serve(&mut end).await;
    assert_eq!(second.await.unwrap().unwrap(), "hi");
    assert_eq!(asked.elapsed(), Duration::ZERO);
    // Its own arrives in time, and serves the next.
    let mut own = world.end().await;
    let third = world.ask();
    serve(&mut own).await;
    assert_eq!(third.await.unwrap().unwrap(), "hi");
}

#[tokio::test(start_paused = true)]
async fn a_connection_whose_request_was_given_up_serves_another() {
    let mut world = World::with(false, Duration::from_secs(1), Vec::new());
    let given_up = world.ask();
    settle().await;
    given_up.abort();
    let mut end = world.end().await;
    let asked = world.ask();
    serve(&mut end).await;
    assert_eq!(asked.await.unwrap().unwrap(), "hi");
    world.no_further_connection();
}

#[tokio::test(start_paused = true)]
async fn a_connection_ends_when_it_has_not_been_used_for_a_minute() {
    let mut world = World::new();
    let asked = world.ask();
    let mut end = world.end().await;
    serve(&mut end).await;
    asked.await.unwrap().unwrap();
    let start = Instant::now();
    sleep(Duration::from_secs(35)).await;
    let asked = world.ask();
    serve(&mut end).await;
    asked.await.unwrap().unwrap();
    closed(&mut end).await;
    let lived = start.elapsed().as_secs();
    assert!((75..=120).contains(&lived), "{lived}");
}

#[tokio::test]
async fn requests_share_a_connection_of_http2() {
    let mut world = World::with(true, Duration::ZERO, Vec::new());
    let asked: Vec<_> = (0..3).map(|_| world.ask()).collect();
    let end = world.end().await;
    let answer = service_fn(|request: Request<Incoming>| async move {
        assert_eq!(request.uri(), "http://vendor.test:8080/v1/chat?a=b");
        let body = request.into_body().collect().await.unwrap().to_bytes();
        Ok::<_, Infallible>(Response::new(Full::new(body)))
    });
    tokio::spawn(server::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(end), answer));
    for one in asked.into_iter().chain([world.ask(), world.ask()]) {
        assert_eq!(one.await.unwrap().unwrap(), "body");
    }
    // Those that were being made beside it are not used.
    while let Ok(mut end) = world.ends.try_recv() {
        let mut sent = Vec::new();
        end.read_to_end(&mut sent).await.unwrap();
    }
}

#[test]
fn a_url_of_another_scheme_has_no_connection() {
    let world = World::new();
    for url in ["ftp://vendor.test/", "/v1/chat", "vendor.test"] {
        assert!(world.pool.origin(&url.parse().unwrap()).is_err(), "{url}");
    }
}
