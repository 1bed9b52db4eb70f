//! An object's labels and selectable fields summed up in one word, by which a scan passes over most of the objects
//! that a selector does not match without touching them.

use super::header::Header;
use super::selection::Selection;
use std::hash::{DefaultHasher, Hash, Hasher};

/// A set of names with values as a Bloom filter of 64 bits: never misses one that is there, and claims one that is not
/// in about one of forty objects with five labels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Marks(u64);

/// Labels and fields of one name are different things.
#[derive(Hash)]
enum Mark<'a> {
    Label(&'a str, &'a str),
    Field(usize, &'a str),
}

impl Marks {
    /// The marks of an object.
    pub(super) fn of(header: &Header) -> Marks {
        let labels = header.labels().map(|(name, value)| Mark::Label(name, value));
        let fields = header.fields().enumerate();
        let fields = fields.filter(|(_, value)| !value.is_empty());
        labels.chain(fields.map(|(place, value)| Mark::Field(place, value))).collect()
    }

    /// The marks that every object of a selection has.
    pub(super) fn of_selection(selection: &Selection) -> Marks {
        let labels = selection.labels_equal().map(|(name, value)| Mark::Label(name, value));
        let field = selection.field_equal().map(|(place, value)| Mark::Field(place, value));
        labels.chain(field).collect()
    }

    /// Whether all of `wanted` may be among these; `false` is certain.
    pub(super) fn may_hold(self, wanted: Marks) -> bool {
        self.0 & wanted.0 == wanted.0
    }
}

impl<'a> FromIterator<Mark<'a>> for Marks {
    fn from_iter<I: IntoIterator<Item = Mark<'a>>>(marks: I) -> Marks {
        let bits = marks.into_iter().fold(0, |bits, mark| bits | bits_of(&mark));
        Marks(bits)
    }
}

fn bits_of(mark: &Mark<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    mark.hash(&mut hasher);
    let hash = hasher.finish();
    1 << (hash % 64) | 1 << (hash / 64 % 64)
}
