//! Kling's token: a JSON web token, signed with the secret key.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::base::clock::Timestamp;
use crate::base::secret::Secret;
use crate::wire::base64;

/// How long a token is good, in seconds.
const LIVES: u64 = 1_800;
/// How far the vendor's clock may be behind, in seconds.
const SKEW: u64 = 5;

/// A token for the half hour from `now` on.
pub(super) fn sign(access: &Secret, secret: &Secret, now: Timestamp) -> String {
    let seconds = now.as_secs();
    let issuer = serde_json::Value::from(access.expose());
    let claims = format!(r#"{{"iss":{issuer},"exp":{},"nbf":{}}}"#, seconds + LIVES, seconds.saturating_sub(SKEW));
    let head = base64::encode_url(br#"{"alg":"HS256","typ":"JWT"}"#);
    let signed = format!("{head}.{}", base64::encode_url(claims.as_bytes()));
    // HMAC takes a key of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()) else { return String::new() };
    mac.update(signed.as_bytes());
    format!("{signed}.{}", base64::encode_url(&mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vector_holds() {
        let token = sign(&"ak_test".into(), &"sk_test".into(), Timestamp::from_secs(1_700_000_000));
        assert_eq!(
            token,
            "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJha190ZXN0IiwiZXhwIjoxNzAwMDAxODAwLCJuYmYiOjE2OTk5OTk5OTV9.eDa_F6Qhv7yHoYstKBIL6uubYWDLHLekl_49ClsUCf4"
        );
    }
}
