//! Aggregated ClusterRoles: the rules of all roles that their `aggregationRule` selects, in the order of the roles' names.

use crate::context::Context;
use crate::frame::access::Access;
use crate::frame::informer::Informer;
use crate::frame::key::Key;
use crate::frame::queue::Queue;
use crate::frame::runner::Reconciler;
use crate::k8s::api::rbac::v1::{ClusterRole, PolicyRule};
use crate::selector::Selector;
use crate::{Config, Error, Next};
use async_trait::async_trait;
use serde_json::json;
use std::sync::Arc;
use tokio::task::JoinSet;

struct Controller {
    access: Access,
    roles: Informer<ClusterRole>,
}

pub(crate) fn start(_: &Config, context: &Context, tasks: &mut JoinSet<()>) {
    let roles = context.informers.cluster_roles.wanted();
    let queue = Arc::new(Queue::default());
    let (signal, known) = (Arc::clone(&queue), roles.clone());
    roles.on_change(move |_| {
        // Any role may be part of any aggregated one; there are few of those.
        for role in known.all().iter().filter(|role| role.aggregation_rule.is_some()) {
            signal.add(Key::of(role.as_ref()));
        }
    });
    let controller = Controller { access: context.access.clone(), roles };
    context.spawn(tasks, Arc::new(controller), queue);
}

/// The rules that `role` should have; `None` when it aggregates nothing.
fn aggregate(role: &ClusterRole, all: &[Arc<ClusterRole>]) -> Result<Option<Vec<PolicyRule>>, Error> {
    let Some(rule) = &role.aggregation_rule else { return Ok(None) };
    let name = role.metadata.name.as_deref().unwrap_or_default();
    let mut rules: Vec<PolicyRule> = Vec::new();
    for selector in rule.cluster_role_selectors.iter().flatten() {
        let selector = Selector::parse(selector).map_err(|reason| Error::Selector {
            kind: "ClusterRole",
            name: name.to_owned(),
            reason,
        })?;
        let selected = all.iter().filter(|other| other.metadata.name != role.metadata.name);
        let mut selected: Vec<_> = selected.filter(|other| selector.matches(other.metadata.labels.as_ref())).collect();
        selected.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
        for rule in selected.into_iter().flat_map(|other| other.rules.iter().flatten()) {
            if !rules.contains(rule) {
                rules.push(rule.clone());
            }
        }
    }
    Ok(Some(rules))
}

#[async_trait]
impl Reconciler for Controller {
    const NAME: &'static str = "clusterrole-aggregation-controller";
    const WORKERS: usize = 1;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let Some(role) = self.roles.get(key) else { return Ok(Next::Signal) };
        let Some(rules) = aggregate(&role, &self.roles.all())? else { return Ok(Next::Signal) };
        if role.rules.as_deref().unwrap_or_default() == rules {
            return Ok(Next::Signal);
        }
        let written = self.access.patch::<ClusterRole>(key, &json!({"rules": rules})).await;
        match written {
            Ok(written) => self.roles.learn(written),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
        Ok(Next::Signal)
    }

    fn keys(&self) -> Vec<Key> {
        self.roles.keys()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(value: serde_json::Value) -> Arc<ClusterRole> {
        Arc::new(serde_json::from_value(value).unwrap())
    }

    #[test]
    fn an_aggregated_role_holds_each_rule_of_its_parts_once() {
        let rule = |resource: &str| json!({"verbs": ["get"], "apiGroups": [""], "resources": [resource]});
        let labels = json!({"part": "true"});
        let whole = role(json!({
            "metadata": {"name": "whole", "labels": labels},
            "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": labels}]},
            "rules": [rule("old")],
        }));
        let parts = [
            role(json!({"metadata": {"name": "b", "labels": labels}, "rules": [rule("pods"), rule("secrets")]})),
            role(json!({"metadata": {"name": "a", "labels": labels}, "rules": [rule("pods")]})),
            role(json!({"metadata": {"name": "c"}, "rules": [rule("nodes")]})),
            Arc::clone(&whole),
        ];
        let rules = aggregate(&whole, &parts).unwrap().unwrap();
        let resources: Vec<_> = rules.iter().map(|r| r.resources.clone().unwrap()[0].clone()).collect();
        assert_eq!(resources, ["pods", "secrets"]);
        assert_eq!(aggregate(&parts[0], &parts).unwrap(), None);
    }
}
