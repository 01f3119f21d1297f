//! `matchConditions` of webhooks: CEL about the request. Compiled when a configuration is checked, and by whoever asks.

use crate::cel::{CompileError, Declared, Opaque, Program, Type};

/// Units that all conditions of one webhook may cost together (`RuntimeCELCostBudgetMatchConditions`).
pub const BUDGET: u64 = crate::cel::PER_CALL_LIMIT * 5 / 2;

/// The names of the variables that rights are asked by.
const AUTHORIZER: &str = "authorizer";
const REQUEST_RESOURCE: &str = "authorizer.requestResource";

/// Whether a condition asks about rights.
#[must_use]
pub fn asks_about_rights(condition: &Program) -> bool {
    condition.uses(AUTHORIZER) || condition.uses(REQUEST_RESOURCE)
}

/// A condition, over `object`, `oldObject`, `request`, `authorizer` and `authorizer.requestResource`.
///
/// # Errors
/// What the compiler says, or that the expression is no question.
pub fn compile(expression: &str) -> Result<Program, String> {
    let declared = ["object", "oldObject", "request"]
        .iter()
        .fold(Declared::new(), |declared, name| declared.with(name, Type::Dyn))
        .with(AUTHORIZER, Type::Opaque(Opaque::Authorizer))
        .with(REQUEST_RESOURCE, Type::Opaque(Opaque::ResourceCheck));
    let program = Program::compile(expression, &declared).map_err(|error| match error {
        CompileError::Source(why) => format!("compilation failed: {why}"),
        CompileError::Program(why) => format!("instantiation failed: {why}"),
    })?;
    match program.ty() {
        Type::Bool | Type::Dyn => Ok(program),
        _ => Err("must evaluate to bool".into()),
    }
}
