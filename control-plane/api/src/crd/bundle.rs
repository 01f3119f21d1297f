//! `caBundle` of a conversion webhook: whether any certificate can be read from it, in the words of Go's TLS
//! (`apiserver/pkg/util/webhook`, `client-go/transport`). Certificates are looked at from outside only.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

const BEGIN: &str = "-----BEGIN ";
const DASHES: &str = "-----";

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
        let Some((label, body, rest)) = block(text) else {
            return Some(if text.is_empty() { why } else { "unable to parse bytes as PEM block" });
        };
        text = rest;
        if label == "CERTIFICATE" {
            match STANDARD.decode(body.split_ascii_whitespace().collect::<String>()) {
                Ok(der) if is_certificate(&der) => return None,
                _ => why = "failed to parse certificate: x509: malformed certificate",
            }
        }
    }
}

/// The next block of PEM: its label, its body, and what follows. What stands before it is for people.
fn block(text: &str) -> Option<(&str, &str, &str)> {
    let (_, text) = text.split_once(BEGIN)?;
    let (label, text) = text.split_once(DASHES)?;
    let (body, rest) = text.split_once(&*format!("-----END {label}-----"))?;
    Some((label, body, rest.trim_start()))
}

/// Whether the bytes have the outer form of an X.509 certificate: a sequence of what is signed, how, and the signature.
fn is_certificate(der: &[u8]) -> bool {
    const SEQUENCE: u8 = 0x30;
    const BIT_STRING: u8 = 0x03;
    let Some((SEQUENCE, inside, [])) = element(der) else { return false };
    let Some((SEQUENCE, signed, rest)) = element(inside) else { return false };
    let Some((SEQUENCE, _, rest)) = element(rest) else { return false };
    !signed.is_empty() && matches!(element(rest), Some((BIT_STRING, _, [])))
}

/// The first element of DER: its tag, its content, and what follows.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
            (bytes.iter().fold(0, |length, byte| (length << 8) | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// What has the form of a certificate.
    pub(in crate::crd) fn good() -> String {
        let der = [0x30, 8, 0x30, 1, 0, 0x30, 0, 0x03, 1, 0];
        let pem =
            |der: &[u8]| format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", STANDARD.encode(der));
        STANDARD.encode(format!("# ours\n{}", pem(&der)))
    }

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
