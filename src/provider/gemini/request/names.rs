//! Function names: Gemini's begin with a letter or `_`, OpenAI's also with a digit or `-`.

use std::borrow::Cow;

/// The names of a request that Gemini cannot take, to be told again when it calls them.
#[derive(Clone, Debug, Default)]
pub(in crate::provider::gemini) struct Names(Vec<Box<str>>);

impl Names {
    pub(super) fn of<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        Self(names.filter(|name| !fits(name)).map(Into::into).collect())
    }

    /// The name as Gemini is sent it.
    pub(super) fn sent<'a>(&self, name: &'a str) -> Cow<'a, str> {
        if fits(name) { Cow::Borrowed(name) } else { Cow::Owned(format!("_{name}")) }
    }

    /// The caller's name for what Gemini calls `name`.
    pub(in crate::provider::gemini) fn given<'a>(&'a self, name: &'a str) -> &'a str {
        let found = name.strip_prefix('_').and_then(|bare| self.0.iter().find(|given| ***given == *bare));
        found.map_or(name, |given| given)
    }
}

fn fits(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
}
