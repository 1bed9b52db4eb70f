//! The addresses behind a Service's port: in order, each once, and shared by those that read them. Pure.
//!
//! Comes in: addresses that come and go. Goes out: a new list, which has all parts in common with the one before
//! but those that changed, so that one address more or less costs the same among five and among five thousand,
//! and whoever still reads the old list is not waited for.

use std::net::SocketAddr;
use std::sync::Arc;

/// Addresses of one part: what a change copies. The parts of a list are what it counts.
const PART_MAX: usize = 256;
/// Addresses of a part that was just made: there is room for some more before it is halved.
const PART_FILLED: usize = 192;
/// Changes at once that are made one by one; more of them are merged with the whole list.
const SINGLY_MAX: usize = 8;
/// So many times as many parts as are needed may be there, until the list is made anew.
const SPARSE_MAX: usize = 4;

/// A list of addresses. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Backends(Option<Arc<[Part]>>);

#[derive(Debug, Clone)]
struct Part {
    /// How many addresses are before it.
    start: usize,
    /// One at least, in order.
    list: Arc<[SocketAddr]>,
}

impl Backends {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parts().last().map_or(0, |part| part.start + part.list.len())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts().is_empty()
    }

    /// The address with a number, counted from 0 in order.
    #[must_use]
    pub fn get(&self, number: usize) -> Option<SocketAddr> {
        let after = self.parts().partition_point(|part| part.start <= number);
        let part = self.parts().get(after.checked_sub(1)?)?;
        part.list.get(number - part.start).copied()
    }

    /// Whether an address is one of them.
    #[must_use]
    pub fn contains(&self, address: &SocketAddr) -> bool {
        let after = self.parts().partition_point(|part| part.list.first() <= Some(address));
        let part = after.checked_sub(1).and_then(|place| self.parts().get(place));
        part.is_some_and(|part| part.list.binary_search(address).is_ok())
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &SocketAddr> {
        self.parts().iter().flat_map(|part| part.list.iter())
    }

    /// The list without those in `gone` and with those in `come`; an address that is in both is in the list.
    #[must_use]
    pub fn edited(&self, gone: &[SocketAddr], come: &[SocketAddr]) -> Self {
        if gone.len() + come.len() > SINGLY_MAX {
            let mut gone = gone.to_vec();
            gone.sort_unstable();
            let rest = self.iter().filter(|address| gone.binary_search(address).is_err());
            return rest.chain(come).copied().collect();
        }
        let mut lists: Vec<_> = self.parts().iter().map(|part| Arc::clone(&part.list)).collect();
        gone.iter().for_each(|address| take_out(&mut lists, address));
        come.iter().for_each(|address| put_in(&mut lists, *address));
        let made = Self::of(lists);
        let needed = made.len().div_ceil(PART_FILLED);
        if made.parts().len() > needed * SPARSE_MAX { made.iter().copied().collect() } else { made }
    }

    /// Whether both are the same in memory, which costs nothing to see; two that are not may be equal.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        }
    }

    fn parts(&self) -> &[Part] {
        self.0.as_deref().unwrap_or_default()
    }

    fn of(lists: Vec<Arc<[SocketAddr]>>) -> Self {
        if lists.is_empty() {
            return Self::default();
        }
        let mut start = 0;
        let numbered = lists.into_iter().map(|list| {
            let part = Part { start, list };
            start += part.list.len();
            part
        });
        Self(Some(numbered.collect()))
    }
}

/// The part that an address is in if it is in any.
fn place(lists: &[Arc<[SocketAddr]>], address: &SocketAddr) -> usize {
    lists.partition_point(|list| list.first() <= Some(address)).saturating_sub(1)
}

fn take_out(lists: &mut Vec<Arc<[SocketAddr]>>, address: &SocketAddr) {
    let place = place(lists, address);
    let Some(list) = lists.get_mut(place) else { return };
    let Ok(at) = list.binary_search(address) else { return };
    let (before, after) = (list.iter().take(at), list.iter().skip(at + 1));
    let rest: Arc<[SocketAddr]> = before.chain(after).copied().collect();
    if rest.is_empty() {
        lists.remove(place);
    } else {
        *list = rest;
    }
}

fn put_in(lists: &mut Vec<Arc<[SocketAddr]>>, address: SocketAddr) {
    let place = place(lists, &address);
    let Some(list) = lists.get_mut(place) else {
        lists.push([address].into());
        return;
    };
    let Err(at) = list.binary_search(&address) else { return };
    let mut more = Vec::with_capacity(list.len() + 1);
    more.extend(list.iter().take(at));
    more.push(address);
    more.extend(list.iter().skip(at));
    let half = (more.len() > PART_MAX).then(|| more.split_off(more.len() / 2));
    *list = more.into();
    if let Some(half) = half {
        lists.insert(place + 1, half.into());
    }
}

impl FromIterator<SocketAddr> for Backends {
    fn from_iter<I: IntoIterator<Item = SocketAddr>>(addresses: I) -> Self {
        let mut all: Vec<SocketAddr> = addresses.into_iter().collect();
        all.sort_unstable();
        all.dedup();
        Self::of(all.chunks(PART_FILLED).map(Arc::from).collect())
    }
}

impl PartialEq for Backends {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Backends {}

impl<const N: usize> PartialEq<[SocketAddr; N]> for Backends {
    fn eq(&self, other: &[SocketAddr; N]) -> bool {
        self.iter().eq(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn address(number: u16) -> SocketAddr {
        ([10, 128, 0, 1], number).into()
    }

    fn addresses() -> impl Strategy<Value = Vec<u16>> {
        prop_oneof![
            proptest::collection::vec(0..1_500_u16, 0..4),
            proptest::collection::vec(0..1_500_u16, 0..600),
        ]
    }

    proptest! {
        #[test]
        fn it_is_a_sorted_set(steps in proptest::collection::vec((addresses(), addresses()), 1..24)) {
            let (mut list, mut model) = (Backends::default(), BTreeSet::new());
            for (gone, come) in steps {
                let [gone, come]: [Vec<SocketAddr>; 2] =
                    [gone, come].map(|all| all.into_iter().map(address).collect());
                list = list.edited(&gone, &come);
                gone.iter().for_each(|one| { model.remove(one); });
                model.extend(come);
                prop_assert!(list.iter().eq(&model));
                prop_assert_eq!((list.len(), list.is_empty()), (model.len(), model.is_empty()));
                for (number, one) in model.iter().enumerate() {
                    prop_assert_eq!(list.get(number), Some(*one));
                }
                prop_assert_eq!(list.get(model.len()), None);
                for number in 0..1_500 {
                    let one = address(number);
                    prop_assert_eq!(list.contains(&one), model.contains(&one));
                }
                prop_assert!(list.parts().iter().all(|part| (1..=PART_MAX).contains(&part.list.len())));
            }
        }
    }

    #[test]
    fn a_change_leaves_all_parts_but_one_as_they_are() {
        let list: Backends = (0..5_000).map(address).collect();
        let changed = list.edited(&[address(2_500)], &[]).edited(&[], &[address(6_000)]);
        let is_shared =
            |part: &&Part| changed.parts().iter().any(|p| Arc::ptr_eq(&p.list, &part.list));
        let shared = list.parts().iter().filter(is_shared).count();
        assert_eq!(shared, list.parts().len() - 2, "two changes, each in one part");
        assert_eq!((list.len(), changed.len()), (5_000, 5_000));
    }
}
