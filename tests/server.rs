//! What the program's server says on a connection, beside what the gateway answers.

use std::net::SocketAddr;
use std::time::Duration;

use kancy::{Closing, Gateway, Registry};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

#[macro_use]
#[path = "../examples/gateway/forward.rs"]
mod forward;

#[path = "../examples/gateway/accept.rs"]
mod accept;
#[path = "../examples/gateway/ahead.rs"]
mod ahead;
#[path = "../examples/gateway/deadline.rs"]
mod deadline;
#[path = "../examples/gateway/greeting.rs"]
mod greeting;
#[path = "../examples/gateway/linger.rs"]
mod linger;
#[path = "../examples/gateway/refusal.rs"]
mod refusal;
#[path = "../examples/gateway/server.rs"]
mod server;
#[path = "../examples/gateway/timer.rs"]
mod timer;
#[path = "../examples/gateway/workers.rs"]
mod workers;

async fn served() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let gateway = Gateway::builder(Registry::offline(), workers::OwnClient).build();
    let signals = server::Signals::new().unwrap();
    let workers = workers::Workers::start().unwrap();
    tokio::spawn(server::serve(listener, gateway, workers, signals, Closing::default(), Duration::from_secs(1)));
    address
}

/// All that comes back for `bytes`, to the end of the connection.
async fn said(address: SocketAddr, bytes: &[u8]) -> String {
    let mut caller = TcpStream::connect(address).await.unwrap();
    caller.write_all(bytes).await.unwrap();
    let mut said = String::new();
    caller.read_to_string(&mut said).await.unwrap();
    said
}

#[tokio::test]
async fn a_head_that_cannot_be_read_is_refused_in_the_envelope() {
    let address = served().await;
    let long_uri = format!("GET /{} HTTP/1.1\r\nhost: h\r\n\r\n", "a".repeat(70_000));
    let many_headers = format!("GET / HTTP/1.1\r\n{}\r\n", "x: 1\r\n".repeat(200));
    let cases = [
        ("G@T / HTTP/1.1\r\n\r\n", "invalid_parameter"),
        ("POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\ncontent-length: three\r\n\r\n", "invalid_parameter"),
        (&long_uri, "request_too_large"),
        (&many_headers, "request_too_large"),
    ];
    for (bytes, code) in cases {
        let said = said(address, bytes.as_bytes()).await;
        let (head, body) = said.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n"), "{said}");
        let error = &serde_json::from_str::<serde_json::Value>(body).unwrap()["error"];
        assert_eq!((&error["code"], &error["type"]), (&code.into(), &"invalid_request_error".into()));
        assert!(head.contains(&format!("x-request-id: {}\r\n", error["request_id"].as_str().unwrap())), "{said}");
        assert!(head.ends_with(&format!("content-length: {}", body.len())), "{said}");
    }
}

#[tokio::test]
async fn what_comes_before_such_a_head_is_answered_as_ever() {
    let said = said(served().await, b"GET /healthz HTTP/1.1\r\nhost: h\r\n\r\nG@T / HTTP/1.1\r\n\r\n").await;
    let (first, second) = said.split_once("{\"status\":\"ok\"}").unwrap();
    assert!(first.starts_with("HTTP/1.1 200 OK\r\n") && second.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{said}");
    assert!(second.ends_with("}}"), "{said}");
}

/// What becomes of a server's read when its caller has sent `bytes` and then keeps silent, reading `at_a_time`.
async fn read_of(bytes: &[u8], at_a_time: usize) -> std::io::Result<Vec<u8>> {
    let (mut caller, stream) = tokio::io::duplex(64);
    caller.write_all(bytes).await.unwrap();
    let mut stream = greeting::Greeting::new(stream, Duration::from_secs(30));
    let (mut read, mut buffer) = (Vec::new(), vec![0; at_a_time]);
    let silence = Duration::from_secs(3_600);
    while let Ok(count) = tokio::time::timeout(silence, stream.read(&mut buffer)).await {
        read.extend_from_slice(&buffer[..count?]);
    }
    Ok(read)
}

#[tokio::test(start_paused = true)]
async fn who_does_not_say_which_http_it_speaks_is_not_waited_for() {
    for at_a_time in [1, 5, 64] {
        for silent in ["", "P", "PRI * HTTP/2.0\r\n"] {
            let refused = read_of(silent.as_bytes(), at_a_time).await.unwrap_err();
            assert_eq!(refused.kind(), std::io::ErrorKind::TimedOut, "{silent:?}");
        }
        // From here on, hyper's own limits count.
        for told in ["G", "POST /", "PRI * HTTP/1.1\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
            assert_eq!(read_of(told.as_bytes(), at_a_time).await.unwrap(), told.as_bytes());
        }
    }
}
