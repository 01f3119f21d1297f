//! The environment variables that tell a container where its namespace's Services are, in the
//! docker-links form that Kubernetes kept.

use std::net::IpAddr;

/// What the variables need to know of one Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceLink {
    pub namespace: String,
    pub name: String,
    pub cluster_ip: IpAddr,
    /// (name, port, protocol in upper case), in the Service's order.
    pub ports: Vec<(Option<String>, u16, String)>,
}

/// The variables of `links` that a pod in `namespace` sees: its own namespace's Services when it asks
/// for service links, and always `default/kubernetes`, as the kubelet does.
pub fn variables(links: &[ServiceLink], namespace: &str, own_namespace: ServiceLinks) -> Vec<(String, String)> {
    let mut out = Vec::new();
    let is_master = |l: &ServiceLink| l.namespace == "default" && l.name == "kubernetes";
    let shadowed = own_namespace == ServiceLinks::Enabled
        && links.iter().any(|l| l.namespace == namespace && l.name == "kubernetes" && !is_master(l));
    for link in links {
        let own = own_namespace == ServiceLinks::Enabled && link.namespace == namespace;
        if own || (is_master(link) && !shadowed) {
            push(&mut out, link);
        }
    }
    out
}

/// `spec.enableServiceLinks`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceLinks {
    Enabled,
    Disabled,
}

fn push(out: &mut Vec<(String, String)>, link: &ServiceLink) {
    let Some((_, first, first_protocol)) = link.ports.first() else { return };
    let prefix = variable(&link.name);
    let host = link.cluster_ip;
    let authority = |port: u16| match host {
        IpAddr::V4(ip) => format!("{ip}:{port}"),
        IpAddr::V6(ip) => format!("[{ip}]:{port}"),
    };
    out.push((format!("{prefix}_SERVICE_HOST"), host.to_string()));
    out.push((format!("{prefix}_SERVICE_PORT"), first.to_string()));
    for (name, port, _) in &link.ports {
        if let Some(name) = name.as_deref().filter(|n| !n.is_empty()) {
            out.push((format!("{prefix}_SERVICE_PORT_{}", variable(name)), port.to_string()));
        }
    }
    let url = |port: u16, protocol: &str| format!("{}://{}", protocol.to_ascii_lowercase(), authority(port));
    out.push((format!("{prefix}_PORT"), url(*first, first_protocol)));
    for (_, port, protocol) in &link.ports {
        let base = format!("{prefix}_PORT_{port}_{protocol}");
        out.push((base.clone(), url(*port, protocol)));
        out.push((format!("{base}_PROTO"), protocol.to_ascii_lowercase()));
        out.push((format!("{base}_PORT"), port.to_string()));
        out.push((format!("{base}_ADDR"), host.to_string()));
    }
}

fn variable(name: &str) -> String {
    name.to_ascii_uppercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(namespace: &str, name: &str, port: u16) -> ServiceLink {
        ServiceLink {
            namespace: namespace.into(),
            name: name.into(),
            cluster_ip: [127, 96, 0, 7].into(),
            ports: vec![(Some("http".into()), port, "TCP".into())],
        }
    }

    #[test]
    fn has_the_documented_shape() {
        let links = [link("shop", "redis-main", 6379), link("other", "hidden", 1), link("default", "kubernetes", 443)];
        let vars = variables(&links, "shop", ServiceLinks::Enabled);
        let get = |k: &str| vars.iter().find(|(n, _)| n == k).map(|(_, v)| v.as_str());
        assert_eq!(get("REDIS_MAIN_SERVICE_HOST"), Some("127.96.0.7"));
        assert_eq!(get("REDIS_MAIN_SERVICE_PORT"), Some("6379"));
        assert_eq!(get("REDIS_MAIN_SERVICE_PORT_HTTP"), Some("6379"));
        assert_eq!(get("REDIS_MAIN_PORT"), Some("tcp://127.96.0.7:6379"));
        assert_eq!(get("REDIS_MAIN_PORT_6379_TCP"), Some("tcp://127.96.0.7:6379"));
        assert_eq!(get("REDIS_MAIN_PORT_6379_TCP_PROTO"), Some("tcp"));
        assert_eq!(get("KUBERNETES_SERVICE_HOST"), Some("127.96.0.7"));
        assert_eq!(get("HIDDEN_SERVICE_HOST"), None);
        let off = variables(&links, "shop", ServiceLinks::Disabled);
        assert!(off.iter().all(|(k, _)| k.starts_with("KUBERNETES_")));
    }
}
