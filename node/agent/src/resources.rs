//! Kubernetes quantities as the agent needs them: bytes, millicores, and `resourceFieldRef` values.
//! A thin layer over `api::quantity`'s grammar; knows no pods beyond their `resources`.

use std::collections::BTreeMap;

use api::k8s_openapi::api::core::v1::{Container, PodSpec};
use api::k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// The extended resource that bounds a container's Wasm instructions.
pub const FUEL: &str = "skiff.dev/fuel";

/// A quantity in thousandths, rounded up. `None` when it isn't one.
pub fn milli(quantity: &Quantity) -> Option<i128> {
    let text = quantity.0.as_str();
    let end = text
        .char_indices()
        .find(|(i, c)| !(c.is_ascii_digit() || *c == '.' || (*i == 0 && (*c == '+' || *c == '-'))))
        .map_or(text.len(), |(i, _)| i);
    let (number, suffix) = text.split_at(end);
    let thousandths = decimal_in_nanos(number)?;
    let (numerator, denominator): (i128, i128) = match suffix {
        "n" => (1, 1_000_000_000),
        "u" => (1, 1_000_000),
        "m" => (1, 1_000),
        "" => (1, 1),
        "k" => (1_000, 1),
        "M" => (1_000_000, 1),
        "G" => (1_000_000_000, 1),
        "T" => (1_000_000_000_000, 1),
        "P" => (1_000_000_000_000_000, 1),
        "E" => (1_000_000_000_000_000_000, 1),
        "Ki" => (1 << 10, 1),
        "Mi" => (1 << 20, 1),
        "Gi" => (1 << 30, 1),
        "Ti" => (1 << 40, 1),
        "Pi" => (1 << 50, 1),
        "Ei" => (1 << 60, 1),
        exponent => {
            let exponent: i32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
            let power = 10i128.checked_pow(exponent.unsigned_abs())?;
            if exponent < 0 { (1, power) } else { (power, 1) }
        }
    };
    // nanos → thousandths is a division by 10^6.
    let scaled = thousandths.checked_mul(numerator)?;
    let divisor = denominator.checked_mul(1_000_000)?;
    Some(scaled.div_euclid(divisor) + i128::from(scaled.rem_euclid(divisor) != 0))
}

fn decimal_in_nanos(number: &str) -> Option<i128> {
    let (sign, digits) = match number.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut nanos: i128 = 0;
    for i in 0..9 {
        let digit = fraction.as_bytes().get(i).copied().unwrap_or(b'0');
        nanos = nanos * 10 + i128::from(digit.checked_sub(b'0').filter(|d| *d < 10)?);
    }
    Some(sign * (whole.checked_mul(1_000_000_000)? + nanos))
}

/// Whole units (bytes, pods, fuel), rounded up; saturates.
pub fn whole(quantity: &Quantity) -> Option<u64> {
    let milli = milli(quantity)?.max(0);
    Some(u64::try_from(milli / 1000 + i128::from(milli % 1000 != 0)).unwrap_or(u64::MAX))
}

/// Millicores; saturates.
pub fn millis(quantity: &Quantity) -> Option<u64> {
    Some(u64::try_from(milli(quantity)?.max(0)).unwrap_or(u64::MAX))
}

/// `resources.limits[name]` of a container.
pub fn limit<'a>(container: &'a Container, name: &str) -> Option<&'a Quantity> {
    container.resources.as_ref()?.limits.as_ref()?.get(name)
}

/// `resources.requests[name]` of a container.
pub fn request<'a>(container: &'a Container, name: &str) -> Option<&'a Quantity> {
    container.resources.as_ref()?.requests.as_ref()?.get(name)
}

/// What a pod asks of its node, as the scheduler and the kubelet count it: the larger of the sum over
/// the containers and the largest init container. (milli-CPU, bytes)
pub fn pod_requests(spec: &PodSpec) -> (u64, u64) {
    let of = |c: &Container| {
        (request(c, "cpu").and_then(millis).unwrap_or(0), request(c, "memory").and_then(whole).unwrap_or(0))
    };
    let mut sum = spec.containers.iter().map(of).fold((0u64, 0u64), add);
    let mut largest = (0, 0);
    for init in spec.init_containers.iter().flatten() {
        if init.restart_policy.as_deref() == Some("Always") {
            sum = add(sum, of(init));
        } else {
            let one = of(init);
            largest = (largest.0.max(one.0), largest.1.max(one.1));
        }
    }
    let overhead = spec
        .overhead
        .as_ref()
        .map_or((0, 0), |o| (o.get("cpu").and_then(millis).unwrap_or(0), o.get("memory").and_then(whole).unwrap_or(0)));
    add((sum.0.max(largest.0), sum.1.max(largest.1)), overhead)
}

fn add(a: (u64, u64), b: (u64, u64)) -> (u64, u64) {
    (a.0.saturating_add(b.0), a.1.saturating_add(b.1))
}

/// `resourceFieldRef`: the container's own limit or request, or the node's allocatable for a missing
/// limit, divided by `divisor` and rounded up. `None` for a resource the field doesn't know.
pub fn field(
    container: &Container,
    resource: &str,
    divisor: Option<&Quantity>,
    allocatable: &BTreeMap<String, Quantity>,
) -> Option<String> {
    let (kind, name) = resource.split_once('.')?;
    let zero = Quantity("0".into());
    let value = match kind {
        "limits" => limit(container, name).or_else(|| allocatable.get(name)).unwrap_or(&zero),
        "requests" => request(container, name).unwrap_or(&zero),
        _ => return None,
    };
    if !matches!(name, "cpu" | "memory" | "ephemeral-storage") && !name.starts_with("hugepages-") {
        return None;
    }
    let value = milli(value)?;
    let divisor = divisor.and_then(milli).filter(|d| *d > 0).unwrap_or(1000);
    Some((value / divisor + i128::from(value % divisor != 0)).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities() {
        let check = |text: &str, expected: Option<i128>| {
            assert_eq!(milli(&Quantity(text.into())), expected, "{text}");
        };
        check("1", Some(1000));
        check("100m", Some(100));
        check("0.5", Some(500));
        check(".5", Some(500));
        check("1Ki", Some(1_024_000));
        check("1.5Gi", Some(1_610_612_736_000));
        check("1e3", Some(1_000_000));
        check("1E", Some(1_000_000_000_000_000_000_000));
        check("1n", Some(1));
        check("-2", Some(-2000));
        check("9223372036854775807", Some(9_223_372_036_854_775_807_000));
        check("", None);
        check("abc", None);
        check("1Zi", None);
    }

    #[test]
    fn resource_fields_round_up_and_fall_back_to_allocatable() {
        let container = Container {
            resources: Some(api::k8s_openapi::api::core::v1::ResourceRequirements {
                limits: Some([("cpu".to_owned(), Quantity("1500m".into()))].into()),
                ..Default::default()
            }),
            ..Default::default()
        };
        let node = BTreeMap::from([("memory".to_owned(), Quantity("1Gi".into()))]);
        assert_eq!(field(&container, "limits.cpu", None, &node).as_deref(), Some("2"));
        let milli = Quantity("1m".into());
        assert_eq!(field(&container, "limits.cpu", Some(&milli), &node).as_deref(), Some("1500"));
        let mi = Quantity("1Mi".into());
        assert_eq!(field(&container, "limits.memory", Some(&mi), &node).as_deref(), Some("1024"));
        assert_eq!(field(&container, "requests.memory", None, &node).as_deref(), Some("0"));
        assert_eq!(field(&container, "limits.gpu", None, &node), None);
    }
}
