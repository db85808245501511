//! Takes secrets and addresses out of a vendor's message, so that it may be shown to a caller.

const SECRET: &str = "[secret]";
const ADDRESS: &str = "[address]";

/// Beginnings of what vendors give out as keys and account ids.
const PREFIXES: [&str; 10] = ["sk-", "ak-", "rk-", "pk-", "ek_", "sk_", "org-", "proj_", "proj-", "AIza"];

/// More is not worth reading: [`Error`](crate::base::error::Error) keeps 1,000 characters.
const LONGEST: usize = 4_000;

/// `text` on one line, without what looks like a credential, a URL, a host with a port or an IP address.
///
/// A credential of no known form and fewer than 24 characters cannot be told from a word: what a vendor says of our own
/// credential is therefore never shown at all.
pub fn scrub(text: &str) -> String {
    let mut clean = String::new();
    let mut after_label = false;
    for word in text.chars().take(LONGEST).collect::<String>().split(|c: char| c.is_whitespace() || c.is_control()) {
        if word.is_empty() {
            continue;
        }
        if !clean.is_empty() {
            clean.push(' ');
        }
        if after_label {
            clean.push_str(SECRET);
        } else {
            clean_word(word, &mut clean);
        }
        let lower = word.to_ascii_lowercase();
        after_label = lower.ends_with("bearer") || lower.ends_with("key:") || lower == "provided:";
    }
    clean
}

/// A word may hold several tokens: `<ak-1>`, `key=sk-2,`, `(http://a/b)`.
fn clean_word(word: &str, out: &mut String) {
    if let Some(at) = word.find("://") {
        let start = word[..at].rfind(|c: char| !c.is_ascii_alphanumeric() && c != '+').map_or(0, |i| i + 1);
        out.push_str(&word[..start]);
        out.push_str(ADDRESS);
        // A sentence's full stop is not the address's.
        out.push_str(&word[word.trim_end_matches(['.', ',', ';', ')', '"', '\'', '>']).len()..]);
        return;
    }
    for token in word.split_inclusive(|c: char| !is_token(c)) {
        let bare = token.trim_end_matches(|c: char| !is_token(c));
        let core = bare.trim_end_matches(['.', ':']).trim_start_matches('.');
        // A colon in front is punctuation, two of them may begin an address.
        let core = if core.starts_with("::") { core } else { core.trim_start_matches(':') };
        let found = if is_secret(core) {
            SECRET
        } else if is_address(core) {
            ADDRESS
        } else {
            out.push_str(token);
            continue;
        };
        let start = bare.find(core).unwrap_or(0);
        out.push_str(&token[..start]);
        out.push_str(found);
        out.push_str(&token[start + core.len()..]);
    }
}

fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '*' | '+' | '@')
}

fn is_secret(token: &str) -> bool {
    if PREFIXES.iter().any(|p| token.len() > p.len() + 3 && token.starts_with(p)) {
        return true;
    }
    let mixed = |run: &str| run.bytes().any(|b| b.is_ascii_digit()) && run.bytes().any(|b| b.is_ascii_alphabetic());
    let run = |longest: usize, joins: fn(char) -> bool| {
        token.split(|c: char| !c.is_ascii_alphanumeric() && !joins(c)).any(|run| run.len() >= longest && mixed(run))
    };
    run(24, |_| false) || run(44, |c| matches!(c, '-' | '_' | '.'))
}

fn is_address(token: &str) -> bool {
    let (host, port) = match token.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => (host, true),
        _ => (token, false),
    };
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    let ipv4 = host.split('.').count() == 4 && host.split('.').all(|part| part.parse::<u8>().is_ok());
    let ipv6 = token.contains("::") && token.bytes().all(|b| b.is_ascii_hexdigit() || b == b':' || b == b'.');
    let named = host == "localhost" || host.contains('.') && host.bytes().any(|b| b.is_ascii_alphabetic());
    ipv4 || ipv6 || port && named
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_taken_out() {
        for (text, clean) in [
            ("Incorrect API key provided: nope.", "Incorrect API key provided: [secret]"),
            ("bad sk-wrong****-key, sorry", "bad [secret], sorry"),
            ("account org-abc123<ak-xyz987> request", "account [secret]<[secret]> request"),
            ("Authorization: Bearer abc", "Authorization: Bearer [secret]"),
            ("key=AIzaSyD4x7 is bad", "key=[secret] is bad"),
            ("hash 0123456789abcdef0123456789abcdef.", "hash [secret]."),
            ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dozjgNryP4J3jVmNHl0w5N", "[secret]"),
        ] {
            assert_eq!(scrub(text), clean);
        }
    }

    #[test]
    fn addresses_are_taken_out() {
        for (text, clean) in [
            ("see https://user:pw@host.example/a?b=c.", "see [address]."),
            ("dial 10.0.0.7:443 failed", "dial [address] failed"),
            ("from 192.168.1.20, refused", "from [address], refused"),
            ("connect to api.internal.example:8443!", "connect to [address]!"),
            ("localhost:9000 and [fe80::1]", "[address] and [[address]]"),
            ("[::1]:9000, ::ffff:10.0.0.7.", "[[address]]:9000, [address]."),
        ] {
            assert_eq!(scrub(text), clean);
        }
    }

    #[test]
    fn ordinary_words_stay() {
        for text in [
            "Invalid 'messages[0].role': at 12:30, use 'max_completion_tokens' instead.",
            "The model `doubao-seed-2-1-pro-260915` (claude-3-5-sonnet-20241022) is unknown; request deab386b-2562-9a7b-b8fa-0ba9385a5c28",
            "Limit 30000, Requested 40000; version 1.2.3",
            "Größe 日本語 ✓",
        ] {
            assert_eq!(scrub(text), text);
        }
    }

    #[test]
    fn control_characters_and_line_ends_become_one_space() {
        assert_eq!(scrub("a\r\n\tb\u{0}c\u{1b}[31m"), "a b c [31m");
    }
}
