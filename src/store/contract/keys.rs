//! The contract of keys stores.
