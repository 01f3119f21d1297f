use super::*;

#[test]
fn modes_are_read_as_kube_apiserver_does() {
    use AuthorizationMode::{AlwaysAllow, Node, Rbac};
    assert_eq!(AuthorizationMode::parse_list("Node,RBAC"), Ok(vec![Node, Rbac]));
    assert_eq!(AuthorizationMode::parse_list("AlwaysAllow"), Ok(vec![AlwaysAllow]));
    assert_eq!(AuthorizationMode::parse_list("rbac"), Err(ModeError::Unknown("rbac".into())));
    assert_eq!(AuthorizationMode::parse_list("RBAC,RBAC"), Err(ModeError::Twice("RBAC,RBAC".into())));
    assert_eq!(AuthorizationMode::parse_list(""), Err(ModeError::None));
}
