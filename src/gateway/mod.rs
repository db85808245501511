//! The usual stack, assembled.
