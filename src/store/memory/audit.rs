//! In-memory store: audit.
