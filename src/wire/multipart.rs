//! wire: multipart.
