//! NFS shares: which of them this host has mounted, and where.
//!
//! Pure. Coracle mounts nothing, which would need rights that a host does not ask for: whoever runs the
//! machine mounts a share, and says where it is.

use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

/// What kind of path a share's is, beside those of `hostPath.type`: a folder that has to be there.
pub const KIND: &str = "nfs";

/// A share that the machine has mounted, told as `SERVER:/EXPORT=FOLDER`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NfsShare {
    /// The server, as volumes name it.
    pub server: String,
    /// The path that it exports; volumes may name paths below it too.
    pub export: PathBuf,
    /// Where it is mounted on this host: an absolute path.
    pub folder: PathBuf,
}

/// A share was not told as it must be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' must be SERVER:/EXPORT=FOLDER with absolute paths without '..'")]
pub struct NfsShareError(String);

impl FromStr for NfsShare {
    type Err = NfsShareError;

    /// Reads a share.
    ///
    /// # Errors
    /// Says how it is written.
    fn from_str(text: &str) -> Result<Self, NfsShareError> {
        let read = || {
            let (share, folder) = text.split_once('=')?;
            let (server, export) = share.split_once(":/")?;
            let export = Path::new("/").join(export);
            let folder = PathBuf::from(folder);
            let told = !server.is_empty() && is_plain(&export) && is_plain(&folder);
            told.then(|| Self { server: server.to_owned(), export, folder })
        };
        read().ok_or_else(|| NfsShareError(text.to_owned()))
    }
}

impl fmt::Display for NfsShare {
    /// Writes it as it was told.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}={}", self.server, self.export.display(), self.folder.display())
    }
}

/// Gives where a volume's share is on this host: the folder that a mounted share lies in, and the path
/// below it. Of several shares the one with the longest export counts.
///
/// # Errors
/// A sentence with the setting that is missing.
pub fn place(shares: &[NfsShare], server: &str, path: &str) -> Result<(PathBuf, String), String> {
    let wanted = Path::new(path);
    if !is_plain(wanted) {
        return Err(format!("nfs path '{path}' must be absolute and without '..'"));
    }
    let of_server = shares.iter().filter(|share| is_same(&share.server, server));
    let below =
        of_server.filter_map(|share| Some((share, wanted.strip_prefix(&share.export).ok()?)));
    let found = below.max_by_key(|(share, _)| share.export.components().count());
    let (share, rest) = found.ok_or_else(|| {
        format!(
            "nfs share {server}:{path} is not mounted on this host; mount it there, and start the \
             host with --nfs {server}:{path}=FOLDER"
        )
    })?;
    let rest = rest.to_str().ok_or_else(|| format!("nfs path '{path}' must be UTF-8"))?;
    Ok((share.folder.clone(), rest.to_owned()))
}

/// Names of servers are names of hosts, or addresses; one of IPv6 may be in brackets.
fn is_same(one: &str, other: &str) -> bool {
    let bare = |name: &str| name.trim_matches(['[', ']']).to_ascii_lowercase();
    bare(one) == bare(other)
}

fn is_plain(path: &Path) -> bool {
    path.is_absolute() && path.components().all(|part| part != Component::ParentDir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(server: &str, path: &str, expected: &str) {
        let told = [
            "files.example:/exports=/mnt/all",
            "files.example:/exports/team=/mnt/team",
            "[fd00::1]:/=/mnt/six",
        ];
        let shares: Vec<NfsShare> = told.iter().map(|text| text.parse().unwrap()).collect();
        let again: Vec<String> = shares.iter().map(NfsShare::to_string).collect();
        assert_eq!(again, told);
        let found = place(&shares, server, path);
        let shown = match found {
            Ok((folder, rest)) => format!("{} {rest}", folder.display()),
            Err(error) => error,
        };
        assert_eq!(shown, expected);
    }

    #[test]
    fn volumes_lie_below_the_share_with_the_longest_export() {
        check("files.example", "/exports", "/mnt/all ");
        check("Files.Example", "/exports/other/a", "/mnt/all other/a");
        check("files.example", "/exports/team", "/mnt/team ");
        check("files.example", "/exports/team/a", "/mnt/team a");
        check("files.example", "/exports/teams", "/mnt/all teams");
        check("fd00::1", "/deep/er", "/mnt/six deep/er");
        check(
            "files.example",
            "/",
            "nfs share files.example:/ is not mounted on this host; mount it there, and start the host \
             with --nfs files.example:/=FOLDER",
        );
        check(
            "other.example",
            "/exports",
            "nfs share other.example:/exports is not mounted on this host; mount it there, and start \
             the host with --nfs other.example:/exports=FOLDER",
        );
        let climbs = "nfs path '/exports/../etc' must be absolute and without '..'";
        check("files.example", "/exports/../etc", climbs);
    }

    #[test]
    fn a_share_is_told_whole() {
        for text in ["", "s:/e", "s=/mnt", "s:e=/mnt", ":/e=/mnt", "s:/e=mnt", "s:/e=/a/../b"] {
            assert_eq!(text.parse::<NfsShare>(), Err(NfsShareError(text.to_owned())));
        }
    }
}
