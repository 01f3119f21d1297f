//! Manifests from files, and applying them to a cluster on the server's side, so that `kubectl apply` in either way can go on
//! from there.

use anyhow::{Context as _, Result, bail};
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::discovery::{self, Scope, verbs};
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// Largest manifest file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// Who owns the fields that a manifest sets.
const MANAGER: &str = "skiff-up";

/// Annotation by which a later `kubectl apply` knows what was applied before.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// One object of a manifest, and where it came from.
#[derive(Debug)]
pub struct Manifest {
    pub source: String,
    pub object: DynamicObject,
}

/// What applying did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Created,
    Configured,
    Unchanged,
}

impl Outcome {
    pub fn text(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => "unchanged",
        }
    }
}

/// Reads every object in `files` (files, folders of `*.yaml|*.yml|*.json`, `-` for standard input), in order.
pub fn read(files: &[PathBuf]) -> Result<Vec<Manifest>> {
    let mut all = Vec::new();
    for path in files {
        if path == Path::new("-") {
            let mut text = String::new();
            std::io::stdin()
                .lock()
                .take(MAX_FILE_BYTES)
                .read_to_string(&mut text)
                .context("cannot read standard input")?;
            parse("standard input", &text, &mut all)?;
            continue;
        }
        for file in expand(path)? {
            let name = file.display().to_string();
            let size = std::fs::metadata(&file).with_context(|| format!("cannot read {name}"))?.len();
            if size > MAX_FILE_BYTES {
                bail!("{name} is {size} bytes; a manifest may have {MAX_FILE_BYTES}");
            }
            let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {name}"))?;
            parse(&name, &text, &mut all)?;
        }
    }
    Ok(all)
}

fn expand(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let mut files: Vec<PathBuf> = std::fs::read_dir(path)
        .with_context(|| format!("cannot read folder {}", path.display()))?
        .filter_map(|entry| entry.ok().map(|e| e.path()))
        .filter(|p| p.extension().is_some_and(|e| e == "yaml" || e == "yml" || e == "json"))
        .collect();
    files.sort();
    if files.is_empty() {
        bail!("no .yaml, .yml or .json file in {}", path.display());
    }
    Ok(files)
}

fn parse(source: &str, text: &str, into: &mut Vec<Manifest>) -> Result<()> {
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(text).with_context(|| format!("{source} is not valid YAML"))?;
    for document in documents {
        push(source, document, into)?;
    }
    Ok(())
}

fn push(source: &str, document: Value, into: &mut Vec<Manifest>) -> Result<()> {
    if document.is_null() {
        return Ok(());
    }
    let is_list = document["kind"].as_str().is_some_and(|kind| kind.ends_with("List"));
    if is_list && let Some(items) = document["items"].as_array() {
        return items.iter().try_for_each(|item| push(source, item.clone(), into));
    }
    let object: DynamicObject = serde_json::from_value(document)
        .with_context(|| format!("{source}: an object needs apiVersion, kind and metadata"))?;
    if object.types.is_none() {
        bail!("{source}: an object has no apiVersion and kind");
    }
    into.push(Manifest { source: source.into(), object });
    Ok(())
}

impl Manifest {
    /// `deployment.apps/hello`, as kubectl names it.
    pub fn label(&self) -> String {
        let types = self.object.types.clone().unwrap_or_default();
        let kind = types.kind.to_lowercase();
        let name = self.object.name_any();
        match types.api_version.split_once('/') {
            Some((group, _)) => format!("{kind}.{group}/{name}"),
            None => format!("{kind}/{name}"),
        }
    }

    /// Whether it is of this kind, as in `("batch/v1", "Job")`.
    pub fn is(&self, api_version: &str, kind: &str) -> bool {
        self.object.types.as_ref().is_some_and(|t| t.api_version == api_version && t.kind == kind)
    }

    pub fn namespace(&self) -> String {
        self.object.metadata.namespace.clone().unwrap_or_else(|| "default".into())
    }

    /// Applies the object, as `kubectl apply --server-side --force-conflicts` would: what the manifest says counts, whoever said
    /// otherwise, and what it no longer says goes.
    pub async fn apply(&self, client: &Client) -> Result<Outcome> {
        let types = self.object.types.as_ref().context("an object has no kind")?;
        let gvk = GroupVersionKind::try_from(types).with_context(|| format!("{}: bad apiVersion", self.label()))?;
        let (resource, capabilities) = discovery::pinned_kind(client, &gvk).await.with_context(|| {
            format!("{}: no matches for kind {:?} in version {:?}", self.source, types.kind, types.api_version)
        })?;
        let mut object = self.object.clone();
        let api: Api<DynamicObject> = match capabilities.scope {
            Scope::Cluster => Api::all_with(client.clone(), &resource),
            Scope::Namespaced => {
                object.metadata.namespace = Some(self.namespace());
                Api::namespaced_with(client.clone(), &self.namespace(), &resource)
            }
        };
        let name = object.metadata.name.clone().unwrap_or_default();
        if name.is_empty() || !capabilities.supports_operation(verbs::PATCH) {
            let params = PostParams { field_manager: Some(MANAGER.into()), ..PostParams::default() };
            return match api.create(&params, &object).await {
                Ok(_) => Ok(Outcome::Created),
                Err(error) => Err(error).with_context(|| format!("{}: cannot create {}", self.source, self.label())),
            };
        }
        let failed = || format!("{}: cannot apply {}", self.source, self.label());
        let before = api.get_metadata_opt(&name).await.with_context(failed)?;
        let text = last_applied(&object)?;
        object.annotations_mut().insert(LAST_APPLIED.into(), text);
        let after = api.patch(&name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(&object)).await;
        let after = after.with_context(failed)?;
        Ok(match before {
            None => Outcome::Created,
            Some(before) if before.metadata.resource_version == after.metadata.resource_version => Outcome::Unchanged,
            Some(_) => Outcome::Configured,
        })
    }
}

/// The object as `kubectl apply` writes it down, to the byte: so a plain `kubectl apply` of the same manifest finds nothing to do.
fn last_applied(object: &DynamicObject) -> Result<String> {
    let mut value = serde_json::to_value(object)?;
    if let Some(annotations) = value["metadata"]["annotations"].as_object_mut() {
        annotations.remove(LAST_APPLIED);
    } else {
        value["metadata"]["annotations"] = json!({});
    }
    // Go's encoder writes what could end a script in HTML as escapes, and ends the line.
    let mut text = String::new();
    for c in serde_json::to_string(&value)?.chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => write!(text, "\\u{:04x}", u32::from(c))?,
            c => text.push(c),
        }
    }
    text.push('\n');
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_documents_lists_and_empty_documents() {
        let mut all = Vec::new();
        let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\n---\napiVersion: v1\nkind: List\nitems:\n- {apiVersion: apps/v1, kind: Deployment, metadata: {name: b}}\n";
        parse("x", text, &mut all).unwrap();
        let labels: Vec<String> = all.iter().map(Manifest::label).collect();
        assert_eq!(labels, ["configmap/a", "deployment.apps/b"]);
    }

    #[test]
    fn refuses_what_is_no_object() {
        let mut all = Vec::new();
        assert!(parse("x", "just text", &mut all).is_err());
        assert!(parse("x", "metadata: {name: a}", &mut all).is_err());
        assert!(parse("x", "a: [", &mut all).is_err());
    }

    #[test]
    fn what_was_applied_is_written_as_kubectl_writes_it() {
        let mut all = Vec::new();
        parse("x", "{kind: ConfigMap, apiVersion: v1, metadata: {name: a}, data: {k: '<a & b>'}}", &mut all).unwrap();
        all[0].object.metadata.namespace = Some("default".into());
        let expected = concat!(
            r#"{"apiVersion":"v1","data":{"k":"\u003ca \u0026 b\u003e"},"kind":"ConfigMap","#,
            r#""metadata":{"annotations":{},"name":"a","namespace":"default"}}"#,
            "\n"
        );
        assert_eq!(last_applied(&all[0].object).unwrap(), expected);
    }
}
