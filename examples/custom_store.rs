//! A ledger of a team's own: one JSON line a record, appended to a file that other tools can read.
//!
//! `main` runs it through the contract suite that every ledger of the crate passes, and then puts it under a gateway.
//!
//! ```text
//! cargo run --example custom_store
//! ```

use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use kancy::store::contract;
use kancy::store::error::StoreResult;
use kancy::store::ledger::{GroupBy, PostedQuery, RecordFilter, UsageRow};
use kancy::{
    Amounts, Gateway, HyperClient, MemoryKeys, MemoryLedger, Page, PageOf, Registry, StoreError, StoreFuture,
    Timestamp, UsageRecord, UsageSink, UsageStore,
};

/// Appends each record that has ended to a file; answers reports from memory, which it fills from the file.
#[derive(Debug)]
struct LineLedger {
    file: Mutex<File>,
    memory: MemoryLedger,
}

impl LineLedger {
    fn open(path: &Path) -> Result<Self, Box<dyn Error>> {
        let file = OpenOptions::new().create(true).append(true).read(true).open(path)?;
        let memory = MemoryLedger::new();
        for line in BufReader::new(&file).lines() {
            // In memory a record is in when the call returns: there is nothing to wait for.
            drop(memory.record(serde_json::from_str(&line?)?));
        }
        Ok(Self { file: Mutex::new(file), memory })
    }

    fn append(&self, record: &UsageRecord) -> StoreResult<()> {
        let mut line = serde_json::to_vec(record).map_err(|e| StoreError::unavailable(e.to_string()))?;
        line.push(b'\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(&line).map_err(|e| StoreError::unavailable(e.to_string()))
    }
}

impl UsageSink for LineLedger {
    fn open(&self, record: &UsageRecord) -> StoreFuture<StoreResult<()>> {
        self.memory.open(record)
    }

    fn record(&self, record: UsageRecord) -> StoreFuture<StoreResult<()>> {
        if let Err(error) = self.append(&record) {
            return StoreFuture::ready(Err(error));
        }
        self.memory.record(record)
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
