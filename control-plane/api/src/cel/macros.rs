//! Comprehensions with two variables (`all(i, v, …)`, `transformMap(k, v, …)`), as macros of the `cel` crate's parser.
//! Those with one variable, `has` and `optMap` are the crate's own.

use cel::IdedExpr;
use cel::common::ast::{CallExpr, ComprehensionExpr, Expr, ListExpr, LiteralValue, MapExpr, operators};
use cel::parser::{Macro, MacroExprHelper, ParseError};

/// The accumulator of the crate's own macros too: no source text can name it.
const RESULT: &str = "@result";
/// What `sortBy` binds its list to.
const INPUT: &str = "@sort_input";
/// `accu` with an entry more; fails where the key is there already.
pub const INSERT: &str = "@map_insert";
/// `accu` with the entries of another map.
pub const MERGE: &str = "@map_merge";

#[derive(Clone, Copy)]
enum Kind {
    All,
    Exists,
    ExistsOne,
    List,
    Map,
    Entry,
}

/// A name, a number of arguments and what they make.
const MACROS: &[(&str, usize, Kind)] = &[
    ("all", 3, Kind::All),
    ("exists", 3, Kind::Exists),
    ("existsOne", 3, Kind::ExistsOne),
    ("exists_one", 3, Kind::ExistsOne),
    ("transformList", 3, Kind::List),
    ("transformList", 4, Kind::List),
    ("transformMap", 3, Kind::Map),
    ("transformMap", 4, Kind::Map),
    ("transformMapEntry", 3, Kind::Entry),
    ("transformMapEntry", 4, Kind::Entry),
];

pub fn all() -> impl Iterator<Item = Macro> {
    let sort_by = Macro::receiver("sortBy", 2, |helper, target, args| sort_by(helper, target, args).map(Some));
    let two_variables = MACROS.iter().map(|(name, count, kind)| {
        let kind = *kind;
        Macro::receiver(*name, *count, move |helper, target, args| expand(kind, helper, target, args).map(Some))
    });
    two_variables.chain(std::iter::once(sort_by))
}

/// `l.sortBy(x, key)`: the list in the order of the list of its keys.
fn sort_by(
    helper: &mut MacroExprHelper<'_>,
    target: &mut Option<IdedExpr>,
    args: &mut Vec<IdedExpr>,
) -> Result<IdedExpr, ParseError> {
    let mut args = std::mem::take(args).into_iter();
    let (Some(variable), Some(key), Some(list)) = (args.next(), args.next(), target.take()) else {
        return Err(helper.new_error(0, "too few arguments"));
    };
    let Expr::Ident(variable) = variable.expr else {
        return Err(helper.new_error(variable.id, "argument is not an identifier"));
    };
    let input = helper.next_expr(Expr::Ident(INPUT.to_owned()));
    let (init, _, step, result) = parts(Kind::List, helper, &variable, key);
    let condition = helper.next_expr(Expr::Literal(LiteralValue::Boolean(true.into())));
    let keys = helper.next_expr(Expr::Comprehension(Box::new(ComprehensionExpr {
        iter_range: input,
        iter_var: variable,
        iter_var2: None,
        accu_var: RESULT.to_owned(),
        accu_init: init,
        loop_cond: condition,
        loop_step: step,
        result,
    })));
    let func_name = super::library::list_ext::SORT_BY_KEYS.to_owned();
    let input = Box::new(helper.next_expr(Expr::Ident(INPUT.to_owned())));
    let result = helper.next_expr(Expr::Call(CallExpr { func_name, target: Some(input), args: vec![keys] }));
    // The list is evaluated once: it is bound to a name.
    let bound = ComprehensionExpr {
        iter_range: helper.next_expr(Expr::List(ListExpr::new(Vec::new()))),
        iter_var: "#unused".to_owned(),
        iter_var2: None,
        accu_var: INPUT.to_owned(),
        accu_init: list,
        loop_cond: helper.next_expr(Expr::Literal(LiteralValue::Boolean(false.into()))),
        loop_step: helper.next_expr(Expr::Ident(INPUT.to_owned())),
        result,
    };
    Ok(helper.next_expr(Expr::Comprehension(Box::new(bound))))
}

fn call(helper: &mut MacroExprHelper<'_>, name: &str, args: Vec<IdedExpr>) -> IdedExpr {
    helper.next_expr(Expr::Call(CallExpr { func_name: name.to_owned(), target: None, args }))
}

fn accu(helper: &mut MacroExprHelper<'_>) -> IdedExpr {
    helper.next_expr(Expr::Ident(RESULT.to_owned()))
}

fn name(helper: &MacroExprHelper<'_>, expr: &IdedExpr) -> Result<String, ParseError> {
    match &expr.expr {
        Expr::Ident(name) => Ok(name.clone()),
        _ => Err(helper.new_error(expr.id, "argument must be a simple name")),
    }
}

fn expand(
    kind: Kind,
    helper: &mut MacroExprHelper<'_>,
    target: &mut Option<IdedExpr>,
    args: &mut Vec<IdedExpr>,
) -> Result<IdedExpr, ParseError> {
    let mut args = std::mem::take(args).into_iter();
    let (Some(first), Some(second), Some(range)) = (args.next(), args.next(), target.take()) else {
        return Err(helper.new_error(0, "too few arguments"));
    };
    let (var1, var2) = (name(helper, &first)?, name(helper, &second)?);
    if var1 == var2 {
        return Err(helper.new_error(second.id, format!("duplicate variable name: {var1}")));
    }
    let body = args.next_back().unwrap_or_default();
    let filter = args.next();
    let (init, condition, step, result) = parts(kind, helper, &var1, body);
    let step = match filter {
        None => step,
        Some(filter) => {
            let unchanged = accu(helper);
            call(helper, operators::CONDITIONAL, vec![filter, step, unchanged])
        }
    };
    let condition = condition.unwrap_or_else(|| helper.next_expr(Expr::Literal(LiteralValue::Boolean(true.into()))));
    Ok(helper.next_expr(Expr::Comprehension(Box::new(ComprehensionExpr {
        iter_range: range,
        iter_var: var1,
        iter_var2: Some(var2),
        accu_var: RESULT.to_owned(),
        accu_init: init,
        loop_cond: condition,
        loop_step: step,
        result,
    }))))
}

/// First value, condition to go on, step and result of a comprehension.
fn parts(
    kind: Kind,
    helper: &mut MacroExprHelper<'_>,
    key: &str,
    body: IdedExpr,
) -> (IdedExpr, Option<IdedExpr>, IdedExpr, IdedExpr) {
    let truth = |helper: &mut MacroExprHelper<'_>, value: bool| {
        helper.next_expr(Expr::Literal(LiteralValue::Boolean(value.into())))
    };
    let number =
        |helper: &mut MacroExprHelper<'_>, value: i64| helper.next_expr(Expr::Literal(LiteralValue::Int(value.into())));
    let so_far = accu(helper);
    match kind {
        Kind::All | Kind::Exists => {
            let is_all = matches!(kind, Kind::All);
            let seen = accu(helper);
            let seen = if is_all { seen } else { call(helper, operators::LOGICAL_NOT, vec![seen]) };
            let condition = call(helper, operators::NOT_STRICTLY_FALSE, vec![seen]);
            let operator = if is_all { operators::LOGICAL_AND } else { operators::LOGICAL_OR };
            let step = call(helper, operator, vec![so_far, body]);
            (truth(helper, is_all), Some(condition), step, accu(helper))
        }
        Kind::ExistsOne => {
            let one = number(helper, 1);
            let more = call(helper, operators::ADD, vec![so_far, one]);
            let unchanged = accu(helper);
            let step = call(helper, operators::CONDITIONAL, vec![body, more, unchanged]);
            let (count, one) = (accu(helper), number(helper, 1));
            let result = call(helper, operators::EQUALS, vec![count, one]);
            (number(helper, 0), None, step, result)
        }
        Kind::List => {
            let item = helper.next_expr(Expr::List(ListExpr::new(vec![body])));
            let step = call(helper, operators::ADD, vec![so_far, item]);
            (helper.next_expr(Expr::List(ListExpr::new(Vec::new()))), None, step, accu(helper))
        }
        Kind::Map => {
            let key = helper.next_expr(Expr::Ident(key.to_owned()));
            let step = call(helper, INSERT, vec![so_far, key, body]);
            (helper.next_expr(Expr::Map(MapExpr { entries: Vec::new() })), None, step, accu(helper))
        }
        Kind::Entry => {
            let step = call(helper, MERGE, vec![so_far, body]);
            (helper.next_expr(Expr::Map(MapExpr { entries: Vec::new() })), None, step, accu(helper))
        }
    }
}
