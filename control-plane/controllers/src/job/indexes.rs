//! Sets of completion indexes in Kubernetes' compressed form, `0,2-5,7`. Pure.

use std::collections::BTreeSet;
use std::fmt::Write;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Indexes(BTreeSet<i32>);

impl Indexes {
    /// Reads the compressed form; what cannot be read, or lies outside of `0..completions`, is left out.
    pub fn parse(text: &str, completions: i32) -> Self {
        let mut set = BTreeSet::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            if let (Ok(first), Ok(last)) = (first.parse::<i32>(), last.parse::<i32>()) {
                set.extend(first.max(0)..=last.min(completions - 1));
            }
        }
        Self(set)
    }

    pub fn contains(&self, index: i32) -> bool {
        self.0.contains(&index)
    }

    pub fn insert(&mut self, index: i32) -> bool {
        self.0.insert(index)
    }

    pub fn len(&self) -> i32 {
        i32::try_from(self.0.len()).unwrap_or(i32::MAX)
    }

    pub fn iter(&self) -> impl Iterator<Item = i32> + '_ {
        self.0.iter().copied()
    }

    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut run: Option<(i32, i32)> = None;
        for index in self.iter().map(Some).chain([None]) {
            match (run, index) {
                (Some((first, last)), Some(index)) if index == last + 1 => run = Some((first, index)),
                (ended, index) => {
                    if let Some((first, last)) = ended {
                        let comma = if text.is_empty() { "" } else { "," };
                        // Writing to a String cannot fail. Kubernetes spells a run of two with a comma.
                        let _ = match last - first {
                            0 => write!(text, "{comma}{first}"),
                            1 => write!(text, "{comma}{first},{last}"),
                            _ => write!(text, "{comma}{first}-{last}"),
                        };
                    }
                    run = index.map(|index| (index, index));
                }
            }
        }
        text
    }
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
}
