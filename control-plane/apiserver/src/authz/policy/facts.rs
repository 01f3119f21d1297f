//! What Kubernetes' test data says of the default policy: which roles there are, how many rules each has, and the rules
//! that a cluster's parts have been seen to stumble over.

use super::*;

/// (role, with its namespace where it has one; how many rules it has of its own; 0: those of its parts)
#[rustfmt::skip]
const ROLES: &[(&str, usize)] = &[
    ("cluster-admin", 2), ("system:discovery", 1), ("system:monitoring", 2), ("system:basic-user", 2),
    ("system:public-info-viewer", 1), ("system:service-account-issuer-discovery", 1), ("admin", 0), ("edit", 0),
    ("view", 0), ("system:aggregate-to-admin", 2), ("system:aggregate-to-edit", 14), ("system:aggregate-to-view", 11),
    ("system:heapster", 2), ("system:node", 25), ("system:node-problem-detector", 3), ("system:kubelet-api-admin", 4),
    ("system:node-bootstrapper", 1), ("system:auth-delegator", 2), ("system:kube-aggregator", 1),
    ("system:kube-controller-manager", 11), ("system:kube-dns", 1), ("system:persistent-volume-provisioner", 5),
    ("system:certificates.k8s.io:certificatesigningrequests:nodeclient", 1),
    ("system:certificates.k8s.io:certificatesigningrequests:selfnodeclient", 1), ("system:volume-scheduler", 3),
    ("system:certificates.k8s.io:legacy-unknown-approver", 1),
    ("system:certificates.k8s.io:kubelet-serving-approver", 1),
    ("system:certificates.k8s.io:kube-apiserver-client-approver", 1),
    ("system:certificates.k8s.io:kube-apiserver-client-kubelet-approver", 1), ("system:node-proxier", 5),
    ("system:kube-scheduler", 27), ("system:controller:attachdetach-controller", 8),
    ("system:controller:clusterrole-aggregation-controller", 1), ("system:controller:cronjob-controller", 6),
    ("system:controller:daemon-set-controller", 8), ("system:controller:deployment-controller", 6),
    ("system:controller:disruption-controller", 9), ("system:controller:endpoint-controller", 4),
    ("system:controller:endpointslice-controller", 4), ("system:controller:endpointslicemirroring-controller", 5),
    ("system:controller:expand-controller", 4), ("system:controller:ephemeral-volume-controller", 4),
    ("system:controller:resource-claim-controller", 7), ("system:controller:device-taint-eviction-controller", 8),
    ("system:controller:generic-garbage-collector", 2), ("system:controller:horizontal-pod-autoscaler", 8),
    ("system:controller:job-controller", 5), ("system:controller:namespace-controller", 3),
    ("system:controller:node-controller", 6), ("system:controller:persistent-volume-binder", 9),
    ("system:controller:pod-garbage-collector", 3), ("system:controller:replicaset-controller", 5),
    ("system:controller:replication-controller", 5), ("system:controller:resourcequota-controller", 3),
    ("system:controller:route-controller", 3), ("system:controller:service-account-controller", 2),
    ("system:controller:service-controller", 4), ("system:controller:service-cidrs-controller", 5),
    ("system:controller:statefulset-controller", 10), ("system:controller:ttl-controller", 2),
    ("system:controller:certificate-controller", 6), ("system:controller:pvc-protection-controller", 3),
    ("system:controller:pv-protection-controller", 2),
    ("system:controller:volumeattributesclass-protection-controller", 4),
    ("system:controller:ttl-after-finished-controller", 2), ("system:controller:root-ca-cert-publisher", 2),
    ("system:controller:validatingadmissionpolicy-status-controller", 3),
    ("system:controller:legacy-service-account-token-cleaner", 2),
    ("system:controller:selinux-warning-controller", 5), ("kube-system/extension-apiserver-authentication-reader", 1),
    ("kube-system/system:controller:bootstrap-signer", 1), ("kube-system/system:controller:cloud-provider", 1),
    ("kube-system/system:controller:token-cleaner", 2),
    ("kube-system/system::leader-locking-kube-controller-manager", 2),
    ("kube-system/system::leader-locking-kube-scheduler", 2), ("kube-public/system:controller:bootstrap-signer", 3),
];

/// (role, a rule of it: verbs, groups, resources, names or paths)
#[rustfmt::skip]
const RULES: &[(&str, &str)] = &[
    ("cluster-admin", "* | * | *"),
    ("cluster-admin", "* | *"),
    ("system:monitoring", "get | /flagz,/healthz,/healthz/*,/livez,/livez/*,/metrics,/metrics/slis,/readyz,/readyz/*,/statusz"),
    ("system:monitoring", "get |  | nodes/metrics"),
    ("system:basic-user", "create | authorization.k8s.io | selfsubjectaccessreviews,selfsubjectrulesreviews"),
    ("system:basic-user", "create | authentication.k8s.io | selfsubjectreviews"),
    ("system:discovery", "get | /api,/api/*,/apis,/apis/*,/healthz,/livez,/openapi,/openapi/*,/readyz,/version,/version/"),
    ("system:public-info-viewer", "get | /healthz,/livez,/readyz,/version,/version/"),
    ("system:aggregate-to-edit", "impersonate |  | serviceaccounts"),
    ("system:aggregate-to-edit", "create |  | serviceaccounts/token"),
    ("system:aggregate-to-edit", "create |  | pods/eviction"),
    ("system:aggregate-to-view", "get,list,watch |  | namespaces"),
    ("system:aggregate-to-view", "get,list,watch | discovery.k8s.io | endpointslices"),
    ("system:aggregate-to-admin", "create | authorization.k8s.io | localsubjectaccessreviews"),
    ("system:node", "create,patch,update | ,events.k8s.io | events"),
    ("system:node", "create | authentication.k8s.io | tokenreviews"),
    ("system:node", "create |  | serviceaccounts/token"),
    ("system:node", "create |  | pods/eviction"),
    ("system:node-proxier", "create,patch,update | ,events.k8s.io | events"),
    ("system:node-bootstrapper", "create,get,list,watch | certificates.k8s.io | certificatesigningrequests"),
    ("system:auth-delegator", "create | authentication.k8s.io | tokenreviews"),
    ("system:auth-delegator", "create | authorization.k8s.io | subjectaccessreviews"),
    ("system:kube-scheduler", "create |  | bindings,pods/binding"),
    ("system:kube-scheduler", "patch,update |  | pods/status"),
    ("system:kube-scheduler", "get,list,update,watch | coordination.k8s.io | leases | kube-scheduler"),
    ("system:kube-dns", "list,watch |  | endpoints,services"),
    ("system:controller:clusterrole-aggregation-controller", "escalate,get,list,patch,update,watch | rbac.authorization.k8s.io | clusterroles"),
    ("system:controller:generic-garbage-collector", "delete,get,list,patch,update,watch | * | *"),
    ("system:controller:namespace-controller", "delete,deletecollection,get,list,watch | * | *"),
    ("system:controller:resourcequota-controller", "list,watch | * | *"),
    ("system:controller:cronjob-controller", "delete,list,watch |  | pods"),
    ("system:controller:statefulset-controller", "create,delete,get,patch,update |  | pods"),
    ("system:controller:horizontal-pod-autoscaler", "get,update | * | */scale"),
    ("system:controller:horizontal-pod-autoscaler", "list,watch | metrics.k8s.io | pods"),
    ("system:controller:root-ca-cert-publisher", "create,update |  | configmaps"),
    ("system:controller:disruption-controller", "update | policy | poddisruptionbudgets/status"),
    ("kube-system/extension-apiserver-authentication-reader", "get,list,watch |  | configmaps | extension-apiserver-authentication"),
];

fn render(rule: &Rule) -> String {
    let verbs = rule.verbs.join(",");
    if !rule.non_resource_urls.is_empty() {
        return format!("{verbs} | {}", rule.non_resource_urls.join(","));
    }
    let whole = format!("{verbs} | {} | {}", rule.api_groups.join(","), rule.resources.join(","));
    if rule.resource_names.is_empty() { whole } else { format!("{whole} | {}", rule.resource_names.join(",")) }
}

fn full_name(role: &Role) -> String {
    if role.namespace.is_empty() { role.name.clone() } else { format!("{}/{}", role.namespace, role.name) }
}

#[test]
fn the_roles_are_those_of_kubernetes() {
    let found: Vec<(String, usize)> = parse().roles.iter().map(|role| (full_name(role), role.rules.len())).collect();
    let expected: Vec<(String, usize)> = ROLES.iter().map(|(name, count)| ((*name).into(), *count)).collect();
    assert_eq!(found, expected);
}

#[test]
fn what_parts_of_a_cluster_need_is_granted() {
    let roles = parse().roles;
    let mut missing = Vec::new();
    for (name, text) in RULES {
        let role = roles.iter().find(|role| full_name(role) == *name).unwrap_or_else(|| panic!("no {name}"));
        let rules: Vec<String> = role.rules.iter().map(render).collect();
        if !rules.iter().any(|rule| rule == text) {
            missing.push(format!("{name}: {text}\n  has {rules:#?}"));
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn each_object_says_that_it_is_a_default_and_may_be_completed() {
    for PolicyObject { object, plural, .. } in objects() {
        let metadata = &object["metadata"];
        assert_eq!(metadata["labels"]["kubernetes.io/bootstrapping"], "rbac-defaults", "{plural} {metadata}");
        assert_eq!(metadata["annotations"]["rbac.authorization.kubernetes.io/autoupdate"], "true", "{metadata}");
    }
}
