//! Connections that read beside the writer, a thread each.

use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use rusqlite::Connection;

use crate::base::store_future::StoreFuture;
use crate::store::error::{StoreError, StoreResult};

use super::open::connect_reader;
use super::promise::promise;
use super::writer::Handle;

const THREADS: usize = 2;

type Query = Box<dyn FnOnce(&Connection) + Send>;

/// A small pool of readers. Each query sees all that was written, or queued, before it.
pub(super) struct Readers {
    queue: Option<Sender<Query>>,
    writer: Handle,
    threads: Vec<JoinHandle<()>>,
}

impl Readers {
    pub(super) fn start(path: &Path, writer: Handle) -> StoreResult<Self> {
        let (queue, queries) = channel::<Query>();
        let queries = Arc::new(Mutex::new(queries));
        let mut threads = Vec::with_capacity(THREADS);
        for n in 0..THREADS {
            let connection = connect_reader(path)?;
            let queries = Arc::clone(&queries);
            let thread = thread::Builder::new()
                .name(format!("kancy-sqlite-reader-{n}"))
                .spawn(move || serve(&connection, &queries))
                .map_err(|e| StoreError::unavailable(format!("no thread for the database: {e}")))?;
            threads.push(thread);
        }
        Ok(Self { queue: Some(queue), writer, threads })
    }

    pub(super) fn run<T, Q>(&self, query: Q) -> StoreFuture<StoreResult<T>>
    where
        T: Send + Unpin + 'static,
        Q: FnOnce(&Connection) -> StoreResult<T> + Send + 'static,
    {
        let (kept, future) = promise();
        let writer = self.writer.clone();
        let query: Query = Box::new(move |connection| {
            writer.flush();
            kept.keep(query(connection));
        });
        if let Some(queue) = &self.queue {
            // Without receivers the query is dropped, and its promise says that the store is closed.
            drop(queue.send(query));
        }
        future
    }
}

fn serve(connection: &Connection, queries: &Mutex<Receiver<Query>>) {
    loop {
        let next = queries.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(query) = next else { return };
        query(connection);
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.queue = None;
        for thread in self.threads.drain(..) {
            drop(thread.join());
        }
    }
}
