//! What can be wrong with an expression, before and while it is evaluated.

use std::borrow::Cow;
use std::fmt::Write as _;

/// An expression that cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// Its text is wrong. Kubernetes prints it after `compilation failed: `.
    #[error("{0}")]
    Source(String),
    /// What it says in literals can be seen to fail. Kubernetes prints it after `program instantiation failed: `.
    #[error("{0}")]
    Program(String),
}

/// An expression that came to no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// `no such key: x`, `division by zero` and their like.
    #[error("{0}")]
    Error(Cow<'static, str>),
    /// More steps than it may take.
    #[error("operation cancelled: actual cost limit exceeded")]
    Budget,
}

impl Fault {
    pub(crate) const fn text(text: &'static str) -> Self {
        Self::Error(Cow::Borrowed(text))
    }

    pub(crate) const fn of(text: String) -> Self {
        Self::Error(Cow::Owned(text))
    }

    pub(crate) const fn no_overload() -> Self {
        Self::text("no such overload")
    }

    pub(crate) fn no_key(key: &str) -> Self {
        Self::of(format!("no such key: {key}"))
    }

    pub(crate) const fn overflow() -> Self {
        Self::text("integer overflow")
    }
}

/// `ERROR: <input>:1:6: what`, and the line with a mark below the place. `line` counts from 1, `column` from 0.
pub fn located(source: &str, line: usize, column: usize, what: &str) -> String {
    let mut out = format!("ERROR: <input>:{line}:{}: {what}", column + 1);
    if let Some(text) = source.split('\n').nth(line.saturating_sub(1)) {
        let dots: String = text.chars().take(column).map(|c| if u32::from(c) > 0xff { '．' } else { '.' }).collect();
        let _ = write!(out, "\n | {text}\n | {dots}^");
    }
    out
}
