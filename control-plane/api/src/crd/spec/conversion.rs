//! The rules of `spec.conversion`, and those of every webhook's `clientConfig`.

use super::super::url::Url;
use super::super::{acceptance, bundle};
use super::{enumerated, preserves, text};
use crate::field::{Error, Path};
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
    let url = match Url::parse(text) {
        Ok(url) => url,
        Err(why) => {
            let why = format!("url must be a valid URL: {why}{FORM}");
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
