//! The contract of quota stores.
