//! A ledger of a team's own: one JSON line a record, appended to a file that other tools can read.
//!
//! `main` runs it through the contract suite that every ledger of the crate passes, and then puts it under a gateway.
//!
//! ```text
//! cargo run --example custom_store
//! ```

use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io::{BufReader, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use kancy::store::contract;
use kancy::store::error::StoreResult;
use kancy::store::ledger::{GroupBy, PostedQuery, RecordFilter, UsageRow};
use kancy::{
    Amounts, Gateway, HyperClient, MemoryKeys, MemoryLedger, Page, PageOf, Registry, StoreError, StoreFuture,
    Timestamp, UsageRecord, UsageSink, UsageStore,
};
use tokio::sync::oneshot;

/// Appends each record that has ended to a file; answers reports from memory, which it fills from the file.
#[derive(Debug)]
struct LineLedger {
    memory: MemoryLedger,
    lines: Sender<Line>,
    /// The file could not be written last time: nothing more is spent until it can.
    is_broken: Arc<AtomicBool>,
}

/// A line of the file, and who waits for it.
struct Line(Vec<u8>, oneshot::Sender<()>);

impl LineLedger {
    fn open(path: &Path) -> Result<Self, Box<dyn Error>> {
        let file = OpenOptions::new().create(true).append(true).read(true).open(path)?;
        let memory = MemoryLedger::new();
        let mut text = String::new();
        BufReader::new(&file).read_to_string(&mut text)?;
        // A line that a crash has torn off never was: its answer has not gone out whole.
        let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
        file.set_len(whole.len() as u64)?;
        for line in whole.lines() {
            // In memory a record is in when the call returns: there is nothing to wait for.
            drop(memory.record(serde_json::from_str(line)?));
        }
        let (lines, written) = channel();
        let is_broken = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&is_broken);
        // A file makes its writer wait, and the calls of a sink must not.
        thread::spawn(move || write(&file, &written, &told));
        Ok(Self { memory, lines, is_broken })
    }
}

/// Writes what comes, and tries a line again until it is written: a record that was taken is never given up.
fn write(mut file: &File, lines: &Receiver<Line>, is_broken: &AtomicBool) {
    while let Ok(Line(line, done)) = lines.recv() {
        let whole = file.metadata().map(|file| file.len());
        while let Err(error) = file.write_all(&line).and_then(|()| file.sync_data()) {
            is_broken.store(true, Ordering::Release);
            eprintln!("the ledger cannot be written: {error}");
            thread::sleep(Duration::from_secs(1));
            // No half a line stays before the whole one.
            if let Ok(whole) = whole {
                let _ = file.set_len(whole);
            }
        }
        is_broken.store(false, Ordering::Release);
        // Where the answer's caller has gone, nobody waits.
        let _ = done.send(());
    }
}

impl UsageSink for LineLedger {
    fn open(&self, record: &UsageRecord) -> StoreFuture<StoreResult<()>> {
        if self.is_broken.load(Ordering::Acquire) {
            return StoreFuture::ready(Err(StoreError::unavailable("the ledger's file cannot be written")));
        }
        self.memory.open(record)
    }

    fn record(&self, record: UsageRecord) -> StoreFuture<StoreResult<()>> {
        let line = serde_json::to_vec(&record).map_err(|e| StoreError::unavailable(e.to_string()));
        drop(self.memory.record(record));
        let (done, written) = oneshot::channel();
        let handed_over = line.and_then(|mut line| {
            line.push(b'\n');
            self.lines.send(Line(line, done)).map_err(|_| StoreError::unavailable("the ledger's writer has ended"))
        });
        StoreFuture::new(async move {
            handed_over?;
            // What cannot be written for so long is written later; its answer goes out.
            match tokio::time::timeout(Duration::from_secs(2), written).await {
                Ok(Ok(())) => Ok(()),
                _ => Err(StoreError::unavailable("a record is not on disk yet")),
            }
        })
    }
}

impl UsageStore for LineLedger {
    fn records(&self, filter: RecordFilter, page: Page) -> StoreFuture<StoreResult<PageOf<UsageRecord>>> {
        self.memory.records(filter, page)
    }

    fn usage(&self, filter: RecordFilter, by: Vec<GroupBy>) -> StoreFuture<StoreResult<Vec<UsageRow>>> {
        self.memory.usage(filter, by)
    }

    fn posted(&self, query: PostedQuery) -> StoreFuture<StoreResult<Vec<(Timestamp, Amounts)>>> {
        self.memory.posted(query)
    }
}

/// Runs the suite, each part on a ledger of its own in `folder`.
async fn prove(folder: &Path) {
    let next = AtomicUsize::new(0);
    contract::ledger::run(async || {
        let file = folder.join(format!("{}.jsonl", next.fetch_add(1, Ordering::Relaxed)));
        LineLedger::open(&file).expect("the folder can be written")
    })
    .await;
}

#[tokio::main]
pub async fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::temp_dir().join(format!("kancy-line-ledger-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    prove(&folder).await;
    println!("the ledger keeps its contract");

    let ledger = Arc::new(LineLedger::open(&folder.join("ledger.jsonl"))?);
    let _gateway =
        Gateway::builder(Registry::offline(), HyperClient::new()).keys(MemoryKeys::new()).ledger(ledger).build();
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}
