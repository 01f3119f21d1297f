//! Expressions and inputs that are made to hurt: each ends, soon, with an error.

use super::{run, run_typed, schema};
use crate::cel::{Declared, PER_CALL_LIMIT, Program, Type};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Far more than what a limit of a million units may take, on a busy machine and without optimization.
const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn deep_and_long_expressions_are_refused() {
    let start = Instant::now();
    for source in [
        "(".repeat(5_000) + "1" + &")".repeat(5_000),
        "[".repeat(5_000),
        "{1:".repeat(3_000),
        "!".repeat(16_000) + "true",
        "-".repeat(16_000) + "1",
        "1".to_owned() + &"+1".repeat(8_000),
        "self".to_owned() + &".a".repeat(8_000),
        "self".to_owned() + &"[0]".repeat(5_000),
        "true".to_owned() + &" ? true : true".repeat(1_000),
        "true".to_owned() + &" && true".repeat(2_000),
        "self".to_owned() + &".all(x, x".repeat(50) + &")".repeat(50),
        "f(".repeat(40) + &")".repeat(40),
        "'".to_owned() + &"a".repeat(20_000) + "'",
        "self".to_owned() + &" in self".repeat(2_000),
        "a?".repeat(500),
        ")".repeat(1_000),
        "self.?a".repeat(2_000),
    ] {
        let told = run(&source, &json!({}));
        assert_ne!(told, "false", "{:.60}", source);
    }
    // As deep as the parser is ever handed, in all directions at once.
    for source in [
        "1".to_owned() + &"+1".repeat(590),
        "self".to_owned() + &".a".repeat(590),
        "(1+1+1+1+1+1+1+1+".repeat(55) + "1" + &")".repeat(55),
        "[".repeat(59) + &"]".repeat(59),
        "{1:".repeat(59) + "1" + &"}".repeat(59),
        "self.all(x, ".repeat(58) + "true" + &")".repeat(58),
        "(true?".repeat(59) + "true" + &":true)".repeat(59),
        "size(size(size(size(".repeat(14) + "''" + &"))))".repeat(14),
    ] {
        let told = run(&source, &json!({}));
        assert!(!told.contains("internal error"), "{told}");
    }
    // What is long but shallow is fine.
    assert_eq!(run(&("true".to_owned() + &" && true".repeat(500)), &json!({})), "true");
    assert_eq!(run(&format!("size('{}') > 1", "(".repeat(5_000)), &json!({})), "true");
    assert_eq!(run(&format!("{}true{}", "(".repeat(40), ")".repeat(40)), &json!({})), "true");
    assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
}

#[test]
fn no_expression_runs_for_long() {
    let this = json!({
        "l": vec!["a".repeat(100); 3_000], "n": (0..3_000).collect::<Vec<_>>(), "s": "ab".repeat(200_000),
        "m": (0..2_000).map(|n| (format!("k{n}"), json!(n))).collect::<serde_json::Map<_, _>>(),
        "r": (0..3_000).map(|n| format!("(a{{50}}){{50}}{n}")).collect::<Vec<_>>(),
    });
    for source in [
        "self.n.all(a, self.n.all(b, self.n.all(c, self.n.all(d, a + b + c + d >= 0))))",
        "self.n.map(a, self.n.map(b, self.n.map(c, c))).size() > 0",
        "self.l.map(a, self.l.join(a)).size() > 0",
        "self.l.all(a, self.s.contains(a + 'x') || true) && self.l.all(a, self.s.replace('a', self.s) != '')",
        "self.n.all(a, self.s.split('').size() > 0)",
        "self.r.all(p, self.s.matches(p) || true)",
        "self.n.all(a, self.s.findAll('a').size() >= 0)",
        "self.n.all(a, '%s%s%s'.format([self.s, self.s, self.s]) != '')",
        "self.n.all(a, self.l.map(x, x) in [self.l])",
        "self.n.all(a, self.m == self.m.transformMap(k, v, v))",
        "self.n.all(a, sets.equivalent(self.l, self.l))",
        "self.n.all(a, (self.s + self.s + self.s).size() > 0)",
        "self.n.all(a, self.s.lowerAscii() != self.s.upperAscii())",
        "self.n.all(a, self.s.lastIndexOf('zzz') < 0)",
        "self.s.replace('', self.s).size() > 0",
        "self.n.exists(a, self.s.matches('(x+x+)+y'))",
    ] {
        let start = Instant::now();
        let told = run(source, &this);
        assert_eq!(told, "operation cancelled: actual cost limit exceeded", "{source}");
        assert!(start.elapsed() < PATIENCE, "{source}: {:?}", start.elapsed());
    }
}

#[test]
fn the_budget_is_the_callers() {
    let program = Program::compile("self.all(x, x > 0)", &Declared::new().with("self", Type::Dyn)).unwrap();
    let list = json!(vec![1; 100]);
    let mut budget = 50;
    assert!(program.holds(&[("self", &list)], &mut budget).is_err());
    assert_eq!(budget, 0);
    budget = PER_CALL_LIMIT;
    assert_eq!(program.holds(&[("self", &list)], &mut budget), Ok(true));
    assert!(PER_CALL_LIMIT - budget < 2_000);
}

/// Pieces that random expressions are made of.
const WORDS: &[&str] = &[
    "self",
    ".",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "?",
    ":",
    ",",
    "+",
    "-",
    "*",
    "/",
    "%",
    "==",
    "!=",
    "<",
    ">",
    "&&",
    "||",
    "!",
    "in",
    "1",
    "0",
    "'a'",
    "\"b\"",
    "1.5",
    "2u",
    "true",
    "null",
    "x",
    "all",
    "exists",
    "map",
    "filter",
    "has",
    "size",
    "a",
    "b",
    "list",
    "orValue",
    "optional",
    "of",
    "none",
    "matches",
    "quantity",
    "ip",
    "url",
    "duration",
    "format",
    "'%s'",
    ".?",
    "[?",
    "transformMap",
    "i",
    "v",
    "\n",
    "//",
    "r'",
    "b'",
    "'''",
    "é",
    "substring",
    "split",
    "join",
    "string",
    "int",
];

fn words() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(WORDS), 0..24).prop_map(|words| words.concat())
}

/// Expressions that make sense more often.
fn sensible() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "self",
        "self.a",
        "self.list",
        "self.m",
        "self.b.c",
        "1",
        "-1",
        "'x'",
        "1.5",
        "true",
        "null",
        "[]",
        "{}",
        "[1, 2]",
        "{'a': 1}",
        "9223372036854775807",
        "self.s",
        "x",
        "b'q'",
        "duration('1s')",
        "timestamp('2024-01-01T00:00:00Z')",
    ])
    .prop_map(str::to_owned);
    leaf.prop_recursive(5, 40, 3, |inner| {
        let two = (inner.clone(), inner.clone());
        let operators = prop::sample::select(vec!["+", "-", "*", "/", "%", "==", "!=", "<", ">=", "&&", "||", "in"]);
        let methods = prop::sample::select(vec![
            "all(x, ",
            "exists(x, ",
            "map(x, ",
            "filter(x, ",
            "exists_one(x, ",
            "contains(",
            "matches(",
            "split(",
            "join(",
            "indexOf(",
            "substring(",
            "format(",
            "orValue(",
            "transformList(i, x, ",
            "transformMapEntry(i, x, ",
            "replace('a', ",
            "getHours(",
            "findAll(",
            "charAt(",
            "isGreaterThan(",
            "validate(",
            "optMap(x, ",
        ]);
        let functions = prop::sample::select(vec![
            "size",
            "string",
            "int",
            "uint",
            "double",
            "type",
            "dyn",
            "has",
            "quantity",
            "ip",
            "cidr",
            "url",
            "semver",
            "isURL",
            "optional.of",
            "duration",
            "timestamp",
            "bytes",
            "sets.contains",
            "strings.quote",
            "format.named",
        ]);
        prop_oneof![
            (two.clone(), operators).prop_map(|((a, b), op)| format!("({a} {op} {b})")),
            (two.clone(), methods).prop_map(|((a, b), method)| format!("{a}.{method}{b})")),
            (inner.clone(), functions).prop_map(|(a, function)| format!("{function}({a})")),
            (two.clone(), inner.clone()).prop_map(|((a, b), c)| format!("({a} ? {b} : {c})")),
            two.clone().prop_map(|(a, b)| format!("{a}[{b}]")),
            two.clone().prop_map(|(a, b)| format!("[{a}, ?{b}]")),
            two.prop_map(|(a, b)| format!("{{{a}: {b}}}")),
            inner.prop_map(|a| format!("{a}.?a")),
        ]
    })
}

fn object() -> Value {
    json!({"a": 1, "b": {"c": "d"}, "list": [1, "x", null, [2]], "m": {"k": 1.5, "": false}, "s": "aé(b", "x": true})
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn nonsense_never_panics(source in words()) {
        let told = run(&source, &object());
        prop_assert!(!told.contains("internal error"), "{source}: {told}");
    }

    #[test]
    fn whatever_compiles_runs_to_an_end(source in sensible()) {
        let told = run(&source, &object());
        prop_assert!(!told.contains("internal error"), "{source}: {told}");
        let ty = schema(&json!({"type": "object", "properties": {
            "a": {"type": "integer"}, "s": {"type": "string"}, "m": {"type": "object", "additionalProperties": {"type": "number"}},
            "list": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        }}));
        let told = run_typed(&source, &object(), ty);
        prop_assert!(!told.contains("internal error"), "{source}: {told}");
    }

    #[test]
    fn any_text_is_judged(source in "\\PC{0,60}") {
        let told = run(&source, &object());
        prop_assert!(!told.contains("internal error"), "{source}: {told}");
    }
}
