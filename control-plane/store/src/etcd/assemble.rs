//! Events as etcd sends them, put together to whole revisions: etcd may cut a revision in two, and put several into one
//! message.

use super::layout::{Layout, Malformed, Marker, Place, decode_compact};
use super::proto::{DELETE, Event, KeyValue, unsigned};
use crate::types::Revision;

/// All that one revision changed below the prefix.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Raw {
    pub revision: Revision,
    /// Who and when; `None` when somebody else than Skiff wrote it.
    pub marker: Option<(Marker, Vec<u8>)>,
    /// Where history begins from now on, and the revision of the key that says so.
    pub compact: Option<Revision>,
    /// What happened to the store's own keys, without the prefix, in order.
    pub changes: Vec<Change>,
}

/// What happened to one key.
#[derive(Debug, PartialEq)]
pub(crate) struct Change {
    pub key: Vec<u8>,
    /// `None`: deleted.
    pub kv: Option<KeyValue>,
    /// What was there before, where the watch asked for it.
    pub prev: Option<KeyValue>,
}

/// Why events make no sense.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Torn {
    #[error("an event of revision {found} came after revision {last} was complete")]
    Late { found: Revision, last: Revision },
    #[error("an event without a key")]
    Empty,
    #[error("the key that names the cluster was removed or replaced")]
    Identity,
    #[error("a key of Skiff's own cannot be read: {0}")]
    Malformed(#[from] Malformed),
}

/// Takes messages apart and gives revisions.
#[derive(Debug)]
pub(crate) struct Assembler {
    layout: Layout,
    /// Everything at or below this revision has been given.
    done: Revision,
    /// The revision that may not be complete yet.
    open: Option<Raw>,
}

impl Assembler {
    /// Everything up to `done` is known already.
    pub fn new(layout: Layout, done: Revision) -> Self {
        Self { layout, done, open: None }
    }

    /// The revisions that are complete now. `more` says that the message goes on in the next.
    pub fn take(&mut self, events: Vec<Event>, more: Part) -> Result<Vec<Raw>, Torn> {
        let mut whole = Vec::new();
        for event in events {
            let kv = event.kv.ok_or(Torn::Empty)?;
            let revision = unsigned(kv.mod_revision);
            if revision <= self.done {
                return Err(Torn::Late { found: revision, last: self.done });
            }
            if self.open.as_ref().is_some_and(|open| open.revision != revision) {
                whole.extend(self.close());
            }
            if revision <= self.done {
                return Err(Torn::Late { found: revision, last: self.done });
            }
            let open = self.open.get_or_insert_with(|| Raw { revision, ..Raw::default() });
            add(&self.layout, open, event.r#type == DELETE, kv, event.prev_kv)?;
        }
        if more == Part::Last {
            whole.extend(self.close());
        }
        Ok(whole)
    }

    fn close(&mut self) -> Option<Raw> {
        let mut raw = self.open.take()?;
        self.done = raw.revision;
        // Whatever the order of the operations was: a file's log knows this one only.
        raw.changes.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        Some(raw)
    }
}

/// Whether a message is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// It goes on in the next.
    Continued,
    Last,
}

fn add(layout: &Layout, raw: &mut Raw, is_deletion: bool, kv: KeyValue, prev: Option<KeyValue>) -> Result<(), Torn> {
    match layout.place(&kv.key) {
        Place::Data(key) => {
            let key = key.to_vec();
            raw.changes.push(Change { key, kv: (!is_deletion).then_some(kv), prev });
        }
        // It was lost together with everything else, or will be missed at the next look.
        Place::Commit if is_deletion => return Err(Torn::Identity),
        Place::Commit => raw.marker = Some((Marker::decode(&kv.value)?, kv.value)),
        Place::Compact if is_deletion => {}
        Place::Compact => raw.compact = Some(decode_compact(&kv.value)?),
        Place::Cluster if kv.version != 1 => return Err(Torn::Identity),
        Place::Cluster | Place::Unknown => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Author;

    fn layout() -> Layout {
        Layout::new("/s/")
    }

    fn put(key: Vec<u8>, revision: i64, value: Vec<u8>) -> Event {
        let kv = KeyValue { key, mod_revision: revision, create_revision: revision, version: 1, value };
        Event { r#type: 0, kv: Some(kv), prev_kv: None }
    }

    fn data(key: &str, revision: i64) -> Event {
        put(layout().data(key.as_bytes()), revision, Vec::new())
    }

    fn marker(revision: i64) -> Event {
        put(layout().commit(), revision, Marker { at_ms: 1, nonce: 2, author: Author::new("a") }.encode())
    }

    fn revisions(raws: &[Raw]) -> Vec<(u64, usize, bool)> {
        raws.iter().map(|raw| (raw.revision, raw.changes.len(), raw.marker.is_some())).collect()
    }

    #[test]
    fn several_revisions_in_one_message_are_taken_apart() {
        let mut assembler = Assembler::new(layout(), 4);
        let events = vec![data("a", 5), data("b", 5), marker(5), data("a", 7), marker(7)];
        let raws = assembler.take(events, Part::Last).unwrap();
        assert_eq!(revisions(&raws), [(5, 2, true), (7, 1, true)]);
        assert_eq!(raws[0].changes[1].key, b"b");
    }

    #[test]
    fn a_revision_in_pieces_is_given_once_it_is_whole() {
        let mut assembler = Assembler::new(layout(), 4);
        let raws = assembler.take(vec![data("a", 5), marker(5), data("a", 6)], Part::Continued).unwrap();
        assert_eq!(revisions(&raws), [(5, 1, true)]);
        assert!(assembler.take(vec![data("b", 6)], Part::Continued).unwrap().is_empty());
        let raws = assembler.take(vec![marker(6)], Part::Last).unwrap();
        assert_eq!(revisions(&raws), [(6, 2, true)]);
    }

    #[test]
    fn what_comes_twice_or_late_is_refused() {
        let mut assembler = Assembler::new(layout(), 4);
        assert_eq!(assembler.take(vec![data("a", 4)], Part::Last), Err(Torn::Late { found: 4, last: 4 }));
        assembler.take(vec![data("a", 6), marker(6)], Part::Last).unwrap();
        assert_eq!(assembler.take(vec![data("b", 6)], Part::Last), Err(Torn::Late { found: 6, last: 6 }));
        let backwards = vec![data("a", 9), data("a", 8)];
        assert_eq!(assembler.take(backwards, Part::Last), Err(Torn::Late { found: 8, last: 9 }));
    }

    #[test]
    fn keys_that_are_not_the_stores_are_no_changes() {
        let mut assembler = Assembler::new(layout(), 0);
        let raws = assembler.take(vec![put(b"/s/other".to_vec(), 3, Vec::new())], Part::Last).unwrap();
        assert_eq!(revisions(&raws), [(3, 0, false)]);
        let garbage = put(layout().commit(), 4, b"{}".to_vec());
        assert_eq!(assembler.take(vec![garbage], Part::Last), Err(Torn::Malformed(Malformed::Foreign)));
        let mut gone = put(layout().commit(), 5, Vec::new());
        gone.r#type = DELETE;
        assert_eq!(Assembler::new(layout(), 0).take(vec![gone], Part::Last), Err(Torn::Identity));
    }
}
