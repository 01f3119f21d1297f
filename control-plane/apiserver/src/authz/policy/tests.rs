use super::*;

fn find<'o>(objects: &'o [PolicyObject], plural: &str, name: &str) -> &'o Value {
    let found = objects.iter().find(|o| o.plural == plural && o.object["metadata"]["name"] == name);
    &found.unwrap_or_else(|| panic!("no {plural} {name}")).object
}

#[test]
fn every_line_of_the_policy_is_understood() {
    let policy = parse();
    for role in &policy.roles {
        assert!(role.aggregates.is_some() || !role.rules.is_empty(), "{} has no rules", role.name);
        for rule in &role.rules {
            assert!(rule.verbs.iter().all(|verb| !verb.is_empty()), "{}", role.name);
        }
    }
    let rules: usize = policy.roles.iter().map(|role| role.rules.len()).sum();
    let heads = ["clusterrole", "controller", "role", "bind", "bindrole"];
    let lines = TEXT.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let expected = lines.filter(|line| !heads.contains(&line.split(' ').next().unwrap())).count();
    assert_eq!(rules, expected);
    assert!(policy.bindings.iter().all(|binding| binding.subjects.iter().all(|s| s["name"] != "")));
}

#[test]
fn every_binding_finds_its_role() {
    let objects = objects();
    for binding in objects.iter().filter(|o| o.plural.ends_with("bindings")) {
        let role = &binding.object["roleRef"];
        let plural = if role["kind"] == "ClusterRole" { "clusterroles" } else { "roles" };
        find(&objects, plural, role["name"].as_str().unwrap());
    }
}

#[test]
fn aggregated_roles_hold_what_their_parts_hold() {
    let objects = objects();
    let count = |name: &str| find(&objects, "clusterroles", name)["rules"].as_array().unwrap().len();
    assert_eq!(count("view"), count("system:aggregate-to-view"));
    assert_eq!(count("edit"), count("view") + count("system:aggregate-to-edit"));
    assert_eq!(count("admin"), count("edit") + count("system:aggregate-to-admin"));
    let edit = find(&objects, "clusterroles", "edit");
    assert_eq!(edit["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-admin"], "true");
    assert_eq!(
        edit["aggregationRule"]["clusterRoleSelectors"][0]["matchLabels"]["rbac.authorization.k8s.io/aggregate-to-edit"],
        "true"
    );
    assert!(!node_rules().is_empty());
}
