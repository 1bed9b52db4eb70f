//! Stand-ins for the images of Kubernetes' end-to-end suite, useful as test images by themselves.
//!
//! They do what the originals were measured to do where a pod of WebAssembly can; what it cannot, such as
//! starting a process, ends in an error that says so.

pub mod client;
pub mod echo;
pub mod flags;
pub mod guestbook;
pub mod health;
pub mod issuer;
pub mod json;
pub mod logs;
pub mod metrics;
pub mod mounttest;
pub mod netexec;
pub mod nettest;
pub mod query;
pub mod serve;
pub mod small;
pub mod tls;
pub mod web;
pub mod webhook;

/// Runs a server on this thread: WASI has no other.
pub fn run(future: impl Future<Output = std::io::Result<()>>) -> std::process::ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.and_then(|runtime| runtime.block_on(future)) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}

/// The pod's host name.
pub fn hostname() -> String {
    let of_file = std::fs::read_to_string("/etc/hostname").ok();
    let name = of_file.or_else(|| std::env::var("HOSTNAME").ok()).unwrap_or_default();
    name.trim().to_owned()
}
