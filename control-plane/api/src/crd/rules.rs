//! The seam to CEL: `x-kubernetes-validations` of a CRD's schema nodes.
//!
//! What the rest of the API expects of an interpreter, and where it is called:
//! - [`check`] at creation and update of a CRD, once for each node with rules, after the schema was found structural:
//!   compiles, estimates the cost, and answers what is wrong, with paths below `site.path`;
//! - [`Programs::of`] when a schema is built to be used (lazily, once): keeps what [`Programs::evaluate`] needs;
//! - [`Programs::evaluate`] for every written object: `this` is the node's value, `old` the value that it replaces
//!   where the two can be correlated (None at creation and below lists that are not maps).
//!
//! Until an interpreter is wired in, [`check`] refuses every rule: ignoring one would let in what its author forbade.

use crate::field::{Error, Path};
use serde_json::{Map, Value};

/// Where rules stand.
pub struct Site<'a> {
    /// The schema node as its author wrote it.
    pub node: &'a Value,
    pub role: Role,
    /// The path of the first node above that cannot be correlated between two revisions of an object: `oldSelf` is
    /// forbidden below it.
    pub uncorrelatable: Option<String>,
    /// Most values that the node stands for in one object: the product of `maxItems` and `maxProperties` above it.
    pub cardinality: u64,
    /// The rules' own path: `….x-kubernetes-validations` is a child of it.
    pub path: &'a Path<'a>,
}

/// What the values of a node are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The root, or `x-kubernetes-embedded-resource`: `self` has `apiVersion`, `kind`, `metadata.name` and `generateName`.
    Resource,
    Value,
}

/// Compiles the rules of one node to see what is wrong with them.
pub fn check(site: &Site<'_>, errors: &mut Vec<Error>) {
    let rules = site.node.get("x-kubernetes-validations").and_then(Value::as_array).map_or(0, Vec::len);
    let list = site.path.child("x-kubernetes-validations");
    for index in 0..rules {
        errors.push(Error::forbidden(
            &list.index(index).child("rule"),
            "CEL validation rules are not implemented in this version of skiff",
        ));
    }
}

/// The rules of one node, compiled.
#[derive(Clone, Debug)]
pub struct Programs {
    #[expect(dead_code, reason = "read by the interpreter that is to be wired in here")]
    rules: Box<[Value]>,
}

impl Programs {
    /// The rules of a node that [`check`] has accepted; None where it has none.
    #[must_use]
    pub fn of(node: &Map<String, Value>, _role: Role) -> Option<Self> {
        let rules = node.get("x-kubernetes-validations")?.as_array()?;
        (!rules.is_empty()).then(|| Self { rules: rules.clone().into() })
    }

    /// Judges one value; what it breaks goes to `errors`, with paths at or below `path`. `budget` is what is left of
    /// the cost that the rules of one object may have altogether.
    pub fn evaluate(
        &self,
        _this: &Value,
        _old: Option<&Value>,
        path: &Path<'_>,
        _budget: &mut u64,
        errors: &mut Vec<Error>,
    ) {
        errors.push(Error::forbidden(path, "CEL validation rules are not implemented in this version of skiff"));
    }
}
