//! `matchConditions` of webhooks: CEL about the request. Compiled when a configuration is checked, and by whoever asks.

use crate::cel::{Declared, Program, Type};

/// Units that all conditions of one webhook may cost together (`RuntimeCELCostBudgetMatchConditions`).
pub const BUDGET: u64 = crate::cel::PER_CALL_LIMIT * 5 / 2;

/// A condition, over `object`, `oldObject` and `request`. (`authorizer` is not there.)
///
/// # Errors
/// What the compiler says, or that the expression is no question.
pub fn compile(expression: &str) -> Result<Program, String> {
    let declared = ["object", "oldObject", "request"]
        .iter()
        .fold(Declared::new(), |declared, name| declared.with(name, Type::Dyn));
    let program = Program::compile(expression, &declared).map_err(|error| format!("compilation failed: {error}"))?;
    match program.ty() {
        Type::Bool | Type::Dyn => Ok(program),
        _ => Err("must evaluate to bool".into()),
    }
}
