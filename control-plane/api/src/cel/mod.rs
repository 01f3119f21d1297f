//! CEL, as Kubernetes uses it: expressions that are compiled once against declared variables and evaluated on JSON.
//!
//! The `cel` crate parses (grammar, macros, positions). Checking (`check`), evaluation (`eval`), the libraries
//! (`library`) and the accounting of costs are ours: the crate's interpreter cannot be interrupted, does not know types
//! before it runs and wants values of its own. See docs/adr for what differs from cel-go.
//!
//! Knows nothing of CRDs or webhooks; [`decl`] alone reads schemas.

mod check;
mod checked;
pub mod decl;
mod error;
mod eval;
mod library;
mod macros;
mod parse;
#[cfg(test)]
mod tests;
mod types;
mod value;

pub use error::{CompileError, Fault};
pub use library::authz::{Authorize, ResourceCheck, Rights, Verdict};
pub use types::{Field, ListKind, ListType, MapType, ObjectType, Opaque, Type, UNBOUNDED};
pub use value::{Key, List, Map, Text, Val};

use check::Checker;
use eval::{Frame, Node};
use serde_json::Value;

/// What one expression may cost when it runs (`celconfig.PerCallLimit`).
pub const PER_CALL_LIMIT: u64 = 1_000_000;

/// The variables of an expression.
#[derive(Clone, Debug, Default)]
pub struct Declared {
    variables: Vec<(String, Type)>,
}

impl Declared {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One variable more. [`Type::Dyn`] takes any JSON; a [`Type::Optional`] may be left out of an evaluation's inputs.
    #[must_use]
    pub fn with(mut self, name: &str, ty: Type) -> Self {
        self.variables.push((name.to_owned(), ty));
        self
    }
}

/// A compiled expression.
#[derive(Debug)]
pub struct Program {
    root: Node,
    ty: Type,
    variables: Vec<Declaration>,
    /// Variables that are in scope at once, at most.
    slots: usize,
    cost: u64,
}

#[derive(Debug)]
struct Declaration {
    name: String,
    ty: Type,
    is_used: bool,
}

impl Program {
    /// Compiles an expression.
    ///
    /// # Errors
    /// Syntax errors, undeclared names, types that do not agree, expressions that are too long or too deep; worded as
    /// cel-go does: `ERROR: <input>:1:6: undefined field 'x'` and the place below.
    pub fn compile(source: &str, declared: &Declared) -> Result<Self, CompileError> {
        parse::parse(source, |tree, info| {
            let mut checker = Checker::new(source, info, &declared.variables);
            let checked = checker.check(tree)?;
            let declarations = declared.variables.iter().zip(&checker.used);
            let variables = declarations.map(|((name, ty), used)| Declaration {
                name: name.clone(),
                ty: ty.clone(),
                is_used: *used,
            });
            Ok(Self {
                root: checked.node,
                ty: checked.ty,
                variables: variables.collect(),
                slots: checker.slots,
                cost: checked.cost,
            })
        })
    }

    /// The type of the result. [`Type::Dyn`] where only the evaluation tells.
    #[must_use]
    pub const fn ty(&self) -> &Type {
        &self.ty
    }

    /// Whether a variable occurs.
    #[must_use]
    pub fn uses(&self, name: &str) -> bool {
        self.variables.iter().any(|variable| variable.is_used && variable.name == name)
    }

    /// Units that an evaluation costs at most, for inputs within the sizes that their types say.
    #[must_use]
    pub const fn cost(&self) -> u64 {
        self.cost
    }

    /// Evaluates on JSON. What it costs is taken from `budget`; an expression that has used that up ends with
    /// [`Fault::Budget`]. A unit is some tens of nanoseconds, so [`PER_CALL_LIMIT`] is a fraction of a second.
    ///
    /// # Errors
    /// What CEL calls an error (a missing key, a division by zero), and [`Fault::Budget`].
    pub fn evaluate<'a>(&'a self, inputs: &[(&str, &'a Value)], budget: &mut u64) -> Result<Val<'a>, Fault> {
        self.evaluate_with(inputs, None, budget)
    }

    fn evaluate_with<'a>(
        &'a self,
        inputs: &[(&str, &'a Value)],
        rights: Option<&Rights>,
        budget: &mut u64,
    ) -> Result<Val<'a>, Fault> {
        let given = |name: &str| inputs.iter().find(|(input, _)| *input == name).map(|(_, value)| *value);
        let value = |variable: &'a Declaration| match (variable.is_used, &variable.ty) {
            (true, Type::Opaque(opaque)) => {
                let value = rights.and_then(|rights| rights.value(*opaque));
                value.ok_or_else(|| eval::absent(&variable.name))
            }
            (true, ty) => eval::input(given(&variable.name), &variable.name, ty),
            (false, _) => Ok(Val::Null),
        };
        let mut slots = Vec::with_capacity(self.slots);
        slots.extend(self.variables.iter().map(value));
        slots.resize(self.slots, Ok(Val::Null));
        let mut frame = Frame { slots, left: *budget, regexes: library::regexes::Cache::default() };
        let result = self.root.eval(&mut frame);
        *budget = frame.left;
        result
    }

    /// Evaluates an expression that says yes or no.
    ///
    /// # Errors
    /// As [`Self::evaluate`], and for a result that is no boolean.
    pub fn holds(&self, inputs: &[(&str, &Value)], budget: &mut u64) -> Result<bool, Fault> {
        self.holds_with(inputs, None, budget)
    }

    /// The same of an expression that may ask about rights.
    ///
    /// # Errors
    /// As [`Self::holds`].
    pub fn holds_with(
        &self,
        inputs: &[(&str, &Value)],
        rights: Option<&Rights>,
        budget: &mut u64,
    ) -> Result<bool, Fault> {
        match self.evaluate_with(inputs, rights, budget)? {
            Val::Bool(truth) => Ok(truth),
            _ => Err(Fault::text("cel expression must evaluate to a bool")),
        }
    }
}
