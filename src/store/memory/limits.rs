//! In-memory store: limits.
