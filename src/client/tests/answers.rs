//! Answers of HTTP/1.1 that are not as usual, and what becomes of their connections.

use super::*;

/// What a vendor sends for one request, and whether its connection serves the next one.
const ANSWERS: &[(&str, &str, bool)] = &[
    ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi", "hi", true),
    ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "hi", true),
    ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\na: b\r\n\r\n", "hi", true),
    ("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi", "hi", true),
    ("HTTP/1.1 204 No Content\r\n\r\n", "", true),
    ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", "", true),
    ("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi", "hi", false),
    ("HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nhi", "hi", false),
    ("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n", "", false),
    // More than was asked for.
    ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi!", "hi", false),
    ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil", "hi", false),
    ("HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil", "", false),
];

#[tokio::test]
async fn a_connection_serves_again_where_its_answer_left_nothing_behind() {
    for &(answer, text, again) in ANSWERS {
        let mut world = World::new();
        let asked = world.ask();
        let mut end = world.end().await;
        heard(&mut end).await;
        end.write_all(answer.as_bytes()).await.unwrap();
        assert_eq!(asked.await.unwrap().unwrap(), text, "{answer}");
        settle().await;
        let asked = world.ask();
        if again {
            serve(&mut end).await;
        } else {
            serve(&mut world.end().await).await;
            closed(&mut end).await;
        }
        assert_eq!(asked.await.unwrap().unwrap(), "hi", "{answer}");
        world.no_further_connection();
    }
}

#[tokio::test]
async fn an_answer_without_a_length_ends_with_its_connection() {
    let mut world = World::new();
    let asked = world.ask();
    let mut end = world.end().await;
    heard(&mut end).await;
    end.write_all(b"HTTP/1.1 200 OK\r\n\r\nh").await.unwrap();
    settle().await;
    end.write_all(b"i").await.unwrap();
    assert!(!asked.is_finished());
    drop(end);
    assert_eq!(asked.await.unwrap().unwrap(), "hi");
    let asked = world.ask();
    serve(&mut world.end().await).await;
    assert_eq!(asked.await.unwrap().unwrap(), "hi");
}

#[tokio::test]
async fn a_connection_on_which_a_vendor_speaks_unasked_serves_nobody() {
    let mut world = World::new();
    let asked = world.ask();
    let mut end = world.end().await;
    serve(&mut end).await;
    asked.await.unwrap().unwrap();
    // Nothing has told the client when it sends.
    end.write_all(b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    let asked = world.ask();
    serve(&mut world.end().await).await;
    assert_eq!(asked.await.unwrap().unwrap(), "hi");
    closed(&mut end).await;
}

#[tokio::test]
async fn a_connection_whose_answer_was_there_but_for_its_end_serves_nobody_before() {
    let mut world = World::new();
    let head = tokio::spawn(world.head());
    let mut end = world.end().await;
    heard(&mut end).await;
    end.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n").await.unwrap();
    let mut body = head.await.unwrap().unwrap().into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "hi");
    let asked = world.ask();
    let mut other = world.end().await;
    serve(&mut other).await;
    assert_eq!(asked.await.unwrap().unwrap(), "hi");
    end.write_all(b"0\r\n\r\n").await.unwrap();
    assert!(body.frame().await.is_none());
    settle().await;
    let asked = [world.ask(), world.ask()];
    serve(&mut end).await;
    serve(&mut other).await;
    for one in asked {
        assert_eq!(one.await.unwrap().unwrap(), "hi");
    }
    world.no_further_connection();
}

#[tokio::test]
async fn a_connection_serves_nobody_while_the_request_before_is_still_being_sent() {
    let mut world = World::new();
    let long = Bytes::from(vec![b'.'; 1 << 20]);
    let request = Request::post("http://vendor.test:8080/").body(CallBody::from(long)).unwrap();
    let answer = send(world.pool.origin(request.uri()).unwrap(), request);
    let early = tokio::spawn(async { Ok::<_, BoxError>(answer.await?.into_body().collect().await?.to_bytes()) });
    let mut end = world.end().await;
    end.read_u8().await.unwrap();
    end.write_all(ANSWER).await.unwrap();
    assert_eq!(early.await.unwrap().unwrap(), "hi");
    let asked = world.ask();
    let mut other = world.end().await;
    serve(&mut other).await;
    assert_eq!(asked.await.unwrap().unwrap(), "hi");
    world.no_further_connection();
}

#[tokio::test]
async fn a_limit_may_be_longer_than_the_clock_goes() {
    let mut world = World::new();
    let request = Request::post("http://vendor.test:8080/").body(CallBody::from(Bytes::from("body"))).unwrap();
    let exchange = Exchange::new(world.pool.origin(request.uri()).unwrap(), request);
    let answer = ClientFuture::new(exchange, Timeouts { first_byte: Duration::MAX, idle: Duration::MAX });
    let head = tokio::spawn(async { Ok::<_, BoxError>(answer.await?.into_body().collect().await?.to_bytes()) });
    let mut end = world.end().await;
    heard(&mut end).await;
    settle().await;
    end.write_all(&ANSWER[..ANSWER.len() - 2]).await.unwrap();
    settle().await;
    end.write_all(b"hi").await.unwrap();
    assert_eq!(head.await.unwrap().unwrap(), "hi");
}
