//! Many objects at once, on all cores: what a start does before anybody is answered.
//!
//! An edge: it starts threads, and ends them before it returns.

use std::num::NonZero;

/// A thread for fewer objects costs more than it saves.
const OBJECTS_PER_THREAD_MIN: usize = 4096;

/// What `make` makes of each item, in their order.
pub(super) fn each<T: Sync, R: Send>(items: &[T], make: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let threads = cores.min(items.len() / OBJECTS_PER_THREAD_MIN).max(1);
    let all = |share: &[T]| share.iter().map(&make).collect::<Vec<R>>();
    let (own, others) = items.split_at(items.len().div_ceil(threads).min(items.len()));
    std::thread::scope(|scope| {
        let shares = others.chunks(own.len().max(1));
        let others: Vec<_> = shares.map(|share| scope.spawn(|| all(share))).collect();
        let mut made = all(own);
        for other in others {
            made.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        made
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_order() {
        for count in [0, 1, 2, 4095, 4096, 8192, 50_001] {
            let items: Vec<usize> = (0..count).collect();
            let expected: Vec<usize> = (0..count).map(|item| item * 2).collect();
            assert_eq!(each(&items, |item| item * 2), expected);
        }
    }
}
