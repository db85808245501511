//! A connection of HTTP/2 that ends while it is shared.

use std::future::pending;
use std::sync::Arc;

use tokio::sync::Notify;
use tokio::time::timeout;

use super::*;

type Counts = Arc<Mutex<Vec<usize>>>;

/// Serves a connection, `at_once` requests at a time, until it is told to finish. Each answer waits for `answer`.
fn vendor(end: DuplexStream, at_once: u32, heard: Counts, answer: Arc<Notify>, finish: Arc<Notify>) -> JoinHandle<()> {
    let at = {
        let mut heard = heard.lock().unwrap();
        heard.push(0);
        heard.len() - 1
    };
    let service = service_fn(move |request: Request<Incoming>| {
        let (heard, answer) = (heard.clone(), answer.clone());
        async move {
            heard.lock().unwrap()[at] += 1;
            let body = request.into_body().collect().await.unwrap().to_bytes();
            answer.notified().await;
            Ok::<_, Infallible>(Response::new(Full::new(body)))
        }
    });
    tokio::spawn(async move {
        let mut builder = server::Builder::new(TokioExecutor::new());
        let connection = builder.max_concurrent_streams(at_once).serve_connection(TokioIo::new(end), service);
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            _ = connection.as_mut() => return,
            () = finish.notified() => connection.as_mut().graceful_shutdown(),
        }
        let _ = connection.await;
    })
}

#[tokio::test(start_paused = true)]
async fn a_shared_connection_that_is_given_up_leaves_nobody_waiting_and_repeats_nothing() {
    let mut world = World::with(true, Duration::ZERO, Vec::new());
    let (heard, answer, finish) = (Counts::default(), Arc::new(Notify::new()), Arc::new(Notify::new()));
    let first = world.ask();
    vendor(world.end().await, 1, heard.clone(), answer.clone(), finish.clone());
    settle().await;
    answer.notify_one();
    assert_eq!(first.await.unwrap().unwrap(), "body");

    let asked: Vec<_> = (0..6).map(|_| world.ask()).collect();
    settle().await;
    finish.notify_one();
    settle().await;
    answer.notify_one();
    let again = tokio::spawn({
        let (heard, answer) = (heard.clone(), answer.clone());
        async move {
            while let Some(end) = world.ends.recv().await {
                vendor(end, 100, heard.clone(), answer.clone(), Arc::default());
            }
            pending::<()>().await;
        }
    });
    let mut answered = 0;
    for one in asked {
        let told = timeout(Duration::from_secs(60), async {
            let mut one = one;
            loop {
                answer.notify_one();
                if let Ok(told) = timeout(Duration::from_secs(1), &mut one).await {
                    return told.unwrap();
                }
            }
        });
        answered += usize::from(told.await.expect("waits for ever").is_ok());
    }
    again.abort();
    let heard = heard.lock().unwrap();
    // The one that was answered before is the first of all.
    assert_eq!(heard.iter().sum::<usize>(), answered + 1, "{heard:?}");
    assert!(answered >= 5, "{answered}: at most the one that was next may fail");
}
