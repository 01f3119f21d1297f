//! CEL: an expression, compiled against untyped and typed variables and evaluated on values. No evaluation costs more than its
//! budget, takes long, costs differently the second time, or more than was estimated where the types say all sizes.
#![no_main]

use api::cel::decl::{Root, of_schema};
use api::cel::{Declared, Fault, PER_CALL_LIMIT, Program, Type};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use skiff_fuzz::{documents, soon, texts};
use std::sync::LazyLock;

/// Every size has a limit, so that estimates hold.
static TYPED: LazyLock<Type> = LazyLock::new(|| {
    let text = json!({"type": "string", "maxLength": 20});
    let schema = json!({"type": "object", "properties": {
        "s": text, "i": {"type": "integer"}, "d": {"type": "number"}, "b": {"type": "boolean"},
        "t": {"type": "string", "format": "date-time"}, "u": {"type": "string", "format": "duration"},
        "y": {"type": "string", "format": "byte", "maxLength": 16},
        "l": {"type": "array", "maxItems": 4, "items": {"type": "integer"}},
        "set": {"type": "array", "maxItems": 4, "x-kubernetes-list-type": "set", "items": text},
        "map": {"type": "array", "maxItems": 3, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
                "items": {"type": "object", "required": ["k"], "properties": {"k": text, "v": {"type": "integer"}}}},
        "m": {"type": "object", "maxProperties": 4, "additionalProperties": {"type": "integer"}},
        "x": {"x-kubernetes-int-or-string": true},
    }});
    of_schema(schema.as_object().unwrap(), Root::Value).unwrap().ty
});

static THIS: LazyLock<Value> = LazyLock::new(|| json!({
    "s": "quite some text, 20", "i": 7, "d": 1.5, "b": true, "t": "2026-01-02T03:04:05Z", "u": "1h30m", "y": "dGVzdA==",
    "l": [3, 1, 2, 1], "set": ["a", "b", "10.0.0.1", "1Gi"], "map": [{"k": "a", "v": 1}, {"k": "b"}],
    "m": {"a": 1, "b": 2}, "x": "5%",
}));

fn run(source: &str, declared: &Declared, inputs: &[(&str, &Value)]) {
    let compiled = soon("compiling", || Program::compile(source, declared));
    let program = match compiled {
        Ok(program) => program,
        Err(error) => {
            let _ = error.to_string();
            return;
        }
    };
    for limit in [PER_CALL_LIMIT, 100] {
        let mut left = limit;
        let result = soon("evaluating", || program.evaluate(inputs, &mut left).map(|value| format!("{value:?}")));
        assert!(left <= limit);
        if result == Err(Fault::Budget) {
            assert_eq!(left, 0);
        }
        let mut again = limit;
        let second = program.evaluate(inputs, &mut again).map(|value| format!("{value:?}"));
        assert_eq!((second, again), (result, left));
    }
}

fuzz_target!(|data: &[u8]| {
    let [source, _] = texts::<2>(data);
    let [_, value] = documents::<2>(data);
    let untyped = Declared::new().with("self", Type::Dyn).with("oldSelf", Type::optional(Type::Dyn));
    if value.is_null() {
        run(source, &untyped, &[("self", &THIS)]);
        let typed = Declared::new().with("self", TYPED.clone()).with("oldSelf", TYPED.clone());
        run(source, &typed, &[("self", &THIS), ("oldSelf", &THIS)]);
    } else {
        run(source, &untyped, &[("self", &value), ("oldSelf", &THIS)]);
    }
});
