//! Inspection: the body is collected once, bounded, and its facts are read in one pass.
