//! A table of the file, read key by key: every refusal knows its path, and `"env:NAME"` is resolved on the way.

use std::time::Duration;

use toml::{Table, Value};

use crate::base::secret::Secret;

use super::error::ConfigError;

pub(super) type Result<T> = std::result::Result<T, ConfigError>;

/// Where `"env:NAME"` is looked up.
pub(super) type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// No duration of a gateway is longer, and sums of this many seconds stay far from any overflow.
const TEN_YEARS: u64 = 315_360_000;

/// A table and its path in the file.
pub(super) struct Section<'a> {
    path: String,
    table: Table,
    env: Env<'a>,
}

/// A string as the file has it, and what it stands for. Only `shown` may appear in an error.
struct Text {
    shown: String,
    value: String,
}

impl<'a> Section<'a> {
    /// The whole file.
    pub(super) fn root(table: Table, env: Env<'a>) -> Self {
        Self { path: String::new(), table, env }
    }

    /// The path of `key` in this table.
    pub(super) fn path(&self, key: &str) -> String {
        let bare = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
        let key = if bare { key.to_owned() } else { format!("{key:?}") };
        if self.path.is_empty() { key } else { format!("{}.{key}", self.path) }
    }

    pub(super) fn error(&self, key: &str, reason: impl Into<String>) -> ConfigError {
        ConfigError::new(self.path(key), reason)
    }

    pub(super) fn missing(&self, key: &str) -> ConfigError {
        self.error(key, "is missing")
    }

    /// Refuses every key that is not among `known`.
    pub(super) fn only(self, known: &[&str]) -> Result<Self> {
        match self.table.keys().find(|key| !known.contains(&key.as_str())) {
            Some(key) => Err(self.error(key, format!("is no key that is known here; use {}", known.join(", ")))),
            None => Ok(self),
        }
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    fn wrong_type(&self, key: &str, value: &Value, want: &str) -> ConfigError {
        self.error(key, format!("must be {want}, not {}", type_name(value)))
    }

    fn below(&self, path: String, key: &str, value: Value) -> Result<Self> {
        match value {
            Value::Table(table) => Ok(Self { path, table, env: self.env }),
            other => Err(self.wrong_type(key, &other, "a table")),
        }
    }

    /// The table `key`; an absent one is empty.
    pub(super) fn section(&mut self, key: &str) -> Result<Self> {
        let value = self.table.remove(key).unwrap_or_else(|| Value::Table(Table::new()));
        self.below(self.path(key), key, value)
    }

    /// The tables that stand under names of their own: `[providers.NAME]`.
    pub(super) fn named(mut self) -> Result<Vec<(String, Self)>> {
        let table = std::mem::take(&mut self.table);
        table.into_iter().map(|(name, value)| Ok((name.clone(), self.below(self.path(&name), &name, value)?))).collect()
    }

    /// The tables of an array: `[[limits]]`.
    pub(super) fn each(&mut self, key: &str) -> Result<Vec<Self>> {
        let Some(values) = self.array(key, "an array of tables")? else { return Ok(Vec::new()) };
        values.into_iter().map(|(at, value)| self.below(self.path(key) + &at, key, value)).collect()
    }

    fn array(&mut self, key: &str, want: &str) -> Result<Option<Vec<(String, Value)>>> {
        match self.table.remove(key) {
            None => Ok(None),
            Some(Value::Array(values)) => {
                Ok(Some(values.into_iter().enumerate().map(|(i, value)| (format!("[{i}]"), value)).collect()))
            }
            Some(other) => Err(self.wrong_type(key, &other, want)),
        }
    }

    fn resolve(&self, path: &str, value: Value) -> Result<Text> {
        let shown = match value {
            Value::String(text) => text,
            other => return Err(ConfigError::new(path, format!("must be a string, not {}", type_name(&other)))),
        };
        let value = match shown.strip_prefix("env:") {
            None => shown.clone(),
            Some(name) => (self.env)(name).ok_or_else(|| {
                ConfigError::new(path, format!("the environment variable {} is not set", name.escape_debug()))
            })?,
        };
        Ok(Text { shown, value })
    }

    /// A string that `read` makes something of; `what` says what it should be.
    pub(super) fn parse<T>(&mut self, key: &str, what: &str, read: impl Fn(&str) -> Option<T>) -> Result<Option<T>> {
        let Some(value) = self.table.remove(key) else { return Ok(None) };
        let path = self.path(key);
        self.read(&path, value, what, read).map(Some)
    }

    /// A list of strings, each read as [`parse`](Self::parse) does.
    pub(super) fn list<T>(
        &mut self,
        key: &str,
        what: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<Vec<T>>> {
        let Some(values) = self.array(key, "a list of strings")? else { return Ok(None) };
        let path = self.path(key);
        values
            .into_iter()
            .map(|(at, value)| self.read(&(path.clone() + &at), value, what, &read))
            .collect::<Result<_>>()
            .map(Some)
    }

    fn read<T>(&self, path: &str, value: Value, what: &str, read: impl Fn(&str) -> Option<T>) -> Result<T> {
        let text = self.resolve(path, value)?;
        read(&text.value)
            .ok_or_else(|| ConfigError::new(path, format!("{:?} is not {what}", without_user(&text.shown))))
    }

    pub(super) fn string(&mut self, key: &str) -> Result<Option<String>> {
        self.parse(key, "a text with at least one character", |text| (!text.is_empty()).then(|| text.to_owned()))
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(&mut self, key: &str, words: &[(&str, T)]) -> Result<Option<T>> {
        let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        let find = |text: &str| words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        self.parse(key, &format!("one of {}", known.join(", ")), find)
    }

    /// A string that no error shows, not even as the file has it.
    pub(super) fn secret(&mut self, key: &str) -> Result<Option<Secret>> {
        let Some(value) = self.table.remove(key) else { return Ok(None) };
        self.read_secret(&self.path(key), value).map(Some)
    }

    /// One secret, or a list of them.
    pub(super) fn secrets(&mut self, key: &str) -> Result<Vec<Secret>> {
        match self.table.get(key) {
            Some(Value::Array(_)) => {
                let values = self.array(key, "a list of strings")?.unwrap_or_default();
                values.into_iter().map(|(at, value)| self.read_secret(&(self.path(key) + &at), value)).collect()
            }
            _ => Ok(self.secret(key)?.into_iter().collect()),
        }
    }

    fn read_secret(&self, path: &str, value: Value) -> Result<Secret> {
        let value = self.resolve(path, value)?.value;
        // Secrets go into headers, where anything else would fail later and less clearly.
        if value.is_empty() || !value.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(ConfigError::new(
                path,
                "is empty or holds a space, a line break or a character that is not ASCII",
            ));
        }
        Ok(value.into())
    }

    pub(super) fn boolean(&mut self, key: &str) -> Result<Option<bool>> {
        match self.table.remove(key) {
            None => Ok(None),
            Some(Value::Boolean(value)) => Ok(Some(value)),
            Some(other) => Err(self.wrong_type(key, &other, "true or false")),
        }
    }

    /// A whole number from `least` on.
    pub(super) fn number(&mut self, key: &str, least: u64) -> Result<Option<u64>> {
        let Some(value) = self.table.remove(key) else { return Ok(None) };
        self.read_number(&self.path(key), &value, least).map(Some)
    }

    fn read_number(&self, path: &str, value: &Value, least: u64) -> Result<u64> {
        let Value::Integer(n) = value else {
            return Err(ConfigError::new(path, format!("must be a whole number, not {}", type_name(value))));
        };
        u64::try_from(*n)
            .ok()
            .filter(|n| *n >= least)
            .ok_or_else(|| ConfigError::new(path, format!("{n} is less than {least}, the least that is allowed")))
    }

    /// Whole seconds, at least `least`.
    pub(super) fn seconds(&mut self, key: &str, least: u64) -> Result<Option<Duration>> {
        let path = self.path(key);
        self.number(key, least)?.map(|n| as_duration(&path, n)).transpose()
    }

    /// A list of whole seconds.
    pub(super) fn seconds_list(&mut self, key: &str) -> Result<Option<Vec<Duration>>> {
        let Some(values) = self.array(key, "a list of whole numbers")? else { return Ok(None) };
        let read = |(at, value): (String, Value)| {
            let path = self.path(key) + &at;
            as_duration(&path, self.read_number(&path, &value, 0)?)
        };
        values.into_iter().map(read).collect::<Result<_>>().map(Some)
    }

    /// A list of numbers with or without a fraction. Never money.
    pub(super) fn fractions(&mut self, key: &str) -> Result<Option<Vec<f64>>> {
        let Some(values) = self.array(key, "a list of numbers")? else { return Ok(None) };
        let read = |(at, value): (String, Value)| match value {
            Value::Float(n) => Ok(n),
            Value::Integer(n) => Ok(n as f64),
            other => {
                Err(ConfigError::new(self.path(key) + &at, format!("must be a number, not {}", type_name(&other))))
            }
        };
        values.into_iter().map(read).collect::<Result<_>>().map(Some)
    }

    /// The integer `key`, or its string; what else it may be is the caller's to say in `want`.
    pub(super) fn integer_or_text(&mut self, key: &str, want: &str) -> Result<Option<IntegerOrText>> {
        let path = self.path(key);
        match self.table.remove(key) {
            None => Ok(None),
            Some(Value::Integer(n)) => Ok(Some(IntegerOrText::Integer(n))),
            Some(value @ Value::String(_)) => Ok(Some(IntegerOrText::Text(self.resolve(&path, value)?.value))),
            Some(other) => Err(self.wrong_type(key, &other, want)),
        }
    }

    /// Whether `key` is a table here, rather than a string or nothing.
    pub(super) fn is_table(&self, key: &str) -> bool {
        self.table.get(key).is_some_and(Value::is_table)
    }
}

/// A value that some keys write as an integer and others as a string.
pub(super) enum IntegerOrText {
    Integer(i64),
    Text(String),
}

fn as_duration(path: &str, seconds: u64) -> Result<Duration> {
    if seconds > TEN_YEARS {
        return Err(ConfigError::new(path, format!("{seconds} seconds are more than ten years")));
    }
    Ok(Duration::from_secs(seconds))
}

/// A text without what may be a password in it: all that stands before an `@`.
fn without_user(text: &str) -> String {
    let Some((user, rest)) = text.rsplit_once('@') else { return text.to_owned() };
    let scheme = user.find("://").map_or("", |end| &user[..end + "://".len()]);
    format!("{scheme}…@{rest}")
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a string",
        Value::Integer(_) => "an integer",
        Value::Float(_) => "a float",
        Value::Boolean(_) => "a boolean",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "an array",
        Value::Table(_) => "a table",
    }
}
