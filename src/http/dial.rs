//! Where the gateway may be made to connect to: never into a private network at somebody else's word.
//!
//! A webhook's URL and a vendor's download link come from outside. Their host must not lead inside: not as it is
//! written, and not by what its name resolves to when it is dialled.

use std::net::{IpAddr, Ipv6Addr};

use http::Uri;

use crate::base::address;

/// Put into the extensions of a request whose URL came from outside. A client must then connect to public addresses alone,
/// and look at the address that it dials, as a name may resolve to another one each time. `HyperClient` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicOnly;

/// Whether `address` is one of the public internet, and reached directly: beside what [`address::is_public`] refuses, no
/// tunnel or translation of IPv4 into IPv6 but the mapped form, which is the same address.
pub fn is_public(address: IpAddr) -> bool {
    let direct = match address {
        IpAddr::V4(_) => true,
        IpAddr::V6(v6) => v6.to_ipv4_mapped().is_some() || is_direct(v6),
    };
    direct && address::is_public(address)
}

/// 2000::/3 is all that is given out; of it, 6to4 and the old 6bone lead elsewhere.
fn is_direct(address: Ipv6Addr) -> bool {
    let first = address.segments()[0];
    first & 0xe000 == 0x2000 && !matches!(first, 0x2002 | 0x3ffe)
}

/// Why a URL must not be dialled as it is written; `None` when only its resolved address remains to be looked at.
///
/// With `private`, http and inside addresses are the operator's wish and pass.
pub fn refusal(url: &Uri, private: bool) -> Option<&'static str> {
    let Some(authority) = url.authority() else { return Some("is no absolute URL") };
    let host = authority.host();
    if authority.as_str().contains('@') {
        return Some("holds a user name or password");
    }
    match url.scheme_str() {
        Some("https") => {}
        Some("http") if private => {}
        _ => return Some("is not https"),
    }
    if private {
        return None;
    }
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse::<IpAddr>() {
        return (!is_public(address)).then_some("leads into a private network");
    }
    // What some resolvers still read as an address: 0x7f.1, 017700000001, 2130706433.
    let last = bare.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    let numeric = last.starts_with(|c: char| c.is_ascii_digit());
    let local =
        ["localhost", "local", "internal", "localdomain", "home", "lan"].iter().any(|l| last.eq_ignore_ascii_case(l));
    let single = !bare.trim_end_matches('.').contains('.');
    let ascii = bare.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    match () {
        () if numeric || !ascii => Some("has a host that is no plain domain name"),
        () if local || single => Some("leads into a private network"),
        () if !matches!(authority.port_u16(), None | Some(443)) => Some("has a port other than 443"),
        () => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_range_of_the_inside_is_public() {
        for inside in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:10.0.0.1",
            "::ffff:127.0.0.1",
            "::7f00:1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "fc00::1",
            "fdff::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "4000::1",
        ] {
            assert!(!is_public(inside.parse().unwrap()), "{inside}");
        }
        for outside in [
            "1.1.1.1",
            "100.63.255.255",
            "100.128.0.1",
            "172.32.0.1",
            "198.20.0.1",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00:1450::1",
            "::ffff:8.8.8.8",
        ] {
            assert!(is_public(outside.parse().unwrap()), "{outside}");
        }
    }

    #[test]
    fn a_url_into_the_inside_is_refused_however_it_is_written() {
        for bad in [
            "https://127.0.0.1/",
            "https://[::1]/",
            "https://[::ffff:10.0.0.1]/",
            "https://localhost/",
            "https://a.localhost/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://0177.0.0.1/",
            "https://127.1/",
            "https://metadata.google.internal/",
            "https://intranet/",
            "https://user:pw@example.com/",
            "http://example.com/",
            "ftp://example.com/",
            "https://example.com:8443/",
            "/relative",
            "https://10.0.0.1./",
        ] {
            let refused = bad.parse::<Uri>().map_or(Some("no URL"), |url| refusal(&url, false));
            assert!(refused.is_some(), "{bad}");
        }
        for good in ["https://example.com/hook?a=b", "https://example.com:443/", "https://1.1.1.1/"] {
            assert_eq!(refusal(&good.parse().unwrap(), false), None, "{good}");
        }
        assert_eq!(refusal(&"http://127.0.0.1:9000/".parse().unwrap(), true), None);
    }
}
