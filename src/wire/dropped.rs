//! The names of request fields that a vendor does not have.

use std::borrow::Cow;

use http::HeaderValue;

/// The longest name that is told, in characters.
const LONGEST: usize = 64;
/// How many names of a caller's own making are told.
const AT_MOST: usize = 16;

/// Request fields that were left out, as the vendor does not have them.
///
/// Names of our own are all kept. A [name of the caller's](Self::push_unknown) is cut to what a header may hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    names: Vec<Cow<'static, str>>,
    unknown: usize,
}

impl Dropped {
    /// A field that OpenAI has.
    pub fn push(&mut self, name: &'static str) {
        self.names.push(Cow::Borrowed(name));
    }

    /// A field that nobody knows: of its name, the letters, digits and `_.-` among the first 64, and no more than 16 names.
    pub fn push_unknown(&mut self, name: &str) {
        let name: String =
            name.chars().filter(|c| c.is_ascii_alphanumeric() || "_.-".contains(*c)).take(LONGEST).collect();
        if !name.is_empty() && self.unknown < AT_MOST {
            self.unknown += 1;
            self.names.push(Cow::Owned(name));
        }
    }

    /// Whether nothing was left out.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The names, in the order in which they were found.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|name| &**name)
    }

    /// The value of `x-kancy-dropped`; `None` where nothing was left out.
    pub fn header(&self) -> Option<HeaderValue> {
        if self.is_empty() { None } else { HeaderValue::from_str(&self.names.join(",")).ok() }
    }
}

impl Extend<&'static str> for Dropped {
    fn extend<I: IntoIterator<Item = &'static str>>(&mut self, names: I) {
        self.names.extend(names.into_iter().map(Cow::Borrowed));
    }
}

impl FromIterator<&'static str> for Dropped {
    fn from_iter<I: IntoIterator<Item = &'static str>>(names: I) -> Self {
        let mut dropped = Self::default();
        dropped.extend(names);
        dropped
    }
}

impl From<Vec<&'static str>> for Dropped {
    fn from(names: Vec<&'static str>) -> Self {
        names.into_iter().collect()
    }
}

#[cfg(test)]
impl<T: AsRef<[&'static str]>> PartialEq<T> for Dropped {
    fn eq(&self, names: &T) -> bool {
        self.iter().eq(names.as_ref().iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callers_name_is_cut_to_what_a_header_may_hold() {
        let mut dropped = Dropped::from(vec!["seed"]);
        for name in ["top_a", "x-y.z", "new\r\nline", "комната", "", &"long".repeat(100)] {
            dropped.push_unknown(name);
        }
        assert_eq!(dropped, ["seed", "top_a", "x-y.z", "newline", &"long".repeat(16).leak()[..]]);
        assert_eq!(dropped.header().unwrap().to_str().unwrap().matches(',').count(), 4);
        for number in 0..100 {
            dropped.push_unknown(&format!("field{number}"));
        }
        dropped.push("user");
        assert_eq!((dropped.iter().count(), dropped.iter().last()), (1 + AT_MOST + 1, Some("user")));
        assert_eq!(Dropped::default().header(), None);
    }
}
