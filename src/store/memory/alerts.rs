//! In-memory store: alerts.
