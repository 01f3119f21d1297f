//! JSON Web Tokens in compact form, signed with ES256 and nothing else (RFC 7515, RFC 7518). Knows no claims.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What stands before a P-256 point in a SubjectPublicKeyInfo (RFC 5480).
const SPKI_HEAD: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// Longer ones are no token of ours.
const MAX_BYTES: usize = 16 * 1024;

/// Why a token was not accepted, or not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum JwtError {
    #[error("the token is not a JWT")]
    Malformed,
    #[error("the token is signed with another algorithm or key")]
    OtherKey,
    #[error("the token's signature is wrong")]
    Signature,
    #[error("the key cannot be used")]
    Key,
}

#[derive(Serialize, Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: String,
}

/// A P-256 key that signs tokens and checks its own.
pub(crate) struct Signer {
    pair: EcdsaKeyPair,
    random: SystemRandom,
    kid: String,
    /// The encoded header with the dot after it: the same for all tokens.
    head: String,
}

impl Signer {
    /// # Errors
    /// [`JwtError::Key`]: not a P-256 key in PKCS#8.
    pub(crate) fn new(pkcs8: &[u8]) -> Result<Self, JwtError> {
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8, &random);
        let pair = pair.map_err(|_| JwtError::Key)?;
        let spki = [&SPKI_HEAD[..], pair.public_key().as_ref()].concat();
        let kid = encode(ring::digest::digest(&ring::digest::SHA256, &spki).as_ref());
        let header = json!({"alg": "ES256", "kid": kid}).to_string();
        Ok(Self { pair, random, kid, head: format!("{}.", encode(header.as_bytes())) })
    }

    /// # Errors
    /// [`JwtError::Key`]: the system has no randomness.
    pub(crate) fn sign<T: Serialize>(&self, claims: &T) -> Result<String, JwtError> {
        let claims = serde_json::to_vec(claims).map_err(|_| JwtError::Malformed)?;
        let mut token = self.head.clone();
        URL_SAFE_NO_PAD.encode_string(&claims, &mut token);
        let signature = self.pair.sign(&self.random, token.as_bytes()).map_err(|_| JwtError::Key)?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature.as_ref(), &mut token);
        Ok(token)
    }

    /// The claims of a token that this key has signed. Whether they hold is the caller's to say.
    ///
    /// # Errors
    /// See [`JwtError`].
    pub(crate) fn verify<T: for<'de> Deserialize<'de>>(&self, token: &str) -> Result<T, JwtError> {
        if token.len() > MAX_BYTES {
            return Err(JwtError::Malformed);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(JwtError::Malformed)?;
        let (head, claims) = signed.split_once('.').ok_or(JwtError::Malformed)?;
        let header: Header = serde_json::from_slice(&decode(head)?).map_err(|_| JwtError::Malformed)?;
        if header.alg != "ES256" || header.kid != self.kid {
            return Err(JwtError::OtherKey);
        }
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.pair.public_key().as_ref());
        key.verify(signed.as_bytes(), &decode(signature)?).map_err(|_| JwtError::Signature)?;
        serde_json::from_slice(&decode(claims)?).map_err(|_| JwtError::Malformed)
    }

    /// The public key as a JSON Web Key Set (RFC 7517).
    pub(crate) fn key_set(&self) -> Value {
        let point = self.pair.public_key().as_ref();
        json!({"keys": [{
            "use": "sig", "kty": "EC", "kid": self.kid, "crv": "P-256", "alg": "ES256",
            "x": encode(&point[1..33]), "y": encode(&point[33..65]),
        }]})
    }
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn decode(text: &str) -> Result<Vec<u8>, JwtError> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| JwtError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::AccountKey;

    fn signer() -> Signer {
        Signer::new(AccountKey::generate().unwrap().pkcs8()).unwrap()
    }

    #[test]
    fn a_key_knows_its_own_tokens_only() {
        let signer = signer();
        let token = signer.sign(&json!({"sub": "me"})).unwrap();
        assert_eq!(signer.verify::<Value>(&token).unwrap()["sub"], "me");
        assert_eq!(super::tests::signer().verify::<Value>(&token), Err(JwtError::OtherKey));
        let (head, rest) = token.split_once('.').unwrap();
        let (_, signature) = rest.split_once('.').unwrap();
        let forged = format!("{head}.{}.{signature}", encode(b"{\"sub\":\"you\"}"));
        assert_eq!(signer.verify::<Value>(&forged), Err(JwtError::Signature));
        let unsigned = format!("{}.{}.", encode(b"{\"alg\":\"none\"}"), encode(b"{}"));
        assert_eq!(signer.verify::<Value>(&unsigned), Err(JwtError::OtherKey));
        for junk in ["", "a", "a.b", "a.b.c", "...."] {
            assert!(signer.verify::<Value>(junk).is_err(), "{junk}");
        }
    }

    #[test]
    fn the_key_set_holds_the_public_key() {
        let keys = signer().key_set();
        assert_eq!(keys["keys"][0]["x"].as_str().unwrap().len(), 43);
        assert_eq!(keys["keys"][0]["alg"], "ES256");
    }
}
