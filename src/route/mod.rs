//! Routing: model id to vendor, and the answer back.
