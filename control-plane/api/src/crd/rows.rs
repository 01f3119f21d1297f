//! The rows that a CRD adds to the kinds table: one for each served version.

use super::strategy::CustomStrategy;
use super::{Custom, Definition, columns};
use crate::kinds::{LazySchema, ScalePaths, Scope, Subresource, Text, Verb};
use crate::{Resource, schema};
use k8s_openapi::Resource as _;
use k8s_openapi::api::autoscaling::v1::Scale;
use serde_json::Value;
use std::borrow::Cow;
use std::sync::Arc;

use Verb::{Create, Delete, DeleteCollection, Get, List, Patch, Update, Watch};

/// In the order that Kubernetes tells them for custom resources.
const ALL: &[Verb] = &[Delete, DeleteCollection, Get, List, Patch, Create, Update, Watch];
/// What discovery tells while the CRD is being deleted.
pub(super) const TERMINATING: &[Verb] = &[Delete, DeleteCollection, Get, List, Watch];
const GET_PATCH_UPDATE: &[Verb] = &[Get, Patch, Update];

/// The rows of an established CRD.
#[must_use]
pub fn rows(object: &Value, definition: &Arc<Definition>) -> Vec<Arc<Resource>> {
    let versions = object.pointer("/spec/versions").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let served = definition.versions.iter().enumerate().filter(|(_, version)| version.served);
    served.filter_map(|(index, _)| Some(Arc::new(row(object, versions.get(index)?, definition, index)))).collect()
}

fn row(object: &Value, version: &Value, definition: &Arc<Definition>, index: usize) -> Resource {
    let custom = Custom { definition: Arc::clone(definition), index };
    // The names that were accepted, which are the asked ones but for conflicts.
    let names = object.pointer("/status/acceptedNames").filter(|names| names["plural"] != "").unwrap_or(&Value::Null);
    let asked = &object["spec"]["names"];
    let name = |field: &str| -> Text {
        let found = names.get(field).or_else(|| asked.get(field)).and_then(Value::as_str);
        Text::Owned(found.unwrap_or_default().to_owned())
    };
    let list = |field: &str| -> Cow<'static, [Text]> {
        schema::strings(names.get(field)).into_iter().map(Text::Owned).collect::<Vec<_>>().into()
    };
    let own = custom.version();
    let printed = version.get("additionalPrinterColumns").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    Resource {
        group: definition.group.clone().into(),
        version: own.name.clone().into(),
        kind: definition.kind.clone().into(),
        list_kind: name("listKind"),
        plural: definition.plural.clone().into(),
        singular: name("singular"),
        short_names: list("shortNames"),
        categories: list("categories"),
        scope: if object["spec"]["scope"] == "Cluster" { Scope::Cluster } else { Scope::Namespaced },
        verbs: Cow::Borrowed(ALL),
        subresources: subresources(version, definition, &own.name),
        storage: definition.place().into(),
        storage_api_version: custom.api_version().into(),
        strategy: Arc::new(CustomStrategy(custom.clone())),
        schema: own.schema.clone(),
        columns: columns::columns(printed),
        custom: Some(custom),
    }
}

fn subresources(version: &Value, definition: &Definition, name: &str) -> Vec<Subresource> {
    let mut found = Vec::new();
    if let Some(scale) = version.pointer("/subresources/scale").filter(|scale| scale.is_object()) {
        let path = |field: &str| Some(Text::Owned(scale.get(field)?.as_str()?.trim_start_matches('.').to_owned()));
        found.push(Subresource {
            name: "scale".into(),
            group: Scale::GROUP.into(),
            version: Scale::VERSION.into(),
            kind: Scale::KIND.into(),
            verbs: Cow::Borrowed(GET_PATCH_UPDATE),
            scale: Some(ScalePaths {
                spec_replicas: path("specReplicasPath").unwrap_or_default(),
                status_replicas: path("statusReplicasPath").unwrap_or_default(),
                label_selector: path("labelSelectorPath").filter(|path| !path.is_empty()),
            }),
            schema: Some(LazySchema::builtin(|generator| generator.subschema_for::<Scale>())),
        });
    }
    if version.pointer("/subresources/status").is_some_and(Value::is_object) {
        found.push(Subresource {
            name: "status".into(),
            group: definition.group.clone().into(),
            version: name.to_owned().into(),
            kind: definition.kind.clone().into(),
            verbs: Cow::Borrowed(GET_PATCH_UPDATE),
            scale: None,
            schema: None,
        });
    }
    found
}
