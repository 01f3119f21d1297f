//! The commands of kubectl that people type by the day, each with what it must print. Works with old and new kubectl.

use tests::Cluster;
use tests::kubectl::{fails, run};

const WEB: &str = "--image=skiff.dev/examples/hello-http:v1";
const REPORT: &str = "--image=skiff.dev/examples/cli-report:v1";

/// Runs a line of words; `→` parts what it must print.
async fn says(cluster: &Cluster, line: &str) {
    let (line, expected) = line.split_once(" → ").unwrap_or((line, ""));
    let args: Vec<&str> = line.split_whitespace().collect();
    let printed = run(cluster, &args).await;
    assert!(printed.contains(expected), "kubectl {line}: no {expected:?} in\n{printed}");
}

/// The same for a line that must fail.
async fn refuses(cluster: &Cluster, line: &str) {
    let (line, expected) = line.split_once(" → ").expect("an error");
    let args: Vec<&str> = line.split_whitespace().collect();
    let printed = fails(cluster, &args).await;
    assert!(printed.contains(expected), "kubectl {line}: no {expected:?} in\n{printed}");
}

#[tokio::test]
async fn generators_make_every_common_kind_and_describe_shows_it() {
    let cluster = Cluster::up().await;
    for (create, object) in [
        ("create configmap cm --from-literal=a=b", "configmap/cm"),
        ("create secret generic s --from-literal=a=b", "secret/s"),
        ("create secret docker-registry dr --docker-username=a --docker-password=b", "secret/dr"),
        ("create deployment web IMAGE --port=8080", "deployment.apps/web"),
        ("create job once REPORT", "job.batch/once"),
        ("create cronjob cj REPORT --schedule=0/5+*+*+*+*", "cronjob.batch/cj"),
        ("create job manual --from=cronjob/cj", "job.batch/manual"),
        ("create role r --verb=get,list --resource=pods,deployments.apps", "role.rbac.authorization.k8s.io/r"),
        ("create rolebinding rb --role=r --user=jane", "rolebinding.rbac.authorization.k8s.io/rb"),
        ("create clusterrole cr --verb=get --resource=nodes", "clusterrole.rbac.authorization.k8s.io/cr"),
        (
            "create clusterrolebinding crb --clusterrole=cr --user=jane",
            "clusterrolebinding.rbac.authorization.k8s.io/crb",
        ),
        ("create serviceaccount sa", "serviceaccount/sa"),
        ("create service clusterip svc --tcp=80:8080", "service/svc"),
        ("create service nodeport np --tcp=80:8080", "service/np"),
        ("create service externalname en --external-name=example.com", "service/en"),
        ("create ingress ing --rule=a.example.com/x*=svc:80,tls=sec", "ingress.networking.k8s.io/ing"),
        ("create pdb pdb --selector=app=web --min-available=1", "poddisruptionbudget.policy/pdb"),
        ("create priorityclass pc --value=100", "priorityclass.scheduling.k8s.io/pc"),
        ("run one IMAGE --image-pull-policy=IfNotPresent", "pod/one"),
        ("create quota q --hard=pods=20", "resourcequota/q"),
    ] {
        let line = create.replace("IMAGE", WEB).replace("REPORT", REPORT);
        // A schedule has spaces.
        let words: Vec<String> = line.split(' ').map(|word| word.replace("0/5+", "*/5+").replace('+', " ")).collect();
        let printed = run(&cluster, &words.iter().map(String::as_str).collect::<Vec<_>>()).await;
        assert_eq!(printed.trim(), format!("{object} created"));
        let described = run(&cluster, &["describe", object]).await;
        let name = object.split('/').next_back().unwrap();
        assert!(described.starts_with("Name:") && described.lines().next().unwrap().contains(name), "{described}");
    }
    for line in [
        "expose deployment web --port=80 --target-port=8080 --name=webx → service/webx exposed",
        "autoscale deployment web --min=1 --max=3 → horizontalpodautoscaler.autoscaling/web autoscaled",
        "describe hpa web → Max replicas:",
        "wait --for=condition=Available deployment/web --timeout=120s → deployment.apps/web condition met",
        "wait --for=condition=complete job/once job/manual --timeout=120s → job.batch/once condition met",
        "wait --for=jsonpath={.status.phase}=Running pod/one --timeout=120s → pod/one condition met",
        "get ing,pdb,hpa,sa,quota,pc → a.example.com",
        "get service en → example.com",
        "get deploy web -o custom-columns=N:.metadata.name,R:.spec.replicas → web   1",
        "get secrets --sort-by=.metadata.name --chunk-size=1 → Opaque",
        "get pods -l app!=web,run=one --field-selector=status.phase=Running --show-labels → run=one",
        "get deploy web -o go-template={{.spec.replicas}} → 1",
        "create token sa → ey",
        "auth can-i get pods --as=jane → yes",
        "auth can-i --list --as=jane → deployments.apps",
        "describe limits",
        "explain deployment.spec.template.spec.containers.ports → containerPort\t<integer> -required-",
        "explain pod --recursive → terminationGracePeriodSeconds",
        "api-resources --categories=all → deployments",
        "cluster-info dump → \"NodeList\"",
    ] {
        says(&cluster, line).await;
    }
    for line in [
        "get pods --as=joe → pods is forbidden: User \"joe\" cannot list resource \"pods\" in API group \"\" in the namespace \"default\"",
        "top nodes → Metrics API not available",
        "get nonsense → the server doesn't have a resource type \"nonsense\"",
        "create configmap cm → configmaps \"cm\" already exists",
    ] {
        refuses(&cluster, line).await;
    }
}

#[tokio::test]
async fn objects_are_changed_in_every_way() {
    let cluster = Cluster::up().await;
    run(&cluster, &["create", "deployment", "web", WEB, "--replicas=2"]).await;
    let editor = cluster.scratch().join("editor");
    std::fs::write(&editor, "#!/bin/sh\nsed -i 's/replicas: 2/replicas: 3/' \"$1\"\n").unwrap();
    std::process::Command::new("chmod").arg("+x").arg(&editor).status().unwrap();
    let mut edit = tests::kubectl::command(&cluster, &["edit", "deployment", "web"]);
    let edited = edit.env("KUBE_EDITOR", &editor).output().await.unwrap();
    assert!(String::from_utf8_lossy(&edited.stdout).contains("deployment.apps/web edited"), "{edited:?}");
    for line in [
        "get deploy web -o jsonpath={.spec.replicas} → 3",
        "label deploy web e=f → deployment.apps/web labeled",
        "label deploy web e- → deployment.apps/web unlabeled",
        "set resources deploy/web --limits=memory=64Mi → deployment.apps/web resource requirements updated",
        "set env deploy/web A=B → deployment.apps/web env updated",
        "set env deploy/web --list → A=B",
        "set image deploy/web hello-http=skiff.dev/examples/hello-http:v1",
        "rollout status deploy/web --timeout=120s → successfully rolled out",
        "scale deploy web --replicas=1 --current-replicas=3 → deployment.apps/web scaled",
        "patch deploy web --subresource=scale --type=merge -p {\"spec\":{\"replicas\":2}} → patched",
        "rollout status deploy/web --timeout=120s → successfully rolled out",
        "cordon node-1 → node/node-1 cordoned",
        "get nodes → Ready,SchedulingDisabled",
        "uncordon node-1 → node/node-1 uncordoned",
        "taint node node-1 k=v:NoSchedule → node/node-1 tainted",
        "taint node node-1 k- → node/node-1 untainted",
        "drain node-1 --ignore-daemonsets --timeout=120s → node/node-1 drained",
        "uncordon node-1",
        "delete deploy web --cascade=orphan → deployment.apps \"web\" deleted",
        "get rs -o name → replicaset.apps/web-",
        "delete rs --all --cascade=foreground --timeout=120s",
        "delete cm zz --ignore-not-found",
    ] {
        says(&cluster, line).await;
    }
    assert_eq!(run(&cluster, &["get", "pods", "-o", "name"]).await, "");
    run(&cluster, &["create", "deployment", "web", WEB]).await;
    for line in [
        "scale deploy web --replicas=4 --current-replicas=3 → xpected replicas to be 3, was 1",
        "rollout undo deploy/web --to-revision=99 → unable to find specified revision 99 in history",
        "patch deploy web --type=json -p [{\"op\":\"test\",\"path\":\"/spec/replicas\",\"value\":9}] → the server rejected our request due to an error in our request",
        "patch deploy web -p {\"spec\":{\"selector\":{\"matchLabels\":{\"x\":\"y\"}}}} → field is immutable",
        "delete cm zz → configmaps \"zz\" not found",
    ] {
        refuses(&cluster, line).await;
    }
}
