//! `matchConditions`: CEL that decides whether a webhook is asked (`webhook/matchconditions`).

use super::config::FailurePolicy;
use api::cel::{Fault, PER_CALL_LIMIT, Program, Rights};
use api::strategies::match_conditions::{BUDGET, asks_about_rights, compile};
use serde_json::Value;

/// The conditions of one webhook.
pub(super) struct Conditions(Vec<Condition>);

struct Condition {
    expression: String,
    compiled: Result<Program, String>,
}

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
        let condition = |text: &str| Condition { expression: text.to_owned(), compiled: compile(text) };
        Self(expressions.map(condition).collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether any of them asks about rights.
    pub(super) fn ask_about_rights(&self) -> bool {
        self.0.iter().any(|condition| condition.compiled.as_ref().is_ok_and(asks_about_rights))
    }

    /// Whether the webhook is to be asked. One condition that does not hold is a no, whatever becomes of the others.
    ///
    /// # Errors
    /// What went wrong, if the others hold and failures matter.
    pub(super) fn hold(
        &self,
        facts: &Facts<'_>,
        rights: Option<&Rights>,
        policy: FailurePolicy,
    ) -> Result<bool, String> {
        let inputs = [("request", facts.request), ("object", facts.object), ("oldObject", facts.old)];
        let mut budget = BUDGET;
        let mut errors: Vec<String> = Vec::new();
        for condition in &self.0 {
            match condition.judge(&inputs, rights, &mut budget) {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(why) if budget == 0 => {
                    errors = vec![why];
                    break;
                }
                Err(why) => errors.push(why),
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

impl Condition {
    /// Whether it holds. Each has a budget of its own within that of all.
    fn judge(&self, inputs: &[(&str, &Value)], rights: Option<&Rights>, budget: &mut u64) -> Result<bool, String> {
        let program = self.compiled.as_ref().map_err(|why| format!("compilation error: {why}"))?;
        let own = PER_CALL_LIMIT.min(*budget);
        let mut left = own;
        let result = program.holds_with(inputs, rights, &mut left);
        *budget -= own - left;
        result.map_err(|fault| match fault {
            Fault::Budget if *budget == 0 => {
                "validation failed due to running out of cost budget, no further validation rules will be run".into()
            }
            fault => format!("expression '{}' resulted in error: {fault}", self.expression),
        })
    }
}
