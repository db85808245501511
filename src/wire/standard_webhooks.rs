//! Standard Webhooks: signing secrets and signatures.

use std::fmt::Write as _;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::base::id::random;
use crate::base::secret::Secret;

use super::base64;

/// Before a secret's base64.
const PREFIX: &str = "whsec_";

/// A new signing secret: `whsec_` and 32 random bytes in base64.
pub fn mint_secret() -> Secret {
    Secret::new(format!("{PREFIX}{}", base64::encode(&random::<32>())))
}

/// The `webhook-signature` of a body: one signature for each secret. A secret that is none (`whsec_` and base64) signs nothing.
pub fn sign(secrets: &[Secret], id: &str, timestamp: u64, body: &str) -> String {
    let mut header = String::new();
    for secret in secrets {
        let key = secret.expose().strip_prefix(PREFIX).and_then(base64::decode);
        let Some(Ok(mut mac)) = key.map(|key| Hmac::<Sha256>::new_from_slice(&key)) else { continue };
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(body.as_bytes());
        let join = if header.is_empty() { "" } else { " " };
        // Writing to a string cannot fail.
        let _ = write!(header, "{join}v1,{}", base64::encode(&mac.finalize().into_bytes()));
    }
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_vector_holds_and_two_secrets_make_two_signatures() {
        let secret = Secret::from("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let signed = |secrets: &[Secret]| {
            sign(secrets, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#)
        };
        let one = signed(std::slice::from_ref(&secret));
        assert_eq!(one, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        let two = signed(&[mint_secret(), secret]);
        assert_eq!(two.split(' ').nth(1), Some(one.as_str()));
        assert_eq!(signed(&["no secret".into()]), "");
    }
}
