//! wire: json.
