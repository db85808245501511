//! What the examples accept has `TCP_NODELAY`: a stream's end does not wait for the caller's delayed ACK.

use axum::serve::Listener as _;
use tokio::net::{TcpListener, TcpStream};

#[allow(dead_code, reason = "the example's main is not called")]
#[path = "../examples/axum_app.rs"]
mod axum_app;
#[path = "../examples/gateway/accept.rs"]
mod gateway;
#[allow(dead_code, reason = "only what accepts is called")]
#[path = "../examples/hyper_service.rs"]
mod hyper_service;

/// A listener, and a caller who has connected to it.
async fn connected() -> (TcpListener, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let caller = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (listener, caller)
}

#[tokio::test]
async fn accepted_sockets_do_not_delay_what_is_small() {
    let (listener, _caller) = connected().await;
    assert!(hyper_service::accept(&listener).await.unwrap().nodelay().unwrap());

    let (listener, _caller) = connected().await;
    assert!(gateway::accept(&listener).await.unwrap().nodelay().unwrap());

    let (listener, _caller) = connected().await;
    assert!(axum_app::without_delay(listener).accept().await.0.nodelay().unwrap());
}

#[tokio::test]
async fn a_plain_listener_would_delay_it() {
    let (listener, _caller) = connected().await;
    assert!(!listener.accept().await.unwrap().0.nodelay().unwrap());
}
