//! Expressions of Kubernetes' documentation, and what must never happen.

mod authz;
mod errors;
mod facts;
mod hostile;
mod library;

use super::decl::{Root, of_schema};
use super::{Declared, PER_CALL_LIMIT, Program, Type, Val};
use serde_json::{Value, json};

/// What an expression over `self` without a declared type comes to: `true`, or what went wrong.
fn run(source: &str, this: &Value) -> String {
    run_typed(source, this, Type::Dyn)
}

fn run_typed(source: &str, this: &Value, ty: Type) -> String {
    match Program::compile(source, &Declared::new().with("self", ty)) {
        Err(error) => error.to_string(),
        Ok(program) => match program.holds(&[("self", this)], &mut PER_CALL_LIMIT.clone()) {
            Ok(truth) => truth.to_string(),
            Err(fault) => fault.to_string(),
        },
    }
}

fn schema(schema: &Value) -> Type {
    of_schema(schema.as_object().unwrap(), Root::Value).unwrap().ty
}

fn all_true(table: &[&str], this: &Value) {
    let wrong: Vec<String> = table
        .iter()
        .map(|source| (source, run(source, this)))
        .filter(|(_, result)| result != "true")
        .map(|(source, result)| format!("{source}\n    {result}"))
        .collect();
    assert!(wrong.is_empty(), "not true:\n{}", wrong.join("\n"));
}

#[test]
fn the_language_is_cel() {
    let this = json!({
        "minReplicas": 1, "replicas": 2, "maxReplicas": 3, "name": "web-1", "ratio": 0.5, "list": [1, 2, 3],
        "stateCounts": {"Available": 2}, "set1": ["a", "b"], "set2": ["c"], "nothing": null, "envars": [{"name": "A"}],
        "created": "2024-01-02T03:04:05Z", "nested": {"deep": {"x": 1}}, "empty": [], "yes": true,
    });
    all_true(
        &[
            "self.minReplicas <= self.replicas",
            "self.minReplicas <= self.replicas && self.replicas <= self.maxReplicas",
            "'Available' in self.stateCounts",
            "(size(self.list) == 0) != (self.list.size() == 3) || size(self.list) == 3",
            "!('MY_KEY' in self.stateCounts) || self['stateCounts'].size() == 2",
            "self.envars.filter(e, e.name == 'MY_ENV').all(e, e.value.matches('^[a-zA-Z]*$'))",
            "self.set1.all(e, !(e in self.set2))",
            "self.list.all(x, x > 0) && self.list.exists(x, x == 2) && self.list.exists_one(x, x == 3)",
            "self.list.map(x, x * 2) == [2, 4, 6] && self.list.map(x, x > 1, x + 1) == [3, 4]",
            "self.list.filter(x, x % 2 == 1) == [1, 3]",
            "self.stateCounts.all(k, k.startsWith('A')) && self.stateCounts.map(k, k) == ['Available']",
            "has(self.name) && !has(self.absent) && has(self.nested.deep.x)",
            "self.nothing == null && type(self.nothing) == null_type",
            "type(self.list) == list && type(1) == int && type('') == string && type(1.0) == double && type(int) == type",
            "self.yes ? true : false",
            "1 + 2 * 3 - 4 / 2 == 5 && 7 % 3 == 1 && -7 / 2 == -3 && 1u + 2u == 3u && 1.5 + 1.5 == 3.0",
            "'a' + 'b' == 'ab' && [1] + [2] == [1, 2] && b'a' + b'b' == b'ab'",
            "1 < 2 && 1 < 1.5 && 2u > 1 && 'a' < 'b' && false < true && b'a' <= b'a'",
            "self.ratio < 1 && self.ratio == 0.5 && dyn(1) == 1.0 && dyn(1u) == 1",
            "self.list[0] == 1 && self.list[2] == 3 && {'a': 1}['a'] == 1 && {1: 'x'}[1] == 'x'",
            "[1, 2, 3].exists(x, 1 / (x - 1) > 0)",
            "!([1, 2].all(x, 6 / (x - 1) > 10))",
            "(1 / 0 > 0 || true) && !(1 / 0 > 0 && false)",
            "{'a': 1, 'b': 2} == {'b': 2, 'a': 1} && [1, 2] != [2, 1] && size({'a': 1}) == 1",
            "int('12') == 12 && int(1.9) == 1 && uint(3) == 3u && double('1.5') == 1.5 && string(12) == '12'",
            "string(true) == 'true' && string(1.5) == '1.5' && bytes('a') == b'a' && string(b'abc') == 'abc' && bool('true')",
            "timestamp('2024-01-02T03:04:05Z').getFullYear() == 2024 && timestamp(self.created).getMonth() == 0",
            "timestamp('2024-01-02T03:04:05Z').getDayOfMonth() == 1 && timestamp('2024-01-02T03:04:05Z').getDate() == 2",
            "timestamp('2024-01-02T03:04:05Z').getDayOfWeek() == 2 && timestamp('2024-01-02T03:04:05Z').getDayOfYear() == 1",
            "timestamp('2024-01-02T03:04:05.678Z').getMilliseconds() == 678",
            "timestamp('2024-01-02T03:04:05Z').getHours('+02:00') == 5 && timestamp('2024-01-02T03:04:05Z').getHours() == 3",
            "timestamp('2024-01-02T03:04:05Z') - timestamp('2024-01-01T03:04:05Z') == duration('24h')",
            "timestamp('2024-01-02T03:04:05Z') + duration('1s') > timestamp('2024-01-02T03:04:05Z')",
            "duration('1h30m').getMinutes() == 90 && duration('90s') == duration('1m30s') && string(duration('90s')) == '90s'",
            "self.?name.orValue('') == 'web-1' && self.?absent.orValue('x') == 'x' && !self.?absent.hasValue()",
            "self.?nested.?deep.?x.value() == 1 && self.?nested.deep.x == optional.of(1) && !self.?a.b.c.hasValue()",
            "self.list[?5].orValue(7) == 7 && self[?'name'].hasValue() && optional.none().or(optional.of(1)).value() == 1",
            "optional.ofNonZeroValue('').hasValue() == false && optional.of(2).optMap(x, x + 1).value() == 3",
            "[1, ?optional.none(), 2] == [1, 2] && {?'a': optional.of(1)} == {'a': 1}",
            "[10, 20].all(i, v, v == (i + 1) * 10) && {'a': 1}.exists(k, v, k == 'a' && v == 1)",
            "[1, 2].transformList(i, v, i + v) == [1, 3] && {'a': 1}.transformMap(k, v, v + 1) == {'a': 2}",
            "['a', 'b'].transformMapEntry(i, v, {v: i}) == {'a': 0, 'b': 1} && [5].existsOne(i, v, v == 5)",
            "[[1, 2], [3]].all(l, l.all(x, x > 0)) && [[1], [2, 3]].map(l, l.map(x, x * 2)) == [[2], [4, 6]]",
            "'''a\nb'''.size() == 3 && r'\\d' == '\\\\d' && '\\u00e4' == 'ä' && size('äö') == 2 && 0x10 == 16",
            "// a comment\ntrue",
        ],
        &this,
    );
}

#[test]
fn fields_have_the_types_that_the_schema_says() {
    let ty = schema(&json!({"type": "object", "properties": {
        "n": {"type": "number"}, "i": {"type": "integer"}, "d": {"type": "string", "format": "duration"},
        "t": {"type": "string", "format": "date-time"}, "day": {"type": "string", "format": "date"},
        "b": {"type": "string", "format": "byte"}, "port": {"x-kubernetes-int-or-string": true},
        "namespace": {"type": "string"}, "a.b-c/d": {"type": "string"}, "x__y": {"type": "string"}, "if": {"type": "integer"},
        "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "other": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "byKey": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
            "items": {"type": "object", "properties": {"k": {"type": "string"}, "v": {"type": "integer"}}}},
        "map": {"type": "object", "additionalProperties": {"type": "integer"}},
    }}));
    let this = json!({
        "n": 3, "i": 3, "d": "1h", "t": "2024-01-02T03:04:05Z", "day": "2024-01-02", "b": "aGk=", "port": "http",
        "namespace": "ns", "a.b-c/d": "odd", "x__y": "u", "if": 1, "set": ["a", "b"], "other": ["b", "a"],
        "byKey": [{"k": "a", "v": 1}, {"k": "b", "v": 2}], "map": {"x": 1},
    });
    for source in [
        "self.n / 2.0 == 1.5",
        "self.i / 2 == 1 && type(self.n) == double && type(self.i) == int",
        "self.d == duration('60m') && self.d.getHours() == 1",
        "self.t.getFullYear() == 2024 && self.day < self.t",
        "self.b == b'hi'",
        "type(self.port) == string ? self.port == 'http' : self.port == 80",
        "self.__namespace__ == 'ns' && self.a__dot__b__dash__c__slash__d == 'odd' && self.x__underscores__y == 'u'",
        "self.__if__ == 1",
        "self.set == self.other && self.set + self.other == ['a', 'b']",
        "(self.byKey + self.byKey.filter(x, false)).size() == 2",
        "self.map.x == 1 && self.map['x'] == 1 && 'x' in self.map",
        "!has(self.map.y) && self.map.all(k, self.map[k] > 0)",
    ] {
        assert_eq!(run_typed(source, &this, ty.clone()), "true", "{source}");
    }
}

#[test]
fn variables_are_declared_and_may_be_absent() {
    let declared = Declared::new().with("object", Type::Dyn).with("oldObject", Type::Dyn).with("request", Type::Dyn);
    let program = Program::compile("object.metadata.name == request.name", &declared).unwrap();
    assert!(program.uses("object") && program.uses("request") && !program.uses("oldObject"));
    let (object, request) = (json!({"metadata": {"name": "a"}}), json!({"name": "a"}));
    let mut budget = 1_000;
    assert_eq!(program.holds(&[("object", &object), ("request", &request)], &mut budget), Ok(true));
    assert!(budget < 1_000 && budget > 900, "{budget}");
    let fault = program.holds(&[("object", &object)], &mut budget).unwrap_err();
    assert_eq!(fault.to_string(), "no such attribute(s): request");
    let optional = Declared::new().with("oldSelf", Type::optional(Type::Int));
    let program = Program::compile("oldSelf.orValue(3) == 3", &optional).unwrap();
    assert_eq!(program.holds(&[], &mut budget), Ok(true));
    assert_eq!(program.holds(&[("oldSelf", &json!(4))], &mut budget), Ok(false));
}
