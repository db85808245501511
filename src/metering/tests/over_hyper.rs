//! What hyper does with a body at its end: it polls no more than it must.

use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use super::*;

/// A connection to a server that answers each request with `steps`, and the connection's task.
fn connect(
    spy: &Spy,
    length: Option<u64>,
    steps: impl Fn() -> Vec<Step> + Clone + Send + 'static,
) -> (DuplexStream, tokio::task::JoinHandle<()>) {
    let layer = metering(spy);
    let (client, server) = tokio::io::duplex(64 * 1_024);
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(drop);
        request.extensions_mut().insert(caller());
        let steps = steps.clone();
        let handler = tower::service_fn(move |request: Request<()>| {
            let mut response = Response::new(Script::new(&meter_of(&request), steps()));
            if let Some(length) = length {
                response.headers_mut().insert("content-length", length.into());
            }
            std::future::ready(Ok::<_, &'static str>(response))
        });
        layer.layer(handler).oneshot(request)
    });
    let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(server), service);
    let task = tokio::spawn(async move {
        let _ = connection.await;
    });
    (client, task)
}

const POST: &[u8] = b"POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

#[tokio::test]
async fn a_body_of_promised_length_that_hides_its_end_is_completed() {
    let spy = Spy::default();
    let (mut client, task) = connect(&spy, Some(6), || vec![Step::Data("abc"), Step::Pend, Step::Data("def")]);
    client.write_all(POST).await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    task.await.unwrap();
    assert!(answer.ends_with("\r\n\r\nabcdef"), "{answer}");
    assert_eq!(spy.only().outcome, Some(Outcome::Completed));
}

#[tokio::test]
async fn a_chunked_body_is_completed() {
    let spy = Spy::default();
    let (mut client, task) = connect(&spy, None, || vec![Step::Data("abc"), Step::Pend, Step::Data("def")]);
    client.write_all(POST).await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    task.await.unwrap();
    assert_eq!(spy.only().outcome, Some(Outcome::Completed));
}

#[tokio::test]
async fn a_client_that_hangs_up_in_the_middle_has_left() {
    let spy = Spy::default();
    let endless = || std::iter::repeat_with(|| Step::Data("abc")).take(200_000).collect();
    let (mut client, task) = connect(&spy, None, endless);
    client.write_all(POST).await.unwrap();
    let mut some = [0; 256];
    client.read_exact(&mut some).await.unwrap();
    drop(client);
    task.await.unwrap();
    assert_eq!(spy.only().outcome, Some(Outcome::ClientClosed));
}
