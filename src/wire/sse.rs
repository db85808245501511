//! wire: sse.
