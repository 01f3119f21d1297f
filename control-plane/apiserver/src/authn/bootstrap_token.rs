//! Bootstrap tokens: `ID.SECRET`, kept in Secrets of kube-system, for nodes that have no other credential yet.

use super::{About, Refused, same_secret};
use crate::user::User;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::Value;
use store::Snapshot;

const ID: usize = 6;
const SECRET: usize = 16;
const TYPE: &str = "bootstrap.kubernetes.io/token";
const GROUP: &str = "system:bootstrappers";

/// Whether a token has the form of one.
pub(super) fn looks_like(token: &str) -> bool {
    let good =
        |text: &str, length| text.len() == length && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    token.split_once('.').is_some_and(|(id, secret)| good(id, ID) && good(secret, SECRET))
}

/// # Errors
/// No such token, another secret, or one that is expired or not meant for this.
pub(super) fn find(snapshot: &Snapshot, token: &str, now: Timestamp) -> Result<User, Refused> {
    let refuse = |why: &str| Refused { why: format!("invalid bootstrap token: {why}"), about: About::Nobody };
    let (id, secret) = token.split_once('.').ok_or_else(|| refuse("its form"))?;
    let key = format!("core/secrets/kube-system/bootstrap-token-{id}");
    let entry = snapshot.get(key.as_bytes()).ok_or_else(|| refuse("no such token"))?;
    let object: Value = serde_json::from_slice(&entry.value.body).map_err(|_| refuse("its Secret cannot be read"))?;
    if object["type"] != TYPE || object.pointer("/metadata/deletionTimestamp").is_some() {
        return Err(refuse("no such token"));
    }
    let data = |field: &str| -> String {
        let text = object.pointer(&format!("/data/{field}")).and_then(Value::as_str).unwrap_or_default();
        STANDARD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default()
    };
    if data("token-id") != id || !same_secret(data("token-secret").as_bytes(), secret.as_bytes()) {
        return Err(refuse("no such token"));
    }
    let expiration = data("expiration");
    if !expiration.is_empty() && expiration.parse::<Timestamp>().map_or(true, |end| end <= now) {
        return Err(refuse("expired"));
    }
    if data("usage-bootstrap-authentication") != "true" {
        return Err(refuse("not for authentication"));
    }
    let extra = data("auth-extra-groups");
    let mut groups = vec![GROUP.to_owned()];
    for group in extra.split(',').filter(|group| !group.is_empty()) {
        if !group.starts_with("system:bootstrappers:") {
            return Err(refuse("one of its groups does not begin with system:bootstrappers:"));
        }
        groups.push(group.to_owned());
    }
    Ok(User::authenticated(format!("system:bootstrap:{id}"), groups))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bootstrap_tokens_have_one_form() {
        assert!(looks_like("abcdef.0123456789abcdef"));
        for other in ["abcdef.0123456789abcde", "ABCDEF.0123456789abcdef", "abcdef0123456789abcdef", "a.b.c"] {
            assert!(!looks_like(other), "{other}");
        }
    }
}
