//! What the API server serves, for the controllers that act on every kind.

use crate::Error;
use crate::frame::access::Access;
use kube::Discovery;
use kube::core::ApiResource;
use kube::core::discovery::Scope;
use std::collections::HashMap;
use std::sync::Arc;

/// A served resource that can be listed and deleted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Served {
    pub resource: ApiResource,
    pub namespaced: bool,
    /// Has `list` and `watch`.
    pub watchable: bool,
    pub collection_deletable: bool,
}

impl Served {
    /// The collection's path.
    pub fn path(&self, namespace: Option<&str>) -> String {
        let ApiResource { api_version, plural, group, .. } = &self.resource;
        let root = if group.is_empty() { "api" } else { "apis" };
        match namespace.filter(|_| self.namespaced) {
            Some(namespace) => format!("/{root}/{api_version}/namespaces/{namespace}/{plural}"),
            None => format!("/{root}/{api_version}/{plural}"),
        }
    }

    /// `pods`, `deployments.apps`.
    pub fn name(&self) -> String {
        let ApiResource { plural, group, .. } = &self.resource;
        if group.is_empty() { plural.clone() } else { format!("{plural}.{group}") }
    }
}

/// All deletable resources, each in one version, and the kinds of every version.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    pub preferred: Vec<Arc<Served>>,
    by_kind: HashMap<(String, String), Arc<Served>>,
}

impl Catalog {
    /// The resource behind an owner reference's `apiVersion` and `kind`.
    pub fn kind(&self, api_version: &str, kind: &str) -> Option<&Arc<Served>> {
        self.by_kind.get(&(api_version.to_owned(), kind.to_owned()))
    }

    /// Asks the server: two requests where it speaks aggregated discovery.
    pub async fn read(access: &Access) -> Result<Self, Error> {
        let client = access.client().clone();
        let discovery = match Discovery::new(client.clone()).run_aggregated().await {
            Ok(discovery) => discovery,
            Err(_) => Discovery::new(client).run().await.map_err(|e| Error::Discovery(Box::new(e)))?,
        };
        let mut catalog = Self::default();
        for group in discovery.groups_alphabetical() {
            for version in group.versions() {
                for (resource, capabilities) in group.versioned_resources(version) {
                    let can = |verb| capabilities.supports_operation(verb);
                    if !can("delete") || resource.plural.contains('/') {
                        continue;
                    }
                    let served = Arc::new(Served {
                        namespaced: capabilities.scope == Scope::Namespaced,
                        watchable: can("list") && can("watch"),
                        collection_deletable: can("deletecollection"),
                        resource,
                    });
                    let kind = (served.resource.api_version.clone(), served.resource.kind.clone());
                    catalog.by_kind.insert(kind, served);
                }
            }
            for (resource, _) in group.recommended_resources() {
                let kind = (resource.api_version.clone(), resource.kind.clone());
                catalog.preferred.extend(catalog.by_kind.get(&kind).cloned());
            }
        }
        Ok(catalog)
    }
}
