//! The rules of `spec.conversion`, and those of every webhook's `clientConfig`.

use super::super::{acceptance, bundle};
use super::{enumerated, preserves, text};
use crate::field::{Error, Path, quoted};
use crate::{names, schema};
use serde_json::Value;
use std::collections::BTreeSet;

/// Most steps of a path that are looked at.
const MAX_STEPS: usize = 100;
const REVIEWS: &[&str] = &["v1", "v1beta1"];

pub(super) fn check(spec: &Value, old: Option<&Value>, path: &Path<'_>, errors: &mut Vec<Error>) {
    let Some(conversion) = spec.get("conversion").filter(|conversion| conversion.is_object()) else { return };
    let strategy = text(conversion, "strategy");
    if preserves(spec) && strategy != "None" {
        let detail = "must be None if spec.preserveUnknownFields is true";
        errors.push(Error::invalid(&path.child("strategy"), strategy, detail));
    }
    enumerated(strategy, &["None", "Webhook"], &path.child("strategy"), errors);
    let client = conversion.pointer("/webhook/clientConfig").filter(|client| client.is_object());
    let reviews = schema::strings(conversion.pointer("/webhook/conversionReviewVersions"));
    let (at_client, at_reviews) = (path.child("webhookClientConfig"), path.child("conversionReviewVersions"));
    if strategy != "Webhook" {
        let detail = "should not be set when strategy is not set to Webhook";
        if client.is_some() {
            errors.push(Error::forbidden(&at_client, detail));
        }
        if !reviews.is_empty() {
            errors.push(Error::forbidden(&at_reviews, detail));
        }
        return;
    }
    match client {
        None => errors.push(Error::required(&at_client, "required when strategy is set to Webhook")),
        Some(client) => {
            client_config(client, &at_client, errors);
            ca_bundle(text(client, "caBundle"), old, &at_client.child("caBundle"), errors);
        }
    }
    if reviews.is_empty() {
        errors.push(Error::required(&at_reviews, ""));
    } else {
        review_versions(&reviews, Unknown::Refused, &at_reviews, errors);
    }
}

/// Whether a list of review versions may have none that this server speaks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unknown {
    Allowed,
    Refused,
}

/// The versions of reviews that a webhook understands, of which there is one at least.
pub(crate) fn review_versions(reviews: &[String], unknown: Unknown, path: &Path<'_>, errors: &mut Vec<Error>) {
    let mut seen = BTreeSet::new();
    for (index, review) in reviews.iter().enumerate() {
        if !seen.insert(review) {
            errors.push(Error::invalid(&path.index(index), review.as_str(), "duplicate version"));
        } else {
            for complaint in names::check_dns1035_label(review) {
                errors.push(Error::invalid(&path.index(index), review.as_str(), complaint));
            }
        }
    }
    if unknown == Unknown::Refused && !reviews.iter().any(|review| REVIEWS.contains(&review.as_str())) {
        let detail = format!("must include at least one of {}", REVIEWS.join(", "));
        errors.push(Error::invalid(path, reviews, detail));
    }
}

/// A kind that is served goes on being served: a bundle that works is not replaced by one that cannot. Where there is nothing to
/// lose a bundle may be wrong: the CRD says so in its conditions.
fn ca_bundle(bundle: &str, old: Option<&Value>, path: &Path<'_>, errors: &mut Vec<Error>) {
    let serves = old.is_some_and(|old| acceptance::established(old) && !bundle::is_invalid(&old["spec"]));
    if serves
        && !bundle.is_empty()
        && let Some(detail) = bundle::problem(bundle)
    {
        errors.push(Error::invalid(path, bundle, detail));
    }
}

/// Where a webhook is, of admission or conversion (`apiserver/pkg/util/webhook/validation.go`).
pub(crate) fn client_config(client: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let url = client.get("url").and_then(Value::as_str);
    let service = client.get("service").filter(|service| service.is_object());
    match (url, service) {
        (Some(url), None) => check_url(url, &path.child("url"), errors),
        (None, Some(service)) => check_service(service, &path.child("service"), errors),
        _ => errors.push(Error::required(path, "exactly one of url or service is required")),
    }
}

fn check_url(text: &str, path: &Path<'_>, errors: &mut Vec<Error>) {
    const FORM: &str = "; desired format: https://host[/path]";
    let url = match GoUrl::parse(text) {
        Ok(url) => url,
        Err(why) => {
            let why = format!("url must be a valid URL: parse {}: {why}{FORM}", quoted(text));
            return errors.push(Error::required(path, why));
        }
    };
    if url.scheme != "https" {
        let detail = format!("'https' is the only allowed URL scheme{FORM}");
        errors.push(Error::invalid(path, url.scheme, detail));
    }
    if url.host.is_empty() {
        errors.push(Error::invalid(path, url.host, format!("host must be specified{FORM}")));
    }
    if let Some(user) = url.user {
        errors.push(Error::invalid(path, user, "user information is not permitted in the URL"));
    }
    if !url.fragment.is_empty() {
        errors.push(Error::invalid(path, url.fragment, "fragments are not permitted in the URL"));
    }
    if !url.query.is_empty() {
        errors.push(Error::invalid(path, url.query, "query parameters are not permitted in the URL"));
    }
}

fn check_service(service: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    // Kubernetes hands name and namespace over in the wrong order: the absence of one is told of the other.
    for (field, told_of) in [("namespace", "name"), ("name", "namespace")] {
        if text(service, field).is_empty() {
            errors.push(Error::required(&path.child(told_of), ""));
        }
    }
    let port = service.get("port").and_then(Value::as_i64).unwrap_or(443);
    let complaints = names::check_port(port);
    if !complaints.is_empty() {
        let detail = format!("port is not valid: {}", complaints.join(", "));
        errors.push(Error::invalid(&path.child("port"), port, detail));
    }
    check_path(text(service, "path"), &path.child("path"), errors);
}

fn check_path(text: &str, path: &Path<'_>, errors: &mut Vec<Error>) {
    let mut bad = |detail: String| errors.push(Error::invalid(path, text, detail));
    if text.is_empty() || text == "/" {
        return;
    }
    if text == "//" {
        return bad("segment[0] may not be empty".into());
    }
    if !text.starts_with('/') {
        bad("must start with a '/'".into());
    }
    // The first byte is not looked at again, whatever it is.
    let mut rest = text.chars();
    let first = rest.next();
    let broken = first.filter(|c| !c.is_ascii()).map(|_| format!("\u{fffd}{}", rest.as_str()));
    let rest = broken.as_deref().unwrap_or(rest.as_str());
    let steps = rest.strip_suffix('/').unwrap_or(rest).split('/').take(MAX_STEPS);
    for (index, step) in steps.enumerate() {
        if step.is_empty() {
            bad(format!("segment[{index}] may not be empty"));
        } else {
            for complaint in names::check_dns1123_subdomain(step) {
                bad(format!("segment[{index}]: {complaint}"));
            }
        }
    }
}

/// The parts of a URL that webhooks are asked about, as Go's `url.Parse` tells them apart.
struct GoUrl {
    scheme: String,
    host: String,
    user: Option<String>,
    fragment: String,
    query: String,
}

impl GoUrl {
    fn parse(text: &str) -> Result<Self, String> {
        if text.bytes().any(|b| b < b' ' || b == 0x7f) {
            return Err("net/url: invalid control character in URL".into());
        }
        let (text, fragment) = text.split_once('#').unwrap_or((text, ""));
        let (scheme, rest) = scheme(text)?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut url = Self {
            scheme: scheme.to_ascii_lowercase(),
            host: String::new(),
            user: None,
            fragment: unescape(fragment)?,
            query: query.into(),
        };
        let Some(after) = rest.strip_prefix("//").filter(|_| !scheme.is_empty() || !rest.starts_with("///")) else {
            let first = rest.split('/').next().unwrap_or_default();
            if !rest.starts_with('/') && scheme.is_empty() && first.contains(':') {
                return Err("first path segment in URL cannot contain colon".into());
            }
            // `mailto:a@b` is opaque: no path, no escapes.
            if rest.starts_with('/') || scheme.is_empty() {
                unescape(rest)?;
            }
            return Ok(url);
        };
        let (authority, path) = after.split_at(after.find('/').unwrap_or(after.len()));
        let (user, host) = authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
        check_host(host)?;
        unescape(path)?;
        unescape(user.unwrap_or_default())?;
        url.host = host.to_owned();
        url.user = user.map(str::to_owned);
        Ok(url)
    }
}

fn scheme(text: &str) -> Result<(&str, &str), String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    match text.find(|c: char| !is_part(c)) {
        Some(0) if text.starts_with(':') => Err("missing protocol scheme".into()),
        Some(end) if text[end..].starts_with(':') && text.starts_with(|c: char| c.is_ascii_alphabetic()) => {
            Ok((&text[..end], &text[end + 1..]))
        }
        _ => Ok(("", text)),
    }
}

fn check_host(host: &str) -> Result<(), String> {
    let port = match host.strip_prefix('[') {
        Some(after) => after.rsplit_once(']').ok_or("missing ']' in host")?.1,
        None => host.rfind(':').map_or("", |at| &host[at..]),
    };
    if !port.is_empty() && !port.strip_prefix(':').is_some_and(|port| port.bytes().all(|b| b.is_ascii_digit())) {
        return Err(format!("invalid port {} after host", quoted(port)));
    }
    // Escapes are for what is not ASCII.
    if let Some((_, after)) = host.split_once('%')
        && !after.starts_with(|c: char| matches!(c.to_ascii_lowercase(), '8'..='9' | 'a'..='f'))
    {
        return Err(format!(
            "invalid URL escape {}",
            quoted(&format!("%{}", after.chars().take(2).collect::<String>()))
        ));
    }
    let odd = |c: &char| c.is_ascii() && !c.is_ascii_alphanumeric() && !"-_.~!$&'()*+,;=:[]<>\"%".contains(*c);
    match host.chars().find(odd) {
        Some(c) => Err(format!("invalid character {} in host name", quoted(&c.to_string()))),
        None => Ok(()),
    }
}

/// Text without its escapes (`%2F`).
fn unescape(text: &str) -> Result<String, String> {
    let (bytes, mut out, mut at) = (text.as_bytes(), Vec::with_capacity(text.len()), 0);
    while let Some(&byte) = bytes.get(at) {
        let digit = |offset: usize| bytes.get(at + offset).and_then(|b| char::from(*b).to_digit(16));
        match (byte, digit(1), digit(2)) {
            (b'%', Some(high), Some(low)) => {
                out.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
                at += 3;
            }
            (b'%', ..) => {
                let shown = String::from_utf8_lossy(&bytes[at..bytes.len().min(at + 3)]);
                return Err(format!("invalid URL escape {}", quoted(&shown)));
            }
            _ => {
                out.push(byte);
                at += 1;
            }
        }
    }
    Ok(String::from_utf8_lossy(&out).into_owned())
}
