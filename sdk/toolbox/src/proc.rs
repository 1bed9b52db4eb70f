//! What one tool has while it runs: arguments, variables, a directory, streams.

use std::io;
use std::path::{Component, Path, PathBuf};

use crate::io::{Sink, Source};

/// The surroundings of one tool.
#[derive(Clone)]
pub(crate) struct Proc {
    /// The name it was called by, then its arguments.
    pub(crate) args: Vec<String>,
    /// Exported variables.
    pub(crate) env: Vec<(String, String)>,
    /// WASI knows no working directory, so paths are put together here.
    pub(crate) cwd: PathBuf,
    pub(crate) stdin: Source,
    pub(crate) stdout: Sink,
    pub(crate) stderr: Sink,
}

/// Why a tool ends early.
pub(crate) enum Failure {
    /// Something to say, and a code.
    Say(i32, String),
    /// Nobody reads its output any more.
    BrokenPipe,
}

/// 128 + SIGPIPE: what a program that writes into a pipe without a reader ends with.
pub(crate) const CODE_BROKEN_PIPE: i32 = 141;

pub(crate) type Done = Result<i32, Failure>;

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::BrokenPipe,
            _ => Self::Say(1, reason(&error)),
        }
    }
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Self::Say(1, message)
    }
}

impl From<&str> for Failure {
    fn from(message: &str) -> Self {
        Self::Say(1, message.to_owned())
    }
}

/// An error in the words that people know from other systems.
pub(crate) fn reason(error: &io::Error) -> String {
    use io::ErrorKind as K;
    let known = match error.kind() {
        K::NotFound => "No such file or directory",
        K::PermissionDenied => "Permission denied",
        K::AlreadyExists => "File exists",
        K::NotADirectory => "Not a directory",
        K::IsADirectory => "Is a directory",
        K::DirectoryNotEmpty => "Directory not empty",
        K::ReadOnlyFilesystem => "Read-only file system",
        K::StorageFull => "No space left on device",
        K::QuotaExceeded => "Disk quota exceeded",
        K::CrossesDevices => "Invalid cross-device link",
        K::ConnectionRefused => "Connection refused",
        K::ConnectionReset => "Connection reset by peer",
        K::TimedOut => "Connection timed out",
        _ => return error.to_string(),
    };
    known.to_owned()
}

/// Where this program begins: std does not ask for it on WASI 0.2.
fn initial_directory() -> PathBuf {
    #[cfg(target_env = "p2")]
    let given = wasip2::cli::environment::initial_cwd().map(PathBuf::from);
    #[cfg(not(target_env = "p2"))]
    let given = std::env::current_dir().ok();
    given.unwrap_or_else(|| "/".into())
}

impl Proc {
    /// The surroundings of this program itself.
    pub(crate) fn of_process(args: Vec<String>) -> Self {
        let env: Vec<_> = std::env::vars().collect();
        let cwd = initial_directory();
        let (stdin, stdout, stderr) = (Source::process(), Sink::stdout(), Sink::stderr());
        Self { args, env, cwd, stdin, stdout, stderr }
    }

    /// A path as a tool was given it, made absolute.
    pub(crate) fn path(&self, given: &str) -> PathBuf {
        self.cwd.join(given)
    }

    pub(crate) async fn print(&self, text: &str) -> io::Result<()> {
        self.stdout.write(text.as_bytes()).await
    }

    /// Writes a line to stderr; that nobody reads it is nobody's trouble.
    pub(crate) async fn complain(&self, line: &str) {
        let _ = self.stderr.write(format!("{line}\n").as_bytes()).await;
    }

    pub(crate) fn var(&self, name: &str) -> Option<&str> {
        self.env.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// What a file operand means: `-` is stdin.
    pub(crate) fn open(&self, given: &str) -> Result<Source, String> {
        if given == "-" {
            return Ok(self.stdin.clone());
        }
        let path = self.path(given);
        if let Some(device) = Source::device(&path) {
            return Ok(device);
        }
        if path.is_dir() {
            return Err(format!("{given}: Is a directory"));
        }
        let file = std::fs::File::open(path);
        file.map(Source::file).map_err(|error| format!("{given}: {}", reason(&error)))
    }
}

/// Takes `.` and `..` out of an absolute path, by its words alone.
pub(crate) fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            Component::Normal(name) => plain.push(name),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    plain
}
