//! Which headers hold the caller's credential, and which combinations of them are refused.

use http::header::{AUTHORIZATION, HeaderName};
use http::{HeaderMap, HeaderValue};

use crate::base::error::{Code, Error};
use crate::http::reply::ReplyHeaders;

/// Where SDKs of other dialects put a key. Never a key's only place, but tolerated as an echo of it.
static ECHOES: [HeaderName; 3] = [
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("api-key"),
    HeaderName::from_static("x-goog-api-key"),
];

/// The headers that may hold a credential, and those that tell how to reply. They are found in one walk: a request has few
/// headers, and a look-up of each name in turn would take longer.
#[derive(Default)]
pub(super) struct Presented<'a> {
    authorization: Option<&'a HeaderValue>,
    is_twice: bool,
    pub(super) has_echo: bool,
    pub(super) reply: ReplyHeaders<'a>,
}

impl<'a> Presented<'a> {
    pub(super) fn in_headers(headers: &'a HeaderMap) -> Self {
        let mut found = Self::default();
        for (name, value) in headers {
            if *name == AUTHORIZATION {
                found.is_twice |= found.authorization.replace(value).is_some();
            } else if !found.reply.take(name, value) {
                found.has_echo |= ECHOES.contains(name);
            }
        }
        found
    }

    /// Whether there is no credential at all.
    pub(super) fn is_none(&self) -> bool {
        self.authorization.is_none() && !self.has_echo
    }

    /// The one bearer token of the request. Anything ambiguous is refused: another party may have understood it otherwise.
    pub(super) fn bearer(&self, headers: &HeaderMap) -> Result<&'a str, Error> {
        let Some(value) = self.authorization else {
            return Err(refuse("No API key was sent: send it as `Authorization: Bearer <key>`."));
        };
        if self.is_twice {
            return Err(refuse("Two Authorization headers were sent: send one."));
        }
        let token = token(value).ok_or_else(|| refuse("The Authorization header must read `Bearer <key>`."))?;
        let differs =
            |(name, echo): (&HeaderName, &HeaderValue)| ECHOES.contains(name) && echo.as_bytes() != token.as_bytes();
        if self.has_echo && headers.iter().any(differs) {
            return Err(refuse(
                "Two different credentials were sent: send the API key alone, as `Authorization: Bearer <key>`.",
            ));
        }
        Ok(token)
    }
}

/// What follows the scheme and its one space.
fn token(value: &HeaderValue) -> Option<&str> {
    const SCHEME: &[u8] = b"bearer ";
    let (scheme, token) = value.as_bytes().split_at_checked(SCHEME.len())?;
    let token = scheme.eq_ignore_ascii_case(SCHEME).then_some(token)?;
    std::str::from_utf8(token).ok()
}

/// Takes the key out of what is handed on.
pub(super) fn strip(headers: &mut HeaderMap, has_echo: bool) {
    headers.remove(AUTHORIZATION);
    if has_echo {
        for echo in &ECHOES {
            headers.remove(echo);
        }
    }
}

fn refuse(message: &'static str) -> Error {
    Error::new(Code::InvalidApiKey, message)
}
