use super::*;
use crate::store::contract;

#[tokio::test]
async fn the_memory_store_keeps_the_contract() {
    contract::quota::all(&MemoryQuota::new()).await;
}
