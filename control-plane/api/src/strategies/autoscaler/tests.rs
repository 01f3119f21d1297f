//! What v2 has and v1 has not goes through v1 and comes back.

use super::annotations::{BEHAVIOR, CONDITIONS, CURRENT_METRICS, METRICS};
use super::*;
use crate::strategies::for_kind;
use proptest::prelude::*;
use proptest::strategy::Strategy as Generator;

fn v1(mut object: Value) -> Value {
    to_v1(&mut object);
    object
}

fn v2(mut object: Value) -> Value {
    to_v2(&mut object);
    object
}

/// A v1 object with these annotations.
fn noted(annotations: &Value, spec: &Value) -> Value {
    json!({"apiVersion": "autoscaling/v1", "kind": KIND, "metadata": {"name": "h", "annotations": annotations},
        "spec": spec, "status": {"currentReplicas": 0, "desiredReplicas": 0}})
}

fn note(object: &Value, name: &str) -> String {
    object["metadata"]["annotations"][name].as_str().unwrap_or_default().to_owned()
}

fn full() -> Value {
    let selector = json!({"matchLabels": {"b": "1", "a": "2"}, "matchExpressions":
        [{"key": "k", "operator": "In", "values": ["v"]}]});
    json!({"apiVersion": "autoscaling/v2", "kind": KIND, "metadata": {"name": "h", "annotations": {"mine": "yes"}},
        "spec": {"maxReplicas": 5, "minReplicas": 1, "scaleTargetRef": {"kind": "Deployment", "name": "d"},
            "behavior": {"scaleDown": {"selectPolicy": "Min", "tolerance": "50m",
                "policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}]}},
            "metrics": [
                {"type": "Object", "object": {"describedObject": {"kind": "Ingress", "name": "i", "apiVersion": "v1"},
                    "metric": {"name": "hits", "selector": selector}, "target": {"type": "Value", "value": "2k"}}},
                {"type": "Pods", "pods": {"metric": {"name": "p"}, "target": {"type": "AverageValue", "averageValue": "500m"}}},
                {"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}}},
                {"type": "ContainerResource", "containerResource": {"name": "cpu", "container": "app",
                    "target": {"type": "Utilization", "averageUtilization": 60}}},
                {"type": "External", "external": {"metric": {"name": "q", "selector": {"matchLabels": {"x": "<y>"}}},
                    "target": {"type": "AverageValue", "averageValue": "30"}}},
                {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}]},
        "status": {"desiredReplicas": 2, "currentReplicas": 2,
            "currentMetrics": [{"type": "Resource", "resource": {"name": "cpu",
                "current": {"averageUtilization": 40, "averageValue": "200m"}}}],
            "conditions": [{"type": "AbleToScale", "status": "True", "lastTransitionTime": "2026-01-02T03:04:05Z",
                "reason": "ReadyForNewScale", "message": "a & b"}]}})
}

#[test]
fn v1_has_one_number_and_the_rest_as_kubernetes_writes_it() {
    let object = v1(full());
    assert_eq!(
        object["spec"],
        json!({"maxReplicas": 5, "minReplicas": 1, "scaleTargetRef": {"kind": "Deployment", "name": "d"},
            "targetCPUUtilizationPercentage": 50})
    );
    assert_eq!(
        object["status"],
        json!({"desiredReplicas": 2, "currentReplicas": 2, "currentCPUUtilizationPercentage": 40})
    );
    assert_eq!((&object["apiVersion"], note(&object, "mine")), (&json!("autoscaling/v1"), "yes".into()));
    assert_eq!(
        note(&object, METRICS),
        concat!(
            r#"[{"type":"Object","object":{"target":{"kind":"Ingress","name":"i","apiVersion":"v1"},"metricName":"hits","#,
            r#""targetValue":"2k","selector":{"matchLabels":{"a":"2","b":"1"},"#,
            r#""matchExpressions":[{"key":"k","operator":"In","values":["v"]}]}}},"#,
            r#"{"type":"Pods","pods":{"metricName":"p","targetAverageValue":"500m"}},"#,
            r#"{"type":"Resource","resource":{"name":"memory","targetAverageValue":"1Gi"}},"#,
            r#"{"type":"ContainerResource","containerResource":{"name":"cpu","targetAverageUtilization":60,"container":"app"}},"#,
            r#"{"type":"External","external":{"metricName":"q","metricSelector":{"matchLabels":{"x":"\u003cy\u003e"}},"#,
            r#""targetAverageValue":"30"}}]"#
        )
    );
    assert_eq!(
        note(&object, BEHAVIOR),
        concat!(
            r#"{"ScaleUp":null,"ScaleDown":{"StabilizationWindowSeconds":null,"SelectPolicy":"Min","#,
            r#""Policies":[{"Type":"Pods","Value":1,"PeriodSeconds":60}],"Tolerance":"50m"}}"#
        )
    );
    assert_eq!(
        note(&object, CURRENT_METRICS),
        concat!(
            r#"[{"type":"Resource","resource":{"name":"cpu","currentAverageUtilization":40,"#,
            r#""currentAverageValue":"200m"}}]"#
        )
    );
    assert_eq!(
        note(&object, CONDITIONS),
        concat!(
            r#"[{"type":"AbleToScale","status":"True","lastTransitionTime":"2026-01-02T03:04:05Z","#,
            r#""reason":"ReadyForNewScale","message":"a \u0026 b"}]"#
        )
    );
    assert_eq!(v2(object), full());
}

#[test]
fn the_metric_of_the_cpu_comes_last_and_only_one_is_kept() {
    let aims = |percent| aim_at_cpu(percent);
    let memory = json!({"type": "Resource", "resource":
        {"name": "memory", "target": {"type": "Utilization", "averageUtilization": 70}}});
    let raw = json!({"type": "Resource", "resource":
        {"name": "cpu", "target": {"type": "AverageValue", "averageValue": "1"}}});
    let mut object = full();
    object["spec"]["metrics"] = json!([raw, aims(50), memory, aims(60)]);
    let old = v1(object);
    assert_eq!(old["spec"]["targetCPUUtilizationPercentage"], 50);
    assert_eq!(v2(old)["spec"]["metrics"], json!([raw, memory, aims(50)]));
}

#[test]
fn a_part_that_was_left_as_it_was_is_as_it_was() {
    let mut stored = full();
    stored["spec"]["metrics"].as_array_mut().unwrap().rotate_right(1);
    stored["status"]["currentMetrics"][0]["resource"]["current"] = json!({"averageUtilization": 40});
    let mut same = v2(v1(stored.clone()));
    assert_ne!(same, stored);
    restore(&mut same, &stored);
    assert_eq!(same, stored);
    let mut changed = v1(stored.clone());
    changed["spec"]["targetCPUUtilizationPercentage"] = 51.into();
    let mut changed = v2(changed);
    restore(&mut changed, &stored);
    assert_eq!(changed["status"], stored["status"]);
    assert_eq!(changed["spec"]["metrics"][5], aim_at_cpu(51));
}

#[test]
fn an_average_alone_is_no_zero() {
    let average = json!({"type": "Object", "object": {"describedObject": {"kind": "Ingress", "name": "i"},
        "metric": {"name": "hits"}, "target": {"type": "AverageValue", "averageValue": "10"}}});
    let mut object = full();
    object["spec"]["metrics"] = json!([average]);
    let old = v1(object);
    assert!(note(&old, METRICS).contains(r#""targetValue":"0","averageValue":"10""#));
    assert_eq!(v2(old)["spec"]["metrics"], json!([average]));
}

#[test]
fn annotations_that_are_not_what_they_should_be_say_nothing() {
    let cpu = json!([aim_at_cpu(CPU_UTILIZATION)]);
    for bad in [
        "",
        "[",
        "{}",
        "7",
        "[7]",
        r#"[{"type":7}]"#,
        r#"[{"type":"Pods","pods":[]}]"#,
        r#"[{"type":"Pods","pods":{"targetAverageValue":"many"}}]"#,
        r#"[{"type":"Resource","resource":{"name":"cpu","targetAverageUtilization":1.5}}]"#,
        r#"[{"type":"Resource","resource":{"name":"cpu","targetAverageUtilization":4294967296}}]"#,
        r#"[{"type":"Object","object":{"selector":{"matchLabels":{"a":1}}}}] "#,
    ] {
        let notes = json!({METRICS: bad, CURRENT_METRICS: bad.replace("target", "current"), "mine": "yes"});
        let object = v2(noted(&notes, &json!({"maxReplicas": 1})));
        assert_eq!(object["spec"], json!({"maxReplicas": 1, "metrics": cpu}), "{bad}");
        assert_eq!(object["status"], json!({"desiredReplicas": 0, "currentMetrics": null}), "{bad}");
        assert_eq!(object["metadata"]["annotations"], json!({"mine": "yes"}), "{bad}");
    }
    for bad in ["", "null", "{}", "[]", r#"{"ScaleUp":[]}"#, r#"{"ScaleUp":{"Policies":{}}}"#, r#"{"Other":{}}"#] {
        let object = v2(noted(&json!({BEHAVIOR: bad, CONDITIONS: r#"[{"status":1}]"#}), &json!({"maxReplicas": 1})));
        assert_eq!((object["spec"].get("behavior"), object["status"].get("conditions")), (None, None), "{bad}");
        assert_eq!(object["metadata"].get("annotations"), None, "{bad}");
    }
}

#[test]
fn annotations_written_by_people_are_read_as_go_reads_them() {
    let notes = json!({
        METRICS: r#"[{"TYPE":"Resource","resource":{"Name":"memory","targetaverageValue":1024,"odd":1}}, null]"#,
        CURRENT_METRICS: r#"[{"type":"External","external":{"metricname":"q","targetValue":"1"}}]"#,
        BEHAVIOR: r#"{"scaleUp":{"policies":[{"type":"Pods","periodSeconds":15,"value":null}],"tolerance":"0.05"}}"#,
        CONDITIONS: r#"[{"type":"A","lastTransitionTime":"2026-01-02T04:04:05+01:00","reason":""}]"#,
    });
    let object = v2(noted(&notes, &json!({"maxReplicas": 1})));
    let memory = json!({"type": "Resource", "resource":
        {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1024"}}});
    assert_eq!(object["spec"]["metrics"], json!([memory, {"type": ""}]));
    assert_eq!(
        object["spec"]["behavior"],
        json!({"scaleUp": {"policies": [{"type": "Pods", "value": 0, "periodSeconds": 15}], "tolerance": "50m"}})
    );
    let queue = json!({"metric": {"name": "q"}, "current": {"value": "0"}});
    assert_eq!(object["status"]["currentMetrics"], json!([{"type": "External", "external": queue}]));
    let condition = &object["status"]["conditions"][0];
    assert_eq!((&condition["status"], &condition["lastTransitionTime"]), (&json!(""), &json!("2026-01-02T03:04:05Z")));
}

#[test]
fn v1_is_defaulted_and_judged_as_what_it_stands_for() {
    let strategy = for_kind("autoscaling", KIND);
    let target = json!({"kind": "Deployment", "name": "d"});
    let judged = |annotations: Value, spec: Value| {
        let mut object = noted(&annotations, &spec);
        object["spec"]["scaleTargetRef"] = target.clone();
        strategy.default(&mut object);
        let errors: Vec<String> = strategy.validate(&object).iter().map(ToString::to_string).collect();
        (object, errors.join("; "))
    };
    let (object, errors) = judged(Value::Null, json!({"maxReplicas": 3}));
    assert_eq!((&object["spec"]["targetCPUUtilizationPercentage"], errors.as_str()), (&json!(80), ""));
    assert_eq!(object["spec"]["minReplicas"], 1);
    let up = |rules: &str| json!({BEHAVIOR: format!(r#"{{"ScaleUp":{{{rules}}}}}"#)});
    let policy = r#""Policies":[{"Type":"Pods","Value":1,"PeriodSeconds":1}]"#;
    let (object, errors) = judged(up(policy), json!({"maxReplicas": 3}));
    assert_eq!(errors, "");
    assert_eq!(
        v2(object)["spec"]["behavior"],
        json!({"scaleUp": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 1}], "selectPolicy": "Max",
            "stabilizationWindowSeconds": 0}, "scaleDown": {"selectPolicy": "Max",
            "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}]}})
    );
    let (_, errors) = judged(up(r#""SelectPolicy":"Min""#), json!({"maxReplicas": 3}));
    assert_eq!(errors, "spec.behavior.scaleUp.policies: Required value: must specify at least one Policy");
    let (_, errors) = judged(up(&format!(r#"{policy},"Tolerance":"-1""#)), json!({"maxReplicas": 3}));
    assert_eq!(errors, r#"spec.behavior.scaleUp.tolerance: Invalid value: "-1": must be greater than or equal to 0"#);
    let pods = r#"[{"type":"Pods","pods":{"metricName":"p"}}]"#;
    let (_, errors) = judged(json!({METRICS: pods}), json!({"maxReplicas": 3, "targetCPUUtilizationPercentage": 0}));
    assert_eq!(
        errors,
        "spec.metrics[0].pods.target.averageValue: Invalid value: \"0\": must be positive; \
         spec.metrics[1].resource.target.averageUtilization: Invalid value: 0: must be greater than 0"
    );
}

#[test]
fn a_status_in_annotations_is_status() {
    let strategy = for_kind("autoscaling", KIND);
    let old = v1(full());
    // A main update changes no status, wherever v1 keeps it; a status update nothing else.
    let mut main = noted(&json!({METRICS: note(&old, METRICS), CONDITIONS: "[]"}), &old["spec"]);
    strategy.prepare_update(&mut main, &old);
    assert_eq!(v2(main.clone())["status"], full()["status"]);
    assert_eq!(v2(main)["spec"].get("behavior"), None);
    let condition = r#"[{"type":"Mine","status":"False","lastTransitionTime":null}]"#;
    let mut status = noted(&json!({CONDITIONS: condition, "mine": "new"}), &json!({}));
    strategy.prepare_status_update(&mut status, &old);
    assert_eq!(note(&status, CONDITIONS), condition);
    assert_eq!((note(&status, METRICS), note(&status, "mine")), (note(&old, METRICS), "new".into()));
    assert_eq!(v2(status)["spec"], full()["spec"]);
    let mut new = old.clone();
    strategy.prepare_create(&mut new);
    assert_eq!((note(&new, CONDITIONS), note(&new, CURRENT_METRICS)), (String::new(), String::new()));
    assert_eq!(new["status"], json!({"currentReplicas": 0, "desiredReplicas": 0}));
}

#[test]
fn v2_never_has_the_annotations() {
    let mut object = full();
    object["metadata"]["annotations"][METRICS] = "[]".into();
    object["metadata"]["annotations"]["autoscaling.alpha.kubernetes.io/scale-up-tolerance"] = "1".into();
    for_kind("autoscaling", KIND).default(&mut object);
    assert_eq!(object["metadata"]["annotations"], json!({"mine": "yes"}));
}

fn quantity() -> impl Generator<Value = Value> {
    prop::sample::select(vec!["1", "500m", "2k", "1Gi"]).prop_map(Value::from)
}

fn identifier() -> impl Generator<Value = Value> {
    ("[a-z<&]{1,5}", prop::option::of("[a-z\u{2028}\"\\\\]{0,4}")).prop_map(|(name, label)| match label {
        Some(label) => json!({"name": name, "selector": {"matchLabels": {"k": label}}}),
        None => json!({"name": name}),
    })
}

/// A target or a state with these members, one of `ways` of them.
fn amounts(ways: &'static [&'static [(&'static str, &'static str)]]) -> impl Generator<Value = Value> {
    (prop::sample::select(ways), quantity(), 1..100_i64).prop_map(|(way, quantity, percent)| {
        let member = |(name, value): &(&str, &str)| {
            let value = match *value {
                "" if *name == "averageUtilization" => percent.into(),
                "" => quantity.clone(),
                kind => kind.into(),
            };
            ((*name).to_owned(), value)
        };
        Value::Object(way.iter().map(member).collect())
    })
}

fn metric(field: &'static str, sources: [Ways; 4]) -> impl Generator<Value = Value> {
    let [object, pods, resource, external] = sources.map(amounts);
    let described = json!({"kind": "Ingress", "name": "i"});
    prop_oneof![
        (identifier(), object).prop_map(move |(metric, amounts)| json!({"type": "Object",
            "object": {"describedObject": described, "metric": metric, field: amounts}})),
        (identifier(), pods)
            .prop_map(move |(m, amounts)| json!({"type": "Pods", "pods": {"metric": m, field: amounts}})),
        (resource, any::<bool>()).prop_map(move |(amounts, container)| if container {
            json!({"type": "ContainerResource", "containerResource": {"name": "cpu", "container": "c", field: amounts}})
        } else {
            json!({"type": "Resource", "resource": {"name": "memory", field: amounts}})
        }),
        (identifier(), external)
            .prop_map(move |(m, amounts)| json!({"type": "External", "external": {"metric": m, field: amounts}})),
    ]
}

type Ways = &'static [&'static [(&'static str, &'static str)]];

const TARGETS: [Ways; 4] = [
    &[
        &[("type", "Value"), ("value", "")],
        &[("type", "AverageValue"), ("averageValue", "")],
        &[("type", "AverageValue"), ("value", ""), ("averageValue", "")],
    ],
    &[&[("type", "AverageValue"), ("averageValue", "")]],
    &[&[("type", "Utilization"), ("averageUtilization", "")], &[("type", "AverageValue"), ("averageValue", "")]],
    &[&[("type", "Value"), ("value", "")], &[("type", "AverageValue"), ("averageValue", "")]],
];
const STATES: [Ways; 4] = [
    &[&[("value", "")], &[("value", ""), ("averageValue", "")]],
    &[&[("averageValue", "")]],
    &[&[("averageValue", "")], &[("averageValue", ""), ("averageUtilization", "")]],
    &[&[("value", "")], &[("value", ""), ("averageValue", "")]],
];

fn autoscalers() -> impl Generator<Value = Value> {
    let rules = (prop::option::of(0..3600_i64), prop::option::of(quantity()), 0..3_usize).prop_map(
        |(window, tolerance, policies)| {
            let mut rules = json!({"selectPolicy": "Min"});
            if policies > 0 {
                rules["policies"] = vec![json!({"type": "Pods", "value": 1, "periodSeconds": 9}); policies].into();
            }
            for (name, value) in [("stabilizationWindowSeconds", window.map(Value::from)), ("tolerance", tolerance)] {
                if let Some(value) = value {
                    rules[name] = value;
                }
            }
            rules
        },
    );
    let metrics = prop::collection::vec(metric("target", TARGETS), 0..4);
    let states = prop::collection::vec(metric("current", STATES), 0..4);
    let conditions = prop::collection::vec("[a-z<>&\"\\\\\u{1}-\u{1f}]{1,9}", 0..3);
    (metrics, prop::option::of(1..100_i64), prop::option::of(rules), states, conditions, 0..3_i64).prop_map(
        |(mut metrics, cpu, rules, states, conditions, replicas)| {
            let cpu = cpu.or(metrics.is_empty().then_some(CPU_UTILIZATION));
            metrics.extend(cpu.map(aim_at_cpu));
            let mut object = json!({"apiVersion": "autoscaling/v2", "kind": KIND, "metadata": {"name": "h"},
                "spec": {"maxReplicas": 9, "metrics": metrics}, "status": {"desiredReplicas": replicas, "currentMetrics": null}});
            if let Some(rules) = rules {
                object["spec"]["behavior"] = json!({"scaleUp": rules});
            }
            if !states.is_empty() {
                object["status"]["currentMetrics"] = states.into();
            }
            if replicas > 0 {
                object["status"]["currentReplicas"] = replicas.into();
            }
            if !conditions.is_empty() {
                let condition = |message: &String| {
                    json!({"type": "T", "status": "True", "lastTransitionTime": null, "message": message})
                };
                object["status"]["conditions"] = conditions.iter().map(condition).collect();
            }
            object
        },
    )
}

proptest! {
    #[test]
    fn what_goes_through_v1_is_what_it_was(object in autoscalers()) {
        let old = v1(object.clone());
        prop_assert_eq!(&v2(old.clone()), &object);
        // And v1 through v2, as far as v2 can tell it.
        prop_assert_eq!(v1(v2(old.clone())), old);
    }
}
