//! Sets of completion indexes in Kubernetes' compressed form, `0,2-5,7`. Pure.

use std::collections::BTreeMap;
use std::fmt::Write;

/// Kept as ranges, first to last, that neither overlap nor touch: a few bytes of text can name two billion indexes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Indexes(BTreeMap<i32, i32>);

impl Indexes {
    /// Reads the compressed form; what cannot be read, or lies outside of `0..completions`, is left out.
    pub fn parse(text: &str, completions: i32) -> Self {
        let mut set = Self::default();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            if let (Ok(first), Ok(last)) = (first.parse::<i32>(), last.parse::<i32>()) {
                set.add(first.max(0), last.min(completions.saturating_sub(1)));
            }
        }
        set
    }

    /// Takes in `first..=last`, which may be empty, and all ranges that it touches with it.
    fn add(&mut self, mut first: i32, mut last: i32) {
        if first > last {
            return;
        }
        while let Some((&before, &end)) = self.0.range(..=last.saturating_add(1)).next_back()
            && end >= first.saturating_sub(1)
        {
            self.0.remove(&before);
            (first, last) = (first.min(before), last.max(end));
        }
        self.0.insert(first, last);
    }

    pub fn contains(&self, index: i32) -> bool {
        self.0.range(..=index).next_back().is_some_and(|(_, last)| *last >= index)
    }

    pub fn insert(&mut self, index: i32) {
        self.add(index, index);
    }

    pub fn len(&self) -> i32 {
        clamped(self.0.iter().map(|(first, last)| size(*first, *last)).sum())
    }

    /// How many indexes are in both sets.
    pub fn common(&self, other: &Self) -> i32 {
        let (mut ours, mut theirs) = (self.0.iter().peekable(), other.0.iter().peekable());
        let mut count = 0;
        while let (Some((first, last)), Some((from, to))) = (ours.peek(), theirs.peek()) {
            count += size(*(*first).max(from), *(*last).min(to));
            if last < to {
                ours.next()
            } else {
                theirs.next()
            };
        }
        clamped(count)
    }

    pub fn text(&self) -> String {
        let mut text = String::new();
        for (first, last) in &self.0 {
            let comma = if text.is_empty() { "" } else { "," };
            // Writing to a String cannot fail. Kubernetes spells a run of two with a comma.
            let _ = match size(*first, *last) {
                1 => write!(text, "{comma}{first}"),
                2 => write!(text, "{comma}{first},{last}"),
                _ => write!(text, "{comma}{first}-{last}"),
            };
        }
        text
    }
}

fn size(first: i32, last: i32) -> i64 {
    (i64::from(last) - i64::from(first) + 1).max(0)
}

fn clamped(count: i64) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        for text in ["", "0", "0,1", "0-2", "1,3-5,7,9,10"] {
            assert_eq!(Indexes::parse(text, 11).text(), text);
        }
        assert_eq!(Indexes::parse("1-9,x,", 4).text(), "1-3");
    }

    #[test]
    fn two_billion_indexes_cost_nothing() {
        let all = Indexes::parse("0-2147483646", i32::MAX);
        assert_eq!((all.len(), all.text().as_str()), (i32::MAX, "0-2147483646"));
        assert_eq!(all.common(&Indexes::parse("1-3,5,9-12,2147483647", i32::MAX)), 8);
        assert_eq!(Indexes::parse("4-9", 20).common(&Indexes::parse("0-4,6,8-30", 20)), 4);
    }

    #[test]
    fn ranges_that_touch_become_one() {
        let mut set = Indexes::parse("5-7,1,0-1,3,20-30,6-9", 25);
        assert_eq!((set.text().as_str(), set.len()), ("0,1,3,5-9,20-24", 13));
        set.insert(2);
        set.insert(4);
        set.insert(4);
        assert_eq!(set.text(), "0-9,20-24");
        assert!(set.contains(9) && !set.contains(10) && !set.contains(-1));
    }
}
