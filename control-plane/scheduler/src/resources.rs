//! Amounts of what pods ask for and nodes have.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::k8s_openapi::apimachinery::pkg::api::resource::Quantity as WireQuantity;
use api::quantity::Quantity;

/// Every node offers it without end, so it is never counted.
const FUEL: &str = "skiff.dev/fuel";

/// A resource list as the API writes it.
pub(crate) type WireList = BTreeMap<String, WireQuantity>;

/// What a pod requests, or a node can give. `pods` is counted apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// Thousandths of a core.
    pub cpu: i64,
    /// Bytes.
    pub memory: i64,
    /// Bytes.
    pub ephemeral_storage: i64,
    /// Everything else, in whole units, sorted by name.
    pub other: Vec<(Arc<str>, i64)>,
}

impl Resources {
    /// Reads a resource list. A quantity that does not parse counts as none; the API server has
    /// refused it before.
    pub(crate) fn from_wire(list: &WireList) -> Self {
        let mut resources = Self::default();
        for (name, quantity) in list {
            let amount = Quantity::parse(&quantity.0).unwrap_or(Quantity::ZERO);
            match name.as_str() {
                "cpu" => resources.cpu = amount.milli_value(),
                "memory" => resources.memory = amount.value(),
                "ephemeral-storage" => resources.ephemeral_storage = amount.value(),
                "pods" | FUEL => {}
                _ => resources.other.push((name.as_str().into(), amount.value())),
            }
        }
        resources
    }

    pub(crate) fn add(&mut self, more: &Self) {
        self.combine(more, i64::saturating_add);
    }

    pub(crate) fn subtract(&mut self, less: &Self) {
        self.combine(less, i64::saturating_sub);
    }

    /// The larger of both, resource by resource.
    pub(crate) fn max(&mut self, least: &Self) {
        self.combine(least, i64::max);
    }

    /// How much there is of a resource that is not one of the three with a field.
    pub(crate) fn other(&self, name: &str) -> i64 {
        match self.other.binary_search_by(|(known, _)| (**known).cmp(name)) {
            Ok(at) => self.other[at].1,
            Err(_) => 0,
        }
    }

    fn combine(&mut self, with: &Self, operation: impl Fn(i64, i64) -> i64) {
        self.cpu = operation(self.cpu, with.cpu);
        self.memory = operation(self.memory, with.memory);
        self.ephemeral_storage = operation(self.ephemeral_storage, with.ephemeral_storage);
        for (name, amount) in &with.other {
            match self.other.binary_search_by(|(known, _)| known.cmp(name)) {
                Ok(at) => self.other[at].1 = operation(self.other[at].1, *amount),
                Err(at) => self.other.insert(at, (name.clone(), operation(0, *amount))),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(pairs: &[(&str, &str)]) -> Resources {
        let wire = pairs.iter().map(|(name, amount)| ((*name).into(), WireQuantity((*amount).into())));
        Resources::from_wire(&wire.collect())
    }

    #[test]
    fn quantities_become_integers_and_fuel_is_not_counted() {
        let resources = list(&[
            ("cpu", "1500m"),
            ("memory", "1Gi"),
            ("pods", "110"),
            ("skiff.dev/fuel", "1000"),
            ("example.com/gpu", "2"),
        ]);
        assert_eq!((resources.cpu, resources.memory), (1_500, 1 << 30));
        assert_eq!(resources.other, [("example.com/gpu".into(), 2)]);
    }

    #[test]
    fn what_was_added_can_be_taken_away() {
        let mut sum = list(&[("cpu", "1"), ("b/x", "1")]);
        let more = list(&[("memory", "5"), ("a/x", "2"), ("b/x", "3")]);
        sum.add(&more);
        assert_eq!((sum.other("a/x"), sum.other("b/x"), sum.other("c/x")), (2, 4, 0));
        sum.subtract(&more);
        assert_eq!((sum.cpu, sum.memory, sum.other("b/x"), sum.other("a/x")), (1_000, 0, 1, 0));
    }
}
