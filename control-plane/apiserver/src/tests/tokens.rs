//! Tokens of service accounts and of nodes that join.

use super::*;

const ACCOUNTS: &str = "/api/v1/namespaces/default/serviceaccounts";

async fn token(cluster: &Cluster, spec: Value) -> String {
    let answer = cluster.post(&format!("{ACCOUNTS}/robot/token"), json!({"spec": spec})).await;
    answer["status"]["token"].as_str().unwrap().to_owned()
}

async fn with_robot() -> Cluster {
    let cluster = Cluster::new().await;
    cluster.post(ACCOUNTS, json!({"metadata": {"name": "robot"}})).await;
    cluster
}

async fn code(cluster: &Cluster, token: &str) -> u16 {
    cluster.with_token(token, "/api").await.code.as_u16()
}

#[tokio::test]
async fn a_token_stands_for_its_account_until_it_expires() {
    let cluster = with_robot().await;
    let short = token(&cluster, json!({"expirationSeconds": 600})).await;
    assert_eq!(code(&cluster, &short).await, 200);
    let review = json!({"spec": {"token": short}});
    let review = cluster.post("/apis/authentication.k8s.io/v1/tokenreviews", review).await;
    let user = &review["status"]["user"];
    assert_eq!(user["username"], "system:serviceaccount:default:robot");
    assert_eq!(
        user["groups"],
        json!(["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"])
    );
    assert!(user["extra"]["authentication.kubernetes.io/credential-id"][0].as_str().unwrap().starts_with("JTI="));
    cluster.advance(Duration::from_secs(601));
    assert_eq!(code(&cluster, &short).await, 401);
}

#[tokio::test]
async fn a_token_ends_with_its_account() {
    let cluster = with_robot().await;
    let token = token(&cluster, json!({})).await;
    assert_eq!(code(&cluster, &token).await, 200);
    cluster.ok("DELETE", &format!("{ACCOUNTS}/robot"), Value::Null).await;
    assert_eq!(code(&cluster, &token).await, 401);
    cluster.post(ACCOUNTS, json!({"metadata": {"name": "robot"}})).await;
    assert_eq!(code(&cluster, &token).await, 401, "another account of the same name");
}

#[tokio::test]
async fn a_token_bound_to_a_pod_ends_with_it() {
    let cluster = with_robot().await;
    let mut body = pod("p");
    body["spec"]["serviceAccountName"] = "robot".into();
    let made = cluster.post(PODS, body).await;
    let reference = json!({"kind": "Pod", "apiVersion": "v1", "name": "p", "uid": made["metadata"]["uid"]});
    let token = token(&cluster, json!({"boundObjectRef": reference, "expirationSeconds": 3607})).await;
    let review = cluster.post("/apis/authentication.k8s.io/v1/tokenreviews", json!({"spec": {"token": token}})).await;
    assert_eq!(review["status"]["user"]["extra"]["authentication.kubernetes.io/pod-name"], json!(["p"]));
    cluster.advance(Duration::from_secs(7200));
    assert_eq!(code(&cluster, &token).await, 200, "what the plugin asks for lives for a year");
    cluster.ok("DELETE", &format!("{PODS}/p"), json!({"gracePeriodSeconds": 0})).await;
    assert_eq!(code(&cluster, &token).await, 401);
    let other = json!({"spec": {"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "q"}}});
    cluster.post(PODS, pod("q")).await;
    let status = cluster.fails("POST", &format!("{ACCOUNTS}/robot/token"), other).await;
    assert_eq!(
        status["message"],
        "cannot bind token for serviceaccount \"robot\" to pod running with different serviceaccount name."
    );
}

#[tokio::test]
async fn a_token_is_for_its_audience_only() {
    let cluster = with_robot().await;
    let vault = token(&cluster, json!({"audiences": ["vault"]})).await;
    assert_eq!(code(&cluster, &vault).await, 401);
    let path = "/apis/authentication.k8s.io/v1/tokenreviews";
    let review = cluster.post(path, json!({"spec": {"token": vault, "audiences": ["vault", "x"]}})).await;
    assert_eq!(review["status"]["authenticated"], true);
    assert_eq!(review["status"]["audiences"], json!(["vault"]));
    let status =
        cluster.fails("POST", &format!("{ACCOUNTS}/robot/token"), json!({"spec": {"expirationSeconds": 10}})).await;
    assert_eq!(
        status["details"]["causes"][0]["message"],
        "Invalid value: 10: may not specify a duration less than 10 minutes"
    );
    assert_eq!(cluster.fails("POST", &format!("{ACCOUNTS}/absent/token"), json!({})).await["code"], 404);
}

#[tokio::test]
async fn keys_and_configuration_are_published_to_accounts() {
    let cluster = with_robot().await;
    let token = token(&cluster, json!({})).await;
    let configuration = cluster.with_token(&token, "/.well-known/openid-configuration").await.json();
    assert_eq!(configuration["issuer"], "https://kubernetes.default.svc.cluster.local");
    let keys = cluster.with_token(&token, "/openid/v1/jwks").await;
    assert_eq!(keys.headers["content-type"], "application/jwk-set+json");
    assert_eq!(keys.json()["keys"][0]["crv"], "P-256");
}

#[tokio::test]
async fn bootstrap_tokens_are_secrets() {
    let cluster = Cluster::new().await;
    let secret = |usage: &str| {
        json!({"metadata": {"name": "bootstrap-token-abcdef"}, "type": "bootstrap.kubernetes.io/token", "stringData": {
            "token-id": "abcdef", "token-secret": "0123456789abcdef", "usage-bootstrap-authentication": usage,
            "auth-extra-groups": "system:bootstrappers:join", "expiration": "2027-01-16T00:00:00Z",
        }})
    };
    cluster.post("/api/v1/namespaces/kube-system/secrets", secret("true")).await;
    let token = "abcdef.0123456789abcdef";
    let review = cluster.post("/apis/authentication.k8s.io/v1/tokenreviews", json!({"spec": {"token": token}})).await;
    assert_eq!(review["status"]["user"]["username"], "system:bootstrap:abcdef");
    assert_eq!(
        review["status"]["user"]["groups"],
        json!(["system:bootstrappers", "system:bootstrappers:join", "system:authenticated"])
    );
    assert_eq!(code(&cluster, "abcdef.0123456789abcdee").await, 401);
    cluster.advance(Duration::from_secs(86_400 * 30));
    assert_eq!(code(&cluster, token).await, 401);
}

#[tokio::test]
async fn pods_get_an_account_and_its_token() {
    let cluster = with_robot().await;
    let made = cluster.post(PODS, pod("p")).await;
    assert_eq!(made["spec"]["serviceAccountName"], "default");
    assert_eq!(
        made["spec"]["containers"][0]["volumeMounts"][0]["mountPath"],
        "/var/run/secrets/kubernetes.io/serviceaccount"
    );
    let mut without = pod("q");
    without["spec"]["automountServiceAccountToken"] = false.into();
    assert_eq!(cluster.post(PODS, without).await["spec"].get("volumes"), None);
    let mut absent = pod("r");
    absent["spec"]["serviceAccountName"] = "absent".into();
    assert_eq!(
        cluster.fails("POST", PODS, absent).await["message"],
        r#"pods "r" is forbidden: error looking up service account default/absent: serviceaccount "absent" not found"#
    );
}

#[tokio::test]
async fn a_secret_of_a_token_is_filled_and_good_while_it_is_there() {
    use base64::Engine as _;
    let cluster = with_robot().await;
    let secrets = "/api/v1/namespaces/default/secrets";
    let annotations = json!({"kubernetes.io/service-account.name": "robot"});
    let body =
        json!({"metadata": {"name": "t", "annotations": annotations}, "type": "kubernetes.io/service-account-token"});
    let made = cluster.post(secrets, body).await;
    assert!(made["data"]["ca.crt"].is_string() && made["data"]["namespace"].is_string(), "{made}");
    let text = base64::engine::general_purpose::STANDARD.decode(made["data"]["token"].as_str().unwrap()).unwrap();
    let token = String::from_utf8(text).unwrap();
    cluster.advance(Duration::from_secs(86_400 * 1000));
    assert_eq!(code(&cluster, &token).await, 200);
    cluster.ok("DELETE", &format!("{secrets}/t"), Value::Null).await;
    assert_eq!(code(&cluster, &token).await, 401);
}

#[tokio::test]
async fn certificate_requests_say_who_asked_and_approving_is_a_right() {
    use base64::Engine as _;
    let cluster = Cluster::new().await;
    let requests = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
    let key = rcgen::KeyPair::generate().unwrap();
    let signed = rcgen::CertificateParams::new(Vec::new()).unwrap().serialize_request(&key).unwrap().pem().unwrap();
    let mut broken = signed.clone().into_bytes();
    let at = broken.len() / 2;
    broken[at] = if broken[at] == b'A' { b'B' } else { b'A' };
    let base64 = |pem: &[u8]| base64::engine::general_purpose::STANDARD.encode(pem);
    let spec =
        json!({"request": base64(&broken), "signerName": "kubernetes.io/kubelet-serving", "usages": ["server auth"]});
    let refused = cluster.json("POST", requests, &json!({"metadata": {"name": "c"}, "spec": spec})).await.json();
    assert_eq!(
        (&refused["reason"], &refused["details"]["causes"][0]["field"]),
        (&json!("Invalid"), &json!("spec.request"))
    );
    let spec = json!({"request": base64(signed.as_bytes()), "signerName": "kubernetes.io/kubelet-serving", "usages": ["server auth"], "username": "somebody-else"});
    let made = cluster.post(requests, json!({"metadata": {"name": "c"}, "spec": spec})).await;
    assert_eq!(made["spec"]["username"], "system:admin");
    let rule = |verbs: &[&str], resource: &str| json!({"verbs": verbs, "apiGroups": ["certificates.k8s.io"], "resources": [resource]});
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let rules = json!([rule(&["update", "patch"], "certificatesigningrequests/approval")]);
    cluster.post(&format!("{rbac}/clusterroles"), json!({"metadata": {"name": "approver"}, "rules": rules})).await;
    let binding = json!({"metadata": {"name": "b"}, "subjects": [{"kind": "User", "name": "bob"}], "roleRef": {"kind": "ClusterRole", "name": "approver"}});
    cluster.post(&format!("{rbac}/clusterrolebindings"), binding).await;
    let bob = User::authenticated("bob", ["dev"]);
    let approval = json!({"status": {"conditions": [{"type": "Approved", "status": "True", "reason": "x"}]}});
    let path = format!("{requests}/c/approval");
    let refused = cluster.as_user(bob.clone(), "PATCH", &path, &approval).await.json();
    assert_eq!(
        refused["message"],
        r#"certificatesigningrequests.certificates.k8s.io "c" is forbidden: user not permitted to approve requests with signerName "kubernetes.io/kubelet-serving""#
    );
    let mut signers = rule(&["approve"], "signers");
    signers["resourceNames"] = json!(["kubernetes.io/*"]);
    cluster.ok("PATCH", &format!("{rbac}/clusterroles/approver"), json!({"rules": [rules[0], signers]})).await;
    let approved = cluster.as_user(bob, "PATCH", &path, &approval).await.json();
    assert!(approved["status"]["conditions"][0]["lastUpdateTime"].is_string(), "{approved}");
    let denied = json!({"status": {"conditions": [{"type": "Denied", "status": "True", "reason": "x"}]}});
    let refused = cluster.json("PATCH", &format!("{requests}/c/status"), &denied).await.json();
    let causes: Vec<&str> =
        refused["details"]["causes"].as_array().unwrap().iter().filter_map(|c| c["message"].as_str()).collect();
    let wanted = [
        r#"Forbidden: updates may not remove a condition of type "Approved""#,
        r#"Forbidden: updates may not add a condition of type "Denied""#,
    ];
    assert_eq!(causes, wanted, "{refused}");
}
