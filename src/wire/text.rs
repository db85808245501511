//! Text inside JSON, borrowed wherever it holds no escape.

use std::borrow::Cow;
use std::ops::Deref;

use serde::Deserialize;

/// A JSON string. `Option<Text>` borrows too, which `Option<Cow<str>>` does not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Text<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}
