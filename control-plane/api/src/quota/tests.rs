#![allow(clippy::needless_pass_by_value, reason = "documents are written where they are used")]

use super::*;
use serde_json::json;

const PODS: Kind<'static> = ("", "pods");

fn now() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

fn quota(hard: Value) -> Value {
    json!({"metadata": {"name": "q"}, "spec": {"hard": hard}})
}

fn pod(requests: Value, limits: Value) -> Value {
    json!({"spec": {"containers": [{"name": "c", "resources": {"requests": requests, "limits": limits}}]}})
}

fn charged(quota: &Value, used: Value, change: (Kind<'_>, &Value, Option<&Value>)) -> Result<Option<String>, String> {
    let change = Change { kind: change.0, new: change.1, old: change.2 };
    check_constraints(quota, &change)?;
    let after = charge(quota, &amounts::read(Some(&used)), &change, now())?;
    Ok(after.map(|after| amounts::pretty(&after)))
}

#[test]
fn what_fits_is_charged_and_what_does_not_is_told_as_kubernetes_tells_it() {
    let q = quota(json!({"pods": "2"}));
    let plain = pod(json!({}), json!({}));
    assert_eq!(charged(&q, json!({"pods": "1"}), (PODS, &plain, None)).unwrap().unwrap(), "pods=2");
    assert_eq!(
        charged(&q, json!({"pods": "2"}), (PODS, &plain, None)).unwrap_err(),
        "exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2"
    );
    let q = quota(json!({"requests.cpu": "1", "limits.memory": "1Gi", "requests.skiff.dev/fuel": "3"}));
    let big = pod(json!({"cpu": "600m", "skiff.dev/fuel": "2"}), json!({"memory": "512Mi", "skiff.dev/fuel": "2"}));
    let used = json!({"requests.cpu": "500m", "limits.memory": "512Mi", "requests.skiff.dev/fuel": "2"});
    assert_eq!(
        charged(&q, used, (PODS, &big, None)).unwrap_err(),
        "exceeded quota: q, requested: requests.cpu=600m,requests.skiff.dev/fuel=2, used: requests.cpu=500m,requests.skiff.dev/fuel=2, limited: requests.cpu=1,requests.skiff.dev/fuel=3"
    );
    assert_eq!(
        charged(&q, json!({}), (PODS, &plain, None)).unwrap_err(),
        "must specify limits.memory for: c; requests.cpu for: c"
    );
}

#[test]
fn updates_are_charged_for_what_they_add() {
    let q = quota(json!({"services.nodeports": "3", "services": "1"}));
    let service = |kind: &str, ports: usize| json!({"spec": {"type": kind, "ports": vec![json!({"port": 1}); ports]}});
    let services: Kind<'_> = ("", "services");
    let used = || json!({"services": "1", "services.nodeports": "2"});
    let change = |old: &Value, new: &Value| charged(&q, used(), (services, new, Some(old)));
    assert_eq!(
        change(&service("ClusterIP", 2), &service("NodePort", 1)).unwrap().unwrap(),
        "services=1,services.nodeports=3"
    );
    assert_eq!(change(&service("NodePort", 2), &service("ClusterIP", 2)), Ok(None));
    assert_eq!(
        change(&service("ClusterIP", 2), &service("LoadBalancer", 2)).unwrap_err(),
        "exceeded quota: q, requested: services.nodeports=2, used: services.nodeports=2, limited: services.nodeports=3"
    );
}

#[test]
fn every_resource_name_finds_its_kind() {
    let cases: [(&str, Kind<'_>); 13] = [
        ("pods", PODS),
        ("limits.cpu", PODS),
        ("hugepages-2Mi", PODS),
        ("requests.example.com/gpu", PODS),
        ("count/pods", PODS),
        ("requests.storage", ("", "persistentvolumeclaims")),
        ("gold.storageclass.storage.k8s.io/requests.storage", ("", "persistentvolumeclaims")),
        ("services.loadbalancers", ("", "services")),
        ("secrets", ("", "secrets")),
        ("count/secrets", ("", "secrets")),
        ("count/deployments.apps", ("apps", "deployments")),
        ("count/widgets.example.com", ("example.com", "widgets")),
        ("count/events", ("", "events")),
    ];
    for (name, kind) in cases {
        assert!(tracks(kind, name), "{name}");
        let hard = Amounts::from([(name.to_owned(), Quantity::from_int(1))]);
        assert_eq!(kinds(&hard).into_iter().collect::<Vec<_>>(), [(kind.0.to_owned(), kind.1.to_owned())], "{name}");
    }
    assert!(!tracks(("apps", "deployments"), "count/deployments"));
    assert!(!tracks(PODS, "requests.storage"));
}

#[test]
fn pods_count_while_they_live() {
    let used = |pod: Value| amounts::pretty(&usage(PODS, &pod, now()));
    let mut running = pod(json!({"cpu": "1"}), json!({}));
    assert_eq!(used(running.clone()), "count/pods=1,cpu=1,pods=1,requests.cpu=1");
    running["metadata"] = json!({"deletionTimestamp": "2025-12-31T23:59:00Z", "deletionGracePeriodSeconds": 30});
    assert_eq!(used(running.clone()), "count/pods=1");
    running["metadata"]["deletionGracePeriodSeconds"] = 90.into();
    assert_eq!(used(running.clone()), "count/pods=1,cpu=1,pods=1,requests.cpu=1");
    running["status"]["phase"] = "Succeeded".into();
    assert_eq!(used(running), "count/pods=1");
}

#[test]
fn claims_are_charged_to_their_class_too() {
    let claim = json!({"spec": {"storageClassName": "gold", "resources": {"requests": {"storage": "1Gi"}}}});
    assert_eq!(
        amounts::pretty(&usage(("", "persistentvolumeclaims"), &claim, now())),
        "count/persistentvolumeclaims=1,gold.storageclass.storage.k8s.io/persistentvolumeclaims=1,\
         gold.storageclass.storage.k8s.io/requests.storage=1Gi,persistentvolumeclaims=1,requests.storage=1Gi"
    );
}

#[test]
fn scopes_say_which_pods_a_quota_is_about() {
    let scoped = |scopes: Value| json!({"spec": {"hard": {"pods": "1"}, "scopes": scopes}});
    let selected = |operator: &str, values: Value| {
        json!({"spec": {"hard": {"pods": "1"}, "scopeSelector": {"matchExpressions": [
            {"scopeName": "PriorityClass", "operator": operator, "values": values}]}}})
    };
    let best_effort = pod(json!({}), json!({}));
    let burstable = pod(json!({"cpu": "1"}), json!({}));
    let mut timed = best_effort.clone();
    timed["spec"]["activeDeadlineSeconds"] = 1.into();
    let mut high = best_effort.clone();
    high["spec"]["priorityClassName"] = "high".into();
    let mut nosy = best_effort.clone();
    nosy["spec"]["affinity"] =
        json!({"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"namespaces": ["x"]}]}});
    let cases = [
        (scoped(json!(["BestEffort"])), [true, false, true, true, true]),
        (scoped(json!(["NotBestEffort"])), [false, true, false, false, false]),
        (scoped(json!(["Terminating"])), [false, false, true, false, false]),
        (scoped(json!(["NotTerminating", "BestEffort"])), [true, false, false, true, true]),
        (scoped(json!(["CrossNamespacePodAffinity"])), [false, false, false, false, true]),
        (selected("In", json!(["high"])), [false, false, false, true, false]),
        (selected("NotIn", json!(["high"])), [true, true, true, false, true]),
        (selected("DoesNotExist", json!([])), [true, true, true, false, true]),
    ];
    for (quota, wanted) in cases {
        let found = [&best_effort, &burstable, &timed, &high, &nosy].map(|pod| concerns(&quota, PODS, pod));
        assert_eq!(found, wanted, "{quota}");
    }
    let counts = json!({"spec": {"hard": {"count/secrets": "1"}, "scopes": ["BestEffort"]}});
    assert!(!concerns(&counts, ("", "secrets"), &json!({})));
}

struct Few;

impl Inventory for Few {
    fn objects(&self, plural: &str) -> Vec<Value> {
        match plural {
            "pods" => vec![pod(json!({"cpu": "1"}), json!({})), pod(json!({}), json!({}))],
            _ => Vec::new(),
        }
    }

    fn count(&self, kind: Kind<'_>) -> Option<i64> {
        (kind == ("example.com", "widgets")).then_some(7)
    }
}

#[test]
fn recounting_counts_all_that_can_be_counted() {
    let q = quota(json!({
        "pods": "9", "requests.cpu": "9", "services": "9", "count/widgets.example.com": "9", "count/nothings.example.com": "9",
    }));
    let used = recount(&q, &Few, now());
    assert_eq!(amounts::pretty(&used), "count/widgets.example.com=7,pods=2,requests.cpu=1,services=0");
    let scoped = json!({"spec": {"hard": {"pods": "9"}, "scopes": ["BestEffort"]}});
    assert_eq!(amounts::pretty(&recount(&scoped, &Few, now())), "pods=1");
}

#[test]
fn a_status_about_other_limits_is_not_believed() {
    let mut q = quota(json!({"pods": "2"}));
    assert!(used(&q).is_none());
    q["status"] = json!({"hard": {"pods": "2"}, "used": {"pods": "1"}});
    assert_eq!(amounts::pretty(&used(&q).unwrap()), "pods=1");
    q["spec"]["hard"]["secrets"] = "1".into();
    assert!(used(&q).is_none());
}
