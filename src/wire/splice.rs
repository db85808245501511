//! wire: splice.
