//! Connecting on behalf of a guest, whether from `wasi:sockets` or from `wasi:http`. Inside a
//! pod "localhost" is the pod itself.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{Connection, GuestNetwork, Target};

/// Whether this address means "this pod" in a guest. Other loopback addresses may be pods.
pub(crate) fn is_localhost(ip: IpAddr) -> bool {
    ip == IpAddr::V4(Ipv4Addr::LOCALHOST) || ip == IpAddr::V6(Ipv6Addr::LOCALHOST)
}

/// What `host` (a name or an address, IPv6 with or without brackets) refers to.
pub(crate) fn target(host: &str) -> Target {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    match bare.parse() {
        Ok(ip) => Target::Ip(ip),
        Err(_) => Target::Name(host.to_owned()),
    }
}

/// Opens a connection through the pod's network.
pub(crate) async fn connect(network: &dyn GuestNetwork, target: Target, port: u16) -> io::Result<Connection> {
    let target = match target {
        Target::Ip(ip) if is_localhost(ip) => Target::Ip(network.ip()),
        Target::Name(name) if name.eq_ignore_ascii_case("localhost") => Target::Ip(network.ip()),
        other => other,
    };
    network.connect(target, port).await
}

/// All addresses of a name, without asking the network where the answer is known.
pub(crate) async fn resolve(network: &dyn GuestNetwork, name: &str) -> io::Result<Vec<IpAddr>> {
    match target(name) {
        Target::Ip(ip) => Ok(vec![ip]),
        Target::Name(name) if name.eq_ignore_ascii_case("localhost") => Ok(vec![network.ip()]),
        Target::Name(name) => network.resolve(&name).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_or_addresses() {
        assert_eq!(target("10.0.0.1"), Target::Ip("10.0.0.1".parse().unwrap()));
        assert_eq!(target("[::1]"), Target::Ip("::1".parse().unwrap()));
        assert_eq!(target("web.default.svc"), Target::Name("web.default.svc".to_owned()));
    }

    #[test]
    fn only_the_one_loopback_address_is_the_pod_itself() {
        assert!(is_localhost("127.0.0.1".parse().unwrap()));
        assert!(!is_localhost("127.64.0.7".parse().unwrap()));
    }
}
