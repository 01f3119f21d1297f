//! Selectors: what matches, and what is refused with which words.

use super::*;
use proptest::prelude::*;
use serde_json::json;

fn labels(pairs: &[(&str, &str)]) -> Map<String, Value> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), json!(v))).collect()
}

#[test]
fn selectors_match_as_in_kubernetes() {
    let web = labels(&[("app", "web"), ("tier", "front"), ("n", "5"), ("example.com/x", "")]);
    for (selector, expected) in [
        ("", true),
        ("app=web", true),
        ("app==web", true),
        (" app = web , tier=front", true),
        ("app=db", false),
        ("app!=db", true),
        ("missing!=db", true),
        ("missing=", false),
        ("example.com/x=", true),
        ("example.com/x", true),
        ("app in (web, db)", true),
        ("app in (db,)", false),
        ("app notin (web)", false),
        ("missing notin (a)", true),
        ("app", true),
        ("!app", false),
        ("!missing,app", true),
        ("n>4", true),
        ("n<5", false),
        ("n > 10", false),
        ("app>1", false),
        ("in in (in)", false),
        ("app in (in,web)", true),
    ] {
        let parsed = Labels::parse(selector).unwrap_or_else(|e| panic!("{selector}: {e}"));
        assert_eq!(parsed.matches_map(Some(&web)), expected, "{selector}");
        let again = Labels::parse(&parsed.to_string()).unwrap();
        assert_eq!(again.matches_map(Some(&web)), expected, "{selector} -> {parsed}");
    }
}

#[test]
fn selectors_are_printed_as_they_were_said() {
    for (selector, printed) in [
        ("b == 1,a=2, c!=3", "a=2,b==1,c!=3"),
        ("b in (x), a notin (y)", "a notin (y),b in (x)"),
        ("a in ()", "a in ()"),
        ("!a,b>1", "!a,b>1"),
    ] {
        assert_eq!(Labels::parse(selector).unwrap().to_string(), printed);
    }
    // Nothing between the parentheses is the empty value.
    assert!(Labels::parse("a in ()").unwrap().matches(|_| Some("")));
}

#[test]
fn bad_selectors_get_kubernetes_messages() {
    for (selector, message) in [
        ("app=web,", "found '', expected: identifier after ','"),
        (",", "found ',', expected: !, identifier, or 'end of string'"),
        ("app in web", "unable to parse requirement: found 'web' expected: '('"),
        ("app in (web", "unable to parse requirement: found '', expected: ',' or ')'"),
        ("app web", "unable to parse requirement: found 'web', expected: in, notin, =, ==, !=, gt, lt"),
        ("a=b c", "found 'c', expected: ',' or 'end of string'"),
        ("!", "unable to parse requirement: found '', expected: identifier"),
        (
            "n>x",
            "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value must be an integer",
        ),
    ] {
        let status = Labels::parse(selector).unwrap_err();
        assert_eq!((status.code, status.message.as_str()), (400, message), "{selector}");
    }
    let status = Labels::parse("a/b/c=1").unwrap_err();
    assert!(status.message.starts_with("unable to parse requirement: <nil>: Invalid value: \"a/b/c\": "), "{status}");
    let status = Labels::parse("app=a b/c").unwrap_err();
    assert!(status.message.contains("found 'b/c'"), "{status}");
    let status = Labels::parse("app=a/b").unwrap_err();
    assert!(status.message.contains("values[0][app]: Invalid value: \"a/b\": a valid label must be"), "{status}");
}

#[test]
fn label_selector_objects_select() {
    let web = labels(&[("app", "web")]);
    let selects = |selector: Value| Labels::from_label_selector(Some(&selector)).map(|s| s.matches_map(Some(&web)));
    assert_eq!(selects(json!({})), Ok(true));
    assert_eq!(selects(json!(null)), Ok(false));
    assert_eq!(selects(json!({"matchLabels": {"app": "web"}})), Ok(true));
    let expression = |operator: &str, values: Value| json!({"matchExpressions": [{"key": "app", "operator": operator, "values": values}]});
    assert_eq!(selects(expression("NotIn", json!(["web"]))), Ok(false));
    assert_eq!(selects(expression("Exists", json!([]))), Ok(true));
    assert!(selects(expression("Near", json!([]))).is_err());
    let both =
        json!({"matchLabels": {"b": "1"}, "matchExpressions": [{"key": "a", "operator": "In", "values": ["y", "x"]}]});
    assert_eq!(Labels::from_label_selector(Some(&both)).unwrap().to_string(), "a in (x,y),b=1");
}

#[test]
fn field_selectors_match_and_refuse() {
    let get = |field: &str| match field {
        "metadata.name" => Some("web"),
        "status.phase" => Some("Running"),
        _ => None,
    };
    for (selector, expected) in [
        ("", true),
        ("metadata.name=web", true),
        ("metadata.name==web,status.phase!=Failed", true),
        ("status.phase=Failed", false),
        ("spec.nodeName=", true),
        ("spec.nodeName!=", false),
    ] {
        let fields = Fields::parse(selector).unwrap();
        assert_eq!(fields.matches(get), expected, "{selector}");
        assert_eq!(Fields::parse(&fields.to_string()).unwrap(), fields);
    }
    // Terms are sorted before they are read, and an exclamation mark alone is of a name.
    assert_eq!(Fields::parse("b==1,!a=2,a!=3").unwrap().to_string(), "!a=2,a!=3,b=1");
    assert_eq!(Fields::parse("a=b=c").unwrap_err().message, "invalid field selector: unescaped character in value: 61");
    assert_eq!(Fields::parse(r"a=x\,y\=z").unwrap().terms()[0].value, "x,y=z");
    assert_eq!(Fields::parse("a").unwrap_err().message, "invalid selector: 'a'; can't understand 'a'");
    let fields = Fields::parse("metadata.name=web,spec.nodeName=n").unwrap();
    assert_eq!(fields.exact("metadata.name"), Some("web"));
    assert!(fields.check(&["spec.nodeName"]).is_ok());
    assert_eq!(fields.check(&["type"]).unwrap_err().message, "field label not supported: spec.nodeName");
    let only = "\"spec.nodeName\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"";
    assert_eq!(fields.check(&[]).unwrap_err().message, only);
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,40}", grammar in "[ab!=,()<>\\\\ inot]{0,30}") {
        let _ = Labels::parse(&text);
        let _ = Fields::parse(&text);
        let _ = Fields::parse(&grammar);
        if let Ok(selector) = Labels::parse(&grammar) {
            prop_assert_eq!(Labels::parse(&selector.to_string()).unwrap().to_string(), selector.to_string());
        }
    }
}
