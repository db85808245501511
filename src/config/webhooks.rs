//! `[[webhooks]]`: where job events and alerts of a workspace go.

use http::Uri;

use crate::base::secret::Secret;
use crate::domain::name::Name;
use crate::domain::webhook::EventKind;

use super::keys::name;
use super::section::{Result, Section};
use super::url;

/// A webhook endpoint of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookConfig {
    /// Whose events it gets; a workspace with an endpoint has callbacks enabled.
    pub workspace: Name,
    /// Where they are sent.
    pub url: Uri,
    /// One signing secret, or two while rotating; `whsec_…`, the newest first.
    pub secrets: Vec<Secret>,
    /// The types of event that it gets.
    pub events: Vec<EventKind>,
    /// Whether loopback, private addresses and plain http are accepted.
    pub allow_private: bool,
}

pub(super) fn webhook(section: Section<'_>) -> Result<WebhookConfig> {
    let mut section = section.only(&["workspace", "url", "secret", "events", "allow_private"])?;
    let workspace = name(&mut section, "workspace")?.ok_or_else(|| section.missing("workspace"))?;
    let allow_private = section.boolean("allow_private")?.unwrap_or(false);
    let url = section
        .parse("url", "an http or https URL without user and fragment", endpoint)?
        .ok_or_else(|| section.missing("url"))?;
    if url.scheme_str() == Some("http") && !allow_private {
        return Err(section.error("url", "is plain http, which needs allow_private = true"));
    }
    let find = |text: &str| EventKind::ALL.into_iter().find(|event| event.as_str() == text);
    let known = EventKind::ALL.map(EventKind::as_str).join(", ");
    let events = section.list("events", &format!("an event: use {known}"), find)?;
    Ok(WebhookConfig {
        workspace,
        url,
        secrets: secrets(&mut section)?,
        events: events.unwrap_or_else(|| EventKind::ALL.to_vec()),
        allow_private,
    })
}

/// A receiver's URL: unlike a base it may have a query, and its slash is its own.
fn endpoint(text: &str) -> Option<Uri> {
    let (path, _) = text.split_once('?').unwrap_or((text, ""));
    url::base(path)?;
    text.parse().ok()
}

fn secrets(section: &mut Section<'_>) -> Result<Vec<Secret>> {
    let secrets = section.secrets("secret")?;
    let base64 = |b: u8| b.is_ascii_alphanumeric() || b"+/=".contains(&b);
    let fits = |secret: &Secret| {
        secret.expose().strip_prefix("whsec_").is_some_and(|rest| !rest.is_empty() && rest.bytes().all(base64))
    };
    match secrets.len() {
        0 => Err(section.missing("secret")),
        1 | 2 if secrets.iter().all(fits) => Ok(secrets),
        1 | 2 => Err(section.error("secret", "must be \"whsec_\" and base64")),
        _ => Err(section.error("secret", "holds more than two secrets; two are kept while rotating")),
    }
}
