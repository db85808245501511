//! In-memory store: keys.
