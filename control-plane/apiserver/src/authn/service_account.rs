//! Tokens of service accounts: made for the TokenRequest API, and checked again at every use against the objects that
//! they are bound to (`pkg/serviceaccount`).
//!
//! A signature is checked once; after that a token costs one look per bound object: is it still the one that was
//! checked, and not on its way out?

use super::jwt::{JwtError, Signer};
use super::{About, Authenticated, Refused};
use crate::objects::Index;
use crate::pki::AccountKey;
use crate::user::User;
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;
use store::{Revision, Snapshot, Store};

/// Who issues the tokens, and whom they are for when their request does not say.
pub(crate) const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
/// Tokens whose signature is known to be good, in each of two generations.
const REMEMBERED: usize = 4_096;
/// How long a token outlives the deletion of what it is bound to: clocks differ.
const LEEWAY: SignedDuration = SignedDuration::from_secs(60);

/// The objects of one server's tokens.
pub(crate) struct ServiceAccounts {
    signer: Signer,
    ca_pem: String,
    /// New entries go into the first; when it is full it takes the place of the second.
    known: Mutex<(Remembered, Remembered)>,
}

type Remembered = HashMap<[u8; 32], Arc<Known>>;

/// A token whose signature and bound objects have been checked.
struct Known {
    user: Arc<User>,
    audiences: Arc<[String]>,
    not_before: i64,
    expires: i64,
    /// The keys of what the token is bound to, each with the revision at which it was created.
    bound: Vec<(Vec<u8>, Revision)>,
}

/// What a token says (RFC 7519, and Kubernetes' private claims).
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Claims {
    #[serde(default)]
    pub aud: Vec<String>,
    pub exp: i64,
    pub iat: i64,
    pub iss: String,
    #[serde(default)]
    pub jti: String,
    #[serde(rename = "kubernetes.io")]
    pub kubernetes: Bound,
    pub nbf: i64,
    pub sub: String,
}

/// What a token is bound to.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Bound {
    pub namespace: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Reference>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Reference>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Reference>,
    pub serviceaccount: Reference,
    /// Unix seconds after which a use is worth a warning: the token lives longer than was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warnafter: Option<i64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reference {
    pub name: String,
    pub uid: String,
}

/// The claims of a token that is kept in a Secret and has no end (`kubernetes.io/service-account-token`).
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LegacyClaims {
    pub iss: String,
    #[serde(rename = "kubernetes.io/serviceaccount/namespace")]
    pub namespace: String,
    #[serde(rename = "kubernetes.io/serviceaccount/secret.name")]
    pub secret: String,
    #[serde(rename = "kubernetes.io/serviceaccount/service-account.name")]
    pub account: String,
    #[serde(rename = "kubernetes.io/serviceaccount/service-account.uid")]
    pub account_uid: String,
    pub sub: String,
}

pub(crate) const LEGACY_ISSUER: &str = "kubernetes/serviceaccount";

#[derive(Deserialize)]
#[serde(untagged)]
enum AnyClaims {
    Bound(Box<Claims>),
    Legacy(LegacyClaims),
}

fn refuse(why: impl Into<String>) -> Refused {
    Refused { why: why.into(), about: About::Account }
}

/// What others have signed, or is no JWT at all, is no token of an account.
fn unread(error: JwtError) -> Refused {
    let about = match error {
        JwtError::Malformed | JwtError::OtherKey => About::Nobody,
        JwtError::Signature | JwtError::Key => About::Account,
    };
    Refused { why: error.to_string(), about }
}

impl ServiceAccounts {
    /// # Errors
    /// [`JwtError::Key`].
    pub(crate) fn new(key: &AccountKey, ca_pem: &str) -> Result<Self, JwtError> {
        Ok(Self { signer: Signer::new(key.pkcs8())?, ca_pem: ca_pem.to_owned(), known: Mutex::default() })
    }

    /// The CA that those who use tokens check the server with.
    pub(crate) fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// # Errors
    /// See [`JwtError`].
    pub(crate) fn sign<T: Serialize>(&self, claims: &T) -> Result<String, JwtError> {
        self.signer.sign(claims)
    }

    /// The keys that tokens are checked with, as JWKS.
    pub(crate) fn key_set(&self) -> Value {
        self.signer.key_set()
    }

    /// The user of a token for one of `audiences` (none given: for the API), if it still holds.
    ///
    /// # Errors
    /// See [`Refused`].
    pub(crate) fn verify(
        &self,
        store: &Store,
        token: &str,
        now: Timestamp,
        audiences: &[String],
    ) -> Result<Authenticated, Refused> {
        let mut key = [0; 32];
        key.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        let snapshot = store.snapshot();
        let known = match self.remembered(&key) {
            Some(known) if known.holds(&snapshot) => known,
            _ => {
                let known = Arc::new(self.check(&snapshot, token, now)?);
                self.remember(key, &known);
                known
            }
        };
        known.in_time(now)?;
        let intended: Arc<[String]> = if audiences.is_empty() {
            let api = known.audiences.iter().any(|audience| audience == ISSUER);
            if api { [ISSUER.to_owned()].into() } else { Arc::default() }
        } else {
            known.audiences.iter().filter(|audience| audiences.contains(audience)).cloned().collect()
        };
        if intended.is_empty() {
            return Err(refuse(format!("token audiences {:?} is invalid for the target audiences", known.audiences)));
        }
        Ok(Authenticated { user: Arc::clone(&known.user), audiences: intended })
    }

    fn remembered(&self, key: &[u8; 32]) -> Option<Arc<Known>> {
        let known = self.known.lock();
        known.0.get(key).or_else(|| known.1.get(key)).cloned()
    }

    fn remember(&self, key: [u8; 32], entry: &Arc<Known>) {
        let mut known = self.known.lock();
        if known.0.len() >= REMEMBERED {
            known.1 = std::mem::take(&mut known.0);
        }
        known.0.insert(key, Arc::clone(entry));
    }

    fn check(&self, snapshot: &Snapshot, token: &str, now: Timestamp) -> Result<Known, Refused> {
        let claims: AnyClaims = self.signer.verify(token).map_err(unread)?;
        match claims {
            AnyClaims::Bound(claims) => check_bound(snapshot, &claims, now),
            AnyClaims::Legacy(claims) => check_legacy(snapshot, &claims, token, now),
        }
    }
}

impl Known {
    fn in_time(&self, now: Timestamp) -> Result<(), Refused> {
        let now = now.as_second();
        if now >= self.expires {
            return Err(refuse("service account token has expired"));
        }
        if now + LEEWAY.as_secs() < self.not_before {
            return Err(refuse("service account token is not valid yet"));
        }
        Ok(())
    }

    /// Whether everything that the token is bound to is as it was: still there, and not being deleted.
    fn holds(&self, snapshot: &Snapshot) -> bool {
        self.bound.iter().all(|(key, created)| {
            let entry = snapshot.get(key);
            entry.is_some_and(|entry| entry.create_revision == *created && !Index::of(entry).is_deleting())
        })
    }
}

fn check_bound(snapshot: &Snapshot, claims: &Claims, now: Timestamp) -> Result<Known, Refused> {
    let Bound { namespace, node, pod, secret, serviceaccount, .. } = &claims.kubernetes;
    let name = &serviceaccount.name;
    if claims.iss != ISSUER || claims.sub != format!("system:serviceaccount:{namespace}:{name}") {
        return Err(refuse("token issuer or subject is invalid"));
    }
    let mut bound = vec![look(snapshot, format!("core/serviceaccounts/{namespace}/{name}"), serviceaccount, now)?];
    if let Some(secret) = secret {
        bound.push(look(snapshot, format!("core/secrets/{namespace}/{}", secret.name), secret, now)?);
    }
    match (pod, node) {
        (Some(pod), _) => bound.push(look(snapshot, format!("core/pods/{namespace}/{}", pod.name), pod, now)?),
        (None, Some(node)) => bound.push(look(snapshot, format!("core/nodes/{}", node.name), node, now)?),
        (None, None) => {}
    }
    let mut user = User { uid: serviceaccount.uid.clone(), ..User::service_account(namespace, name) };
    let mut extra = |key: &str, value: &str| {
        user.extra.insert(format!("authentication.kubernetes.io/{key}"), vec![value.to_owned()]);
    };
    if !claims.jti.is_empty() {
        extra("credential-id", &format!("JTI={}", claims.jti));
    }
    for (kind, reference) in [("pod", pod), ("node", node)] {
        if let Some(reference) = reference {
            extra(&format!("{kind}-name"), &reference.name);
            extra(&format!("{kind}-uid"), &reference.uid);
        }
    }
    let known = Known {
        user: Arc::new(user),
        audiences: claims.aud.clone().into(),
        not_before: claims.nbf,
        expires: claims.exp,
        bound,
    };
    known.in_time(now)?;
    Ok(known)
}

fn check_legacy(snapshot: &Snapshot, claims: &LegacyClaims, token: &str, now: Timestamp) -> Result<Known, Refused> {
    let LegacyClaims { namespace, secret, account, account_uid, .. } = claims;
    if claims.iss != LEGACY_ISSUER || claims.sub != format!("system:serviceaccount:{namespace}:{account}") {
        return Err(refuse("token issuer or subject is invalid"));
    }
    let reference = Reference { name: account.clone(), uid: account_uid.clone() };
    let mut bound = vec![look(snapshot, format!("core/serviceaccounts/{namespace}/{account}"), &reference, now)?];
    let key = format!("core/secrets/{namespace}/{secret}");
    let entry = snapshot.get(key.as_bytes()).ok_or_else(|| refuse("Token has been invalidated"))?;
    let object: Value =
        serde_json::from_slice(&entry.value.body).map_err(|_| refuse("the token's Secret cannot be read"))?;
    let stored = object.pointer("/data/token").and_then(Value::as_str).unwrap_or_default();
    let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, token);
    if Index::of(entry).is_deleting() || !super::same_secret(stored.as_bytes(), encoded.as_bytes()) {
        return Err(refuse("Token does not match server's copy"));
    }
    bound.push((key.into_bytes(), entry.create_revision));
    let user = User { uid: account_uid.clone(), ..User::service_account(namespace, account) };
    let audiences = [ISSUER.to_owned()].into();
    Ok(Known { user: Arc::new(user), audiences, not_before: 0, expires: i64::MAX, bound })
}

/// The object at `key`, if it is the one that `reference` means and has not been on its way out for long.
fn look(
    snapshot: &Snapshot,
    key: String,
    reference: &Reference,
    now: Timestamp,
) -> Result<(Vec<u8>, Revision), Refused> {
    let entry = snapshot.get(key.as_bytes()).ok_or_else(|| refuse(format!("{key} has been deleted")))?;
    let object: Value = serde_json::from_slice(&entry.value.body).map_err(|_| refuse(format!("{key}: unreadable")))?;
    if api::meta::uid(&object) != reference.uid {
        return Err(refuse(format!("{key}: its UID does not match the claim ({})", reference.uid)));
    }
    let deleted = api::meta::deletion_timestamp(&object).and_then(|text| text.parse::<Timestamp>().ok());
    if deleted.is_some_and(|at| at < now - LEEWAY) {
        return Err(refuse(format!("{key} has been deleted")));
    }
    Ok((key.into_bytes(), entry.create_revision))
}
