//! Methods and paths, read as Kubernetes reads them.

use super::*;

fn parse(method: &Method, uri: &str) -> String {
    let uri: Uri = uri.parse().unwrap();
    let info = RequestInfo::parse(method, &uri);
    match info.resource {
        None => format!("nonresource {}", info.verb_name()),
        Some(r) => format!(
            "{} group={} version={} ns={} resource={} name={} sub={} rest={}",
            r.verb.map_or("-", verb_name),
            r.group,
            r.version,
            r.namespace,
            r.plural,
            r.name,
            r.subresource,
            r.rest
        ),
    }
}

#[test]
fn resource_paths_are_read_as_kubernetes_reads_them() {
    let cases = [
        (Method::GET, "/api/v1/namespaces", "list group= version=v1 ns= resource=namespaces name= sub= rest="),
        (Method::GET, "/api/v1/namespaces/a", "get group= version=v1 ns=a resource=namespaces name=a sub= rest="),
        (
            Method::PUT,
            "/api/v1/namespaces/a/finalize",
            "update group= version=v1 ns=a resource=namespaces name=a sub=finalize rest=",
        ),
        (Method::GET, "/api/v1/namespaces/a/pods", "list group= version=v1 ns=a resource=pods name= sub= rest="),
        (
            Method::GET,
            "/api/v1/namespaces/a/pods/p/log",
            "get group= version=v1 ns=a resource=pods name=p sub=log rest=",
        ),
        (
            Method::GET,
            "/api/v1/nodes/n/proxy/a/b",
            "get group= version=v1 ns= resource=nodes name=n sub=proxy rest=a/b",
        ),
        (
            Method::DELETE,
            "/apis/apps/v1/namespaces/a/deployments",
            "deletecollection group=apps version=v1 ns=a resource=deployments name= sub= rest=",
        ),
        (
            Method::PATCH,
            "/apis/apps/v1/namespaces/a/deployments/d",
            "patch group=apps version=v1 ns=a resource=deployments name=d sub= rest=",
        ),
        (
            Method::POST,
            "/apis/apps/v1/namespaces/a/deployments/d/scale",
            "create group=apps version=v1 ns=a resource=deployments name=d sub=scale rest=",
        ),
        (Method::GET, "/api/v1/pods?watch=1", "watch group= version=v1 ns= resource=pods name= sub= rest="),
        (Method::GET, "/api/v1/pods?watch=false", "list group= version=v1 ns= resource=pods name= sub= rest="),
        (Method::GET, "/api/v1/watch/namespaces/a/pods", "watch group= version=v1 ns=a resource=pods name= sub= rest="),
        (Method::DELETE, "/api/v1/watch/namespaces/a/pods", "- group= version=v1 ns=a resource=pods name= sub= rest="),
        (
            Method::GET,
            "/api/v1/watch/namespaces/a/pods/p",
            "watch group= version=v1 ns=a resource=pods name=p sub= rest=",
        ),
        (Method::OPTIONS, "/api/v1/pods", "- group= version=v1 ns= resource=pods name= sub= rest="),
        (
            Method::GET,
            "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode",
            "get group=rbac.authorization.k8s.io version=v1 ns= resource=clusterroles name=system:node sub= rest=",
        ),
        (Method::GET, "/api", "nonresource get"),
        (Method::GET, "/apis/apps/v1", "nonresource get"),
        (Method::GET, "/apis/apps/v1/", "nonresource get"),
        (Method::GET, "/apis/apps/v1/namespaces/a/", "nonresource get"),
        (Method::POST, "/version", "nonresource post"),
        (Method::GET, "//", "nonresource get"),
    ];
    for (method, uri, expected) in cases {
        assert_eq!(parse(&method, uri), expected, "{uri}");
    }
}
