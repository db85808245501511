//! The contract of ledger stores.
