//! `matchConditions`: CEL that decides whether a webhook is asked (`webhook/matchconditions`).

use super::config::FailurePolicy;
use api::cel::Program;
use api::strategies::match_conditions::{BUDGET, compile};
use serde_json::Value;

/// The conditions of one webhook, compiled.
pub(super) struct Conditions(Vec<Result<Program, String>>);

/// What an AdmissionReview says beside its objects, and the objects.
pub(super) struct Facts<'a> {
    pub request: &'a Value,
    pub object: &'a Value,
    pub old: &'a Value,
}

impl Conditions {
    pub(super) fn of(hook: &Value) -> Self {
        let list = hook.get("matchConditions").and_then(Value::as_array).into_iter().flatten();
        let expressions = list.map(|condition| condition.get("expression").and_then(Value::as_str).unwrap_or_default());
        Self(expressions.map(compile).collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the webhook is to be asked. One condition that does not hold is a no, whatever becomes of the others.
    ///
    /// # Errors
    /// What went wrong, if the others hold and failures matter.
    pub(super) fn hold(&self, facts: &Facts<'_>, policy: FailurePolicy) -> Result<bool, String> {
        let inputs = [("request", facts.request), ("object", facts.object), ("oldObject", facts.old)];
        let mut budget = BUDGET;
        let mut errors: Vec<String> = Vec::new();
        for condition in &self.0 {
            match condition {
                Ok(program) => match program.holds(&inputs, &mut budget) {
                    Ok(true) => {}
                    Ok(false) => return Ok(false),
                    Err(fault) => errors.push(fault.to_string()),
                },
                Err(why) => errors.push(why.clone()),
            }
        }
        match (errors.as_slice(), policy) {
            ([], _) => Ok(true),
            (_, FailurePolicy::Ignore) => Ok(false),
            ([one], FailurePolicy::Fail) => Err(one.clone()),
            (many, FailurePolicy::Fail) => Err(format!("[{}]", many.join(", "))),
        }
    }
}
