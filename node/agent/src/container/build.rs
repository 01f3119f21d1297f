//! From a container's spec to what the runtime starts: argv, environment, mounts, limits.

use std::sync::Arc;

use api::k8s_openapi::api::core::v1::{Container, Pod};
use images::{Image, ImageConfig};
use runtime::{Access, ContainerSpec, Mount, PodIdentity};

use super::{Blocked, Cure};
use crate::configs::Key;
use crate::context::NodeContext;
use crate::env::services::{self, ServiceLinks};
use crate::env::{self, Objects, expand};
use crate::guest_net::PodNetwork;
use crate::logs::ContainerLog;
use crate::pod::{self, PodContext};
use crate::resources;
use crate::volumes::{self, VolumeSet, mounts};

/// Everything that [`runtime::Runtime::start`] needs besides the module.
pub async fn spec(
    pod: &PodContext,
    object: &Pod,
    container: &Container,
    image: &Image,
    log: Arc<ContainerLog>,
) -> Result<ContainerSpec, Blocked> {
    let volumes = pod.volumes.lock().clone();
    let net = pod.net.lock().clone();
    let (Some(volumes), Some(net)) = (volumes, net) else {
        return Err(Blocked::failed("CreateContainerError", "the pod's sandbox is gone".to_owned()));
    };
    let env = environment(pod, object, container, &image.config).await?;
    let mounts = mount_list(&volumes, container, image, &env)?;
    let mut spec = ContainerSpec::new(format!("{}/{}/{}", pod.namespace, pod.name, container.name), log);
    spec.args = argv(container, &image.config, &env, &program_name(image, container));
    spec.working_dir =
        container.working_dir.clone().or_else(|| Some(image.config.working_dir.clone())).filter(|dir| !dir.is_empty());
    spec.env = env;
    spec.mounts = mounts;
    spec.memory_limit_bytes = resources::limit(container, "memory").and_then(resources::whole);
    spec.fuel = resources::limit(container, resources::FUEL).and_then(resources::whole);
    spec.cpu_limit_millis =
        resources::limit(container, "cpu").and_then(resources::millis).map(|m| u32::try_from(m).unwrap_or(u32::MAX));
    spec.pod = PodIdentity {
        namespace: pod.namespace.clone(),
        name: pod.name.clone(),
        uid: pod.uid.clone(),
        node: pod.node.name().to_owned(),
        ip: net.ip().into(),
        labels: object.metadata.labels.clone().unwrap_or_default(),
    };
    spec.network = Arc::new(PodNetwork(net));
    Ok(spec)
}

async fn environment(
    pod: &PodContext,
    object: &Pod,
    container: &Container,
    image: &ImageConfig,
) -> Result<Vec<(String, String)>, Blocked> {
    let objects = fetch(&pod.node, env::references(container, &pod.namespace)).await?;
    let pod_spec = pod::spec(object);
    let links = match pod_spec.enable_service_links {
        Some(false) => ServiceLinks::Disabled,
        _ => ServiceLinks::Enabled,
    };
    let services = match &pod.node.config.services {
        Some(sync) => services::variables(&sync.links(&pod.namespace).await, &pod.namespace, links),
        None => Vec::new(),
    };
    let sources = env::Sources {
        facts: volumes::facts(pod, object),
        objects: &objects,
        services: &services,
        allocatable: &pod.node.allocatable,
    };
    let own = env::variables(container, &sources).map_err(|error| Blocked {
        reason: "CreateContainerConfigError",
        message: error.to_string(),
        cure: error.object().map(|key| Box::new(Cure { key: key.clone(), found: objects.get(key).cloned() })),
        pull: None,
    })?;
    let mut under: Vec<(String, String)> = image
        .env
        .iter()
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    under.push(("HOSTNAME".to_owned(), hostname(pod, object)));
    Ok(env::overlay(under, own))
}

/// `spec.hostname`, or the pod's name cut to what a host name may have.
fn hostname(pod: &PodContext, object: &Pod) -> String {
    let name = pod::spec(object).hostname.as_deref().filter(|h| !h.is_empty()).unwrap_or(&pod.name);
    name.chars().take(63).collect::<String>().trim_end_matches(['-', '.']).to_owned()
}

async fn fetch(node: &NodeContext, keys: Vec<Key>) -> Result<Objects, Blocked> {
    let mut objects = Objects::new();
    for key in keys {
        match node.configs.get(&key).await {
            Ok(Some(payload)) => {
                objects.insert(key, payload);
            }
            Ok(None) => {}
            Err(error) => return Err(Blocked::failed("CreateContainerConfigError", error.to_string())),
        }
    }
    Ok(objects)
}

fn mount_list(
    volumes: &VolumeSet,
    container: &Container,
    image: &Image,
    env: &[(String, String)],
) -> Result<Vec<Mount>, Blocked> {
    let mut list = mounts::build(volumes, container, env)
        .map_err(|error| Blocked::failed("CreateContainerConfigError", error.to_string()))?;
    if let Some(root) = &image.rootfs
        && !list.iter().any(|m| m.guest == "/")
    {
        list.insert(0, Mount { host: root.clone(), guest: "/".into(), access: Access::ReadOnly, contents: None });
    }
    Ok(list)
}

/// What a program without an entrypoint calls itself: the last part of its image's name.
fn program_name(image: &Image, container: &Container) -> String {
    let name = image.reference.rsplit('/').next().unwrap_or_default();
    let name = name.split(['@', ':']).next().unwrap_or_default();
    if name.is_empty() { container.name.clone() } else { name.to_owned() }
}

/// argv by Kubernetes' rules: `command` replaces the image's entrypoint and its cmd, `args` replaces
/// its cmd. A plain module has no entrypoint: its own name stands in, so that `args` begin at argv[1].
fn argv(container: &Container, image: &ImageConfig, env: &[(String, String)], program: &str) -> Vec<String> {
    let lookup = |name: &str| env.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
    let expanded = |list: &Option<Vec<String>>| -> Vec<String> {
        list.iter().flatten().map(|item| expand::expand(item, lookup)).collect()
    };
    let (command, args) = (expanded(&container.command), expanded(&container.args));
    let mut argv = if !command.is_empty() {
        command
    } else if image.entrypoint.is_empty() {
        vec![program.to_owned()]
    } else {
        image.entrypoint.clone()
    };
    if !args.is_empty() {
        argv.extend(args);
    } else if container.command.as_ref().is_none_or(Vec::is_empty) {
        argv.extend(image.cmd.iter().cloned());
    }
    argv
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn argv_follows_kubernetes_rules() {
        let list = |s: &str| -> Vec<String> { s.split_whitespace().map(str::to_owned).collect() };
        let check = |entrypoint: &str, cmd: &str, command: &str, args: &str, expected: &str| {
            let image = ImageConfig { entrypoint: list(entrypoint), cmd: list(cmd), ..Default::default() };
            let some = |s: &str| Some(list(s)).filter(|l| !l.is_empty());
            let container = Container { command: some(command), args: some(args), ..Default::default() };
            let env = [("A".to_owned(), "1".to_owned())];
            assert_eq!(argv(&container, &image, &env, "prog"), list(expected));
        };
        check("/ep", "c1", "", "", "/ep c1");
        check("/ep", "c1", "", "a1 $(A)", "/ep a1 1");
        check("/ep", "c1", "cmd", "", "cmd");
        check("/ep", "c1", "cmd", "a", "cmd a");
        check("", "", "", "", "prog");
        check("", "", "", "a", "prog a");
        check("", "", "x y", "$(NO)", "x y $(NO)");
    }
}
