//! Which headers hold the caller's credential, and which combinations of them are refused.

use http::header::{AUTHORIZATION, HeaderName};
use http::{HeaderMap, HeaderValue};

use crate::base::error::{Code, Error};

/// Where SDKs of other dialects put a key. Never a key's only place, but tolerated as an echo of it.
static ECHOES: [HeaderName; 3] = [
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("api-key"),
    HeaderName::from_static("x-goog-api-key"),
];

/// The one bearer token of the request. Anything ambiguous is refused: another party may have understood it otherwise.
pub(super) fn bearer(headers: &HeaderMap) -> Result<&str, Error> {
    let mut sent = headers.get_all(AUTHORIZATION).iter();
    let value = match (sent.next(), sent.next()) {
        (Some(value), None) => value,
        (None, _) => return Err(refuse("No API key was sent: send it as `Authorization: Bearer <key>`.")),
        (Some(_), Some(_)) => return Err(refuse("Two Authorization headers were sent: send one.")),
    };
    let token = token(value).ok_or_else(|| refuse("The Authorization header must read `Bearer <key>`."))?;
    // One walk over the few headers there are is quicker than a look-up of each name.
    let differs =
        |(name, echo): (&HeaderName, &HeaderValue)| ECHOES.contains(name) && echo.as_bytes() != token.as_bytes();
    if headers.iter().any(differs) {
        return Err(refuse(
            "Two different credentials were sent: send the API key alone, as `Authorization: Bearer <key>`.",
        ));
    }
    Ok(token)
}

/// What follows the scheme and its one space.
fn token(value: &HeaderValue) -> Option<&str> {
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

/// Takes the key out of what is handed on.
pub(super) fn strip(headers: &mut HeaderMap) {
    headers.remove(AUTHORIZATION);
    if headers.keys().any(|name| ECHOES.contains(name)) {
        for echo in &ECHOES {
            headers.remove(echo);
        }
    }
}

fn refuse(message: &'static str) -> Error {
    Error::new(Code::InvalidApiKey, message)
}
