//! PEM (RFC 7468) as Go's `encoding/pem` reads it, and the outer form of what X.509 signs. No cryptography.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The label of a certificate.
pub const CERTIFICATE: &str = "CERTIFICATE";

const BEGIN: &str = "-----BEGIN ";
const DASHES: &str = "-----";

/// One block.
pub struct Block<'t> {
    pub label: &'t str,
    pub der: Vec<u8>,
    pub has_headers: bool,
}

/// The first block of `text` that can be read, and what follows it. What stands before it is for people.
pub fn next(mut text: &str) -> Option<(Block<'_>, &str)> {
    loop {
        let (before, after) = text.split_once(BEGIN)?;
        let begins_line = before.is_empty() || before.ends_with('\n');
        let (label, inside) = after.split_once(DASHES)?;
        let end = format!("-----END {label}-----");
        let block = inside.split_once(&*end).filter(|_| begins_line && !label.contains('\n'));
        let Some((body, rest)) = block else {
            text = after;
            continue;
        };
        let (headers, base64) = split_headers(body);
        match STANDARD.decode(base64.split_ascii_whitespace().collect::<String>()) {
            Ok(der) => return Some((Block { label, der, has_headers: !headers.is_empty() }, rest.trim_start())),
            Err(_) => text = after,
        }
    }
}

/// `Name: value` lines, and the rest.
fn split_headers(body: &str) -> (&str, &str) {
    let body = body.trim_start();
    let lines = body.split_inclusive('\n').take_while(|line| line.contains(':'));
    body.split_at(lines.map(str::len).sum())
}

/// Why bytes are no certificates in PEM, for `status.certificate` of a CertificateSigningRequest; none at all are fine.
pub fn certificates_problem(bytes: &[u8]) -> Option<String> {
    if bytes.is_empty() {
        return None;
    }
    let whole = String::from_utf8_lossy(bytes);
    let (mut text, mut found) = (&*whole, false);
    while let Some((block, rest)) = next(text) {
        text = rest;
        found = true;
        if block.label != CERTIFICATE {
            return Some(format!(
                "only CERTIFICATE PEM blocks are allowed, found {}",
                crate::field::quoted(block.label)
            ));
        }
        if block.has_headers {
            return Some("no PEM block headers are permitted".into());
        }
        if block.der.is_empty() {
            return Some("found CERTIFICATE PEM block containing 0 certificates".into());
        }
        if !is_signed(&block.der) {
            return Some("x509: malformed certificate".into());
        }
    }
    (!found).then(|| "must contain at least one CERTIFICATE PEM block".into())
}

/// Whether bytes have the outer form of a certificate: a sequence of what is signed, how, and the signature.
pub fn is_signed(der: &[u8]) -> bool {
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
pub(crate) mod tests {
    use super::*;

    /// What has the form of a certificate, as JSON has it.
    pub(crate) fn good() -> String {
        let der = [0x30, 8, 0x30, 1, 0, 0x30, 0, 0x03, 1, 0];
        let pem = format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", STANDARD.encode(der));
        STANDARD.encode(format!("# ours\n{pem}"))
    }

    #[test]
    fn blocks_are_found_among_other_lines() {
        let text = "hello\n-----BEGIN A-----\nno base64!\n-----END A-----\n-----BEGIN B-----\nX: 1\n\nAAAA\n-----END B-----\nrest";
        let (block, rest) = next(text).unwrap();
        assert_eq!((block.label, block.der, block.has_headers, rest), ("B", vec![0, 0, 0], true, "rest"));
        for nothing in ["", "-----BEGIN A-----\nAAAA\n", "x-----BEGIN A-----\nAAAA\n-----END A-----", "-----BEGIN "] {
            assert!(next(nothing).is_none(), "{nothing}");
        }
    }

    #[test]
    fn certificates_are_told_from_other_things() {
        let block = |label: &str, body: &str| format!("-----BEGIN {label}-----\n{body}-----END {label}-----\n");
        let good = String::from_utf8(STANDARD.decode(good()).unwrap()).unwrap();
        for (text, wanted) in [
            (String::new(), None),
            (good.repeat(2), None),
            ("x".into(), Some("must contain at least one CERTIFICATE PEM block")),
            (good.clone() + &block("KEY", "AAAA\n"), Some("only CERTIFICATE PEM blocks are allowed, found \"KEY\"")),
            (block("CERTIFICATE", "A: b\n\nAAAA\n"), Some("no PEM block headers are permitted")),
            (block("CERTIFICATE", ""), Some("found CERTIFICATE PEM block containing 0 certificates")),
            (block("CERTIFICATE", "AAAA\n"), Some("x509: malformed certificate")),
        ] {
            assert_eq!(certificates_problem(text.as_bytes()).as_deref(), wanted, "{text}");
        }
    }
}
