//! Bringing a stored role or binding up to the policy: what is missing is added, what is more is left alone
//! (`component-helpers/auth/rbac/reconciliation`).

use crate::authz::rbac::rules::{Rule, missing};
use serde::Deserialize as _;
use serde_json::{Value, json};

const AUTOUPDATE: &str = "/metadata/annotations/rbac.authorization.kubernetes.io~1autoupdate";

/// What is to be done about a stored object.
#[derive(Debug, PartialEq)]
pub(crate) enum Step {
    Nothing,
    Update(Value),
    /// A binding refers to another role: that cannot be changed, so it is made anew.
    Replace,
}

/// What `stored` needs to be as `wanted`. `body` is `stored` as text: mostly it answers without being parsed.
pub(crate) fn step(wanted: &Value, body: &[u8], parse: impl FnOnce() -> Option<Value>) -> Step {
    let aggregated = wanted.get("aggregationRule").is_some();
    let fields: &[&str] = if aggregated { &["aggregationRule"] } else { &["rules", "roleRef", "subjects"] };
    let text = std::str::from_utf8(body).unwrap_or_default();
    let has = |field: &&str| {
        let Some(value) = wanted.get(*field) else { return true };
        text.contains(&format!("\"{field}\":{value}"))
    };
    if fields.iter().all(has) {
        return Step::Nothing;
    }
    let Some(mut object) = parse() else { return Step::Nothing };
    if object.pointer(AUTOUPDATE).is_some_and(|value| value == "false") {
        return Step::Nothing;
    }
    if wanted.get("roleRef") != object.get("roleRef") {
        return Step::Replace;
    }
    let changed = if wanted.get("roleRef").is_some() {
        add_subjects(&mut object, wanted)
    } else if aggregated {
        let change = object.get("aggregationRule") != wanted.get("aggregationRule");
        object["aggregationRule"] = wanted["aggregationRule"].clone();
        change
    } else {
        add_rules(&mut object, wanted)
    };
    if changed { Step::Update(object) } else { Step::Nothing }
}

fn add_rules(object: &mut Value, wanted: &Value) -> bool {
    let rules = |value: &Value| -> Vec<Rule> {
        let list = value.get("rules").and_then(Value::as_array).into_iter().flatten();
        list.filter_map(|rule| Rule::deserialize(rule).ok()).collect()
    };
    let (mut own, wanted) = (rules(object), rules(wanted));
    let absent = missing(&own.iter().collect::<Vec<_>>(), &wanted);
    let changed = !absent.is_empty();
    own.extend(absent);
    object["rules"] = json!(own);
    changed
}

fn add_subjects(object: &mut Value, wanted: &Value) -> bool {
    let list = |value: &Value| value.get("subjects").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut own = list(object);
    let absent: Vec<Value> = list(wanted).into_iter().filter(|subject| !own.contains(subject)).collect();
    let changed = !absent.is_empty();
    own.extend(absent);
    object["subjects"] = own.into();
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(verbs: &[&str]) -> Value {
        json!({"metadata": {"name": "r"}, "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": verbs}]})
    }

    fn done(wanted: &Value, stored: &Value) -> Step {
        step(wanted, stored.to_string().as_bytes(), || Some(stored.clone()))
    }

    #[test]
    fn what_is_missing_comes_back_and_what_is_more_stays() {
        assert_eq!(done(&role(&["get"]), &role(&["get"])), Step::Nothing);
        assert_eq!(done(&role(&["get"]), &role(&["get", "list"])), Step::Nothing);
        let Step::Update(updated) = done(&role(&["get", "watch"]), &role(&["get"])) else { panic!("no update") };
        assert_eq!(updated["rules"][1]["verbs"], json!(["watch"]));
        let mut mine = role(&[]);
        mine["metadata"]["annotations"] = json!({"rbac.authorization.kubernetes.io/autoupdate": "false"});
        assert_eq!(done(&role(&["get"]), &mine), Step::Nothing);
    }

    #[test]
    fn bindings_get_their_subjects_and_their_role_back() {
        let binding = |role: &str, subjects: Value| json!({"roleRef": {"name": role}, "subjects": subjects});
        let Step::Update(updated) = done(&binding("a", json!([1])), &binding("a", json!([2]))) else { panic!() };
        assert_eq!(updated["subjects"], json!([2, 1]));
        assert_eq!(done(&binding("a", json!([1])), &binding("b", json!([1]))), Step::Replace);
    }
}
