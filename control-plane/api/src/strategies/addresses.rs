//! Addresses of Services and of endpoints: which may stand where, in how many families, and how they may change
//! (`ValidateServiceClusterIPsRelatedFields`, `ValidateEndpointIP`).

use super::json::{check_one_of, items, present, text};
use super::pod::check_ip;
use crate::field::{Error, Path};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::net::IpAddr;

const TWICE: &str = "may specify no more than one IP for each IP family";
const FAMILIES: &[&str] = &["IPv4", "IPv6"];
const POLICIES: &[&str] = &["PreferDualStack", "RequireDualStack", "SingleStack"];
const ONCE: &str = "may not change once set";

/// A range of addresses.
pub(super) fn check_cidr(range: &str, path: &Path<'_>, errors: &mut Vec<Error>) {
    let valid = range.split_once('/').is_some_and(|(address, bits)| {
        let most = match address.parse::<IpAddr>() {
            Ok(IpAddr::V4(_)) => 32,
            Ok(IpAddr::V6(_)) => 128,
            Err(_) => return false,
        };
        bits.parse::<u8>().is_ok_and(|bits| bits <= most)
    });
    if !valid {
        let detail = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
        errors.push(Error::invalid(path, range, detail));
    }
}

/// An address that traffic can go to. Loopback addresses are Skiff's own pods: allowed, unlike in Kubernetes.
pub(super) fn check_endpoint_ip(address: &str, path: &Path<'_>, errors: &mut Vec<Error>) {
    let Ok(ip) = address.parse::<IpAddr>() else {
        return errors.push(Error::invalid(path, address, "must be a valid IP address"));
    };
    let (link_local, link_multicast) = match ip {
        IpAddr::V4(four) => (four.is_link_local(), four.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(six) => (six.is_unicast_link_local(), six.segments()[0] & 0xff0f == 0xff02),
    };
    let mut refuse = |detail: String| errors.push(Error::invalid(path, address, detail));
    if ip.is_unspecified() {
        refuse(format!("may not be unspecified ({address})"));
    }
    if link_local {
        refuse("may not be in the link-local range (169.254.0.0/16, fe80::/10)".into());
    }
    if link_multicast {
        refuse("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)".into());
    }
}

pub(super) fn check_external(spec: &Value, list: &Path<'_>, errors: &mut Vec<Error>) {
    for (i, address) in items(spec, "externalIPs").iter().filter_map(Value::as_str).enumerate() {
        let (path, before) = (list.index(i), errors.len());
        check_ip(address, &path, errors);
        if errors.len() == before {
            check_endpoint_ip(address, &path, errors);
        }
    }
}

/// `clusterIP`, `clusterIPs`, `ipFamilies` and `ipFamilyPolicy`, which must tell one story.
pub(super) fn check(spec: &Value, path: &Path<'_>, errors: &mut Vec<Error>) {
    if text(spec, "type") == "ExternalName" {
        return;
    }
    let (list, addresses) = (path.child("clusterIPs"), items(spec, "clusterIPs"));
    match (text(spec, "clusterIP"), addresses.first().and_then(Value::as_str)) {
        ("", None) => {}
        ("", Some(_)) => {
            let detail = "must be empty when `clusterIP` is not specified";
            errors.push(Error::invalid(&list, addresses.to_vec(), detail));
        }
        (_, None) => errors.push(Error::required(&list, "")),
        (one, Some(first)) if one != first => {
            errors.push(Error::invalid(&list, addresses.to_vec(), "first value must match `clusterIP`"));
        }
        _ => {}
    }
    let families: Vec<&str> = items(spec, "ipFamilies").iter().filter_map(Value::as_str).collect();
    let at = path.child("ipFamilies");
    let mut seen = HashSet::new();
    for (i, family) in families.iter().enumerate() {
        if !FAMILIES.contains(family) {
            errors.push(Error::not_supported(&at.index(i), *family, FAMILIES));
        }
        if !seen.insert(*family) {
            errors.push(Error::duplicate(&at.index(i), *family));
        }
    }
    check_one_of(spec, "ipFamilyPolicy", POLICIES, path, errors);
    if check_each(addresses, &list, errors) {
        check_families(addresses, &families, &list, errors);
    }
}

/// Whether each is an address, or the one is `None`.
fn check_each(addresses: &[Value], list: &Path<'_>, errors: &mut Vec<Error>) -> bool {
    let mut valid = true;
    for (i, address) in addresses.iter().filter_map(Value::as_str).enumerate() {
        let before = errors.len();
        if i == 0 && address == "None" {
            if addresses.len() > 1 {
                let detail = "'None' must be the first and only value";
                errors.push(Error::invalid(list, addresses.to_vec(), detail));
            }
        } else {
            check_ip(address, &list.index(i), errors);
        }
        valid &= errors.len() == before;
    }
    if addresses.len() > 2 {
        errors.push(Error::invalid(list, addresses.to_vec(), "may only hold up to 2 values"));
    }
    valid
}

fn check_families(addresses: &[Value], families: &[&str], list: &Path<'_>, errors: &mut Vec<Error>) {
    let of_six = |address: &Value| address.as_str().is_some_and(|address| address.contains(':'));
    let sixes = addresses.iter().filter(|address| of_six(address)).count();
    if addresses.len() > 1 && (sixes == 0 || sixes == addresses.len()) {
        errors.push(Error::invalid(list, addresses.to_vec(), TWICE));
    }
    let headless = matches!(addresses, [only] if only == "None");
    for (i, (address, family)) in addresses.iter().zip(families).enumerate().filter(|_| !headless) {
        let expected = if of_six(address) { "IPv6" } else { "IPv4" };
        if *family != expected && FAMILIES.contains(family) {
            let detail = format!("expected an {family} value as indicated by `ipFamilies[{i}]`");
            errors.push(Error::invalid(&list.index(i), address.clone(), detail));
        }
    }
}

/// An address is for good; a second one may come, and may go where that is said.
pub(super) fn check_change(new: &Value, old: &Value, errors: &mut Vec<Error>) {
    if [new, old].iter().any(|spec| text(spec, "type") == "ExternalName") {
        return;
    }
    let headless = |spec: &Value| matches!(items(spec, "clusterIPs"), [only] if only == "None");
    let spec = Path::new("spec");
    let single = text(new, "ipFamilyPolicy") == "SingleStack";
    let released = |what: &str, errors: &mut Vec<Error>| {
        if !single {
            let shown = present(new, "ipFamilyPolicy").cloned().unwrap_or_default();
            let detail = format!("must be set to 'SingleStack' when releasing the secondary {what}");
            errors.push(Error::invalid(&spec.child("ipFamilyPolicy"), shown, detail));
        }
    };
    for (field, what) in [("clusterIPs", "clusterIP"), ("ipFamilies", "ipFamily")] {
        let families = field == "ipFamilies";
        if headless(old) && headless(new) || families && (headless(old) || headless(new)) {
            continue;
        }
        let (after, before, list) = (items(new, field), items(old, field), spec.child(field));
        let shown = if after.is_empty() { json!(null) } else { after.into() };
        if after.len() == before.len() {
            for (i, _) in after.iter().zip(before).enumerate().filter(|(_, (a, b))| a != b) {
                errors.push(Error::invalid(&list.index(if families { 0 } else { i }), shown.clone(), ONCE));
            }
            continue;
        }
        if after.is_empty() {
            errors.push(Error::invalid(&list.index(0), shown.clone(), format!("primary {what} can not be unset")));
        } else if !before.is_empty() && after[0] != before[0] {
            errors.push(Error::invalid(&list.index(0), shown.clone(), ONCE));
        }
        if after.len() == 1 && before.len() > 1 {
            released(what, errors);
        }
    }
}
