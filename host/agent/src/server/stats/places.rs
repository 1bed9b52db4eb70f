//! Which paths are on file systems of this machine: those of others may not answer. Pure.
//!
//! *Source:* proc_pid_mountinfo(5).

use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Component, Path, PathBuf};

/// Links on the way to a file before they count as a loop, as in Linux.
const LINKS_MAX: usize = 40;

/// File systems that this machine has without a device of its own.
const LOCAL_KINDS: [&[u8]; 7] =
    [b"tmpfs", b"ramfs", b"rootfs", b"overlay", b"zfs", b"btrfs", b"bcachefs"];

/// What is mounted, in the order of the mounts.
#[derive(Debug)]
pub(super) struct Mounts(Vec<Mount>);

#[derive(Debug)]
struct Mount {
    point: PathBuf,
    is_local: bool,
}

impl Mounts {
    /// Reads `/proc/self/mountinfo`. A line that says something else is left out.
    pub(super) fn parse(mountinfo: &[u8]) -> Self {
        Self(mountinfo.split(|byte| *byte == b'\n').filter_map(mount).collect())
    }

    /// Gives the path without links, if every step towards it is on this machine; `read_link` gives the target of a link,
    /// and is asked of places on this machine alone.
    pub(super) fn local(
        &self,
        path: &Path,
        read_link: impl Fn(&Path) -> Option<PathBuf>,
    ) -> Option<PathBuf> {
        let (mut place, mut links) = (PathBuf::from("/"), 0);
        let mut steps: VecDeque<OsString> = names(path).collect();
        while let Some(step) = steps.pop_front() {
            if step == ".." {
                place.pop();
                continue;
            }
            let next = place.join(step);
            if !self.is_local(&next) {
                return None;
            }
            let Some(target) = read_link(&next) else {
                place = next;
                continue;
            };
            links += 1;
            if links > LINKS_MAX {
                return None;
            }
            if target.is_absolute() {
                place = PathBuf::from("/");
            }
            steps = names(&target).chain(steps).collect();
        }
        self.is_local(&place).then_some(place)
    }

    /// Whether the file system is this machine's that has a path without links.
    fn is_local(&self, path: &Path) -> bool {
        let above = self.0.iter().filter(|mount| path.starts_with(&mount.point));
        // Of several at one point the last one is on top.
        let nearest = above.max_by_key(|mount| mount.point.components().count());
        nearest.is_some_and(|mount| mount.is_local)
    }
}

fn names(path: &Path) -> impl Iterator<Item = OsString> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}

/// One line: the point is the fifth word; kind and source follow a lone dash.
fn mount(line: &[u8]) -> Option<Mount> {
    let mut words = line.split(|byte| *byte == b' ');
    let point = words.nth(4)?;
    words.find(|word| *word == b"-")?;
    let (kind, source) = (words.next()?, words.next()?);
    let by_device = source.starts_with(b"/dev/");
    // What a process serves may come from anywhere, save for that of a device.
    let is_served = kind.starts_with(b"fuse") && kind != b"fuseblk";
    let is_local = LOCAL_KINDS.contains(&kind) || by_device && !is_served;
    Some(Mount { point: OsString::from_vec(unescaped(point)).into(), is_local })
}

/// Blanks and backslashes are written as three octal digits.
fn unescaped(mut text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    while let [first, rest @ ..] = text {
        let digits = rest.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match byte.filter(|_| *first == b'\\') {
            Some(byte) => {
                plain.push(byte);
                text = rest.get(3..).unwrap_or_default();
            }
            None => {
                plain.push(*first);
                text = rest;
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTINFO: &str = r"22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
23 22 0:20 / /proc rw - proc proc rw
24 22 0:21 / /run rw shared:5 master:1 - tmpfs tmpfs rw
25 22 0:50 /exports /mnt/share rw,relatime shared:9 - nfs4 server:/exports rw,vers=4.2
26 25 8:2 / /mnt/share/disk rw - xfs /dev/sdb1 rw
27 22 0:51 / /mnt/two\040words rw - cifs //server/words rw
28 22 0:52 / /mnt/auto rw - autofs systemd-1 rw
29 22 8:3 / /mnt/twice rw - ext4 /dev/sdc1 rw
30 29 0:53 / /mnt/twice rw - fuse.sshfs me@server: rw
31 22 8:4 / /mnt/foreign rw - fuseblk /dev/sdd1 rw
32 22 0:54 / /mnt/served rw - fuse /dev/fuse rw
not a mount";

    /// `want` is where a path leads; links are those of the table.
    fn check(path: &str, want: Option<&str>) {
        let mounts = Mounts::parse(MOUNTINFO.as_bytes());
        let read_link = |path: &Path| {
            assert!(mounts.is_local(path), "{path:?} was asked");
            let target = match path.to_str().unwrap() {
                "/data" => "mnt/share/a",
                "/var/up" => "../srv//./kept",
                "/var/run" => "/run",
                "/loop" => "/loop",
                "/run/words" => "/mnt/two words",
                _ => return None,
            };
            Some(target.into())
        };
        let got = mounts.local(Path::new(path), read_link);
        assert_eq!(got.as_deref(), want.map(Path::new), "{path}");
    }

    #[test]
    fn what_other_machines_have_is_not_asked() {
        for (path, want) in [
            ("/", Some("/")),
            ("/srv/kept", Some("/srv/kept")),
            ("/var/run/x", Some("/run/x")),
            ("/var/up/x", Some("/srv/kept/x")),
            ("/mnt/shares", Some("/mnt/shares")),
            ("/mnt/two", Some("/mnt/two")),
            ("/mnt/foreign/x", Some("/mnt/foreign/x")),
            ("/mnt/share", None),
            ("/mnt/share/a/b", None),
            // The way to it leads over the share.
            ("/mnt/share/disk", None),
            ("/mnt/two words/x", None),
            ("/mnt/auto/x", None),
            ("/mnt/twice", None),
            ("/mnt/served", None),
            ("/proc/1", None),
            ("/data", None),
            ("/data/../..", None),
            ("/run/words", None),
            ("/loop", None),
        ] {
            check(path, want);
        }
    }

    #[test]
    fn without_mounts_nothing_is_local() {
        assert_eq!(Mounts::parse(b"").local(Path::new("/"), |_| None), None);
    }
}
