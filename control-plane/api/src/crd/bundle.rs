//! `caBundle` of a conversion webhook: whether any certificate can be read from it, in the words of Go's TLS
//! (`apiserver/pkg/util/webhook`, `client-go/transport`). Certificates are looked at from outside only.

use crate::pem;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// Why nobody could be believed by a bundle: base64 of PEM, as JSON has it.
pub(super) fn problem(bundle: &str) -> Option<String> {
    let pem = STANDARD.decode(bundle).unwrap_or_default();
    let why = unreadable(&String::from_utf8_lossy(&pem))?;
    Some(format!("unable to load root certificates: {why}"))
}

/// [`problem`] of a CRD's webhook; none has none.
pub(super) fn is_invalid(spec: &Value) -> bool {
    let bundle = spec.pointer("/conversion/webhook/clientConfig/caBundle").and_then(Value::as_str).unwrap_or_default();
    !bundle.is_empty() && problem(bundle).is_some()
}

/// None: there is a certificate.
fn unreadable(mut text: &str) -> Option<&'static str> {
    let mut why = "no valid certificate authority data seen";
    loop {
        let Some((block, rest)) = pem::next(text) else {
            return Some(if text.is_empty() { why } else { "unable to parse bytes as PEM block" });
        };
        text = rest;
        if block.label == pem::CERTIFICATE {
            if pem::is_signed(&block.der) {
                return None;
            }
            why = "failed to parse certificate: x509: malformed certificate";
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pem::tests::good;

    #[test]
    fn a_bundle_needs_a_certificate() {
        assert_eq!(problem(&good()), None);
        let why = |pem: &str| problem(&STANDARD.encode(pem)).unwrap_or_default();
        for (pem, wanted) in [
            ("\n", "unable to parse bytes as PEM block"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n", "unable to parse bytes as PEM block"),
            (
                "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                "failed to parse certificate: x509: malformed certificate",
            ),
            ("-----BEGIN KEY-----\nAAAA\n-----END KEY-----\n", "no valid certificate authority data seen"),
        ] {
            assert_eq!(why(pem), format!("unable to load root certificates: {wanted}"), "{pem}");
        }
        assert!(problem("no base64!").is_some());
    }
}
