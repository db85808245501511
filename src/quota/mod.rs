//! Quotas: one atomic admit over every limit that applies.
