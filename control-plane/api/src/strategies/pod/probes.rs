//! Probes and lifecycle hooks (`validateProbe`, `validateHandler`, `validateLifecycle`).

use super::containers::{Pod, check_port_or_name};
use crate::field::{Error, Path};
use crate::strategies::json::{check_name, check_non_negative, check_required, int, items, present, text};
use serde_json::Value;

pub(super) fn check_probes(container: &Value, pod: &Pod<'_>, path: &Path<'_>, errors: &mut Vec<Error>) {
    for kind in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = present(container, kind) {
            check_probe(kind, probe, pod.grace_seconds(), &path.child(kind), errors);
        }
    }
}

fn check_probe(kind: &str, probe: &Value, grace: Option<i64>, path: &Path<'_>, errors: &mut Vec<Error>) {
    check_handler(probe, &["exec", "httpGet", "tcpSocket", "grpc"], grace, path, errors);
    for field in ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"] {
        check_non_negative(probe, field, path, errors);
    }
    let at = path.child("terminationGracePeriodSeconds");
    let own_grace = int(probe, "terminationGracePeriodSeconds");
    if let Some(seconds) = own_grace.filter(|seconds| *seconds <= 0) {
        errors.push(Error::invalid(&at, seconds, "must be greater than 0"));
    }
    if kind == "readinessProbe" {
        if let Some(seconds) = own_grace {
            errors.push(Error::invalid(&at, seconds, "must not be set for readinessProbes"));
        }
        return;
    }
    let successes = int(probe, "successThreshold").unwrap_or(1);
    if successes != 1 {
        errors.push(Error::invalid(&path.child("successThreshold"), successes, "must be 1"));
    }
}

/// Exactly one handler, and that one complete.
fn check_handler(value: &Value, kinds: &[&str], grace: Option<i64>, path: &Path<'_>, errors: &mut Vec<Error>) {
    let mut found = false;
    for kind in kinds {
        let Some(handler) = present(value, kind) else { continue };
        let path = path.child(kind);
        if found {
            errors.push(Error::forbidden(&path, "may not specify more than 1 handler type"));
            continue;
        }
        found = true;
        let port = handler.get("port").unwrap_or(&Value::Null);
        match *kind {
            "exec" if items(handler, "command").is_empty() => {
                errors.push(Error::required(&path.child("command"), ""));
            }
            "httpGet" => check_http_get(handler, &path, errors),
            "tcpSocket" | "grpc" => check_port_or_name(port, &path.child("port"), errors),
            "sleep" => {
                let seconds = int(handler, "seconds").unwrap_or(0);
                if let Some(grace) = grace.filter(|grace| seconds < 0 || seconds > *grace) {
                    let detail = format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
                    errors.push(Error::invalid(&path, seconds, detail));
                }
            }
            _ => {}
        }
    }
    if !found {
        errors.push(Error::required(path, "must specify a handler type"));
    }
}

fn check_http_get(handler: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    check_required(handler, "path", path, errors);
    check_port_or_name(handler.get("port").unwrap_or(&Value::Null), &path.child("port"), errors);
    let scheme = text(handler, "scheme");
    if !matches!(scheme, "HTTP" | "HTTPS") {
        errors.push(Error::not_supported(&path.child("scheme"), scheme, &["HTTP", "HTTPS"]));
    }
    for header in items(handler, "httpHeaders") {
        check_name(text(header, "name"), &path.child("httpHeaders"), check_header_name, errors);
    }
}

fn check_header_name(name: &str) -> Vec<String> {
    if !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Vec::new();
    }
    vec!["a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')".into()]
}

pub(super) fn check_lifecycle(container: &Value, pod: &Pod<'_>, path: &Path<'_>, errors: &mut Vec<Error>) {
    let Some(lifecycle) = present(container, "lifecycle") else { return };
    let path = path.child("lifecycle");
    for hook in ["postStart", "preStop"] {
        if let Some(value) = present(lifecycle, hook) {
            let kinds = &["exec", "httpGet", "tcpSocket", "sleep"];
            check_handler(value, kinds, pod.grace_seconds(), &path.child(hook), errors);
        }
    }
    let Some(signal) = lifecycle.get("stopSignal").and_then(Value::as_str) else { return };
    let at = path.child("stopSignal");
    match pod.spec.get("os").map(|os| text(os, "name")) {
        None => errors.push(Error::forbidden(&at, "may not be set for containers with empty `spec.os.name`")),
        Some("windows") if !matches!(signal, "SIGKILL" | "SIGTERM") => {
            errors.push(Error::not_supported(&at, signal, &["SIGKILL", "SIGTERM"]));
        }
        Some("linux") if !is_linux_signal(signal) => {
            let mut names: Vec<String> = SIGNALS.iter().map(|name| format!("SIG{name}")).collect();
            names.extend((1..=15).map(|n| format!("SIGRTMIN+{n}")));
            names.extend((1..=14).map(|n| format!("SIGRTMAX-{n}")));
            names.sort();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            errors.push(Error::not_supported(&at, signal, &names));
        }
        Some(_) => {}
    }
}

const SIGNALS: &[&str] = &[
    "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL", "PIPE", "POLL",
    "PROF", "PWR", "QUIT", "RTMAX", "RTMIN", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP", "TTIN", "TTOU",
    "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ",
];

fn is_linux_signal(signal: &str) -> bool {
    let Some(name) = signal.strip_prefix("SIG") else { return false };
    let counted = |prefix: &str, most: u8| {
        name.strip_prefix(prefix).and_then(|n| n.parse::<u8>().ok()).is_some_and(|n| (1..=most).contains(&n))
    };
    SIGNALS.contains(&name) || counted("RTMIN+", 15) || counted("RTMAX-", 14)
}
