//! Which formats of the file there are, and the way from each to the next.
//!
//! A file of an older format is brought to this one as it is opened: read and checked first, then rewritten in one
//! redb transaction, which a power loss undoes as a whole. A new format is one more [`Layout`] and one more [`Step`].

use redb::{
    Database, ReadTransaction, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition,
    WriteTransaction,
};

use super::authors::{Authors, Names};
use super::record::{self, Malformed, Parsed, Row};
use super::{FORMAT, LOG, META, authors, corrupt};

/// The file format this version writes.
pub(super) const CURRENT: u64 = 2;

type Log = TableDefinition<'static, &'static [u8], &'static [u8]>;

/// What tells a format's log from the others'.
pub(super) struct Layout {
    format: u64,
    pub log: Log,
    pub parse: fn(&[u8]) -> Result<Parsed<'_>, Malformed>,
    pub has_authors: bool,
}

impl Layout {
    /// The authors that `database` names.
    pub fn authors(&self, database: &Database) -> Result<Authors, redb::Error> {
        Ok(Authors::new(&self.names(&database.begin_read()?)?))
    }

    pub fn names(&self, transaction: &ReadTransaction) -> Result<Names, redb::Error> {
        if self.has_authors { Names::read(&transaction.open_table(authors::TABLE)?) } else { Ok(Names::default()) }
    }
}

const LOG_V1: Log = TableDefinition::new("log");

/// Every format that this version reads.
const LAYOUTS: &[Layout] = &[
    Layout { format: 1, log: LOG_V1, parse: record::parse_v1, has_authors: false },
    Layout { format: 2, log: LOG, parse: record::parse, has_authors: true },
];

/// The way from one format to the next.
struct Step {
    from: u64,
    run: fn(&WriteTransaction) -> Result<(), redb::Error>,
}

const STEPS: &[Step] = &[Step { from: 1, run: add_sums_and_authors }];

/// How the log of a file of `format` is read; `None` when this version does not know it.
pub(super) fn layout(format: u64) -> Option<&'static Layout> {
    LAYOUTS.iter().find(|layout| layout.format == format)
}

/// The current format's.
pub(super) fn current() -> &'static Layout {
    layout(CURRENT).expect("the current format is in the table")
}

/// Bring `database` from the format `from` to the current one: all of the way, or, after an error, not at all.
pub(super) fn upgrade(database: &Database, from: u64) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    for step in STEPS.iter().filter(|step| step.from >= from) {
        (step.run)(&transaction)?;
    }
    transaction.open_table(META)?.insert(FORMAT, u128::from(CURRENT))?;
    transaction.commit()?;
    Ok(())
}

/// Format 2: each row has a checksum and may name its author. The rows move to a table of another name, since a
/// program that knows format 1 only must find nothing that it could take for its own.
fn add_sums_and_authors(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    {
        let old = transaction.open_table(LOG_V1)?;
        let mut new = transaction.open_table(LOG)?;
        transaction.open_table(authors::TABLE)?;
        for row in old.iter()? {
            let (row_key, row) = row?;
            let parsed = record::parse_v1(row.value()).map_err(corrupt)?;
            let (index, body) = parsed.parts();
            let row = Row::from_parts(parsed.header, parsed.by, index, body);
            row.write(row_key.value(), new.insert_reserve(row_key.value(), row.len())?.as_mut());
        }
        debug_assert_eq!(old.len()?, new.len()?);
    }
    transaction.delete_table(LOG_V1)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_leads_to_the_current_one() {
        let formats: Vec<_> = LAYOUTS.iter().map(|layout| layout.format).collect();
        let steps: Vec<_> = STEPS.iter().map(|step| step.from).collect();
        assert_eq!(formats, (1..=CURRENT).collect::<Vec<_>>());
        assert_eq!(steps, (1..CURRENT).collect::<Vec<_>>());
    }
}
