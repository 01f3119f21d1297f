//! The objects that a quota measures, read from the server.

use super::items;
use crate::Error;
use crate::frame::access::Access;
use crate::garbage::discovery::Catalog;
use crate::k8s::api::core::v1::ResourceQuota;
use api::amounts::Amounts;
use api::quota::{self, Inventory, Kind};
use kube::api::ListParams;
use kube::core::Request;
use parking_lot::Mutex;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long the server is believed to serve what it served, when a kind is not found.
const FRESH: Duration = Duration::from_secs(2);
/// Kinds that need no discovery.
const CORE: [&str; 11] = [
    "configmaps",
    "endpoints",
    "limitranges",
    "persistentvolumeclaims",
    "pods",
    "podtemplates",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "serviceaccounts",
    "services",
];
/// Kinds that informers tell of already.
const INFORMED: [&str; 2] = ["pods", "services"];

/// Where collections are.
#[derive(Default)]
pub struct Kinds {
    catalog: Mutex<Option<(Instant, Arc<Catalog>)>>,
}

impl Kinds {
    /// The path of a namespace's collection; `None`: nobody serves the kind.
    pub async fn path(
        &self,
        access: &Access,
        (group, plural): Kind<'_>,
        namespace: &str,
    ) -> Result<Option<String>, Error> {
        if group.is_empty() && CORE.contains(&plural) {
            return Ok(Some(format!("/api/v1/namespaces/{namespace}/{plural}")));
        }
        let find = |catalog: &Catalog| {
            let named = |served: &&Arc<crate::garbage::discovery::Served>| {
                served.namespaced && served.resource.group == group && served.resource.plural == plural
            };
            catalog.preferred.iter().find(named).map(|served| served.path(Some(namespace)))
        };
        let known = self.catalog.lock().clone();
        if let Some((read, catalog)) = known {
            let found = find(&catalog);
            if found.is_some() || read.elapsed() < FRESH {
                return Ok(found);
            }
        }
        let catalog = Arc::new(Catalog::read(access).await?);
        *self.catalog.lock() = Some((Instant::now(), Arc::clone(&catalog)));
        Ok(find(&catalog))
    }

    /// Namespaces and collections that quotas want to hear of, beside those that informers tell of.
    pub async fn tracked(
        &self,
        access: &Access,
        quotas: &[Arc<ResourceQuota>],
    ) -> Result<HashSet<(String, String)>, Error> {
        let mut wanted = HashSet::new();
        for quota in quotas {
            let namespace = quota.metadata.namespace.clone().unwrap_or_default();
            let document = serde_json::to_value(quota.as_ref()).unwrap_or_default();
            for (group, plural) in quota::kinds(&quota::hard(&document)) {
                if group.is_empty() && INFORMED.contains(&plural.as_str()) {
                    continue;
                }
                if let Some(path) = self.path(access, (&group, &plural), &namespace).await? {
                    wanted.insert((namespace.clone(), path));
                }
            }
        }
        Ok(wanted)
    }
}

/// What a namespace has of the kinds that a quota measures.
#[derive(Default)]
pub struct Objects {
    whole: BTreeMap<String, Vec<Value>>,
    counts: BTreeMap<(String, String), i64>,
}

impl Objects {
    /// Reads them all; the flag: some kind is served by nobody.
    pub async fn read(access: &Access, kinds: &Kinds, namespace: &str, hard: &Amounts) -> Result<(Self, bool), Error> {
        let (mut objects, mut unknown) = (Self::default(), false);
        let wanted: BTreeSet<(String, String)> = quota::kinds(hard);
        for (group, plural) in wanted {
            let Some(path) = kinds.path(access, (&group, &plural), namespace).await? else {
                unknown = true;
                continue;
            };
            let whole = group.is_empty() && matches!(plural.as_str(), "pods" | "services" | "persistentvolumeclaims");
            let params = if whole { ListParams::default() } else { ListParams::default().limit(1) };
            let mut list: Value =
                access.send(Request::new(&path).list(&params)).await.map_err(Error::api("list", path.clone()))?;
            let more = list["metadata"]["remainingItemCount"].as_i64().unwrap_or(0);
            let found = items(&mut list);
            if whole {
                objects.whole.insert(plural, found);
            } else {
                let count = i64::try_from(found.len()).unwrap_or(i64::MAX).saturating_add(more);
                objects.counts.insert((group, plural), count);
            }
        }
        Ok((objects, unknown))
    }
}

impl Inventory for Objects {
    fn objects(&self, plural: &str) -> Vec<Value> {
        self.whole.get(plural).cloned().unwrap_or_default()
    }

    fn count(&self, (group, plural): Kind<'_>) -> Option<i64> {
        self.counts.get(&(group.to_owned(), plural.to_owned())).copied()
    }
}
