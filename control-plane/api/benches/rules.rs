//! What the rules of a kind cost per request: defaulting and validation, a selector's match, a printed row.

use api::table::{Context, columns_for};
use api::{meta, selector::Labels, strategies::for_kind};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use serde_json::{Value, json};
use std::hint::black_box;

fn pod() -> Value {
    json!({
        "metadata": {"name": "p", "namespace": "default", "labels": {"app": "web", "tier": "front"}},
        "spec": {
            "containers": [{
                "name": "c", "image": "img:1", "ports": [{"containerPort": 80, "name": "http"}],
                "resources": {"limits": {"cpu": "0.5", "memory": "64Mi"}},
                "env": [{"name": "A", "value": "b"}, {"name": "C", "value": "d"}],
                "volumeMounts": [{"name": "b", "mountPath": "/b"}], "readinessProbe": {"httpGet": {"port": 80}},
            }],
            "volumes": [{"name": "b", "configMap": {"name": "m"}}],
        },
    })
}

fn benches(c: &mut Criterion) {
    for (kind, object) in
        [("Pod", pod()), ("ConfigMap", json!({"metadata": {"name": "m"}, "data": {"a": "b", "c": "d"}}))]
    {
        let strategy = for_kind("", kind);
        c.bench_function(&format!("create {kind}"), |b| {
            b.iter_batched(
                || object.clone(),
                |mut object| {
                    strategy.default(&mut object);
                    strategy.prepare_create(&mut object);
                    black_box(strategy.validate(&object))
                },
                BatchSize::SmallInput,
            );
        });
    }
    let (object, selector) = (pod(), Labels::parse("app in (web,db),tier!=back,!gone").unwrap_or_default());
    c.bench_function("match labels", |b| b.iter(|| selector.matches_map(black_box(meta::labels(&object)))));
    let columns = columns_for("", "Pod");
    let context = Context::at(jiff::Timestamp::UNIX_EPOCH);
    c.bench_function("print pod row", |b| b.iter(|| (columns.cells)(black_box(&object), &context)));
}

criterion_group!(rules, benches);
criterion_main!(rules);
