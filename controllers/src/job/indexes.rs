//! Sets of completion indexes as text: `1,3-5,7`.

use std::collections::BTreeSet;
use std::fmt;

/// A set of completion indexes.
///
/// *Source:* `JobStatus.completedIndexes` in the API reference.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Indexes(BTreeSet<i32>);

/// Indexes that one range may span: more is no Job that validation lets in.
const RANGE_LENGTH_MAX: i32 = 1_000_000;

impl Indexes {
    /// Reads a text; what cannot be read, and what is not below `bound`, is left out.
    pub fn parse(text: &str, bound: i32) -> Indexes {
        let mut set = BTreeSet::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (Ok(first), Ok(last)) = (first.trim().parse(), last.trim().parse::<i32>()) else {
                continue;
            };
            let first: i32 = first;
            let last =
                last.min(bound.saturating_sub(1)).min(first.saturating_add(RANGE_LENGTH_MAX));
            set.extend(first.max(0)..=last);
        }
        Indexes(set)
    }

    /// Says whether an index is in the set.
    pub fn has(&self, index: i32) -> bool {
        self.0.contains(&index)
    }

    /// Adds an index.
    pub fn add(&mut self, index: i32) {
        self.0.insert(index);
    }

    /// Says how many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Says whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Says how many of another set are in this one.
    pub fn n_common(&self, other: &Indexes) -> usize {
        self.0.intersection(&other.0).count()
    }
}

impl fmt::Display for Indexes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.iter().copied().peekable();
        let mut separator = "";
        while let Some(first) = rest.next() {
            let mut last = first;
            while let Some(next) = rest.next_if(|next| *next == last.saturating_add(1)) {
                last = next;
            }
            write!(f, "{separator}{first}")?;
            // Two in a row are a list, three a range.
            match last - first {
                0 => {}
                1 => write!(f, ",{last}")?,
                _ => write!(f, "-{last}")?,
            }
            separator = ",";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn runs_of_three_become_ranges() {
        for (text, bound, expected) in [
            ("", 10, ""),
            ("0", 10, "0"),
            ("1,3-5,7", 10, "1,3-5,7"),
            ("1,2", 10, "1,2"),
            ("1,2,3", 10, "1-3"),
            ("1-9", 4, "1-3"),
            ("x,2,y-3,5-", 10, "2"),
            ("7-3", 10, ""),
        ] {
            assert_eq!(Indexes::parse(text, bound).to_string(), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_set_goes_to_text_and_back(set in proptest::collection::btree_set(0..60_i32, 0..30)) {
            let set = Indexes(set);
            prop_assert_eq!(Indexes::parse(&set.to_string(), 60), set);
        }
    }
}
