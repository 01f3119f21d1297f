//! The grammar of label selectors, a recursive descent after `apimachinery/pkg/labels/selector.go`,
//! so that its error messages come out the same.

use super::{Operator, Requirement, key_problem, requirement};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a str),
    /// `in` and `notin`, which are plain words where a value is expected.
    Keyword(&'a str),
    Symbol(&'a str),
    End,
}

impl<'a> Token<'a> {
    const fn text(self) -> &'a str {
        match self {
            Token::Word(t) | Token::Keyword(t) | Token::Symbol(t) => t,
            Token::End => "",
        }
    }

    /// In the place of a value keywords are words.
    const fn as_value(self) -> Self {
        match self {
            Token::Keyword(t) => Token::Word(t),
            other => other,
        }
    }
}

struct Parser<'a> {
    tokens: Vec<Token<'a>>,
    at: usize,
}

/// Parses a whole selector. The error is the message for the client.
pub(super) fn parse(text: &str) -> Result<Vec<Requirement>, String> {
    let mut parser = Parser { tokens: tokens(text), at: 0 };
    let mut requirements = Vec::new();
    loop {
        match parser.peek().as_value() {
            Token::Word(_) | Token::Symbol("!") => {
                let parsed = parser.requirement().map_err(|e| format!("unable to parse requirement: {e}"))?;
                requirements.push(parsed);
                match parser.next() {
                    Token::End => return Ok(requirements),
                    Token::Symbol(",") => match parser.peek().as_value() {
                        Token::Word(_) | Token::Symbol("!") => {}
                        other => return Err(format!("found '{}', expected: identifier after ','", other.text())),
                    },
                    other => return Err(format!("found '{}', expected: ',' or 'end of string'", other.text())),
                }
            }
            Token::End => return Ok(requirements),
            other => {
                return Err(format!("found '{}', expected: !, identifier, or 'end of string'", other.text()));
            }
        }
    }
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Token<'a> {
        self.tokens.get(self.at).copied().unwrap_or(Token::End)
    }

    fn next(&mut self) -> Token<'a> {
        let token = self.peek();
        self.at += 1;
        token
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let negated = self.peek() == Token::Symbol("!");
        if negated {
            self.next();
        }
        let key = match self.next().as_value() {
            Token::Word(key) => key,
            other => return Err(format!("found '{}', expected: identifier", other.text())),
        };
        if let Some(problem) = key_problem(key) {
            return Err(problem.to_string());
        }
        if negated {
            return requirement(key, Operator::DoesNotExist, Vec::new());
        }
        if matches!(self.peek(), Token::End | Token::Symbol(",")) {
            return requirement(key, Operator::Exists, Vec::new());
        }
        let (operator, is_set) = self.operator()?;
        let values = if is_set { self.value_set()? } else { self.exact_value()? };
        requirement(key, operator, values)
    }

    fn operator(&mut self) -> Result<(Operator, bool), String> {
        Ok(match self.next() {
            Token::Keyword("in") => (Operator::In, true),
            Token::Keyword("notin") => (Operator::NotIn, true),
            Token::Symbol("=") => (Operator::Equals, false),
            Token::Symbol("==") => (Operator::DoubleEquals, false),
            Token::Symbol("!=") => (Operator::NotEquals, false),
            Token::Symbol(">") => (Operator::GreaterThan, false),
            Token::Symbol("<") => (Operator::LessThan, false),
            other => return Err(format!("found '{}', expected: in, notin, =, ==, !=, gt, lt", other.text())),
        })
    }

    fn value_set(&mut self) -> Result<Vec<String>, String> {
        let open = self.next();
        if open != Token::Symbol("(") {
            return Err(format!("found '{}' expected: '('", open.text()));
        }
        let mut values = Vec::new();
        loop {
            // An empty place between commas is the empty value, as in Kubernetes.
            match self.peek().as_value() {
                Token::Word(word) => {
                    self.next();
                    values.push(word.to_string());
                }
                Token::Symbol(",") => values.push(String::new()),
                Token::Symbol(")") => values.push(String::new()),
                other => return Err(format!("found '{}', expected: ',', ')' or identifier", other.text())),
            }
            match self.next() {
                Token::Symbol(",") => {}
                Token::Symbol(")") => {
                    values.sort();
                    values.dedup();
                    return Ok(values);
                }
                other => return Err(format!("found '{}', expected: ',' or ')'", other.text())),
            }
        }
    }

    fn exact_value(&mut self) -> Result<Vec<String>, String> {
        match self.peek().as_value() {
            Token::End | Token::Symbol(",") => Ok(vec![String::new()]),
            Token::Word(word) => {
                self.next();
                Ok(vec![word.to_string()])
            }
            other => Err(format!("found '{}', expected: identifier", other.text())),
        }
    }
}

fn tokens(text: &str) -> Vec<Token<'_>> {
    const SPECIAL: &[char] = &['=', '!', '(', ')', ',', '>', '<'];
    let blank = |c: char| matches!(c, ' ' | '\t' | '\r' | '\n');
    let mut out = Vec::new();
    let mut rest = text.trim_start_matches(blank);
    while let Some(first) = rest.chars().next() {
        let len = if SPECIAL.contains(&first) {
            if rest.starts_with("==") || rest.starts_with("!=") { 2 } else { 1 }
        } else {
            rest.find(|c| blank(c) || SPECIAL.contains(&c)).unwrap_or(rest.len())
        };
        let (token, tail) = rest.split_at(len);
        out.push(match token {
            "in" | "notin" => Token::Keyword(token),
            _ if SPECIAL.contains(&first) => Token::Symbol(token),
            _ => Token::Word(token),
        });
        rest = tail.trim_start_matches(blank);
    }
    out
}
