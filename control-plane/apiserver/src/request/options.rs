//! The options of each verb, from the query (and, for deletes, the body), checked as Kubernetes checks them.

use super::Query;
use api::patch::type_name;
use api::selector::{Fields, Labels};
use api::{Reason, Resource, Status, Verb, field, names};
use field::{Error as FieldError, Path};
use serde_json::Value;
use std::time::Duration;

/// Whether a write only pretends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DryRun {
    No,
    All,
}

/// What becomes of unknown and duplicate fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldValidation {
    Ignore,
    Warn,
    Strict,
}

/// `CreateOptions`, `UpdateOptions` and `PatchOptions`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WriteOptions {
    pub common: Common,
    pub field_validation: FieldValidation,
    /// Empty: derived from the user agent.
    pub field_manager: String,
    /// Server-side apply's `force`.
    pub force: Option<bool>,
}

/// What all writing verbs share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Common {
    pub dry_run: DryRun,
}

impl Common {
    pub(crate) fn is_dry_run(self) -> bool {
        self.dry_run == DryRun::All
    }
}

impl WriteOptions {
    /// # Errors
    /// 422 about the options' kind, `CreateOptions.meta.k8s.io "" is invalid: …`.
    pub(crate) fn parse(query: &Query<'_>, verb: Verb) -> Result<Self, Status> {
        let mut errors = Vec::new();
        let dry_run = dry_run(query.all("dryRun"), &mut errors);
        let field_validation = match query.text("fieldValidation") {
            None | Some("Warn") => FieldValidation::Warn,
            Some("Strict") => FieldValidation::Strict,
            Some("Ignore") => FieldValidation::Ignore,
            Some(other) => {
                errors.push(FieldError::not_supported(
                    &Path::new("fieldValidation"),
                    other,
                    &["", "Ignore", "Strict", "Warn"],
                ));
                FieldValidation::Warn
            }
        };
        let field_manager = query.text("fieldManager").unwrap_or_default().to_owned();
        if field_manager.len() > 128 {
            errors.push(FieldError::too_long(&Path::new("fieldManager"), 128));
        }
        for (position, c) in field_manager.char_indices().filter(|(_, c)| !names::is_printable(*c)) {
            let why = format!("invalid character U+{:04X} (at position {position})", u32::from(c));
            errors.push(FieldError::invalid(&Path::new("fieldManager"), field_manager.as_str(), why));
        }
        let force = query.optional_flag("force");
        let kind = match verb {
            Verb::Create => "CreateOptions",
            Verb::Patch => "PatchOptions",
            _ => "UpdateOptions",
        };
        refuse(kind, &errors)?;
        Ok(Self { common: Common { dry_run }, field_validation, field_manager, force })
    }
}

fn dry_run<'a>(values: impl Iterator<Item = &'a str>, errors: &mut Vec<FieldError>) -> DryRun {
    let values: Vec<&str> = values.collect();
    if values.iter().any(|value| *value != "All") {
        errors.push(FieldError::not_supported(&Path::new("dryRun"), serde_json::json!(values), &["All"]));
    }
    if values.is_empty() { DryRun::No } else { DryRun::All }
}

fn refuse(kind: &str, errors: &[FieldError]) -> Result<(), Status> {
    if errors.is_empty() { Ok(()) } else { Err(Status::invalid("meta.k8s.io", kind, "", errors)) }
}

/// What happens to the objects that an object owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Propagation {
    Background,
    Foreground,
    Orphan,
    /// `Background` by its old name, `orphanDependents: false`. Who uses that is told with a 202 that something is left to do.
    Cascading,
}

/// `metav1.Preconditions`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Preconditions {
    pub uid: Option<String>,
    pub resource_version: Option<String>,
}

/// `DeleteOptions`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeleteOptions {
    pub common: Common,
    pub grace_period_seconds: Option<i64>,
    pub propagation: Option<Propagation>,
    pub preconditions: Preconditions,
}

impl DeleteOptions {
    /// From the body if there is one (`{}` and nothing are the same), else from the query. `dryRun` counts in either.
    ///
    /// # Errors
    /// 400 for a body that is no `DeleteOptions`, 422 for values that are not allowed.
    pub(crate) fn parse(query: &Query<'_>, body: Option<&Value>) -> Result<Self, Status> {
        match body {
            Some(body) => Self::from_body(query, body),
            None => Self::from_query(query),
        }
    }

    fn from_query(query: &Query<'_>) -> Result<Self, Status> {
        let mut errors = Vec::new();
        let dry_run = dry_run(query.all("dryRun"), &mut errors);
        let orphan = query.optional_flag("orphanDependents");
        let grace_period_seconds = query.integer("gracePeriodSeconds")?.map(grace);
        let propagation = propagation(query.get("propagationPolicy"), orphan, &mut errors);
        refuse("DeleteOptions", &errors)?;
        let text = |name: &str| query.text(name).map(String::from);
        let preconditions = Preconditions { uid: text("uid"), resource_version: text("resourceVersion") };
        Ok(Self { common: Common { dry_run }, grace_period_seconds, propagation, preconditions })
    }

    fn from_body(query: &Query<'_>, body: &Value) -> Result<Self, Status> {
        let nothing = Value::Object(serde_json::Map::new());
        let body = if body.is_null() { &nothing } else { body };
        if let Some(why) = untyped(body) {
            return Err(Status::bad_request(why));
        }
        let kind = body.get("kind").and_then(Value::as_str).unwrap_or("DeleteOptions");
        if kind != "DeleteOptions" {
            return Err(Status::bad_request(format!(
                "decoded object cannot be converted to DeleteOptions: it is a {kind}"
            )));
        }
        check_types(body)?;
        let text = |value: Option<&Value>| value.and_then(Value::as_str).map(String::from);
        let mut errors = Vec::new();
        let listed = body.get("dryRun").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        // Kubernetes reads no query beside a body; but who says `dryRun` anywhere must not be taken at their word.
        let asked = query.all("dryRun").filter(|value| !value.is_empty());
        let dry_run = dry_run(listed.iter().filter_map(Value::as_str).chain(asked), &mut errors);
        let orphan = body.get("orphanDependents").and_then(Value::as_bool);
        let propagation = propagation(body.get("propagationPolicy").and_then(Value::as_str), orphan, &mut errors);
        refuse("DeleteOptions", &errors)?;
        let preconditions = body.get("preconditions");
        Ok(Self {
            common: Common { dry_run },
            grace_period_seconds: body.get("gracePeriodSeconds").and_then(Value::as_i64).map(grace),
            propagation,
            preconditions: Preconditions {
                uid: text(preconditions.and_then(|p| p.get("uid"))),
                resource_version: text(preconditions.and_then(|p| p.get("resourceVersion"))),
            },
        })
    }
}

/// Why Go cannot even find the kind of a document; none where it can, which says nothing about the rest of it.
pub(crate) fn untyped(document: &Value) -> Option<String> {
    const HEAD: &str = "couldn't get version/kind; json parse error: json: cannot unmarshal";
    if !document.is_object() {
        let found = type_name(document);
        return Some(format!(
            "{HEAD} {found} into Go value of type struct {{ APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }}"
        ));
    }
    let wrong = |field: &&str| document.get(*field).is_some_and(|value| !value.is_string() && !value.is_null());
    if let Some(field) = ["apiVersion", "kind"].iter().find(|field| wrong(field)) {
        let found = type_name(&document[*field]);
        return Some(format!("{HEAD} {found} into Go struct field .{field} of type string"));
    }
    let version = document.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
    (version.matches('/').count() > 1).then(|| format!("unexpected GroupVersion string: {version}"))
}

/// Refuses fields of other types than theirs: a `dryRun` that is no list must not become a delete.
fn check_types(body: &Value) -> Result<(), Status> {
    type Fits = fn(&Value) -> bool;
    let fields: [(&str, Fits, &str); 7] = [
        ("gracePeriodSeconds", Value::is_i64, "int64"),
        ("orphanDependents", Value::is_boolean, "bool"),
        ("propagationPolicy", Value::is_string, "v1.DeletionPropagation"),
        ("dryRun", |value| value.as_array().is_some_and(|list| list.iter().all(Value::is_string)), "[]string"),
        ("preconditions", Value::is_object, "v1.Preconditions"),
        ("preconditions/uid", Value::is_string, "types.UID"),
        ("preconditions/resourceVersion", Value::is_string, "string"),
    ];
    for (field, fits, kind) in fields {
        let Some(value) = body.pointer(&format!("/{field}")).filter(|value| !value.is_null() && !fits(value)) else {
            continue;
        };
        let found = type_name(value);
        let field = field.replace('/', ".");
        return Err(Status::bad_request(format!(
            "DeleteOptions in version \"v1\" cannot be handled as a DeleteOptions: json: cannot unmarshal {found} into Go struct field DeleteOptions.{field} of type {kind}"
        )));
    }
    Ok(())
}

/// Less than no time is a second, as in Kubernetes (`rest.BeforeDelete`).
fn grace(seconds: i64) -> i64 {
    if seconds < 0 { 1 } else { seconds }
}

fn propagation(policy: Option<&str>, orphan: Option<bool>, errors: &mut Vec<FieldError>) -> Option<Propagation> {
    let path = Path::new("propagationPolicy");
    if policy.is_some() && orphan.is_some() {
        errors.push(FieldError::invalid(
            &path,
            policy.unwrap_or_default(),
            "orphanDependents and deletionPropagation cannot be both set",
        ));
    }
    match policy {
        Some("Background") => Some(Propagation::Background),
        Some("Foreground") => Some(Propagation::Foreground),
        Some("Orphan") => Some(Propagation::Orphan),
        Some(other) => {
            errors.push(FieldError::not_supported(&path, other, &["Foreground", "Background", "Orphan", "nil"]));
            None
        }
        None => orphan.map(|orphan| if orphan { Propagation::Orphan } else { Propagation::Cascading }),
    }
}

/// A `resourceVersion` parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// Most recent.
    Unset,
    /// `0`: anything will do.
    Any,
    At(u64),
}

impl Version {
    /// # Errors
    /// 400 for what is not a number.
    pub(crate) fn parse(text: &str) -> Result<Self, Status> {
        match text {
            "" => Ok(Self::Unset),
            "0" => Ok(Self::Any),
            text => match text.parse::<u64>() {
                Ok(0) => Ok(Self::Any),
                Ok(version) if !text.starts_with('+') => Ok(Self::At(version)),
                other => {
                    let overflows = other.is_err_and(|e| *e.kind() == std::num::IntErrorKind::PosOverflow);
                    let why = if overflows { "value out of range" } else { "invalid syntax" };
                    Err(Status::bad_request(format!(
                        "invalid resource version: resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: {why}"
                    )))
                }
            },
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VersionMatch {
    Exact,
    NotOlderThan,
}

/// `ListOptions`, of lists, watches and collection deletes.
#[derive(Clone, Debug)]
pub(crate) struct ListOptions {
    pub labels: Labels,
    pub fields: Fields,
    pub version: Version,
    pub version_match: Option<VersionMatch>,
    /// 0: no limit.
    pub limit: usize,
    pub continue_token: Option<String>,
    pub timeout: Option<Duration>,
    pub bookmarks: bool,
    pub send_initial_events: Option<bool>,
}

impl ListOptions {
    /// # Errors
    /// 400 for unreadable values and selectors, 422 for combinations that Kubernetes refuses.
    pub(crate) fn parse(query: &Query<'_>, verb: Verb, resource: &Resource) -> Result<Self, Status> {
        let labels = query.text("labelSelector").map_or_else(|| Ok(Labels::everything()), Labels::parse)?;
        let fields = query.text("fieldSelector").map_or_else(|| Ok(Fields::everything()), Fields::parse)?;
        if !fields.is_everything() {
            resource.check_selector(&fields)?;
        }
        let limit = query.integer("limit")?.unwrap_or(0);
        let timeout = query.integer("timeoutSeconds")?.and_then(|s| u64::try_from(s).ok()).filter(|s| *s > 0);
        let matching = query.text("resourceVersionMatch");
        let version_text = query.text("resourceVersion").unwrap_or_default();
        let continue_token = query.text("continue").map(String::from);
        let send_initial_events = query.optional_flag("sendInitialEvents");
        let errors = if verb == Verb::Watch {
            watch_errors(matching, continue_token.is_some(), send_initial_events)
        } else {
            list_errors(matching, version_text, continue_token.is_some(), send_initial_events)
        };
        refuse("ListOptions", &errors)?;
        Ok(Self {
            labels,
            fields,
            version: Version::parse(version_text)?,
            version_match: match matching {
                Some("Exact") => Some(VersionMatch::Exact),
                Some(_) => Some(VersionMatch::NotOlderThan),
                None => None,
            },
            limit: usize::try_from(limit).unwrap_or(0),
            continue_token,
            timeout: timeout.map(Duration::from_secs),
            bookmarks: query.flag("allowWatchBookmarks"),
            send_initial_events,
        })
    }
}

fn watch_errors(matching: Option<&str>, continued: bool, initial: Option<bool>) -> Vec<FieldError> {
    let path = Path::new("resourceVersionMatch");
    let mut errors = Vec::new();
    if initial.is_some() && matching != Some("NotOlderThan") {
        errors.push(FieldError::forbidden(
            &path,
            "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        ));
    }
    let Some(matching) = matching else { return errors };
    if initial.is_none() {
        errors.push(FieldError::forbidden(
            &path,
            "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
        ));
    }
    if matching != "NotOlderThan" {
        errors.push(FieldError::not_supported(&path, matching, &["NotOlderThan"]));
    }
    if continued {
        errors.push(FieldError::forbidden(&path, "resourceVersionMatch is forbidden when continue is provided"));
    }
    errors
}

fn list_errors(matching: Option<&str>, version: &str, continued: bool, initial: Option<bool>) -> Vec<FieldError> {
    let path = Path::new("resourceVersionMatch");
    let mut errors = Vec::new();
    if let Some(matching) = matching {
        if version.is_empty() {
            errors.push(FieldError::forbidden(
                &path,
                "resourceVersionMatch is forbidden unless resourceVersion is provided",
            ));
        }
        if continued {
            errors.push(FieldError::forbidden(&path, "resourceVersionMatch is forbidden when continue is provided"));
        }
        if !matches!(matching, "Exact" | "NotOlderThan") {
            errors.push(FieldError::not_supported(&path, matching, &["Exact", "NotOlderThan", ""]));
        }
        if matching == "Exact" && version == "0" {
            errors.push(FieldError::forbidden(
                &path,
                "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
            ));
        }
    }
    if initial.is_some() {
        errors.push(FieldError::forbidden(&Path::new("sendInitialEvents"), "sendInitialEvents is forbidden for list"));
    }
    errors
}

/// Kubernetes' answer to a revision that has not been reached: 504 with a retry.
pub(crate) fn too_large_version(wanted: u64, current: u64) -> Status {
    let why = format!("Timeout: Too large resource version: {wanted}, current: {current}");
    let mut status = Status::new(Reason::Timeout, why).with_retry_after(1);
    if let Some(details) = &mut status.details {
        details.causes.push(api::status::Cause {
            reason: "ResourceVersionTooLarge".into(),
            message: "Too large resource version".into(),
            field: String::new(),
        });
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refused(body: &Value) -> String {
        DeleteOptions::parse(&Query::default(), Some(body)).unwrap_err().message
    }

    #[test]
    fn a_delete_is_not_guessed_from_options_of_other_types() {
        let head = "DeleteOptions in version \"v1\" cannot be handled as a DeleteOptions: json: cannot unmarshal";
        for (body, wanted) in [
            (json!({"dryRun": "All"}), "string into Go struct field DeleteOptions.dryRun of type []string"),
            (
                json!({"propagationPolicy": 5}),
                "number into Go struct field DeleteOptions.propagationPolicy of type v1.DeletionPropagation",
            ),
            (
                json!({"gracePeriodSeconds": "5"}),
                "string into Go struct field DeleteOptions.gracePeriodSeconds of type int64",
            ),
            (
                json!({"preconditions": {"uid": 1}}),
                "number into Go struct field DeleteOptions.preconditions.uid of type types.UID",
            ),
        ] {
            assert_eq!(refused(&body), format!("{head} {wanted}"));
        }
        let none = json!({"gracePeriodSeconds": null, "preconditions": null, "dryRun": []});
        assert_eq!(DeleteOptions::parse(&Query::default(), Some(&none)).unwrap().grace_period_seconds, None);
        assert_eq!(DeleteOptions::parse(&Query::default(), Some(&json!(null))).unwrap().common.dry_run, DryRun::No);
        let head = "couldn't get version/kind; json parse error: json: cannot unmarshal";
        assert!(refused(&json!([])).starts_with(&format!("{head} array into Go value of type struct {{ APIVersion")));
        assert_eq!(refused(&json!({"kind": 5})), format!("{head} number into Go struct field .kind of type string"));
        for unset in [json!({"propagationPolicy": ""}), json!({"dryRun": [""]})] {
            assert!(refused(&unset).contains("Unsupported value"));
        }
        let asked = DeleteOptions::parse(&Query::parse("uid=a&resourceVersion=5"), None).unwrap();
        let wanted = Preconditions { uid: Some("a".into()), resource_version: Some("5".into()) };
        assert_eq!(asked.preconditions, wanted);
        let negative = DeleteOptions::parse(&Query::parse("gracePeriodSeconds=-5"), None).unwrap();
        assert_eq!(negative.grace_period_seconds, Some(1));
        assert_eq!(
            refused(&json!({"propagationPolicy": "x"})),
            "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Unsupported value: \"x\": supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\""
        );
    }

    #[test]
    fn a_manager_has_a_name_that_can_be_printed() {
        let parse = |name: &str| {
            let query =
                format!("fieldManager={}", form_urlencoded::byte_serialize(name.as_bytes()).collect::<String>());
            WriteOptions::parse(&Query::parse(&query), Verb::Create).map_err(|status| status.message)
        };
        for good in ["kubectl", "a b", "é\"'\\", "e\u{301}"] {
            assert_eq!(parse(good).unwrap().field_manager, good);
        }
        for (bad, code) in [("a\u{7}", "U+0007"), ("a\u{200b}", "U+200B"), ("a\u{a0}", "U+00A0")] {
            let why = parse(bad).unwrap_err();
            assert!(why.ends_with(&format!("invalid character {code} (at position 1)")), "{why}");
        }
        let long = parse(&"x".repeat(129)).unwrap_err();
        assert!(long.ends_with("fieldManager: Too long: may not be more than 128 bytes"), "{long}");
    }
}
