//! Source text to syntax tree: the `cel` crate's parser and macros, behind limits of our own.
//!
//! The crate's parser is recursive, and so are the visitors that drop and read its trees. What it is handed is bounded
//! here ([`measure`]), and it runs on a thread of its own whose stack fits the deepest tree that is let through: neither
//! its depth nor a panic inside of it can reach a caller.

use super::error::{CompileError, located};
use super::macros;
use cel::common::ast::SourceInfo;
use cel::{Env, IdedExpr};
use std::sync::LazyLock;

/// Longest expression, in characters.
pub const MAX_LEN: usize = 16 << 10;
/// Deepest nesting and longest chain of operators that is handed to the parser.
const MAX_DEPTH: usize = 600;
/// Deepest nesting of brackets.
const MAX_BRACKETS: usize = 60;
/// The parser's stack, in bytes. Only what is used is ever backed by memory.
const STACK: usize = 128 << 20;

static ENV: LazyLock<Env> = LazyLock::new(|| {
    let mut env = Env::stdlib();
    for one in macros::all() {
        env.add_macro(one).expect("no standard macro takes as many arguments under such a name");
    }
    env
});

/// Parses `source` and hands its tree to `then`, which runs on the parser's stack too.
///
/// # Errors
/// Syntax errors, one line each with the place below; expressions that are too long or too deep; what `then` says.
pub fn parse<T: Send>(
    source: &str,
    then: impl FnOnce(&IdedExpr, &SourceInfo) -> Result<T, CompileError> + Send,
) -> Result<T, CompileError> {
    measure(source)?;
    let work = || -> Result<T, CompileError> {
        let (tree, info) =
            ENV.parser().enable_ident_escape_syntax(true).parse_with_source_info(source).map_err(|errors| {
                let texts: Vec<String> = errors
                    .errors
                    .iter()
                    .map(|error| {
                        let line = usize::try_from(error.pos.0).unwrap_or_default().max(1);
                        let column = usize::try_from(error.pos.1).unwrap_or_default().saturating_sub(1);
                        located(source, line, column, &worded(&error.msg))
                    })
                    .collect();
                CompileError::Source(texts.join("\n"))
            })?;
        then(&tree, &info)
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("cel".into()).stack_size(STACK).spawn_scoped(scope, work);
        let thread = thread
            .map_err(|error| CompileError::Source(format!("internal error: no thread to parse with: {error}")))?;
        thread.join().unwrap_or_else(|_| Err(CompileError::Source("internal error: the parser gave up".into())))
    })
}

/// Syntax errors as cel-go words them.
fn worded(text: &str) -> String {
    if text.starts_with("Syntax error") || text.contains(' ') && !text.starts_with("mismatched") {
        let syntax = ["extraneous input", "missing ", "no viable", "token recognition"];
        if syntax.iter().any(|start| text.starts_with(start)) {
            return format!("Syntax error: {text}");
        }
        return text.to_owned();
    }
    format!("Syntax error: {text}")
}

/// Refuses what could nest deeper than the parser's stack allows.
///
/// A bound from above: every operator of a run counts as one level, as does every bracket.
fn measure(source: &str) -> Result<(), CompileError> {
    let length = source.chars().count();
    if length > MAX_LEN {
        let text =
            format!("ERROR: <input>:-1:0: expression code point size exceeds limit: size: {length}, limit {MAX_LEN}");
        return Err(CompileError::Source(text));
    }
    let deep =
        || Err(CompileError::Source(format!("ERROR: <input>:-1:0: expression recursion limit exceeded: {MAX_DEPTH}")));
    let mut levels = vec![Level::default()];
    let mut rest = source;
    while let Some(c) = rest.chars().next() {
        if let Some(after) = literal(rest).or_else(|| comment(rest)) {
            rest = after;
            continue;
        }
        rest = &rest[c.len_utf8()..];
        let Some(level) = levels.last_mut() else { break };
        match c {
            '(' | '[' | '{' => {
                level.add(1);
                levels.push(Level::default());
            }
            ')' | ']' | '}' => {
                let inner = levels.pop().unwrap_or_default();
                match levels.last_mut() {
                    Some(level) => level.add(inner.max.max(inner.now) + 1),
                    // More brackets closed than opened: the parser will say so.
                    None => levels.push(inner),
                }
            }
            ',' => level.now = level.fixed,
            '&' | '|' | ':' => level.now = level.fixed + 1,
            '?' => {
                level.fixed += 1;
                level.now = level.fixed;
            }
            '.' | '+' | '-' | '*' | '/' | '%' | '<' | '>' | '=' | '!' => level.add(1),
            'i' if rest.starts_with('n') => level.add(1),
            _ => {}
        }
        if levels.len() > MAX_BRACKETS || levels.last().is_some_and(|level| level.max.max(level.now) > MAX_DEPTH) {
            return deep();
        }
    }
    let total: usize = levels.iter().map(|level| level.max.max(level.now)).sum();
    if total > MAX_DEPTH { deep() } else { Ok(()) }
}

/// What [`measure`] knows of one pair of brackets.
#[derive(Default)]
struct Level {
    /// Levels that stay for the rest of the bracket: right-hand sides of `?:`.
    fixed: usize,
    now: usize,
    max: usize,
}

impl Level {
    fn add(&mut self, count: usize) {
        self.now += count;
        self.max = self.max.max(self.now);
    }
}

/// What follows the string literal that `text` starts with.
fn literal(text: &str) -> Option<&str> {
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let triple: String = std::iter::repeat_n(quote, 3).collect();
    let (end, open) = if text.starts_with(&triple) { (triple.as_str(), 3) } else { (&triple[..1], 1) };
    let mut rest = &text[open..];
    loop {
        if let Some(after) = rest.strip_prefix(end) {
            return Some(after);
        }
        let c = rest.chars().next()?;
        rest = &rest[c.len_utf8()..];
        if c == '\\'
            && let Some(escaped) = rest.chars().next()
        {
            rest = &rest[escaped.len_utf8()..];
        }
    }
}

fn comment(text: &str) -> Option<&str> {
    let text = text.strip_prefix("//")?;
    Some(text.find('\n').map_or("", |end| &text[end..]))
}
