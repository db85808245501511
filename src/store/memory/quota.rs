//! In-memory store: quota.
