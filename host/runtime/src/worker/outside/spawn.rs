//! Starts worker processes.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, OnceLock, mpsc};

use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::worker::confine;

/// A program that can be a worker: it must call [`crate::worker::child_main`] before anything else.
#[derive(Debug, Clone)]
pub struct Workers(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    program: PathBuf,
    args: Vec<String>,
    /// The thread that starts them: a worker dies with the thread that started it, and threads of
    /// the async runtime come and go.
    thread: OnceLock<mpsc::Sender<Job>>,
}

/// One worker to start.
struct Job {
    socket: OwnedFd,
    runtime: Handle,
    done: oneshot::Sender<io::Result<Child>>,
}

impl Workers {
    /// Names the program, usually the host's own executable, and its arguments.
    #[must_use]
    pub fn new(program: impl Into<PathBuf>, args: Vec<String>) -> Self {
        Self(Arc::new(Inner { program: program.into(), args, thread: OnceLock::new() }))
    }

    /// Starts a worker with its end of the link. It ends when what is given back is dropped.
    pub(super) async fn spawn(&self, socket: OwnedFd) -> io::Result<Child> {
        let (done, started) = oneshot::channel();
        let job = Job { socket, runtime: Handle::current(), done };
        let gone = || io::Error::other("the thread that starts workers is gone");
        self.thread()?.send(job).map_err(|_| gone())?;
        started.await.map_err(|_| gone())?
    }

    fn thread(&self) -> io::Result<&mpsc::Sender<Job>> {
        if let Some(thread) = self.0.thread.get() {
            return Ok(thread);
        }
        if !confine::has_landlock() {
            tracing::warn!("this kernel has no Landlock: workers are confined by seccomp alone");
        }
        let (sender, jobs) = mpsc::channel::<Job>();
        let (program, args) = (self.0.program.clone(), self.0.args.clone());
        std::thread::Builder::new().name("coracle-workers".into()).spawn(move || {
            for job in jobs {
                let _runtime = job.runtime.enter();
                let child = command(&program, &args, job.socket).spawn();
                // Whoever asked may have given up; the child then ends here.
                let _ = job.done.send(child);
            }
        })?;
        Ok(self.0.thread.get_or_init(|| sender))
    }
}

/// What says where the machine's certificates are; a worker has nothing else of the environment.
///
/// *Source:* OpenSSL's names for it.
const CERTIFICATE_PLACES: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];

fn command(program: &PathBuf, args: &[String], socket: OwnedFd) -> Command {
    let mut command = Command::new(program);
    let places =
        CERTIFICATE_PLACES.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
    command
        .args(args)
        .env_clear()
        .envs(places)
        .stdin(Stdio::from(socket))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}
