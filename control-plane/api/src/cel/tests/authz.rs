//! Questions about rights.

use crate::cel::{Authorize, Fault, PER_CALL_LIMIT, Program, ResourceCheck, Rights, Verdict};
use crate::strategies::match_conditions::{asks_about_rights, compile};
use serde_json::json;
use std::sync::Arc;

/// Allows what ends in its own name, and says what it was asked.
#[derive(Debug)]
struct Echo(String);

impl Echo {
    fn answer(&self, asked: String) -> Verdict {
        if asked.ends_with(&self.0) { Verdict::Allowed(asked) } else { Verdict::Refused(asked) }
    }
}

impl Authorize for Echo {
    fn service_account(&self, namespace: &str, name: &str) -> Arc<dyn Authorize> {
        Arc::new(Self(format!("{namespace}:{name}")))
    }

    fn path(&self, verb: &str, path: &str) -> Verdict {
        self.answer(format!("{verb} {path}"))
    }

    fn resource(&self, verb: &str, it: &ResourceCheck) -> Verdict {
        self.answer(format!(
            "{verb} {}/{}/{} {}/{} {}|{}",
            it.group, it.resource, it.subresource, it.namespace, it.name, it.field_selector, it.label_selector
        ))
    }
}

fn holds(source: &str, budget: &mut u64) -> Result<bool, String> {
    let request = ResourceCheck { resource: "pods".into(), namespace: "n".into(), ..ResourceCheck::default() };
    let rights = Rights { authorizer: Arc::new(Echo("me".into())), request };
    let program = compile(source)?;
    assert!(asks_about_rights(&program));
    let object = json!({"name": "me"});
    program.holds_with(&[("object", &object)], Some(&rights), budget).map_err(|fault| fault.to_string())
}

#[test]
fn questions_are_put_together_and_answered() {
    for source in [
        "authorizer.path('/me').check('get').allowed()",
        "!authorizer.path('/you').check('get').allowed()",
        "authorizer.group('').resource('pods').check('get').reason() == 'get /pods/ / |'",
        "authorizer.group('apps').resource('deployments').subresource('scale').namespace('n').name('x').check('patch')\
         .reason() == 'patch apps/deployments/scale n/x |'",
        "authorizer.group('').resource('pods').fieldSelector('a=b').labelSelector('c=me').check('list').allowed()",
        "authorizer.requestResource.check('get').reason() == 'get /pods/ n/ |'",
        "authorizer.requestResource.name('x').labelSelector(object.name).check('delete').allowed()",
        "authorizer.serviceAccount('ns', 'sa').path('ns:sa').check('get').allowed()",
        "!authorizer.requestResource.check('get').errored() && authorizer.requestResource.check('get').error() == ''",
    ] {
        assert_eq!(holds(source, &mut PER_CALL_LIMIT.clone()), Ok(true), "{source}");
    }
}

#[test]
fn questions_that_make_no_sense_are_errors() {
    for (source, wanted) in [
        ("authorizer.path('  ').check('get').allowed()", "path must not be empty"),
        ("authorizer.group('').resource('').check('get').allowed()", "resource must not be empty"),
        ("authorizer.serviceAccount('ns', '_').path('/').check('get').allowed()", "Invalid service account name"),
        ("authorizer.serviceAccount('a.b', 'c').path('/').check('get').allowed()", "Invalid service account namespace"),
        (
            "authorizer.check('get').allowed()",
            "found no matching overload for 'check' applied to 'kubernetes.authorization.Authorizer.(string)'",
        ),
        ("authorizer.group('').check('get').allowed()", "found no matching overload for 'check'"),
        ("authorizer.other", "type 'kubernetes.authorization.Authorizer' does not support field selection"),
        ("dyn(authorizer).resource('a').check('get').allowed()", "no such overload"),
    ] {
        let error = holds(source, &mut PER_CALL_LIMIT.clone()).unwrap_err();
        assert!(error.contains(wanted), "{source}: {error}");
    }
}

#[test]
fn an_expression_has_room_for_two_questions() {
    let ask = "authorizer.requestResource.check('get').reason().size() > 0";
    let mut left = PER_CALL_LIMIT;
    assert_eq!(holds(&format!("{ask} && {ask}"), &mut left), Ok(true));
    assert!((299_900..300_000).contains(&left), "{left} left");
    let three = holds(&format!("{ask} && {ask} && {ask}"), &mut PER_CALL_LIMIT.clone());
    assert_eq!(three, Err(Fault::Budget.to_string()));
    let mut left = PER_CALL_LIMIT;
    let selector = "a".repeat(1_000);
    let source = format!("authorizer.requestResource.fieldSelector('{selector}').check('get').allowed()");
    assert_eq!(holds(&source, &mut left), Ok(false));
    // 350,000 for the check, 10 + 100 + 500 * 50 for the selector, and the steps in between.
    assert!((624_880..=624_890).contains(&left), "{left} left");
}

#[test]
fn without_anybody_to_ask_there_is_no_authorizer() {
    let program: Program = compile("authorizer.path('/').check('get').allowed()").unwrap();
    let fault = program.holds(&[], &mut PER_CALL_LIMIT.clone()).unwrap_err();
    assert_eq!(fault.to_string(), "no such attribute(s): authorizer");
}
