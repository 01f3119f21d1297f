//! What the owners of fields cost beside the rest of a write.

use api::apply::{Before, Context, Empty, Force, Resets, Versions};
use api::schema::{Schema, prune};
use api::{Kinds, Resource, meta, patch};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::hint::black_box;
use std::sync::Arc;

struct Row(Arc<Resource>);

impl Versions for Row {
    fn schema(&self, _: &str) -> Option<&Schema> {
        Some(self.0.schema.get())
    }

    fn convert<'v>(&self, object: &'v Value, _: &str, _: &str) -> Option<Cow<'v, Value>> {
        Some(Cow::Borrowed(object))
    }
}

impl Row {
    fn at<'a>(&'a self, version: &'a str, subresource: &'a str) -> Context<'a> {
        let resets = match subresource {
            "" => Resets::Status,
            _ => Resets::AllButStatus,
        };
        Context {
            versions: self,
            api_version: version,
            subresource,
            resets,
            empty: Empty::Typed,
            now: "2026-01-02T03:04:05Z",
        }
    }
}

fn pod() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "web-5d4f8c7b6d-abcde", "namespace": "default", "uid": "3b6e8f2c-1111-2222-3333-444455556666",
            "creationTimestamp": "2026-01-02T03:04:05Z", "generateName": "web-5d4f8c7b6d-", "labels": {"app": "web", "pod-template-hash": "5d4f8c7b6d"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-5d4f8c7b6d", "uid": "u", "controller": true, "blockOwnerDeletion": true}]},
        "spec": {
            "containers": [{
                "name": "c", "image": "img:1", "ports": [{"containerPort": 80, "name": "http"}],
                "resources": {"limits": {"cpu": "500m", "memory": "64Mi"}},
                "env": [{"name": "A", "value": "b"}, {"name": "C", "value": "d"}],
                "volumeMounts": [{"name": "b", "mountPath": "/b"}], "readinessProbe": {"httpGet": {"port": 80}},
            }],
            "volumes": [{"name": "b", "configMap": {"name": "m"}}],
        },
        "status": {"phase": "Pending"},
    })
}

fn status(ready: &str, time: &str) -> Value {
    let condition =
        |kind: &str| json!({"type": kind, "status": ready, "lastProbeTime": null, "lastTransitionTime": time});
    json!({"status": {
        "phase": "Running", "hostIP": "10.0.0.1", "podIP": "10.1.2.3", "podIPs": [{"ip": "10.1.2.3"}], "startTime": "2026-01-02T03:04:06Z",
        "conditions": [condition("PodScheduled"), condition("Initialized"), condition("ContainersReady"), condition("Ready")],
        "containerStatuses": [{"name": "c", "ready": ready == "True", "restartCount": 0, "image": "img:1", "imageID": "x",
            "state": {"running": {"startedAt": "2026-01-02T03:04:06Z"}}, "lastState": {}}],
    }})
}

fn benches(c: &mut Criterion) {
    let row = Row(Kinds::builtin().find("", "v1", "pods").expect("pods are built in"));
    let mut made = pod();
    row.0.strategy.default(&mut made);
    let schema = row.0.schema.get();
    c.bench_function("create: all but owners and store", |b| {
        let text = pod().to_string();
        b.iter(|| {
            let mut object: Value = serde_json::from_str(black_box(&text)).unwrap_or_default();
            black_box(row.0.check(&object).is_ok());
            prune(schema, &mut object);
            row.0.strategy.default(&mut object);
            row.0.strategy.prepare_create(&mut object);
            black_box(meta::validate_create(&row.0, &object));
            black_box(row.0.strategy.validate(&object));
            object.to_string()
        });
    });
    c.bench_function("create: owners", |b| b.iter(|| api::apply::created(&row.at("v1", ""), black_box(&made), "m")));

    let created = api::apply::created(&row.at("v1", ""), &made, "kube-controller-manager");
    let first = patch::merge(&made, &status("False", "2026-01-02T03:04:06Z")).unwrap_or_default();
    let api::apply::Updated::New(Some(managed)) =
        api::apply::updated(&row.at("v1", "status"), Before::Stored(created.as_deref()), &made, &first, "kubelet")
    else {
        return;
    };
    let change = status("True", "2026-01-02T03:04:09Z");
    let next = patch::merge(&first, &change).unwrap_or_default();
    c.bench_function("status: all but owners and store", |b| {
        let (text, change) = (first.to_string(), change.to_string());
        b.iter(|| {
            let old: Value = serde_json::from_str(black_box(&text)).unwrap_or_default();
            let change: Value = serde_json::from_str(&change).unwrap_or_default();
            let mut object = patch::strategic(schema, &old, &change).unwrap_or_default();
            black_box(row.0.check(&object).is_ok());
            prune(schema, &mut object);
            row.0.strategy.default(&mut object);
            meta::default_update(&mut object, &old);
            row.0.strategy.prepare_status_update(&mut object, &old);
            black_box(meta::validate_update(&row.0, &object, &old));
            black_box(row.0.strategy.validate_status_update(&object, &old));
            object.to_string()
        });
    });
    c.bench_function("status: owners", |b| {
        b.iter(|| {
            api::apply::updated(
                &row.at("v1", "status"),
                Before::Stored(Some(&managed)),
                black_box(&first),
                &next,
                "kubelet",
            )
        });
    });
    c.bench_function("status: owners, as values", |b| {
        b.iter(|| serde_json::from_str::<Value>(black_box(&managed)).unwrap_or_default().to_string());
    });
    let config = pod();
    c.bench_function("apply: the same again", |b| {
        let applied = api::apply::apply(&row.at("v1", ""), None, &Value::Null, &config, ("m", Force::No));
        let managed = applied.ok().and_then(|applied| applied.managed);
        b.iter_batched(
            || made.clone(),
            |live| api::apply::apply(&row.at("v1", ""), managed.as_deref(), &live, &config, ("m", Force::No)).is_ok(),
            BatchSize::SmallInput,
        );
    });
}

criterion_group!(owners, benches);
criterion_main!(owners);
