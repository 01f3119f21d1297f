//! Server-side apply as kubectl's users know it.

use serde_json::Value;
use tests::Cluster;
use tests::cluster::Options;
use tests::kubectl::{fails, run};

/// A cluster without nodes: objects and their owners only.
async fn cluster() -> Cluster {
    Cluster::start(Options { command: "server", ..Options::default() }).await.unwrap()
}

fn write(cluster: &Cluster, name: &str, text: &str) -> String {
    let path = cluster.scratch().join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// (manager, operation, subresource) of each entry but the controllers'.
async fn owners(cluster: &Cluster, object: &str) -> Vec<(String, String, String)> {
    let json = run(cluster, &["get", object, "-o", "json", "--show-managed-fields"]).await;
    let object: Value = serde_json::from_str(&json).unwrap();
    let text = |entry: &Value, name: &str| entry[name].as_str().unwrap_or_default().to_owned();
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let mut owners: Vec<_> =
        entries.iter().map(|e| (text(e, "manager"), text(e, "operation"), text(e, "subresource"))).collect();
    owners.retain(|(manager, ..)| manager != "kube-controller-manager");
    owners.sort();
    owners
}

fn owner(manager: &str, operation: &str, subresource: &str) -> (String, String, String) {
    (manager.into(), operation.into(), subresource.into())
}

fn deployment(replicas: &str, image: &str) -> String {
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata: {{name: web, labels: {{app: web}}}}
spec:
  {replicas}
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      containers:
      - name: c
        image: {image}
        ports: [{{containerPort: 80}}]
        resources: {{limits: {{cpu: 500m}}}}
"
    )
}

#[tokio::test]
async fn an_apply_owns_prunes_and_conflicts() {
    let cluster = cluster().await;
    let two =
        write(&cluster, "two.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: '1', b: '2'}\n");
    let one = write(&cluster, "one.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: '1'}\n");
    let other = write(&cluster, "other.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: '9'}\n");
    assert_eq!(run(&cluster, &["apply", "--server-side", "-f", &two]).await, "configmap/c serverside-applied\n");
    run(&cluster, &["apply", "--server-side", "-f", &one]).await;
    assert_eq!(run(&cluster, &["get", "cm", "c", "-o", "jsonpath={.data}"]).await, r#"{"a":"1"}"#);
    let yaml = run(&cluster, &["get", "cm", "c", "-o", "yaml"]).await;
    assert!(!yaml.contains("managedFields"), "{yaml}");
    let version = run(&cluster, &["get", "cm", "c", "-o", "jsonpath={.metadata.resourceVersion}"]).await;
    run(&cluster, &["apply", "--server-side", "-f", &one]).await;
    assert_eq!(run(&cluster, &["get", "cm", "c", "-o", "jsonpath={.metadata.resourceVersion}"]).await, version);

    let refused = fails(&cluster, &["apply", "--server-side", "--field-manager=ci", "-f", &other]).await;
    assert!(refused.contains("Apply failed with 1 conflict: conflict with \"kubectl\": .data.a"), "{refused}");
    run(&cluster, &["apply", "--server-side", "--field-manager=ci", "--force-conflicts", "-f", &other]).await;
    assert_eq!(owners(&cluster, "cm/c").await, [owner("ci", "Apply", "")]);
    let dry = run(
        &cluster,
        &["apply", "--server-side", "--dry-run=server", "--force-conflicts", "-f", &one, "-o", "jsonpath={.data}"],
    )
    .await;
    assert_eq!(dry, r#"{"a":"1"}"#);
    assert_eq!(run(&cluster, &["get", "cm", "c", "-o", "jsonpath={.data}"]).await, r#"{"a":"9"}"#);
    let difference =
        tests::kubectl::output(&cluster, &["diff", "--server-side", "--force-conflicts", "-f", &one]).await;
    let difference = String::from_utf8_lossy(&difference.stdout).into_owned();
    assert!(difference.contains("-  a: \"9\"") && difference.contains("+  a: \"1\""), "{difference}");
}

#[tokio::test]
async fn each_command_is_a_manager() {
    let cluster = cluster().await;
    let file = write(&cluster, "d.yaml", &deployment("replicas: 2", "nginx"));
    run(&cluster, &["apply", "--server-side", "-f", &file]).await;
    run(&cluster, &["label", "deployment", "web", "tier=front"]).await;
    run(&cluster, &["scale", "deployment", "web", "--replicas=5"]).await;
    run(&cluster, &["set", "image", "deployment/web", "c=other"]).await;
    // `scale` says nothing: it is called as its program is.
    let program = tests::kubectl::binary();
    let program = program.file_name().unwrap().to_str().unwrap();
    let mut expected = [
        owner("kubectl", "Apply", ""),
        owner(program, "Update", "scale"),
        owner("kubectl-label", "Update", ""),
        owner("kubectl-set", "Update", ""),
    ];
    expected.sort();
    assert_eq!(owners(&cluster, "deployment/web").await, expected);
    let refused = fails(&cluster, &["apply", "--server-side", "-f", &file]).await;
    for line in [
        &*format!("conflicts with {program:?} with subresource \"scale\" using apps/v1:\n- .spec.replicas\n"),
        "Apply failed with 2 conflicts: ",
        "conflicts with \"kubectl-set\" using apps/v1:\n- .spec.template.spec.containers[name=\"c\"].image\n",
    ] {
        assert!(refused.contains(line), "{refused}");
    }
    let less = write(&cluster, "less.yaml", &deployment("paused: false", "other"));
    run(&cluster, &["apply", "--server-side", "-f", &less]).await;
    assert_eq!(run(&cluster, &["get", "deployment", "web", "-o", "jsonpath={.spec.replicas}"]).await, "5");
    let shown = run(&cluster, &["get", "deployment", "web", "-o", "yaml", "--show-managed-fields"]).await;
    assert!(shown.contains("k:{\"containerPort\":80,\"protocol\":\"TCP\"}:"), "{shown}");
}

#[tokio::test]
async fn client_side_apply_goes_over_and_back() {
    let cluster = cluster().await;
    let file = write(&cluster, "d.yaml", &deployment("replicas: 2", "nginx"));
    run(&cluster, &["apply", "-f", &file]).await;
    assert_eq!(owners(&cluster, "deployment/web").await, [owner("kubectl-client-side-apply", "Update", "")]);
    let newer = write(&cluster, "newer.yaml", &deployment("replicas: 3", "nginx"));
    run(&cluster, &["apply", "--server-side", "-f", &newer]).await;
    assert_eq!(
        owners(&cluster, "deployment/web").await,
        [owner("kubectl", "Apply", ""), owner("kubectl-last-applied", "Apply", "")]
    );
    // What is no longer in the file goes, though it was client-side apply that brought it.
    let fewer = write(
        &cluster,
        "fewer.yaml",
        &deployment("replicas: 3", "nginx").replace("        ports: [{containerPort: 80}]\n", ""),
    );
    run(&cluster, &["apply", "--server-side", "-f", &fewer]).await;
    let ports =
        run(&cluster, &["get", "deployment", "web", "-o", "jsonpath={.spec.template.spec.containers[0].ports}"]).await;
    assert_eq!(ports, "");
    run(&cluster, &["apply", "-f", &file]).await;
    let back = run(&cluster, &["get", "deployment", "web", "-o", "jsonpath={.spec.replicas}"]).await;
    assert_eq!(back, "2");
}

#[tokio::test]
async fn custom_resources_are_applied_by_their_schema() {
    let cluster = cluster().await;
    let crd = write(
        &cluster,
        "crd.yaml",
        "apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: foos.example.com}
spec:
  group: example.com
  names: {kind: Foo, plural: foos}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            properties:
              n: {type: integer}
              set: {type: array, items: {type: string}, x-kubernetes-list-type: set}
          status: {type: object, x-kubernetes-preserve-unknown-fields: true}
",
    );
    run(&cluster, &["apply", "--server-side", "-f", &crd]).await;
    run(&cluster, &["wait", "--for=condition=Established", "crd/foos.example.com", "--timeout=30s"]).await;
    let foo = |spec: &str| {
        format!(
            "apiVersion: example.com/v1\nkind: Foo\nmetadata: {{name: f}}\nspec: {spec}\nstatus: {{ignored: true}}\n"
        )
    };
    let (a, b) = (write(&cluster, "a.yaml", &foo("{n: 1, set: [a]}")), write(&cluster, "b.yaml", &foo("{set: [b]}")));
    run(&cluster, &["apply", "--server-side", "--field-manager=one", "-f", &a]).await;
    run(&cluster, &["apply", "--server-side", "--field-manager=two", "-f", &b]).await;
    assert_eq!(run(&cluster, &["get", "foo", "f", "-o", "jsonpath={.spec.set}{.status}"]).await, r#"["a","b"]"#);
    run(&cluster, &["patch", "foo", "f", "--subresource=status", "--type=merge", "-p", r#"{"status":{"phase":"x"}}"#])
        .await;
    assert_eq!(
        owners(&cluster, "foo/f").await,
        [owner("kubectl-patch", "Update", "status"), owner("one", "Apply", ""), owner("two", "Apply", "")]
    );
    let wrong = write(&cluster, "wrong.yaml", &foo("{m: 1}"));
    let refused = fails(&cluster, &["apply", "--server-side", "--validate=false", "-f", &wrong]).await;
    assert!(refused.contains(".spec.m: field not declared in schema"), "{refused}");
}

/// What `skiff up -f` says of each object.
async fn applied(cluster: &mut Cluster) -> Vec<String> {
    let mut said = Vec::new();
    while let Some(line) = cluster.line().await.filter(|line| !line.starts_with("all ready")) {
        said.push(line.trim().to_owned());
    }
    said
}

#[tokio::test]
async fn what_up_applies_kubectl_goes_on_with_in_either_way() {
    let files = tempfile::tempdir().unwrap();
    let file = files.path().join("up.yaml");
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, labels: {x: z}}\ndata: {a: '1', b: '<2 & 3>'}\n---\n\
        apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {ports: [{port: 80}]}\n";
    std::fs::write(&file, text).unwrap();
    let args = vec!["-f".to_owned(), file.display().to_string()];
    let options = Options { ephemeral: false, args: args.clone(), ..Options::default() };
    let mut cluster = Cluster::start(options).await.unwrap();
    assert_eq!(applied(&mut cluster).await, ["configmap/c created", "service/s created"]);
    let up = owner("skiff-up", "Apply", "");
    assert_eq!(owners(&cluster, "cm/c").await, std::slice::from_ref(&up));
    assert!(cluster.interrupt().await.success());
    cluster.restart().await.unwrap();
    assert_eq!(applied(&mut cluster).await, ["configmap/c unchanged", "service/s unchanged"]);

    let file = file.to_str().unwrap();
    assert_eq!(run(&cluster, &["apply", "-f", file]).await, "configmap/c unchanged\nservice/s unchanged\n");
    assert_eq!(owners(&cluster, "cm/c").await, std::slice::from_ref(&up));
    run(&cluster, &["apply", "--server-side", "-f", file]).await;
    assert_eq!(owners(&cluster, "cm/c").await[..1], [owner("kubectl", "Apply", "")]);
    assert!(owners(&cluster, "cm/c").await.contains(&up));

    // What is edited since is kubectl's to change in either way, by the last-applied annotation; others must force.
    let edited = write(&cluster, "edited.yaml", &text.replace("a: '1', ", ""));
    assert!(run(&cluster, &["apply", "-f", &edited]).await.starts_with("configmap/c configured\n"));
    assert_eq!(run(&cluster, &["get", "cm", "c", "-o", "jsonpath={.data}"]).await, r#"{"b":"\u003c2 \u0026 3\u003e"}"#);
    let edited = write(&cluster, "edited.yaml", &text.replace("<2 & 3>", "4"));
    run(&cluster, &["apply", "--server-side", "-f", &edited]).await;
    assert_eq!(run(&cluster, &["get", "cm", "c", "-o", "jsonpath={.data.b}"]).await, "4");
    let edited = write(&cluster, "edited.yaml", &text.replace("<2 & 3>", "5"));
    let refused = fails(&cluster, &["apply", "--server-side", "--field-manager=ci", "-f", &edited]).await;
    assert!(refused.contains("conflict with \"kubectl\": .data.b"), "{refused}");
}
