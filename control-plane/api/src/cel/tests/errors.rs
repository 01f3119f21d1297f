//! What is told of expressions that cannot be compiled, and of those that come to nothing.

use super::{run, run_typed, schema};
use crate::cel::{Declared, Program, Type};
use serde_json::json;

#[test]
fn expressions_that_cannot_be_compiled_are_told_with_their_place() {
    let ty = schema(&json!({"type": "object", "properties": {
        "replicas": {"type": "integer"}, "name": {"type": "string"}, "list": {"type": "array", "items": {"type": "string"}},
        "obj": {"type": "object", "properties": {"x": {"type": "integer"}}},
    }}));
    for (source, wanted) in [
        ("self.repicas > 1", "ERROR: <input>:1:5: undefined field 'repicas'\n | self.repicas > 1\n | ....^"),
        (
            "slef.replicas > 1",
            "ERROR: <input>:1:1: undeclared reference to 'slef' (in container '')\n | slef.replicas > 1\n | ^",
        ),
        (
            "self.replicas == 'a'",
            "ERROR: <input>:1:15: found no matching overload for '_==_' applied to '(int, string)'\n | self.replicas == 'a'\n | ..............^",
        ),
        (
            "self.name.nope()",
            "ERROR: <input>:1:15: undeclared reference to 'nope' (in container '')\n | self.name.nope()\n | ..............^",
        ),
        (
            "self.name.startsWith(1)",
            "ERROR: <input>:1:21: found no matching overload for 'startsWith' applied to 'string.(int)'\n | self.name.startsWith(1)\n | ....................^",
        ),
        (
            "self.replicas.x == 1",
            "ERROR: <input>:1:14: type 'int' does not support field selection\n | self.replicas.x == 1\n | .............^",
        ),
        (
            "self.replicas.all(x, true)",
            "ERROR: <input>:1:5: expression of type 'int' cannot be range of a comprehension (must be list, map, or dynamic)\n | self.replicas.all(x, true)\n | ....^",
        ),
        (
            "self.list.all(x, x > 1)",
            "ERROR: <input>:1:20: found no matching overload for '_>_' applied to '(string, int)'\n | self.list.all(x, x > 1)\n | ...................^",
        ),
        ("[1, 'a'] == []", "ERROR: <input>:1:5: expected type 'int' but found 'string'\n | [1, 'a'] == []\n | ....^"),
    ] {
        assert_eq!(run_typed(source, &json!({}), ty.clone()), wanted, "{source}");
    }
    // Two errors, in the order of the text.
    let both = run_typed("self.a == self.b", &json!({}), ty.clone());
    assert_eq!(both.matches("undefined field").count(), 2, "{both}");
    // On the second line.
    let second = run_typed("true &&\n  self.nope", &json!({}), ty);
    assert!(second.starts_with("ERROR: <input>:2:7: undefined field 'nope'\n |   self.nope\n | ......^"), "{second}");
}

#[test]
fn syntax_errors_are_told() {
    for source in [
        "",
        "1 +",
        "self.",
        "(1",
        "a b",
        "self.all(1, true)",
        "'a",
        "1 = 2",
        "[1, 2",
        "self.x ? 1",
        "has(1)",
        "@x",
        "`a`",
    ] {
        let told = run(source, &json!({}));
        assert!(told.starts_with("ERROR: <input>:") || told.contains("ERROR"), "{source}: {told}");
    }
    assert_eq!(
        run("self.all(1, true)", &json!({})),
        "ERROR: <input>:1:10: argument must be a simple name\n | self.all(1, true)\n | .........^"
    );
    assert!(run("'a'.matches('(')", &json!({})).contains("invalid matches argument"));
    assert!(run("duration('x') == duration('1s')", &json!({})).contains("invalid duration argument"));
}

#[test]
fn evaluation_errors_are_cels() {
    for (source, wanted) in [
        ("self.absent == 1", "no such key: absent"),
        ("self.list[5] == 1", "index out of bounds: 5"),
        ("self.list[-1] == 1", "index out of bounds: -1"),
        ("1 / (self.zero) == 1", "division by zero"),
        ("1 % self.zero == 1", "modulus by zero"),
        ("self.big + 1 > 0", "integer overflow"),
        ("self.zero == 0 && self.text > 1", "no such overload"),
        ("self.text.startsWith(1) ", "found no matching overload"),
        ("optional.none().value() == 1", "optional.none() dereference"),
        ("sign(quantity(self.text)) == 1", "quantities must match the regular expression"),
        (
            "ip(self.text).family() == 4",
            "IP Address \"text\" parse error during conversion from string: ParseAddr(\"text\"): unable to parse IP",
        ),
        ("'a'.matches(self.open)", "error parsing regexp"),
        ("[].min() == 1", "min called on empty list"),
        ("self.text", "cel expression must evaluate to a bool"),
        ("[1, 1].transformMapEntry(i, v, {v: i}) == {}", "insert failed: key 1 already exists"),
        ("int(self.text) == 1", "type conversion error from 'string' to 'int'"),
        ("self.text.substring(9) == ''", "index out of range: 9"),
    ] {
        let this = json!({"list": [1], "zero": 0, "big": i64::MAX, "text": "text", "open": "("});
        let told = run(source, &this);
        assert!(told.contains(wanted), "{source}: {told}");
    }
}

#[test]
fn costs_are_estimated_as_kubernetes_does() {
    // Cost per item of `all(x, x.contains('gpu'))`, by the length of the items.
    for (length, each) in [(16, 11), (63, 30), (253, 106), (1024, 414)] {
        let ty = schema(&json!({"type": "array", "maxItems": 1000, "items": {"type": "string", "maxLength": length}}));
        let program = Program::compile("self.all(x, x.contains('gpu'))", &Declared::new().with("self", ty)).unwrap();
        let fixed = program.cost() - 1000 * each;
        assert!(fixed <= 10, "{length}: {}", program.cost());
    }
    // What nothing bounds is beyond every limit; what reads nothing is cheap.
    let ty = schema(&json!({"type": "array", "items": {"type": "string"}}));
    let cost = |source: &str| Program::compile(source, &Declared::new().with("self", ty.clone())).unwrap().cost();
    assert!(cost("self.all(x, self.all(y, x == y))") > 1_000_000_000_000);
    assert!(cost("size(self) > 1") < 10);
    let text = Declared::new().with("self", schema(&json!({"type": "string"})));
    let length = Program::compile("self.size() > 0 && self != ''", &text).unwrap();
    assert!(length.cost() < 10, "{}", length.cost());
    let number = Declared::new().with("self", Type::Int);
    let concat = Program::compile("'a' + string(self)", &number).unwrap();
    assert!(concat.cost() > 1_000_000_000, "the length of a printed number is not known");
    let format = Program::compile("'%d'.format([self])", &number).unwrap();
    assert!(format.cost() < 100);
}
