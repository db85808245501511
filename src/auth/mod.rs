//! Authentication: a bearer key becomes a `Caller`.
