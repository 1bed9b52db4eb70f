//! When a machine counts as short of something: what the operator says.
//!
//! *Source:* kubelet's `--eviction-hard`: `memory.available<100Mi,nodefs.available<1Gi`.

use std::fmt;
use std::str::FromStr;

use coracle_api::quantity::Quantity;

/// What is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Signal {
    /// Memory that can be had without swapping.
    Memory,
    /// Bytes left in the file system of the data folder.
    Disk,
    /// Inodes left there.
    Inodes,
    /// Process identifiers left.
    Pids,
}

impl Signal {
    const ALL: [Self; 4] = [Self::Memory, Self::Disk, Self::Inodes, Self::Pids];

    /// The word in flags.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Memory => "memory.available",
            Self::Disk => "nodefs.available",
            Self::Inodes => "nodefs.inodesFree",
            Self::Pids => "pid.available",
        }
    }

    /// The resource that it is about, as messages name it.
    #[must_use]
    pub fn resource(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Disk => "ephemeral-storage",
            Self::Inodes => "inodes",
            Self::Pids => "pids",
        }
    }
}

/// Least amount that must be left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Amount {
    /// Bytes or pieces.
    Absolute(u64),
    /// Hundredths of a percent of the whole.
    Share(u32),
}

impl Amount {
    /// Gives the amount when the whole is `capacity`.
    #[must_use]
    pub fn of(&self, capacity: u64) -> u64 {
        match self {
            Self::Absolute(amount) => *amount,
            Self::Share(share) => {
                let part = u128::from(capacity) * u128::from(*share) / 10_000;
                u64::try_from(part).unwrap_or(u64::MAX)
            }
        }
    }
}

/// Thresholds of a machine, at most one per signal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thresholds(pub Vec<(Signal, Amount)>);

impl Default for Thresholds {
    /// A GiB of the disk in place of the kubelet's 10 %: hosts of this kind are developers' machines
    /// too, whose disks are large and often full to the last tenth, and images of components are small.
    fn default() -> Self {
        Self(vec![
            (Signal::Memory, Amount::Absolute(100 << 20)),
            (Signal::Disk, Amount::Absolute(1 << 30)),
            (Signal::Inodes, Amount::Share(200)),
            (Signal::Pids, Amount::Share(100)),
        ])
    }
}

/// A text that is no list of thresholds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "eviction threshold '{part}' must be SIGNAL<AMOUNT, where SIGNAL is memory.available, \
     nodefs.available, nodefs.inodesFree or pid.available and AMOUNT a quantity or a percentage"
)]
pub struct InvalidThreshold {
    part: String,
}

impl FromStr for Thresholds {
    type Err = InvalidThreshold;

    /// Reads a list with commas; signals that it does not name keep their defaults.
    fn from_str(text: &str) -> Result<Self, InvalidThreshold> {
        let mut all = Self::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let invalid = || InvalidThreshold { part: part.to_owned() };
            let (signal, amount) = part.split_once('<').ok_or_else(invalid)?;
            let signal = Signal::ALL.into_iter().find(|known| known.word() == signal);
            let signal = signal.ok_or_else(invalid)?;
            let amount = read_amount(amount).ok_or_else(invalid)?;
            all.0.retain(|(known, _)| *known != signal);
            all.0.push((signal, amount));
        }
        all.0.sort_by_key(|(signal, _)| *signal);
        Ok(all)
    }
}

impl fmt::Display for Thresholds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (signal, amount)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            match amount {
                Amount::Absolute(amount) => write!(f, "{comma}{}<{amount}", signal.word())?,
                Amount::Share(share) => {
                    write!(f, "{comma}{}<{}.{:02}%", signal.word(), share / 100, share % 100)?;
                }
            }
        }
        Ok(())
    }
}

fn read_amount(text: &str) -> Option<Amount> {
    if let Some(percent) = text.strip_suffix('%') {
        let (whole, part) = percent.split_once('.').unwrap_or((percent, ""));
        let part: u32 = format!("{part:0<2}").get(..2)?.parse().ok()?;
        let share = whole.parse::<u32>().ok()?.checked_mul(100)?.checked_add(part)?;
        return (share <= 10_000).then_some(Amount::Share(share));
    }
    let quantity: Quantity = text.parse().ok()?;
    u64::try_from(quantity.value()).ok().map(Amount::Absolute)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_read_over_the_defaults() {
        let read = |text: &str| text.parse::<Thresholds>().map(|all| all.to_string());
        let same = "memory.available<104857600,nodefs.available<1073741824,nodefs.inodesFree<2.00%,pid.available<1.00%";
        assert_eq!(read("").unwrap(), same);
        assert_eq!(read(same).unwrap(), same);
        assert_eq!(
            read("nodefs.available<12.5%, memory.available<1Gi").unwrap(),
            "memory.available<1073741824,nodefs.available<12.50%,nodefs.inodesFree<2.00%,pid.available<1.00%"
        );
        for bad in ["memory<1", "memory.available<x", "nodefs.available<101%", "memory.available"] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert_eq!(Amount::Share(500).of(1000), 50);
    }
}
