//! Query strings, read strictly: an unknown parameter is refused, since a filter that is silently ignored shows too much.

use crate::base::clock::Timestamp;
use crate::base::error::{Code, Error};
use crate::domain::limit::Scope;
use crate::domain::record::Outcome;
use crate::store::ledger::{GroupBy, RecordFilter};
use crate::store::tables::Page;

const DEFAULT_LIMIT: usize = 100;
const LARGEST_LIMIT: usize = 1_000;

/// The parameters that say which records a listing shows, but for workspace and project.
pub(super) const FILTERS: [&str; 10] =
    ["team", "environment", "key", "model", "status", "outcome", "id", "request_id", "from", "to"];

/// The parameters of a page.
pub(super) const PAGE: [&str; 2] = ["limit", "after"];

/// A request's query parameters, each at most once.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads the query string; one that is not among `known` is refused.
    pub(super) fn parse(query: Option<&str>, known: &[&[&str]]) -> Result<Self, Error> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (Some(name), Some(value)) = (decode(name), decode(value)) else {
                return Err(Error::new(Code::InvalidParameter, "The query string is not percent-encoded UTF-8."));
            };
            if !known.iter().any(|names| names.contains(&&*name)) {
                let names = known.concat().join(", ");
                let known = if names.is_empty() { "There are none" } else { "Known ones: " };
                let message = format!("{name:?} is no query parameter here. {known}{names}.");
                return Err(Error::new(Code::InvalidParameter, message).param(name));
            }
            if pairs.iter().any(|(other, _)| *other == name) {
                return Err(invalid(&name, "is given twice"));
            }
            pairs.push((name, value));
        }
        Ok(Self(pairs))
    }

    /// The parameter, as it was given.
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(other, _)| other == name)?;
        Some(self.0.swap_remove(at).1)
    }

    /// The parameter as `read` understands it; `what` says what it should be.
    pub(super) fn read<T>(
        &mut self,
        name: &'static str,
        what: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        let Some(text) = self.text(name) else { return Ok(None) };
        read(&text).map(Some).ok_or_else(|| invalid(name, &format!("must be {what}")))
    }

    /// `limit` and `after`.
    pub(super) fn page(&mut self) -> Result<Page, Error> {
        Ok(Page { limit: self.limit()?.unwrap_or(DEFAULT_LIMIT), after: self.text("after") })
    }

    /// `limit`, and how many `after` skips, of a list that is shown whole where nothing is said.
    pub(super) fn part(&mut self) -> Result<(usize, usize), Error> {
        let after = self.read("after", "the \"next\" of the page before", |text| text.parse().ok())?;
        Ok((self.limit()?.unwrap_or(usize::MAX), after.unwrap_or(0)))
    }

    fn limit(&mut self) -> Result<Option<usize>, Error> {
        let fits = |text: &str| text.parse().ok().filter(|n| (1..=LARGEST_LIMIT).contains(n));
        self.read("limit", "a number from 1 to 1000", fits)
    }

    /// `scope`
    pub(super) fn scope(&mut self) -> Result<Option<Scope>, Error> {
        self.text("scope").map(|text| scope(&text)).transpose()
    }

    /// `from` and `to`, and every other filter that was let through.
    pub(super) fn filter(&mut self) -> Result<RecordFilter, Error> {
        let time = "unix seconds, with or without a fraction";
        Ok(RecordFilter {
            workspace: self.text("workspace"),
            project: self.text("project"),
            team: self.text("team"),
            environment: self.text("environment"),
            key: self.text("key"),
            model: self.text("model"),
            status: self.read("status", "an HTTP status", |text| text.parse().ok())?,
            outcome: self.read("outcome", "the outcome of a record, such as completed or refused", outcome)?,
            id: self.text("id"),
            request_id: self.text("request_id"),
            from: self.read("from", time, timestamp)?,
            to: self.read("to", time, timestamp)?,
        })
    }

    /// `group_by`
    pub(super) fn group_by(&mut self) -> Result<Vec<GroupBy>, Error> {
        let what = "a comma list, each at most once, of day, workspace, project, team, environment, key, model, \
                    provider and modality";
        Ok(self.read("group_by", what, groups)?.unwrap_or_default())
    }
}

/// A scope of the admin API, where keys are named by id.
pub(super) fn scope(text: &str) -> Result<Scope, Error> {
    let scope = text.parse::<Scope>().map_err(|why| Error::new(Code::InvalidParameter, why).param("scope"))?;
    match &scope {
        Scope::Key(id) if crate::domain::key::KeyId::new(id).is_none() => {
            Err(invalid("scope", "names no key: write key: and the key's id, 22 letters and digits"))
        }
        _ => Ok(scope),
    }
}

/// A value that will not do.
pub(super) fn invalid(param: &str, reason: &str) -> Error {
    Error::new(Code::InvalidParameter, format!("{param:?} {reason}.")).param(param.to_owned())
}

/// The word for a group, in requests and answers.
pub(super) fn group_name(group: GroupBy) -> &'static str {
    match group {
        GroupBy::Day => "day",
        GroupBy::Workspace => "workspace",
        GroupBy::Project => "project",
        GroupBy::Team => "team",
        GroupBy::Environment => "environment",
        GroupBy::Key => "key",
        GroupBy::Model => "model",
        GroupBy::Provider => "provider",
        GroupBy::Modality => "modality",
    }
}

fn groups(text: &str) -> Option<Vec<GroupBy>> {
    const ALL: [GroupBy; 9] = [
        GroupBy::Day,
        GroupBy::Workspace,
        GroupBy::Project,
        GroupBy::Team,
        GroupBy::Environment,
        GroupBy::Key,
        GroupBy::Model,
        GroupBy::Provider,
        GroupBy::Modality,
    ];
    let mut found = Vec::new();
    for word in text.split(',') {
        let group = ALL.into_iter().find(|group| group_name(*group) == word)?;
        if found.contains(&group) {
            return None;
        }
        found.push(group);
    }
    Some(found)
}

fn outcome(text: &str) -> Option<String> {
    Outcome::ALL.into_iter().find(|outcome| outcome.as_str() == text).map(|outcome| outcome.as_str().to_owned())
}

/// Unix seconds in decimal, exactly: digits finer than a nanosecond are dropped.
pub(super) fn timestamp(text: &str) -> Option<Timestamp> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !digits(seconds) || !digits(fraction) {
        return None;
    }
    let nanos: u64 = format!("{fraction:0<9}")[..9].parse().ok()?;
    let whole = Timestamp::from_secs(seconds.parse().ok()?);
    Some(whole.plus(std::time::Duration::from_nanos(nanos)))
}

/// Undoes the encoding of a form: `+` is a space, `%41` a byte.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                let (high, low) = (digit()?, digit()?);
                (high * 16 + low) as u8
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_read_exactly_with_or_without_a_fraction() {
        for (text, nanos) in [
            ("0", Some(0)),
            ("1736160000", Some(1_736_160_000_000_000_000)),
            ("1736160000.123", Some(1_736_160_000_123_000_000)),
            ("1.0000000019", Some(1_000_000_001)),
            ("99999999999999999999", None),
            ("-1", None),
            ("1.", None),
            (".5", None),
            ("1e3", None),
            ("", None),
        ] {
            assert_eq!(timestamp(text).map(Timestamp::as_nanos), nanos, "{text}");
        }
    }

    #[test]
    fn percent_encoding_is_undone_and_a_broken_one_refused() {
        assert_eq!(decode("team%3Aacme%2fweb+x").as_deref(), Some("team:acme/web x"));
        for broken in ["%", "%4", "%zz", "%ff"] {
            assert_eq!(decode(broken), None, "{broken}");
        }
    }

    #[test]
    fn an_unknown_or_a_repeated_parameter_is_refused_by_name() {
        let refused = |query| Query::parse(Some(query), &[&PAGE]).err().map(|e| e.param_name().unwrap().to_owned());
        assert_eq!(refused("limit=5&colour=red"), Some("colour".to_owned()));
        assert_eq!(refused("limit=5&limit=6"), Some("limit".to_owned()));
        assert_eq!(refused("limit=5&&after=x"), None);
    }

    #[test]
    fn a_page_has_one_to_a_thousand_items() {
        let limit = |text: &str| Query::parse(Some(text), &[&PAGE]).unwrap().page().map(|page| page.limit).ok();
        assert_eq!((limit(""), limit("limit=1"), limit("limit=1000")), (Some(100), Some(1), Some(1_000)));
        for wrong in ["limit=0", "limit=1001", "limit=-1", "limit=ten", "limit="] {
            assert_eq!(limit(wrong), None, "{wrong}");
        }
    }
}
