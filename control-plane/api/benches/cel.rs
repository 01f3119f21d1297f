//! What rules in CEL cost: to compile once, and to ask of each object.

use api::cel::{Declared, PER_CALL_LIMIT, Program, Type, decl};
use api::crd::value;
use api::schema::Schema;
use criterion::{Criterion, criterion_group, criterion_main};
use serde_json::{Value, json};
use std::hint::black_box;

fn spec() -> Value {
    json!({"type": "object",
    "x-kubernetes-validations": [
        {"rule": "self.minReplicas <= self.replicas && self.replicas <= self.maxReplicas"},
        {"rule": "!has(oldSelf.image) || has(self.image)"},
    ],
    "properties": {
        "minReplicas": {"type": "integer"}, "replicas": {"type": "integer"}, "maxReplicas": {"type": "integer"},
        "image": {"type": "string", "x-kubernetes-validations": [{"rule": "self == oldSelf"}]},
        "name": {"type": "string", "maxLength": 63, "x-kubernetes-validations": [{"rule": "self.matches('^[a-z][a-z0-9-]*$')"}]},
        "ports": {"type": "array", "maxItems": 20, "items": {"type": "object", "properties": {"port": {"type": "integer"}}},
            "x-kubernetes-validations": [{"rule": "self.all(p, p.port > 0 && p.port < 65536)"}]},
    }})
}

fn object() -> Value {
    json!({"minReplicas": 1, "replicas": 2, "maxReplicas": 5, "image": "img:1", "name": "web-1",
        "ports": (0..10).map(|n| json!({"port": 8000 + n})).collect::<Vec<_>>()})
}

fn benches(c: &mut Criterion) {
    let ty =
        spec().as_object().and_then(|spec| decl::of_schema(spec, decl::Root::Value)).map_or(Type::Dyn, |decl| decl.ty);
    let declared = Declared::new().with("self", ty.clone()).with("oldSelf", ty);
    let this = object();
    for (name, rule) in [
        ("replicas within bounds", "self.minReplicas <= self.replicas && self.replicas <= self.maxReplicas"),
        ("literal pattern", "self.name.matches('^[a-z][a-z0-9-]*$')"),
        ("all of ten", "self.ports.all(p, p.port > 0 && p.port < 65536)"),
        ("list made of ten", "self.ports.map(p, p.port).sum() > 0"),
    ] {
        c.bench_function(&format!("compile: {name}"), |b| {
            b.iter(|| Program::compile(black_box(rule), &declared).is_ok())
        });
        let Ok(program) = Program::compile(rule, &declared) else { continue };
        c.bench_function(&format!("evaluate: {name}"), |b| {
            b.iter(|| program.holds(&[("self", black_box(&this))], &mut PER_CALL_LIMIT.clone()));
        });
    }
    let mut bare = spec();
    let plain = |node: &mut Value| node.as_object_mut().map(|node| node.remove("x-kubernetes-validations"));
    plain(&mut bare);
    for name in ["image", "name", "ports"] {
        plain(&mut bare["properties"][name]);
    }
    let whole = |spec: &Value| json!({"type": "object", "properties": {"spec": spec}});
    let (old, mut new) = (json!({"spec": object()}), json!({"spec": object()}));
    new["spec"]["replicas"] = 3.into();
    for (name, node) in [("five rules", spec()), ("no rules", bare)] {
        let schema = Schema::of_crd(&whole(&node));
        c.bench_function(&format!("validate an update: {name}"), |b| {
            b.iter(|| value::validate(&schema, black_box(&new), Some(black_box(&old))).is_empty());
        });
    }
}

criterion_group!(cel, benches);
criterion_main!(cel);
