//! What can go wrong in a store, by meaning.

use std::fmt;

/// A store's failure. Holds no secret and no URL: its text may reach an operator's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreError {
    kind: StoreErrorKind,
    message: String,
}

/// The meaning of a [`StoreError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// It cannot be reached, or did not answer in time. Trying again may help.
    Unavailable,
    /// What was asked about is not there.
    NotFound,
    /// What was asked cannot be done to what is there (a key of the configuration cannot be rotated).
    Refused,
    /// What is stored cannot be read.
    Corrupt,
}

impl StoreError {
    /// A failure of this kind.
    pub fn new(kind: StoreErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// The store cannot be reached.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StoreErrorKind::Unavailable, message)
    }

    /// What is stored cannot be read; `why` is told to the operator.
    pub fn corrupt(why: impl fmt::Display) -> Self {
        Self::new(StoreErrorKind::Corrupt, format!("what is stored cannot be read: {why}"))
    }

    /// Its meaning.
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }

    /// Its text, for the operator.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for StoreError {}

/// What a store method answers with.
pub type StoreResult<T> = Result<T, StoreError>;
