//! The known models of CONTRACT section 5: one table.
