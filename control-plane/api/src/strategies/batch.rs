//! batch/v1: Job and CronJob.

use super::cron;
use super::job_policies;
use super::json::{
    Object, check_domain_path, check_immutable, check_non_negative, check_one_of, check_required_one_of, fill,
    fill_zero, flag, int, map, object_mut, present, spec_mut, text,
};
use super::pod::{check_label_selector, check_template, template_warnings};
use super::workloads::{check_counts, check_template_labels, default_template, no_controller};
use crate::field::{Error, Path};
use crate::meta;
use crate::names;
use crate::selector::Labels;
use crate::strategy::Strategy;
use serde_json::{Value, json};

const CONTROLLER_UID: &str = "batch.kubernetes.io/controller-uid";
const JOB_NAME: &str = "batch.kubernetes.io/job-name";
/// The labels' names before they had a prefix; both are written.
const OLD_CONTROLLER_UID: &str = "controller-uid";
const OLD_JOB_NAME: &str = "job-name";

fn spec(object: &Value) -> &Value {
    object.get("spec").unwrap_or(&Value::Null)
}

fn default_job_spec(spec: &mut Object) {
    let unset = |spec: &Object, field: &str| spec.get(field).is_none_or(Value::is_null);
    if unset(spec, "completions") && unset(spec, "parallelism") {
        spec.insert("completions".into(), 1.into());
    }
    fill(spec, "parallelism", 1);
    let per_index = !unset(spec, "backoffLimitPerIndex");
    fill(spec, "backoffLimit", if per_index { i32::MAX } else { 6 });
    fill(spec, "completionMode", "NonIndexed");
    fill(spec, "suspend", false);
    fill(spec, "manualSelector", false);
    let replacement = if unset(spec, "podFailurePolicy") { "TerminatingOrFailed" } else { "Failed" };
    fill(spec, "podReplacementPolicy", replacement);
    default_failure_policy(spec);
    default_template(spec);
}

fn default_failure_policy(spec: &mut Object) {
    let rules = spec.get_mut("podFailurePolicy").and_then(|p| p.get_mut("rules")).and_then(Value::as_array_mut);
    for pattern in rules.into_iter().flatten().filter_map(|r| r.get_mut("onPodConditions")?.as_array_mut()).flatten() {
        if let Some(pattern) = pattern.as_object_mut() {
            fill_zero(pattern, "status", "True");
        }
    }
}

pub(super) struct Job;

impl Strategy for Job {
    fn default(&self, object: &mut Value) {
        let labels = object.pointer("/spec/template").and_then(meta::labels).filter(|l| !l.is_empty()).cloned();
        if let Some(labels) = labels
            && let Some(metadata) = meta::metadata_mut(object)
            && metadata.get("labels").and_then(Value::as_object).is_none_or(serde_json::Map::is_empty)
        {
            metadata.insert("labels".into(), labels.into());
        }
        if let Some(spec) = spec_mut(object) {
            default_job_spec(spec);
        }
    }

    /// Expects `metadata.uid` and `metadata.name` to be there: the generated selector is made of them.
    fn prepare_create(&self, object: &mut Value) {
        crate::strategy::replace_status(object, self.new_status());
        generate_selector(object);
    }

    fn new_status(&self) -> Option<Value> {
        Some(json!({}))
    }

    fn validate(&self, object: &Value) -> Vec<Error> {
        let (mut errors, spec) = (Vec::new(), spec(object));
        check_generated_selector(object, &mut errors);
        check_selecting_spec(spec, &mut errors);
        let completions = int(spec, "completions").unwrap_or(0);
        if text(spec, "completionMode") == "Indexed" && completions > 0 {
            let (name, highest) = (meta::name(object), completions - 1);
            let hostname = format!("{name}-{highest}");
            if !names::check_dns1123_label(&hostname).is_empty() {
                let detail = format!("will not able to create pod with invalid DNS label: {hostname}");
                errors.push(Error::invalid(&Path::new("metadata.name"), name, detail));
            }
        }
        errors
    }

    fn validate_change(&self, object: &Value, old: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        check_selecting_spec(spec(object), &mut errors);
        errors.extend(self.validate_update(object, old));
        errors
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<Error> {
        let (mut errors, new, old_spec, path) = (Vec::new(), spec(object), spec(old), Path::new("spec"));
        if text(new, "completionMode") != "Indexed" {
            check_immutable(new, old_spec, "completions", &path, &mut errors);
        } else if let Some(completions) = int(new, "completions")
            && Some(completions) != int(old_spec, "completions")
            && Some(completions) != int(new, "parallelism")
        {
            let detail = "can only be modified in tandem with spec.parallelism";
            errors.push(Error::invalid(&path.child("completions"), completions, detail));
        }
        check_immutable(new, old_spec, "selector", &path, &mut errors);
        check_job_template_update(new, old, &path, &mut errors);
        for field in ["completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"] {
            check_immutable(new, old_spec, field, &path, &mut errors);
        }
        errors
    }

    fn validate_status_update(&self, object: &Value, _old: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        check_counts(object, &["active", "succeeded", "failed", "ready", "terminating"], &[], &mut errors);
        errors
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        let mut warnings: Vec<String> = super::deprecated::name_warning(object).into_iter().collect();
        warnings.extend(super::deprecated::job_warnings(spec(object)));
        if let Some(template) = object.pointer("/spec/template") {
            warnings.extend(template_warnings(template, "spec.template"));
        }
        warnings
    }

    fn field_names(&self) -> &'static [&'static str] {
        &["status.successful"]
    }

    fn fields(&self, object: &Value) -> Vec<(&'static str, String)> {
        let succeeded = object.get("status").and_then(|s| int(s, "succeeded")).unwrap_or(0);
        vec![("status.successful", succeeded.to_string())]
    }
}

/// Labels the template with the job's uid and name and selects on the uid, unless the user chose to select.
fn generate_selector(object: &mut Value) {
    if flag(spec(object), "manualSelector") {
        return;
    }
    let (uid, name) = (meta::uid(object).to_owned(), meta::name(object).to_owned());
    let Some(spec) = spec_mut(object) else { return };
    if let Some(labels) = object_mut(spec, "selector").and_then(|s| object_mut(s, "matchLabels")) {
        labels.entry(CONTROLLER_UID).or_insert_with(|| uid.clone().into());
    }
    let labels =
        object_mut(spec, "template").and_then(|t| object_mut(t, "metadata")).and_then(|m| object_mut(m, "labels"));
    if let Some(labels) = labels {
        for (key, value) in
            [(CONTROLLER_UID, &uid), (OLD_CONTROLLER_UID, &uid), (JOB_NAME, &name), (OLD_JOB_NAME, &name)]
        {
            labels.entry(key).or_insert_with(|| value.clone().into());
        }
    }
}

fn check_generated_selector(object: &Value, errors: &mut Vec<Error>) {
    let spec = spec(object);
    let Some(selector) = present(spec, "selector").filter(|_| !flag(spec, "manualSelector")) else { return };
    let (uid, name) = (meta::uid(object), meta::name(object));
    let labels = spec.get("template").and_then(meta::labels);
    let path = Path::new("spec.template.metadata.labels");
    for (key, expected) in [(OLD_CONTROLLER_UID, uid), (OLD_JOB_NAME, name), (CONTROLLER_UID, uid), (JOB_NAME, name)] {
        let detail = format!("must be '{expected}'");
        match labels.and_then(|labels| labels.get(key)).and_then(Value::as_str) {
            None => errors.push(Error::required(&path.key(key), detail)),
            Some(actual) if actual != expected => {
                let shown = labels.cloned().map_or(Value::Null, Value::Object);
                errors.push(Error::invalid(&path.key(key), shown, detail));
            }
            Some(_) => {}
        }
    }
    let expected = [(CONTROLLER_UID, uid), (OLD_CONTROLLER_UID, uid), (JOB_NAME, name), (OLD_JOB_NAME, name)];
    let matches = Labels::from_label_selector(Some(selector))
        .is_ok_and(|s| s.matches(|key| expected.iter().find(|(k, _)| *k == key).map(|(_, v)| *v)));
    if !matches {
        errors.push(Error::invalid(&Path::new("spec.selector"), selector.clone(), "`selector` not auto-generated"));
    }
}

/// A Job's spec and the selector that must fit it (`ValidateJobSpec`).
fn check_selecting_spec(spec: &Value, errors: &mut Vec<Error>) {
    let path = Path::new("spec");
    check_job_spec(spec, &path, errors);
    let Some(selector) = present(spec, "selector") else {
        errors.push(Error::required(&path.child("selector"), ""));
        // An absent selector matches nothing, so not the template either.
        return check_template_labels(spec, &Labels::nothing(), &path, errors);
    };
    check_label_selector(Some(selector), &path.child("selector"), errors);
    if let Ok(selector) = Labels::from_label_selector(Some(selector)) {
        check_template_labels(spec, &selector, &path, errors);
    }
}

/// The longest name of a controller that a Job is left to, in bytes.
const MANAGED_BY_MAX: usize = 63;

fn check_job_spec(spec: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    for field in [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ] {
        check_non_negative(spec, field, path, errors);
    }
    if present(spec, "maxFailedIndexes").is_some() && present(spec, "backoffLimitPerIndex").is_none() {
        errors.push(Error::required(&path.child("backoffLimitPerIndex"), "when maxFailedIndexes is specified"));
    }
    if let Some(manager) = spec.get("managedBy").and_then(Value::as_str) {
        let at = path.child("managedBy");
        check_domain_path(manager, &at, errors);
        if manager.len() > MANAGED_BY_MAX {
            errors.push(Error::too_long(&at, MANAGED_BY_MAX));
        }
    }
    check_one_of(spec, "completionMode", &["NonIndexed", "Indexed"], path, errors);
    job_policies::check_mode(spec, path, errors);
    job_policies::check_failure_policy(spec, path, errors);
    job_policies::check_success_policy(spec, path, errors);
    let judges_failures = present(spec, "podFailurePolicy").is_some();
    let replacements: &[&str] = if judges_failures { &["Failed"] } else { &["Failed", "TerminatingOrFailed"] };
    check_one_of(spec, "podReplacementPolicy", replacements, path, errors);
    let template = spec.get("template").unwrap_or(&Value::Null);
    let path = path.child("template");
    check_template(template, &path, errors);
    let policy = template.get("spec").map_or("", |s| text(s, "restartPolicy"));
    let policy_path = path.child("spec.restartPolicy");
    match policy {
        "OnFailure" if judges_failures => {
            let detail = "only \"Never\" is supported when podFailurePolicy is specified";
            errors.push(Error::invalid(&policy_path, policy, detail));
        }
        "OnFailure" | "Never" => {}
        // The default, which no Job can have: the user most likely left it out.
        "" | "Always" => errors.push(Error::required(&policy_path, "valid values: \"OnFailure\", \"Never\"")),
        other => errors.push(Error::not_supported(&policy_path, other, &["OnFailure", "Never"])),
    }
}

/// The template is fixed, but for where pods may go while the job is suspended and has not started.
fn check_job_template_update(new: &Value, old: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    let old_spec = spec(old);
    let (mut template, before) = (new.get("template").cloned().unwrap_or(Value::Null), old_spec.get("template"));
    let started = old.get("status").is_some_and(|s| present(s, "startTime").is_some());
    if flag(old_spec, "suspend") && !started {
        const SCHEDULING: &[&str] = &["nodeSelector", "affinity", "tolerations", "schedulingGates"];
        let old_pod = before.and_then(|t| t.get("spec")).and_then(Value::as_object);
        if let (Some(pod), Some(old_pod)) = (template.get_mut("spec").and_then(Value::as_object_mut), old_pod) {
            for field in SCHEDULING {
                match old_pod.get(*field) {
                    Some(value) => pod.insert((*field).into(), value.clone()),
                    None => pod.remove(*field),
                };
            }
        }
        let (labels, annotations) = (before.and_then(meta::labels), before.and_then(meta::annotations));
        if let Some(metadata) = meta::metadata_mut(&mut template) {
            for (field, value) in [("labels", labels), ("annotations", annotations)] {
                match value {
                    Some(map) => metadata.insert(field.into(), Value::Object(map.clone())),
                    None => metadata.remove(field),
                };
            }
        }
    }
    if Some(&template) != before {
        let shown = new.get("template").cloned().unwrap_or(Value::Null);
        errors.push(Error::invalid(&path.child("template"), shown, meta::IMMUTABLE));
    }
}

pub(super) struct CronJob;

impl Strategy for CronJob {
    fn default(&self, object: &mut Value) {
        let Some(spec) = spec_mut(object) else { return };
        fill_zero(spec, "concurrencyPolicy", "Allow");
        fill(spec, "suspend", false);
        fill(spec, "successfulJobsHistoryLimit", 3);
        fill(spec, "failedJobsHistoryLimit", 1);
        // A job template gets the defaults of its parts only: those of the Job come when one is made of it.
        if let Some(job) = object_mut(spec, "jobTemplate").and_then(|t| object_mut(t, "spec")) {
            default_failure_policy(job);
            default_template(job);
        }
    }

    fn new_status(&self) -> Option<Value> {
        Some(json!({}))
    }

    fn validate(&self, object: &Value) -> Vec<Error> {
        let (mut errors, spec, path) = (Vec::new(), spec(object), Path::new("spec"));
        match text(spec, "schedule") {
            "" => errors.push(Error::required(&path.child("schedule"), "")),
            schedule => {
                if let Err(problem) = cron::check(schedule) {
                    errors.push(Error::invalid(&path.child("schedule"), schedule, problem));
                }
                if schedule.contains("TZ") {
                    let detail = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
                    errors.push(Error::invalid(&path.child("schedule"), schedule, detail));
                }
            }
        }
        check_non_negative(spec, "startingDeadlineSeconds", &path, &mut errors);
        if let Some(zone) = spec.get("timeZone").and_then(Value::as_str) {
            check_time_zone(zone, &path.child("timeZone"), &mut errors);
        }
        check_required_one_of(spec, "concurrencyPolicy", &["Allow", "Forbid", "Replace"], &path, &mut errors);
        let template = spec.get("jobTemplate").unwrap_or(&Value::Null);
        let limits = path;
        let path = path.child("jobTemplate");
        let (job, path) = (template.get("spec").unwrap_or(&Value::Null), path.child("spec"));
        check_job_spec(job, &path, &mut errors);
        if map(job, "selector").is_some() {
            errors.push(Error::invalid(
                &path.child("selector"),
                job["selector"].clone(),
                "`selector` will be auto-generated",
            ));
        }
        if flag(job, "manualSelector") {
            errors.push(Error::not_supported(&path.child("manualSelector"), true, &["nil", "false"]));
        }
        for field in ["successfulJobsHistoryLimit", "failedJobsHistoryLimit"] {
            check_non_negative(spec, field, &limits, &mut errors);
        }
        errors
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        let mut warnings = no_controller("CronJob");
        warnings.extend(super::deprecated::name_warning(object));
        if let Some(job) = object.pointer("/spec/jobTemplate/spec") {
            warnings.extend(super::deprecated::job_warnings(job));
            let template = job.get("template").unwrap_or(&Value::Null);
            warnings.extend(template_warnings(template, "spec.jobTemplate.spec.template"));
        }
        warnings
    }
}

/// A name of the IANA database, which is built in: servers need not agree on what their systems know.
fn check_time_zone(zone: &str, path: &Path<'_>, errors: &mut Vec<Error>) {
    const PART_MAX: usize = 14;
    if zone.is_empty() {
        return errors.push(Error::too_short(path, "must be at least 1 character"));
    }
    let unknown = |errors: &mut Vec<Error>| {
        errors.push(Error::invalid(path, zone, format!("unknown time zone {zone}")));
    };
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'+');
    let well_formed = |part: &str| {
        !matches!(part, "." | "..")
            && !part.starts_with('-')
            && (1..=PART_MAX).contains(&part.len())
            && part.bytes().all(allowed)
    };
    if !zone.split('/').all(well_formed) {
        return unknown(errors);
    }
    let local = zone.eq_ignore_ascii_case("local");
    if local {
        let detail = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones";
        errors.push(Error::invalid(path, zone, detail));
    }
    // Names are told apart by case, as files are; `Local` is one that Go knows.
    let known = jiff::tz::TimeZoneDatabase::bundled().get(zone).is_ok_and(|tz| tz.iana_name() == Some(zone));
    if !known && zone != "Local" && zone != "UTC" {
        unknown(errors);
    }
}
