//! Between the file tree's types and the generated ones.

use super::super::mixed;
use crate::mounts::{Kind, Open, SetTime, Stat, Time, Times};
use rustix::fs;
use wasmtime_wasi::p2::bindings::clocks::wall_clock::Datetime;
use wasmtime_wasi::p2::bindings::filesystem::types::{
    Advice, DescriptorFlags, DescriptorStat, DescriptorType, MetadataHashValue, NewTimestamp,
    OpenFlags, PathFlags,
};

pub(super) fn kind(kind: Kind) -> DescriptorType {
    match kind {
        Kind::Directory => DescriptorType::Directory,
        Kind::File => DescriptorType::RegularFile,
        Kind::Symlink => DescriptorType::SymbolicLink,
        Kind::CharacterDevice => DescriptorType::CharacterDevice,
        Kind::Other => DescriptorType::Unknown,
    }
}

/// Times before 1970 cannot be said.
fn datetime(time: Time) -> Option<Datetime> {
    let seconds = u64::try_from(time.seconds).ok()?;
    Some(Datetime { seconds, nanoseconds: time.nanoseconds })
}

pub(super) fn stat(stat: Stat) -> DescriptorStat {
    DescriptorStat {
        type_: kind(stat.kind),
        link_count: stat.links,
        size: stat.size,
        data_access_timestamp: datetime(stat.accessed),
        data_modification_timestamp: datetime(stat.modified),
        status_change_timestamp: datetime(stat.changed),
    }
}

pub(super) fn metadata_hash(stat: Stat) -> MetadataHashValue {
    let (lower, upper) = mixed(stat.identity);
    MetadataHashValue { lower, upper }
}

pub(super) fn times(accessed: NewTimestamp, modified: NewTimestamp) -> Times {
    Times { accessed: set_time(accessed), modified: set_time(modified) }
}

fn set_time(time: NewTimestamp) -> SetTime {
    match time {
        NewTimestamp::NoChange => SetTime::Keep,
        NewTimestamp::Now => SetTime::Now,
        NewTimestamp::Timestamp(Datetime { seconds, nanoseconds }) => {
            SetTime::At(Time { seconds: i64::try_from(seconds).unwrap_or(i64::MAX), nanoseconds })
        }
    }
}

pub(super) fn open(flags: OpenFlags, descriptor: DescriptorFlags) -> Open {
    Open {
        read: descriptor.contains(DescriptorFlags::READ),
        write: descriptor.contains(DescriptorFlags::WRITE),
        create: flags.contains(OpenFlags::CREATE),
        exclusive: flags.contains(OpenFlags::EXCLUSIVE),
        truncate: flags.contains(OpenFlags::TRUNCATE),
        directory: flags.contains(OpenFlags::DIRECTORY),
    }
}

pub(super) fn follows(flags: PathFlags) -> bool {
    flags.contains(PathFlags::SYMLINK_FOLLOW)
}

pub(super) fn advice(advice: Advice) -> fs::Advice {
    match advice {
        Advice::Normal => fs::Advice::Normal,
        Advice::Sequential => fs::Advice::Sequential,
        Advice::Random => fs::Advice::Random,
        Advice::WillNeed => fs::Advice::WillNeed,
        Advice::DontNeed => fs::Advice::DontNeed,
        Advice::NoReuse => fs::Advice::NoReuse,
    }
}
