//! [sig-auth] (test/e2e/auth/{service_accounts,subjectreviews,selfsubjectreviews,certificates,node_authz,node_authn}.go).

use super::stage::{Patch, Scenario, Scene, play, scenarios};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tests::cluster::Options;

#[tokio::test]
async fn accounts_reviews_and_certificates() {
    let all: &[Scenario] = scenarios![
        should_mount_an_api_token_into_pods,
        should_mount_projected_service_account_token,
        should_allow_opting_out_of_api_token_automount,
        should_run_through_the_lifecycle_of_a_service_account,
        should_guarantee_kube_root_ca_crt_exist_in_any_namespace,
        should_update_a_service_account,
        should_create_a_service_account_token_and_ensure_a_successful_token_review,
        no_secret_based_service_account_token_should_be_auto_generated,
        service_account_issuer_discovery_should_support_oidc_discovery_of_service_account_issuer,
        should_support_subject_review_api_operations,
        should_support_self_subject_review_api_operations,
        should_support_csr_api_operations,
        getting_a_secret_that_does_not_exist_should_exit_with_the_forbidden_error_not_a_not_found_error,
        getting_a_secret_for_a_workload_the_node_has_access_to_should_succeed,
        a_node_should_not_be_able_to_create_or_delete_another_node,
        the_kubelet_can_delegate_service_account_tokens_to_the_api_server,
    ];
    play(Options::default(), all).await;
}

/// A pod of the `cli-report` guest, which prints the files that its arguments name.
fn report(name: &str, files: &[&str], spec: Value) -> Value {
    let args: Vec<&str> = files.iter().flat_map(|file| ["--file", *file]).collect();
    let image = format!("file://{}", tests::binary::guest("cli-report.wasm").display());
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": image, "args": args}]}});
    for (field, value) in spec.as_object().into_iter().flatten() {
        pod["spec"][field] = value.clone();
    }
    pod
}

/// What the pod printed until it ended.
async fn printed(scene: &Scene, pod: Value) -> String {
    let name = pod["metadata"]["name"].as_str().unwrap().to_owned();
    scene.post("pods", pod).await.ok();
    let ended = |pod: Option<&Value>| {
        pod.is_some_and(|pod| ["Succeeded", "Failed"].iter().any(|p| pod["status"]["phase"] == *p))
    };
    let pod = scene.wait(&format!("pods/{name}"), "ended", ended).await;
    let log = scene.get(&format!("pods/{name}/log")).await.text;
    assert_eq!(pod["status"]["phase"], "Succeeded", "{log}");
    log
}

/// The content of a file in a report.
fn file<'a>(log: &'a str, path: &str) -> &'a str {
    let line = log.lines().find_map(|line| line.strip_prefix(&format!("file {path}: ")));
    line.unwrap_or_else(|| panic!("no {path} in {log}"))
}

fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).expect("a JWT");
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

async fn review(scene: &Scene, token: &str, audiences: Value) -> Value {
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token, "audiences": audiences}});
    scene.post("/apis/authentication.k8s.io/v1/tokenreviews", review).await.ok()["status"].take()
}

async fn should_mount_an_api_token_into_pods(scene: Scene) {
    scene.post("serviceaccounts", json!({"metadata": {"name": "mount-test"}})).await.ok();
    let folder = "/var/run/secrets/kubernetes.io/serviceaccount";
    let pod = report("mounted", &[folder], json!({"serviceAccountName": "mount-test"}));
    let log = printed(&scene, pod).await;
    assert_eq!(file(&log, &format!("{folder}/namespace")), scene.namespace);
    let token = file(&log, &format!("{folder}/token"));
    let pod = scene.get("pods/mounted").await.ok();
    let bound = &claims(token)["kubernetes.io"];
    assert_eq!(
        (&bound["pod"]["uid"], &bound["serviceaccount"]["name"]),
        (&pod["metadata"]["uid"], &json!("mount-test"))
    );
    assert_eq!(bound["node"]["name"], pod["spec"]["nodeName"]);
    let status = review(&scene, token, Value::Null).await;
    assert_eq!(status["authenticated"], true, "{status}");
    assert_eq!(status["user"]["username"], format!("system:serviceaccount:{}:mount-test", scene.namespace));
    let groups: Vec<&str> = status["user"]["groups"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let of_namespace = format!("system:serviceaccounts:{}", scene.namespace);
    assert_eq!(groups, ["system:serviceaccounts", &of_namespace, "system:authenticated"]);
    assert_eq!(status["user"]["extra"]["authentication.kubernetes.io/pod-name"], json!(["mounted"]));
    // Root CA: the one that the namespace was given.
    let ca = scene.get("configmaps/kube-root-ca.crt").await.ok();
    assert!(ca["data"]["ca.crt"].as_str().unwrap().contains(file(&log, &format!("{folder}/ca.crt"))));
}

async fn should_mount_projected_service_account_token(scene: Scene) {
    let source = json!({"serviceAccountToken": {"path": "token", "expirationSeconds": 3600, "audience": "vault"}});
    let mut pod = report(
        "projected",
        &["/var/run/secrets/tokens"],
        json!({
        "volumes": [{"name": "token", "projected": {"sources": [source]}}], "automountServiceAccountToken": false}),
    );
    pod["spec"]["containers"][0]["volumeMounts"] =
        json!([{"name": "token", "mountPath": "/var/run/secrets/tokens", "readOnly": true}]);
    let log = printed(&scene, pod).await;
    let token = file(&log, "/var/run/secrets/tokens/token");
    assert_eq!(claims(token)["aud"], json!(["vault"]));
    assert_eq!(review(&scene, token, json!(["vault"])).await["audiences"], json!(["vault"]));
    // For others it is none.
    assert!(review(&scene, token, Value::Null).await["error"].as_str().unwrap().contains("invalid bearer token"));
}

async fn should_allow_opting_out_of_api_token_automount(scene: Scene) {
    for (name, mount) in [("mount", Some(true)), ("nomount", Some(false)), ("default-mount", None)] {
        scene
            .post("serviceaccounts", json!({"metadata": {"name": name}, "automountServiceAccountToken": mount}))
            .await
            .ok();
    }
    for (account, of_pod, expected) in [
        ("mount", None, true),
        ("mount", Some(true), true),
        ("mount", Some(false), false),
        ("nomount", None, false),
        ("nomount", Some(true), true),
        ("nomount", Some(false), false),
        ("default-mount", None, true),
        ("default-mount", Some(false), false),
    ] {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "pod-service-account-"}, "spec": {
            "serviceAccountName": account, "automountServiceAccountToken": of_pod,
            "containers": [{"name": "token-test", "image": "skiff.local/none:1"}]}});
        let pod = scene.post("pods?dryRun=All", pod).await.ok();
        let mounts = pod["spec"]["containers"][0]["volumeMounts"].as_array().map_or(&[][..], Vec::as_slice);
        let mounted = mounts.iter().any(|m| m["mountPath"] == "/var/run/secrets/kubernetes.io/serviceaccount");
        assert_eq!(mounted, expected, "{account} {of_pod:?}");
    }
}

async fn should_run_through_the_lifecycle_of_a_service_account(scene: Scene) {
    let labels = json!({"test-serviceaccount-static": scene.namespace});
    let created =
        scene.post("serviceaccounts", json!({"metadata": {"name": "testserviceaccount", "labels": labels}})).await.ok();
    assert_eq!(
        scene.get("serviceaccounts/testserviceaccount").await.ok()["metadata"]["uid"],
        created["metadata"]["uid"]
    );
    let everywhere = format!("/api/v1/serviceaccounts?labelSelector=test-serviceaccount-static%3D{}", scene.namespace);
    let mut watch = scene.watch(&everywhere).await;
    watch.expect("ADDED").await;
    let patch = json!({"automountServiceAccountToken": false});
    scene.patch("serviceaccounts/testserviceaccount", Patch::Strategic, patch).await.ok();
    watch.expect("MODIFIED").await;
    let found = scene.items(&everywhere).await;
    assert_eq!((found.len(), &found[0]["automountServiceAccountToken"]), (1, &json!(false)));
    scene.delete("serviceaccounts", Value::Null).await.ok();
    watch.expect("DELETED").await;
    scene.wait("serviceaccounts/default", "is made again", |account| account.is_some()).await;
}

async fn should_guarantee_kube_root_ca_crt_exist_in_any_namespace(scene: Scene) {
    let path = "configmaps/kube-root-ca.crt";
    let first = scene.wait(path, "is published", |map| map.is_some()).await;
    scene.delete(path, json!({"gracePeriodSeconds": 0})).await.ok();
    let again = |map: Option<&Value>| map.is_some_and(|map| map["metadata"]["uid"] != first["metadata"]["uid"]);
    scene.wait(path, "is there again", again).await;
    let emptied = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kube-root-ca.crt"}, "data": {"ca.crt": ""}});
    scene.put(path, &emptied).await.ok();
    scene
        .wait(path, "is put right", |map| map.is_some_and(|map| map["data"]["ca.crt"] == first["data"]["ca.crt"]))
        .await;
}

async fn should_update_a_service_account(scene: Scene) {
    scene
        .post("serviceaccounts", json!({"metadata": {"name": "e2e-sa"}, "automountServiceAccountToken": false}))
        .await
        .ok();
    let mut account = scene.get("serviceaccounts/e2e-sa").await.ok();
    assert_eq!(account["automountServiceAccountToken"], false);
    account["automountServiceAccountToken"] = true.into();
    assert_eq!(scene.put("serviceaccounts/e2e-sa", &account).await.ok()["automountServiceAccountToken"], true);
}

async fn should_create_a_service_account_token_and_ensure_a_successful_token_review(scene: Scene) {
    scene.post("serviceaccounts", json!({"metadata": {"name": "e2e-sa"}})).await.ok();
    let request =
        json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 600}});
    let answer = scene.post("serviceaccounts/e2e-sa/token", request).await.ok();
    let token = answer["status"]["token"].as_str().unwrap();
    assert!(!token.is_empty() && answer["status"]["expirationTimestamp"].is_string());
    let status = review(&scene, token, Value::Null).await;
    assert_eq!((&status["authenticated"], &status["error"]), (&json!(true), &Value::Null));
    // Who has the token is that account.
    let robot = scene.with_token(token).await;
    robot
        .get("pods")
        .await
        .refused(403, &format!("User \"system:serviceaccount:{}:e2e-sa\" cannot list resource", scene.namespace));
    let short =
        json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 10}});
    scene
        .post("serviceaccounts/e2e-sa/token", short)
        .await
        .refused(422, "spec.expirationSeconds: Invalid value: 10: may not specify a duration less than 10 minutes");
    scene.delete("serviceaccounts/e2e-sa", Value::Null).await.ok();
    assert!(review(&scene, token, Value::Null).await["authenticated"].is_null());
}

async fn no_secret_based_service_account_token_should_be_auto_generated(scene: Scene) {
    scene.post("serviceaccounts", json!({"metadata": {"name": "tokenless"}})).await.ok();
    assert!(scene.get("serviceaccounts/tokenless").await.ok()["secrets"].is_null());
    assert!(scene.items("secrets").await.is_empty());
    // One that is asked for is filled in.
    let secret = json!({"metadata": {"name": "asked-for", "annotations": {"kubernetes.io/service-account.name": "tokenless"}},
        "type": "kubernetes.io/service-account-token"});
    scene.post("secrets", secret).await.ok();
    let filled = |s: Option<&Value>| {
        s.is_some_and(|s| ["token", "ca.crt", "namespace"].iter().all(|key| s["data"][key].is_string()))
    };
    let secret = scene.wait("secrets/asked-for", "is filled in", filled).await;
    let token = BASE64_STANDARD.decode(secret["data"]["token"].as_str().unwrap()).unwrap();
    assert_eq!(review(&scene, std::str::from_utf8(&token).unwrap(), Value::Null).await["authenticated"], true);
}

async fn service_account_issuer_discovery_should_support_oidc_discovery_of_service_account_issuer(scene: Scene) {
    let role = "system:service-account-issuer-discovery";
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": format!("{}-{role}", scene.namespace)}, "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": scene.namespace}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}});
    scene.post("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding).await.ok();
    let request = json!({"spec": {"audiences": ["oidc-discovery-test"], "expirationSeconds": 600}});
    let answer = scene.post("serviceaccounts/default/token", request).await.ok();
    let token = answer["status"]["token"].as_str().unwrap();
    let header: Value =
        serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap()).unwrap();
    let request = json!({"spec": {"expirationSeconds": 600}});
    let own = scene.post("serviceaccounts/default/token", request).await.ok();
    let pod = scene.with_token(own["status"]["token"].as_str().unwrap()).await;
    let discovery = pod.get("/.well-known/openid-configuration").await;
    assert_eq!(discovery.headers["content-type"], "application/json");
    let discovery = discovery.ok();
    assert_eq!(discovery["issuer"], claims(token)["iss"]);
    assert_eq!(discovery["response_types_supported"], json!(["id_token"]));
    assert_eq!(discovery["subject_types_supported"], json!(["public"]));
    assert!(discovery["jwks_uri"].as_str().unwrap().ends_with("/openid/v1/jwks"));
    assert_eq!(discovery["id_token_signing_alg_values_supported"], json!([header["alg"]]));
    let keys = pod.get("/openid/v1/jwks").await;
    assert_eq!(keys.headers["content-type"], "application/jwk-set+json");
    assert!(keys.ok()["keys"].as_array().unwrap().iter().any(|key| key["kid"] == header["kid"] && key["use"] == "sig"));
}

async fn should_support_subject_review_api_operations(scene: Scene) {
    scene.post("serviceaccounts", json!({"metadata": {"name": "e2e"}})).await.ok();
    let user = format!("system:serviceaccount:{}:e2e", scene.namespace);
    let as_account = scene.impersonating(&user).await;
    let allowed = as_account.get("pods").await.code == 200;
    let spec = json!({"user": user, "resourceAttributes": {"verb": "list", "resource": "pods", "namespace": scene.namespace, "version": "v1"}});
    let whole = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec});
    let answer = scene.post("/apis/authorization.k8s.io/v1/subjectaccessreviews", whole).await.ok();
    assert_eq!((&answer["status"]["allowed"], allowed), (&json!(false), false));
    let mut local = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "LocalSubjectAccessReview",
        "metadata": {"namespace": scene.namespace}, "spec": spec});
    assert_eq!(scene.post("localsubjectaccessreviews", local.clone()).await.ok()["status"]["allowed"], false);
    let binding = json!({"metadata": {"name": "view"}, "subjects": [{"kind": "ServiceAccount", "name": "e2e", "namespace": scene.namespace}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}});
    scene.post("rolebindings", binding).await.ok();
    tests::eventually("the right is known", super::stage::LIMIT, || async {
        let answer = scene.post("localsubjectaccessreviews", local.clone()).await.ok();
        if answer["status"]["allowed"] == true { Ok(()) } else { Err(answer.to_string()) }
    })
    .await;
    as_account.get("pods").await.ok();
    local["spec"]["resourceAttributes"]["namespace"] = "elsewhere".into();
    scene
        .post("localsubjectaccessreviews", local)
        .await
        .refused(422, "spec.resourceAttributes.namespace: Invalid value: \"elsewhere\": must match metadata.namespace");
}

async fn should_support_self_subject_review_api_operations(scene: Scene) {
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let admin = scene.post(path, review.clone()).await.ok();
    assert!(admin["status"]["userInfo"]["groups"].as_array().unwrap().contains(&json!("system:masters")));
    let jane = scene.impersonating("jane.doe@example.com").await.post(path, review).await.ok();
    assert_eq!(
        jane["status"]["userInfo"],
        json!({"username": "jane.doe@example.com", "groups": ["system:authenticated"]})
    );
}

/// Of `CN=e2e.example.com`; and its own certificate of itself.
const REQUEST: &str = "\
    LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUlJQkFqQ0JxUUlCQURBYU1SZ3dGZ1lEVlFRRERBOWxNbVV1WlhoaGJYQnNaUz\
    VqYjIwd1dUQVRCZ2NxaGtqTwpQUUlCQmdncWhrak9QUU1CQndOQ0FBVE1STDlGdmtoVTlFOEdCek4ybzlTcjJsL2FxYUhiZzhoTkpmTFdOc0g2\
    CldwemJnNWc3S29TbytVK2RRQmwrS01aTHhNTlA3WkhFMGlNNHRyMjg1SmFyb0Mwd0t3WUpLb1pJaHZjTkFRa08KTVI0d0hEQWFCZ05WSFJFRU\
    V6QVJnZzlsTW1VdVpYaGhiWEJzWlM1amIyMHdDZ1lJS29aSXpqMEVBd0lEU0FBdwpSUUlnS3dXZ0p4VlhrdXVHU1hYT2IvQXJDd2tyVzFVcW5D\
    Y0FEM3g1RGs3bTdkMENJUUNIYWFSOElOOHJHUStFCm5WcWQ3bVNHUFViMEc0V243UG9nQ3BMTzBoaTZTUT09Ci0tLS0tRU5EIENFUlRJRklDQV\
    RFIFJFUVVFU1QtLS0tLQo=";
const CERTIFICATE: &str = "\
    LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1JSUJpekNDQVRHZ0F3SUJBZ0lVZVlSWXlYUU9VblVHeUljMWJweXJmcXNHd3pFd0NnWUlLb1\
    pJemowRUF3SXcKR2pFWU1CWUdBMVVFQXd3UFpUSmxMbVY0WVcxd2JHVXVZMjl0TUNBWERUSTJNVEV5TXpBNE1qUXpOVm9ZRHpJeApNall4TURN\
    d01EZ3lORE0xV2pBYU1SZ3dGZ1lEVlFRRERBOWxNbVV1WlhoaGJYQnNaUzVqYjIwd1dUQVRCZ2NxCmhrak9QUUlCQmdncWhrak9QUU1CQndOQ0\
    FBVE1STDlGdmtoVTlFOEdCek4ybzlTcjJsL2FxYUhiZzhoTkpmTFcKTnNINldwemJnNWc3S29TbytVK2RRQmwrS01aTHhNTlA3WkhFMGlNNHRy\
    Mjg1SmFybzFNd1VUQWRCZ05WSFE0RQpGZ1FVeVFUVXVSc2RIR3g0bDNXWXRIZWE5LzAxOUxzd0h3WURWUjBqQkJnd0ZvQVV5UVRVdVJzZEhHeD\
    RsM1dZCnRIZWE5LzAxOUxzd0R3WURWUjBUQVFIL0JBVXdBd0VCL3pBS0JnZ3Foa2pPUFFRREFnTklBREJGQWlFQXZDUkYKQ1k2VUpRZ3VPaWc3\
    M0lrc1RYNXUzbzBNRWpSTThDUzV0OUR1SXo4Q0lBaDM1a2N6ZkVsWUdDQUNpa1lCT2F0NwpEUDdHbkhWWWlpUUhsNHlNWW9xdQotLS0tLUVORC\
    BDRVJUSUZJQ0FURS0tLS0tCg==";

async fn should_support_csr_api_operations(scene: Scene) {
    let group = "/apis/certificates.k8s.io";
    assert_eq!(scene.get(group).await.ok()["preferredVersion"]["version"], "v1");
    let resources = scene.get(&format!("{group}/v1")).await.ok();
    for name in
        ["certificatesigningrequests", "certificatesigningrequests/approval", "certificatesigningrequests/status"]
    {
        assert!(resources["resources"].as_array().unwrap().iter().any(|r| r["name"] == name), "{name}");
    }
    let all = format!("{group}/v1/certificatesigningrequests");
    let signer = format!("example.com/e2e-{}", scene.namespace);
    let ours = format!("{all}?fieldSelector=spec.signerName%3D{signer}");
    let template = json!({"metadata": {"generateName": "e2e-example-csr-"}, "spec": {"request": REQUEST, "signerName": signer,
        "expirationSeconds": 3600, "usages": ["digital signature", "key encipherment", "server auth"]}});
    scene.post(&all, template.clone()).await.ok();
    scene.post(&all, template.clone()).await.ok();
    let created = scene.post(&all, template).await.ok();
    let name = created["metadata"]["name"].as_str().unwrap();
    let it = format!("{all}/{name}");
    let got = scene.get(&it).await.ok();
    assert_eq!(
        (&got["metadata"]["uid"], &got["spec"]["expirationSeconds"]),
        (&created["metadata"]["uid"], &json!(3600))
    );
    let list = scene.get(&ours).await.ok();
    assert_eq!(list["items"].as_array().unwrap().len(), 3);
    let revision = list["metadata"]["resourceVersion"].as_str().unwrap();
    let mut watch =
        scene.watch(&format!("{all}?resourceVersion={revision}&fieldSelector=metadata.name%3D{name}")).await;
    let annotation = |name: &str| json!({"metadata": {"annotations": {name: "true"}}});
    let mut patched = scene.patch(&it, Patch::Merge, annotation("patched")).await.ok();
    patched["metadata"]["annotations"]["updated"] = "true".into();
    assert_eq!(
        scene.put(&it, &patched).await.ok()["metadata"]["annotations"],
        json!({"patched": "true", "updated": "true"})
    );
    assert_eq!(watch.expect("MODIFIED").await["metadata"]["annotations"]["patched"], "true");

    let approval = format!("{it}/approval");
    assert_eq!(scene.get(&approval).await.ok()["kind"], "CertificateSigningRequest");
    let mut patch = annotation("patchedapproval");
    patch["status"] = json!({"conditions": [{"type": "ApprovalPatch", "status": "True", "reason": "e2e"}]});
    let mut approved = scene.patch(&approval, Patch::Merge, patch).await.ok();
    assert_eq!(approved["status"]["conditions"][0]["type"], "ApprovalPatch");
    assert_eq!(approved["metadata"]["annotations"]["patchedapproval"], "true");
    let condition = json!({"type": "Approved", "status": "True", "reason": "E2E", "message": "Set from an e2e test"});
    approved["status"]["conditions"].as_array_mut().unwrap().push(condition);
    assert_eq!(scene.put(&approval, &approved).await.ok()["status"]["conditions"][1]["type"], "Approved");

    let status = format!("{it}/status");
    assert_eq!(scene.get(&status).await.ok()["metadata"]["uid"], created["metadata"]["uid"]);
    let mut patch = annotation("patchedstatus");
    patch["status"] = json!({"certificate": CERTIFICATE});
    let mut signed = scene.patch(&status, Patch::Merge, patch).await.ok();
    assert_eq!(
        (&signed["status"]["certificate"], &signed["metadata"]["annotations"]["patchedstatus"]),
        (&json!(CERTIFICATE), &json!("true"))
    );
    let condition =
        json!({"type": "StatusUpdate", "status": "True", "reason": "E2E", "message": "Set from an e2e test"});
    signed["status"]["conditions"].as_array_mut().unwrap().push(condition);
    let updated = scene.put(&status, &signed).await.ok();
    assert_eq!(updated["status"]["conditions"].as_array().unwrap().last().unwrap()["type"], "StatusUpdate");

    scene.delete(&it, Value::Null).await.ok();
    scene.get(&it).await.refused(404, "not found");
    assert_eq!(scene.items(&ours).await.len(), 2);
    scene.delete(&ours, Value::Null).await.ok();
    assert!(scene.items(&ours).await.is_empty());
}

async fn getting_a_secret_that_does_not_exist_should_exit_with_the_forbidden_error_not_a_not_found_error(scene: Scene) {
    let node = scene.impersonating_in("system:node:node-x", &["system:nodes"]).await;
    node.get("secrets/foo").await.refused(403, "no relationship found between node 'node-x' and this object");
    scene.post("configmaps", json!({"metadata": {"name": "unrelated"}})).await.ok();
    node.get("configmaps/unrelated").await.refused(403, "no relationship found between node 'node-x' and this object");
}

async fn getting_a_secret_for_a_workload_the_node_has_access_to_should_succeed(scene: Scene) {
    let node = scene.impersonating_in("system:node:node-y", &["system:nodes"]).await;
    scene
        .post("secrets", json!({"metadata": {"name": "node-auth-secret"}, "data": {"data": "a2VlcCBpdCBzZWNyZXQ="}}))
        .await
        .ok();
    node.get("secrets/node-auth-secret").await.refused(403, "no relationship found");
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pause"}, "spec": {"nodeName": "node-y",
        "containers": [{"name": "pause", "image": "skiff.local/none:1"}],
        "volumes": [{"name": "secret", "secret": {"secretName": "node-auth-secret"}}]}});
    scene.post("pods", pod).await.ok();
    tests::eventually("the node may read the secret", super::stage::LIMIT, || async {
        match node.get("secrets/node-auth-secret").await.code {
            200 => Ok(()),
            code => Err(code),
        }
    })
    .await;
    scene.delete("pods/pause", json!({"gracePeriodSeconds": 0})).await.ok();
}

async fn a_node_should_not_be_able_to_create_or_delete_another_node(scene: Scene) {
    let node = scene.impersonating_in("system:node:node-z", &["system:nodes"]).await;
    let other = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "foo"}});
    node.post("/api/v1/nodes", other).await.refused(403, "node \"node-z\" is not allowed to modify node \"foo\"");
    let refused = node.delete("/api/v1/nodes/foo", Value::Null).await;
    refused.refused(403, "nodes \"foo\" is forbidden: User \"system:node:node-z\" cannot delete resource \"nodes\" in API group \"\" at the cluster scope");
}

async fn the_kubelet_can_delegate_service_account_tokens_to_the_api_server(scene: Scene) {
    let request = json!({"spec": {"expirationSeconds": 600}});
    let answer = scene.post("serviceaccounts/default/token", request).await.ok();
    let token = answer["status"]["token"].as_str().unwrap();
    let node = scene.impersonating_in("system:node:node-w", &["system:nodes"]).await;
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}});
    let answer = node.post("/apis/authentication.k8s.io/v1/tokenreviews", review).await.ok();
    assert_eq!(answer["status"]["authenticated"], true);
}
