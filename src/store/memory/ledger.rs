//! In-memory store: ledger.
