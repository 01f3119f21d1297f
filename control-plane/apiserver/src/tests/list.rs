//! Lists: revisions, pages, selectors, tables.

use super::*;

fn names(list: &Value) -> Vec<String> {
    list["items"].as_array().unwrap().iter().map(|i| i["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

async fn filled(count: usize) -> Cluster {
    let cluster = Cluster::new().await;
    for n in 0..count {
        cluster.post(CONFIG_MAPS, labelled(&format!("c{n:03}"), if n % 2 == 0 { "even" } else { "odd" })).await;
    }
    cluster
}

#[tokio::test]
async fn a_list_has_its_revision_and_items_without_kind() {
    let cluster = filled(2).await;
    let list = cluster.get(CONFIG_MAPS).await;
    assert_eq!(list["kind"], "ConfigMapList");
    assert_eq!(list["metadata"]["resourceVersion"], cluster.core.store.revision().to_string());
    assert_eq!(names(&list), ["c000", "c001"]);
    assert_eq!(list["items"][0]["kind"], Value::Null);
    assert!(list["items"][0]["metadata"]["resourceVersion"].is_string());
    assert_eq!(names(&cluster.get("/api/v1/configmaps").await).len(), 2);
    assert_eq!(names(&cluster.get("/api/v1/namespaces/kube-system/configmaps").await).len(), 0);
    assert_eq!(cluster.get(CONFIG_MAPS).await["items"], list["items"]);
}

#[tokio::test]
async fn pages_show_one_revision_whatever_is_written_between() {
    let cluster = filled(25).await;
    let first = cluster.get(&format!("{CONFIG_MAPS}?limit=10")).await;
    assert_eq!(first["metadata"]["remainingItemCount"], 15);
    let mut seen = names(&first);
    let mut next = first["metadata"]["continue"].as_str().unwrap().to_owned();
    for round in 0.. {
        cluster.ok("DELETE", &format!("{CONFIG_MAPS}/c0{}", 11 + round), Value::Null).await;
        cluster.post(CONFIG_MAPS, config_map(&format!("c0{}x", 12 + round))).await;
        let page = cluster.get(&format!("{CONFIG_MAPS}?limit=10&continue={next}")).await;
        assert_eq!(page["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
        seen.extend(names(&page));
        match page["metadata"]["continue"].as_str() {
            Some(token) => token.clone_into(&mut next),
            None => break,
        }
    }
    let expected: Vec<String> = (0..25).map(|n| format!("c{n:03}")).collect();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn selectors_work_on_labels_and_fields() {
    let cluster = filled(6).await;
    cluster.post(PODS, pod("p1")).await;
    cluster.post(PODS, pod("p2")).await;
    cluster.post(&format!("{PODS}/p2/binding"), json!({"metadata": {"name": "p2"}, "target": {"name": "n1"}})).await;
    for (path, expected) in [
        (format!("{CONFIG_MAPS}?labelSelector=app%3Deven"), vec!["c000", "c002", "c004"]),
        (format!("{CONFIG_MAPS}?labelSelector=app+in+(odd),!x"), vec!["c001", "c003", "c005"]),
        (format!("{CONFIG_MAPS}?fieldSelector=metadata.name%3Dc003"), vec!["c003"]),
        (
            format!("{CONFIG_MAPS}?fieldSelector=metadata.name!%3Dc003,metadata.name!%3Dc000&labelSelector=app%3Dodd"),
            vec!["c001", "c005"],
        ),
        (format!("{PODS}?fieldSelector=spec.nodeName%3Dn1"), vec!["p2"]),
        (format!("{PODS}?fieldSelector=spec.nodeName%3D"), vec!["p1"]),
        ("/api/v1/pods?fieldSelector=metadata.namespace%3Ddefault,metadata.name%3Dp1".into(), vec!["p1"]),
        ("/api/v1/pods?fieldSelector=metadata.namespace%3Dother".into(), vec![]),
    ] {
        assert_eq!(names(&cluster.get(&path).await), expected, "{path}");
    }
    let filtered = cluster.get(&format!("{CONFIG_MAPS}?labelSelector=app%3Deven&limit=2")).await;
    assert_eq!(filtered["metadata"]["remainingItemCount"], Value::Null);
    assert!(filtered["metadata"]["continue"].is_string());
}

#[tokio::test]
async fn bad_options_get_clear_answers() {
    let cluster = filled(1).await;
    for (name, query) in [
        ("bad_label_selector", "labelSelector=a+in+b"),
        ("unknown_field", "fieldSelector=spec.foo%3D1"),
        ("bad_limit", "limit=x"),
        ("bad_token", "continue=abc"),
        ("token_and_version", "continue=abc&resourceVersion=5"),
        ("bad_version", "resourceVersion=x"),
        ("match_without_version", "resourceVersionMatch=Exact"),
        ("bad_match", "resourceVersion=1&resourceVersionMatch=Maybe"),
        ("future", "resourceVersion=999999"),
    ] {
        insta::assert_json_snapshot!(
            format!("list_{name}"),
            cluster.fails("GET", &format!("{CONFIG_MAPS}?{query}"), Value::Null).await
        );
    }
}

#[tokio::test]
async fn an_exact_revision_shows_the_past_and_a_compacted_one_is_gone() {
    let cluster = filled(3).await;
    let then = cluster.core.store.revision();
    cluster.ok("DELETE", &format!("{CONFIG_MAPS}/c000"), Value::Null).await;
    let past = cluster.get(&format!("{CONFIG_MAPS}?resourceVersion={then}&resourceVersionMatch=Exact")).await;
    assert_eq!(names(&past).len(), 3);
    let newer = cluster.get(&format!("{CONFIG_MAPS}?resourceVersion={then}")).await;
    assert_eq!(names(&newer).len(), 2);
    let page = cluster.get(&format!("{CONFIG_MAPS}?limit=1")).await;
    cluster.post(CONFIG_MAPS, config_map("more")).await;
    cluster.core.store.compact(cluster.core.store.revision()).await.unwrap();
    let gone = cluster
        .fails("GET", &format!("{CONFIG_MAPS}?resourceVersion={then}&resourceVersionMatch=Exact"), Value::Null)
        .await;
    assert_eq!((&gone["code"], &gone["reason"]), (&json!(410), &json!("Expired")));
    let token = page["metadata"]["continue"].as_str().unwrap();
    let mut expired = cluster.fails("GET", &format!("{CONFIG_MAPS}?limit=1&continue={token}"), Value::Null).await;
    let other = expired["metadata"]["continue"].take();
    insta::assert_json_snapshot!("list_expired_token", expired);
    let rest = cluster.get(&format!("{CONFIG_MAPS}?continue={}", other.as_str().unwrap())).await;
    assert_eq!(names(&rest), ["c002", "more"], "it goes on after the first page with what there is now");
}

#[tokio::test]
async fn a_long_list_is_streamed_and_says_how_long_it_is() {
    let cluster = Cluster::new().await;
    let filler = "x".repeat(3000);
    for n in 0..100 {
        cluster.post(CONFIG_MAPS, json!({"metadata": {"name": format!("c{n:03}")}, "data": {"f": filler}})).await;
    }
    let plain = cluster.send("GET", CONFIG_MAPS, &[], "").await;
    assert_eq!(plain.headers["content-length"], plain.bytes.len().to_string());
    assert_eq!(names(&plain.json()).len(), 100);
    let packed = cluster.send("GET", CONFIG_MAPS, &[("accept-encoding", "gzip")], "").await;
    assert_eq!(packed.headers["content-encoding"], "gzip");
    let mut text = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&packed.bytes[..]), &mut text).unwrap();
    assert_eq!(text, plain.bytes);
}

#[tokio::test]
async fn tables_and_metadata_are_negotiated() {
    let cluster = filled(2).await;
    let accept = |kind: &str| format!("application/json;as={kind};g=meta.k8s.io;v=v1,application/json");
    let table = cluster.send("GET", CONFIG_MAPS, &[("accept", &accept("Table"))], "").await.json();
    assert_eq!(table["kind"], "Table");
    assert_eq!(table["rows"].as_array().unwrap().len(), 2);
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    let whole = cluster
        .send("GET", &format!("{CONFIG_MAPS}?includeObject=Object"), &[("accept", &accept("Table"))], "")
        .await
        .json();
    assert_eq!(whole["rows"][0]["object"]["kind"], "ConfigMap");
    let list = cluster.send("GET", CONFIG_MAPS, &[("accept", &accept("PartialObjectMetadataList"))], "").await.json();
    assert_eq!(list["kind"], "PartialObjectMetadataList");
    assert_eq!(names(&list), ["c000", "c001"]);
    assert_eq!(list["items"][0]["data"], Value::Null);
    let one = cluster
        .send("GET", &format!("{CONFIG_MAPS}/c000"), &[("accept", &accept("PartialObjectMetadata"))], "")
        .await
        .json();
    assert_eq!(one["metadata"]["labels"]["app"], "even");
    let yaml = cluster.send("GET", CONFIG_MAPS, &[("accept", "application/yaml")], "").await;
    let yaml: Value = serde_saphyr::from_slice(&yaml.bytes).unwrap();
    assert_eq!(names(&yaml).len(), 2);
}

#[tokio::test]
async fn fields_that_a_kind_does_not_select_by_are_refused_in_its_words() {
    let cluster = Cluster::new().await;
    let refused = async |path: &str| {
        cluster.fails("GET", &format!("{path}?fieldSelector=foo%3Dbar"), Value::Null).await["message"].clone()
    };
    assert_eq!(refused(PODS).await, "field label not supported: foo");
    let only = r#""foo" is not a known field selector: only "metadata.name", "metadata.namespace""#;
    assert_eq!(refused(CONFIG_MAPS).await, only);
    assert_eq!(refused("/apis/storage.k8s.io/v1/storageclasses").await, only);
    cluster.get("/api/v1/nodes?fieldSelector=metadata.namespace%3D").await;
}
