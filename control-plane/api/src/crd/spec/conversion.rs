//! The rules of `spec.conversion`, and those of every webhook's `clientConfig`.

use super::super::{acceptance, bundle};
use super::{enumerated, text};
use crate::field::{Error, Path};
use crate::{names, schema};
use serde_json::Value;

const REVIEWS: &[&str] = &["v1", "v1beta1"];

pub(super) fn check(spec: &Value, old: Option<&Value>, path: &Path<'_>, errors: &mut Vec<Error>) {
    let Some(conversion) = spec.get("conversion").filter(|conversion| conversion.is_object()) else { return };
    let strategy = text(conversion, "strategy");
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
    } else if !reviews.iter().any(|review| REVIEWS.contains(&review.as_str())) {
        let detail = format!("must include at least one of {}", REVIEWS.join(", "));
        errors.push(Error::invalid(&at_reviews, reviews.clone(), detail));
    }
    for (index, review) in reviews.iter().enumerate() {
        if reviews[..index].contains(review) {
            errors.push(Error::invalid(&at_reviews.index(index), review.as_str(), "duplicate version"));
        } else {
            for complaint in names::check_dns1035_label(review) {
                errors.push(Error::invalid(&at_reviews.index(index), review.as_str(), complaint));
            }
        }
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

/// `webhook.ValidateWebhookURL` and `ValidateWebhookService`.
pub(crate) fn client_config(client: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let url = client.get("url").and_then(Value::as_str);
    let service = client.get("service").filter(|service| service.is_object());
    match (url, service) {
        (Some(url), None) => {
            let at = path.child("url");
            let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
            let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
            if scheme != "https" {
                let detail = "'https' is the only allowed URL scheme; desired format: https://host[/path]";
                errors.push(Error::invalid(&at, scheme, detail));
            }
            if host.is_empty() {
                let detail = "host must be specified; desired format: https://host[/path]";
                errors.push(Error::invalid(&at, "", detail));
            }
            if host.contains('@') {
                errors.push(Error::invalid(&at, host, "user information is not permitted in the URL"));
            }
            for (mark, what) in [('#', "fragments"), ('?', "query parameters")] {
                if url.contains(mark) {
                    errors.push(Error::invalid(&at, url, format!("{what} are not permitted in the URL")));
                }
            }
        }
        (None, Some(service)) => {
            let at = path.child("service");
            for (field, detail) in
                [("name", "service name is required"), ("namespace", "service namespace is required")]
            {
                if text(service, field).is_empty() {
                    errors.push(Error::required(&at.child(field), detail));
                }
            }
            let port = service.get("port").and_then(Value::as_i64).unwrap_or(443);
            for complaint in names::check_port(port) {
                let detail = format!("port is not valid: {complaint}");
                errors.push(Error::invalid(&at.child("port"), port, detail));
            }
            if let Some(url_path) = service.get("path").and_then(Value::as_str)
                && !url_path.starts_with('/')
            {
                errors.push(Error::invalid(&at.child("path"), url_path, "must start with a '/'"));
            }
        }
        _ => errors.push(Error::required(path, "exactly one of url or service is required")),
    }
}
