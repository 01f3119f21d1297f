//! The table of authors: a change names its author by a small number.
//!
//! The table only grows, and only up to [`MOST`] names: whoever comes later is named in each of their rows, so that no
//! flood of users makes the table, or what is kept of it in memory, large.

use std::collections::HashMap;

use redb::{ReadableTable, Table, TableDefinition, WriteTransaction};

use super::corrupt;
use super::record::{By, FIRST_AUTHOR, Malformed};
use crate::types::Author;

pub(super) const TABLE: TableDefinition<'_, u32, &str> = TableDefinition::new("authors");

/// Names in the table.
const MOST: usize = 4_096;

/// The names in the table, for the writer.
#[derive(Debug, Default)]
pub(super) struct Authors {
    numbers: HashMap<Author, u32>,
}

/// The names that one transaction adds. They count once it is durable.
#[derive(Debug, Default)]
pub(super) struct Added(Vec<Author>);

impl Authors {
    pub fn new(names: &Names) -> Self {
        Self { numbers: names.0.iter().map(|(number, name)| (name.clone(), *number)).collect() }
    }

    /// How a row names `author`.
    pub fn name<'a>(&self, author: &'a Author, added: &mut Added) -> By<'a> {
        if author.as_str().is_empty() {
            return By::Nobody;
        }
        if let Some(number) = self.numbers.get(author) {
            return By::Known(*number);
        }
        let at = added.0.iter().position(|other| other == author).unwrap_or(added.0.len());
        if self.numbers.len() + at >= MOST {
            return By::Name(author.as_str());
        }
        if at == added.0.len() {
            added.0.push(author.clone());
        }
        By::Known(self.number(at))
    }

    /// Write what `added` holds.
    pub fn write(&self, transaction: &WriteTransaction, added: &Added) -> Result<(), redb::Error> {
        if added.0.is_empty() {
            return Ok(());
        }
        let mut table: Table<'_, u32, &str> = transaction.open_table(TABLE)?;
        for (at, author) in added.0.iter().enumerate() {
            table.insert(self.number(at), author.as_str())?;
        }
        Ok(())
    }

    /// The transaction that wrote `added` is durable.
    pub fn keep(&mut self, added: Added) {
        let first = self.number(0);
        self.numbers.extend(added.0.into_iter().zip(first..));
    }

    /// The number of the `at`th added name.
    fn number(&self, at: usize) -> u32 {
        FIRST_AUTHOR + u32::try_from(self.numbers.len() + at).expect("the table is small")
    }
}

/// The names in the table, for readers.
#[derive(Clone, Debug, Default)]
pub(super) struct Names(HashMap<u32, Author>);

impl Names {
    pub fn read(table: &impl ReadableTable<u32, &'static str>) -> Result<Self, redb::Error> {
        let mut names = HashMap::new();
        for row in table.iter()? {
            let (number, name) = row?;
            if names.len() >= MOST {
                return Err(corrupt(Malformed::Author));
            }
            names.insert(number.value(), Author::new(name.value()));
        }
        Ok(Self(names))
    }

    pub fn author(&self, by: By<'_>) -> Result<Author, Malformed> {
        match by {
            By::Nobody => Ok(Author::default()),
            By::Known(number) => self.0.get(&number).cloned().ok_or(Malformed::Author),
            By::Name(name) => Ok(Author::new(name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_bounded_and_nobody_goes_unnamed() {
        let mut authors = Authors::default();
        for number in 0..MOST {
            let mut added = Added::default();
            let author = Author::new(&format!("user-{number}"));
            let by = authors.name(&author, &mut added);
            assert_eq!(by, By::Known(FIRST_AUTHOR + u32::try_from(number).unwrap()));
            assert_eq!(authors.name(&author, &mut added), by);
            authors.keep(added);
        }
        let mut added = Added::default();
        assert_eq!(authors.name(&Author::new("late"), &mut added), By::Name("late"));
        assert_eq!(authors.name(&Author::new("user-7"), &mut added), By::Known(FIRST_AUTHOR + 7));
        assert_eq!(authors.name(&Author::default(), &mut added), By::Nobody);
        assert!(added.0.is_empty());
    }

    #[test]
    fn what_a_failed_transaction_added_does_not_count() {
        let authors = Authors::default();
        let (alice, bob) = (Author::new("alice"), Author::new("bob"));
        let mut lost = Added::default();
        assert_eq!(authors.name(&alice, &mut lost), By::Known(2));
        assert_eq!(authors.name(&bob, &mut lost), By::Known(3));
        assert_eq!(authors.name(&alice, &mut lost), By::Known(2));
        drop(lost);
        assert_eq!(authors.name(&bob, &mut Added::default()), By::Known(2));
    }
}
