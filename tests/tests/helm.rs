//! Real helm, with a chart of our own that has every common kind, hooks, a CRD and a custom resource.

use serde_json::Value;
use tests::{Cluster, Rest, clients, rest};
use tokio::process::Command;

/// A helm, new or old, on a cluster of its own.
struct Helm {
    cluster: Cluster,
    rest: Rest,
    program: std::path::PathBuf,
}

impl Helm {
    async fn new(variable: &str, name: &str) -> Self {
        let program = clients::program(variable, name, &["version"]);
        let cluster = Cluster::up().await;
        let rest = Rest::of(&cluster).await;
        Self { cluster, rest, program }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(args);
        command
    }

    async fn run(&self, args: &[&str]) -> String {
        clients::run(&self.cluster, &mut self.command(args)).await
    }

    async fn fails(&self, args: &[&str]) -> String {
        let output = clients::output(&self.cluster, &mut self.command(args)).await;
        assert!(!output.status.success(), "helm {args:?} succeeded");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// `helm WHAT one CHART --wait`, with more arguments.
    async fn chart(&self, what: &str, args: &[&str]) -> String {
        let chart = clients::fixture("charts/shop");
        let chart = chart.to_str().expect("UTF-8");
        self.run(&[&[what, "one", chart, "--wait", "--timeout=120s"], args].concat()).await
    }

    async fn greeting(&self) -> Value {
        self.rest.get("configmaps/one").await["data"]["greeting"].clone()
    }

    /// The states of the release's revisions.
    async fn states(&self) -> Vec<String> {
        let history = self.run(&["history", "one", "-o", "json"]).await;
        let history: Value = serde_json::from_str(&history).expect("JSON");
        let revisions = history.as_array().expect("a list").iter();
        revisions.map(|r| r["status"].as_str().expect("a state").to_owned()).collect()
    }
}

#[tokio::test]
async fn a_release_is_installed_upgraded_rolled_back_and_removed() {
    let helm = Helm::new("HELM", "helm").await;
    let notes = helm.chart("install", &[]).await;
    assert!(notes.contains("STATUS: deployed") && notes.contains("one says Hello."), "{notes}");
    assert_eq!(helm.rest.get("/apis/shop.example.com/v1/namespaces/default/fruits/one").await["spec"]["grams"], 100);
    assert_eq!(helm.rest.get("configmaps/one").await["data"]["budgets"], "true");
    let web = helm.rest.get("deployments/one").await;
    assert_eq!(web["status"]["readyReplicas"], 2);
    assert_eq!(web["metadata"]["managedFields"][0]["manager"], "helm");
    // Hooks ran, and those that are to go when they succeed did go.
    assert!(rest::has_condition(&helm.rest.get("jobs/one-prepare").await, "Complete", "True"));
    assert!(rest::has_condition(&helm.rest.get("jobs/one-greet").await, "Complete", "True"));
    let password = helm.rest.get("secrets/one").await["data"]["password"].clone();

    helm.chart("upgrade", &["--set=greeting=Hi,replicas=3"]).await;
    assert_eq!(helm.greeting().await, "Hi");
    assert_eq!(helm.rest.get("deployments/one").await["status"]["readyReplicas"], 3);
    assert_eq!(helm.rest.get("secrets/one").await["data"]["password"], password, "lookup found the old Secret");
    assert!(helm.rest.find("jobs/one-migrate").await.is_none(), "hook-succeeded");
    assert!(helm.rest.find("jobs/one-fill-1").await.is_none(), "no part of the new revision");
    assert_eq!(helm.run(&["get", "values", "one", "-o", "json"]).await.trim(), r#"{"greeting":"Hi","replicas":3}"#);
    assert!(helm.run(&["get", "manifest", "one"]).await.contains("kind: HorizontalPodAutoscaler"));

    helm.run(&["rollback", "one", "1", "--wait", "--timeout=120s"]).await;
    assert_eq!(helm.greeting().await, "Hello");
    assert_eq!(helm.states().await, ["superseded", "superseded", "deployed"]);
    let tested = helm.run(&["test", "one", "--logs", "--timeout=120s"]).await;
    assert!(tested.contains("Succeeded") && tested.contains("arg 1: tested one"), "{tested}");
    assert!(helm.run(&["list", "-A"]).await.contains("shop-1.0.0"));
    assert!(helm.run(&["status", "one"]).await.contains("STATUS: deployed"));

    helm.run(&["uninstall", "one", "--wait", "--timeout=120s"]).await;
    for gone in ["deployments/one", "services/one", "secrets/one", "secrets/sh.helm.release.v1.one.v1"] {
        assert!(helm.rest.find(gone).await.is_none(), "{gone}");
    }
    assert!(helm.rest.find("/apis/rbac.authorization.k8s.io/v1/clusterroles/one-default").await.is_none());
    // helm leaves what is in crds/.
    helm.rest.get("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/fruits.shop.example.com").await;
}

#[tokio::test]
async fn upgrades_change_between_server_side_and_client_side_apply() {
    let helm = Helm::new("HELM", "helm").await;
    helm.chart("install", &["--server-side=false"]).await;
    helm.chart("upgrade", &["--server-side=true", "--set=greeting=Servus"]).await;
    assert_eq!(helm.greeting().await, "Servus");
    helm.chart("upgrade", &["--server-side=false", "--set=greeting=Salve,replicas=1"]).await;
    assert_eq!(helm.greeting().await, "Salve");
    helm.chart("upgrade", &["--server-side=true", "--set=greeting=Ciao", "--force-conflicts"]).await;
    assert_eq!(helm.greeting().await, "Ciao");
    assert_eq!(helm.rest.get("deployments/one").await["spec"]["replicas"], 2);
}

#[tokio::test]
async fn a_failing_hook_fails_the_upgrade_and_changes_nothing() {
    let helm = Helm::new("HELM", "helm").await;
    helm.chart("install", &[]).await;
    let chart = clients::fixture("charts/shop");
    let upgrade = ["upgrade", "one", chart.to_str().unwrap(), "--wait", "--timeout=120s"];
    let error = helm.fails(&[&upgrade[..], &["--set=crumble=true,greeting=No"]].concat()).await;
    assert!(error.contains("pre-upgrade hooks failed"), "{error}");
    assert_eq!(helm.greeting().await, "Hello");
    assert_eq!(helm.states().await, ["deployed", "failed"]);
    let error = helm.fails(&[&upgrade[..], &["--set=crumble=true", "--rollback-on-failure"]].concat()).await;
    assert!(error.contains("rolled back"), "{error}");
    assert_eq!(helm.states().await.last().unwrap(), "deployed");
}

#[tokio::test]
async fn the_helm_before_works_too() {
    let helm = Helm::new("HELM_OLD", "helm-old").await;
    helm.chart("install", &["--atomic", "--set=stateful=false"]).await;
    helm.chart("upgrade", &["--install", "--atomic", "--set=stateful=false,greeting=Hi"]).await;
    assert_eq!(helm.greeting().await, "Hi");
    helm.run(&["rollback", "one", "--wait", "--timeout=120s"]).await;
    assert_eq!(helm.greeting().await, "Hello");
    helm.run(&["uninstall", "one", "--wait", "--timeout=120s"]).await;
    assert!(helm.rest.find("deployments/one").await.is_none());
}
