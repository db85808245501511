//! Whom a limit binds.

use std::fmt;
use std::sync::Arc;

use crate::domain::caller::{Caller, Home};
use crate::domain::name::Name;

/// Whom a limit binds. Written `workspace:W`, `team:W/T`, `project:W/P`, `environment:W/P/E`, `key:ID`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the levels")]
pub enum Scope {
    Workspace(Name),
    Team(Name, Name),
    Project(Name, Name),
    Environment(Name, Name, Name),
    Key(Arc<str>),
}

impl Scope {
    /// Every scope that `caller` stands in, outermost first.
    pub fn of(caller: &Caller) -> impl Iterator<Item = Self> + use<> {
        Self::around(caller.home(), caller.shared_key_id())
    }

    /// Every scope that a key of this home stands in, outermost first.
    pub fn around(home: &Home, key_id: Arc<str>) -> impl Iterator<Item = Self> + use<> {
        let home = home.clone();
        let workspace = home.workspace.clone();
        let team = home.team.map(|t| Self::Team(workspace.clone(), t));
        let environment = home.environment.map(|e| Self::Environment(workspace.clone(), home.project.clone(), e));
        let key = Self::Key(key_id);
        [
            Some(Self::Workspace(workspace.clone())),
            team,
            Some(Self::Project(workspace, home.project)),
            environment,
            Some(key),
        ]
        .into_iter()
        .flatten()
    }

    /// Whether `caller` stands in this scope.
    pub fn covers(&self, caller: &Caller) -> bool {
        self.holds(caller.home(), caller.key_id())
    }

    /// Whether a key of this home stands in this scope.
    pub fn holds(&self, home: &Home, key_id: &str) -> bool {
        match self {
            Self::Workspace(w) => *w == home.workspace,
            Self::Team(w, t) => *w == home.workspace && Some(t) == home.team.as_ref(),
            Self::Project(w, p) => *w == home.workspace && *p == home.project,
            Self::Environment(w, p, e) => {
                *w == home.workspace && *p == home.project && Some(e) == home.environment.as_ref()
            }
            Self::Key(id) => **id == *key_id,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Workspace(w) => write!(f, "workspace:{w}"),
            Self::Team(w, t) => write!(f, "team:{w}/{t}"),
            Self::Project(w, p) => write!(f, "project:{w}/{p}"),
            Self::Environment(w, p, e) => write!(f, "environment:{w}/{p}/{e}"),
            Self::Key(id) => write!(f, "key:{id}"),
        }
    }
}

impl std::str::FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("{text:?} is no scope: use workspace:W, team:W/T, project:W/P, environment:W/P/E or key:ID");
        let (level, path) = text.split_once(':').ok_or_else(wrong)?;
        let parts = path.split('/').map(Name::new).collect::<Result<Vec<_>, _>>().map_err(|_| wrong())?;
        match (level, parts.as_slice()) {
            ("workspace", [w]) => Ok(Self::Workspace(w.clone())),
            ("team", [w, t]) => Ok(Self::Team(w.clone(), t.clone())),
            ("project", [w, p]) => Ok(Self::Project(w.clone(), p.clone())),
            ("environment", [w, p, e]) => Ok(Self::Environment(w.clone(), p.clone(), e.clone())),
            ("key", [id]) => Ok(Self::Key(id.as_str().into())),
            _ => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_read_as_they_are_written() {
        for text in [
            "workspace:acme",
            "team:acme/web",
            "project:acme/site",
            "environment:acme/site/prod",
            "key:000SYW7RiJxkEgOGusQGwp",
        ] {
            assert_eq!(text.parse::<Scope>().unwrap().to_string(), text);
        }
        for text in ["acme", "workspace:", "workspace:a/b", "team:a", "planet:earth", "project:a/b c"] {
            assert!(text.parse::<Scope>().is_err(), "{text}");
        }
    }
}
