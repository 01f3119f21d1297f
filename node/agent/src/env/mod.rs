//! A container's environment: `env`, `envFrom`, `valueFrom`, service variables, and `$(VAR)` expansion.
//! Everything here is a function of its arguments; ConfigMaps and Secrets are fetched by the caller.

pub mod expand;
pub mod fields;
pub mod services;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use api::k8s_openapi::api::core::v1::{Container, EnvVar, EnvVarSource};
use api::k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::configs::{Key, Kind, Payload};
use crate::resources;
use fields::PodFacts;

/// Why a container's configuration can't be made: `CreateContainerConfigError`'s message.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ConfigError {
    #[error("{} \"{}\" not found", .0.kind.lower(), .0.name)]
    Missing(Key),
    #[error("couldn't find key {key} in {} {}/{}", .object.kind.name(), .object.namespace, .object.name)]
    MissingKey { object: Key, key: String },
    #[error("field {0:?} isn't supported in an environment variable or file")]
    Field(String),
    #[error("resource {0:?} isn't supported in a resourceFieldRef")]
    Resource(String),
    #[error("container {0:?} named in a resourceFieldRef isn't in this pod")]
    NoSuchContainer(String),
    #[error("environment variable {0:?} takes its value from a source that this version doesn't know")]
    Source(String),
    #[error("the value of {key} in {} {}/{} is not valid UTF-8", .object.kind.name(), .object.namespace, .object.name)]
    NotText { object: Key, key: String },
}

impl ConfigError {
    /// The object whose appearance or change would cure this error.
    pub fn object(&self) -> Option<&Key> {
        match self {
            ConfigError::Missing(key) => Some(key),
            ConfigError::MissingKey { object, .. } | ConfigError::NotText { object, .. } => Some(object),
            _ => None,
        }
    }
}

/// ConfigMaps and Secrets that were looked up; a key that is absent does not exist in the cluster.
pub type Objects = HashMap<Key, Arc<Payload>>;

/// What the variables are computed from.
#[derive(Debug)]
pub struct Sources<'a> {
    pub facts: PodFacts<'a>,
    pub objects: &'a Objects,
    /// Service variables: below everything the pod itself says.
    pub services: &'a [(String, String)],
    pub allocatable: &'a BTreeMap<String, Quantity>,
}

/// The objects that `container`'s environment refers to.
pub fn references(container: &Container, namespace: &str) -> Vec<Key> {
    let key = |kind, name: &str| Key { kind, namespace: namespace.to_owned(), name: name.to_owned() };
    let mut out = Vec::new();
    for from in container.env_from.iter().flatten() {
        out.extend(from.config_map_ref.as_ref().map(|r| key(Kind::ConfigMap, &r.name)));
        out.extend(from.secret_ref.as_ref().map(|r| key(Kind::Secret, &r.name)));
    }
    for source in container.env.iter().flatten().filter_map(|e| e.value_from.as_ref()) {
        out.extend(source.config_map_key_ref.as_ref().map(|r| key(Kind::ConfigMap, &r.name)));
        out.extend(source.secret_key_ref.as_ref().map(|r| key(Kind::Secret, &r.name)));
    }
    out.sort();
    out.dedup();
    out
}

/// The whole environment, in order of first definition; a later definition of a name replaces the value.
pub fn variables(container: &Container, from: &Sources<'_>) -> Result<Vec<(String, String)>, ConfigError> {
    let namespace = from.facts.pod.metadata.namespace.as_deref().unwrap_or_default();
    let mut env = Environment::default();
    for (name, value) in from.services {
        env.set(name.clone(), value.clone());
    }
    for source in container.env_from.iter().flatten() {
        let prefix = source.prefix.as_deref().unwrap_or_default();
        let (kind, name, optional) = if let Some(r) = &source.config_map_ref {
            (Kind::ConfigMap, &r.name, r.optional)
        } else if let Some(r) = &source.secret_ref {
            (Kind::Secret, &r.name, r.optional)
        } else {
            continue;
        };
        let key = Key { kind, namespace: namespace.to_owned(), name: name.clone() };
        match from.objects.get(&key) {
            Some(payload) => add_all(&mut env, prefix, payload),
            None if optional == Some(true) => {}
            None => return Err(ConfigError::Missing(key)),
        }
    }
    for variable in container.env.iter().flatten() {
        if let Some(value) = variable_value(variable, container, namespace, &env, from)? {
            env.set(variable.name.clone(), value);
        }
    }
    Ok(env.pairs)
}

fn add_all(env: &mut Environment, prefix: &str, payload: &Payload) {
    for (name, value) in &payload.entries {
        // Names that no environment can hold are left out, as the kubelet does.
        if name.contains('=') {
            continue;
        }
        if let Ok(value) = std::str::from_utf8(value) {
            env.set(format!("{prefix}{name}"), value.to_owned());
        }
    }
}

fn variable_value(
    variable: &EnvVar,
    container: &Container,
    namespace: &str,
    env: &Environment,
    from: &Sources<'_>,
) -> Result<Option<String>, ConfigError> {
    match &variable.value_from {
        None => {
            let value = variable.value.as_deref().unwrap_or_default();
            Ok(Some(expand::expand(value, |name| env.get(name))))
        }
        Some(source) => from_source(&variable.name, source, container, namespace, from),
    }
}

fn from_source(
    name: &str,
    source: &EnvVarSource,
    container: &Container,
    namespace: &str,
    from: &Sources<'_>,
) -> Result<Option<String>, ConfigError> {
    if let Some(field) = &source.field_ref {
        let value = fields::value(&field.field_path, &from.facts);
        return value.map(Some).ok_or_else(|| ConfigError::Field(field.field_path.clone()));
    }
    if let Some(r) = &source.resource_field_ref {
        let spec = from.facts.pod.spec.as_ref();
        let value = resource_value(r.container_name.as_deref(), container, spec, |c| {
            resources::field(c, &r.resource, r.divisor.as_ref(), from.allocatable)
        })?;
        return value.map(Some).ok_or_else(|| ConfigError::Resource(r.resource.clone()));
    }
    let (kind, object, key, optional) = if let Some(r) = &source.config_map_key_ref {
        (Kind::ConfigMap, &r.name, &r.key, r.optional)
    } else if let Some(r) = &source.secret_key_ref {
        (Kind::Secret, &r.name, &r.key, r.optional)
    } else {
        return Err(ConfigError::Source(name.to_owned()));
    };
    let object = Key { kind, namespace: namespace.to_owned(), name: object.clone() };
    let optional = optional == Some(true);
    let Some(payload) = from.objects.get(&object) else {
        return if optional { Ok(None) } else { Err(ConfigError::Missing(object)) };
    };
    match payload.entries.get(key) {
        Some(value) => match std::str::from_utf8(value) {
            Ok(text) => Ok(Some(text.to_owned())),
            Err(_) => Err(ConfigError::NotText { object, key: key.clone() }),
        },
        None if optional => Ok(None),
        None => Err(ConfigError::MissingKey { object, key: key.clone() }),
    }
}

/// Applies `read` to the container a `resourceFieldRef` names: its own, unless it names another.
pub fn resource_value<T>(
    named: Option<&str>,
    own: &Container,
    spec: Option<&api::k8s_openapi::api::core::v1::PodSpec>,
    read: impl Fn(&Container) -> T,
) -> Result<T, ConfigError> {
    match named.filter(|n| !n.is_empty() && *n != own.name) {
        None => Ok(read(own)),
        Some(name) => spec
            .into_iter()
            .flat_map(|s| s.containers.iter().chain(s.init_containers.iter().flatten()))
            .find(|c| c.name == name)
            .map(read)
            .ok_or_else(|| ConfigError::NoSuchContainer(name.to_owned())),
    }
}

/// Ordered variables with constant-time replacement.
#[derive(Default)]
struct Environment {
    pairs: Vec<(String, String)>,
    index: HashMap<String, usize>,
}

impl Environment {
    fn set(&mut self, name: String, value: String) {
        match self.index.get(&name) {
            Some(&at) => self.pairs[at].1 = value,
            None => {
                self.index.insert(name.clone(), self.pairs.len());
                self.pairs.push((name, value));
            }
        }
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.index.get(name).map(|&at| self.pairs[at].1.as_str())
    }
}

/// Lays `over` on top of `under` (the image's own environment): a name in both keeps `over`'s value.
pub fn overlay(under: Vec<(String, String)>, over: Vec<(String, String)>) -> Vec<(String, String)> {
    let mut env = Environment::default();
    for (name, value) in under.into_iter().chain(over) {
        env.set(name, value);
    }
    env.pairs
}

#[cfg(test)]
mod tests;
