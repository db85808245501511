//! The HTTP client for vendors.
