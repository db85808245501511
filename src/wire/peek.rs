//! wire: peek.
