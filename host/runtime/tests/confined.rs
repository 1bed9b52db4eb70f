//! What native code in a worker can do: this process confines itself as a worker does, and then tries.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::File;
use std::io::{self, Read as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;

use rustix::fs::{Mode, OFlags};
use rustix::process::Pid;

/// What was open before.
struct Held {
    file: File,
    folder: File,
    here: UnixStream,
    there: UnixStream,
    parent: Pid,
}

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let path = folder.path().join("socket");
    let _unix = UnixListener::bind(&path).unwrap();
    std::fs::write(folder.path().join("secret"), "secret").unwrap();
    let (here, there) = UnixStream::pair().unwrap();
    let held = Held {
        file: File::open(folder.path().join("secret")).unwrap(),
        folder: File::open(folder.path()).unwrap(),
        here,
        there,
        parent: rustix::process::getppid().unwrap(),
    };
    // What must work without the fences, so that a refusal means something.
    TcpStream::connect(address).unwrap();
    UnixStream::connect(&path).unwrap();
    assert!(Command::new("/bin/true").status().unwrap().success());

    coracle_runtime::worker::confine().unwrap();

    nothing_new(&held, address, &path);
    what_was_open(held);
    std::thread::spawn(move || {
        assert!(File::open("/etc/passwd").is_err(), "a file in a new thread");
        assert!(TcpStream::connect(address).is_err(), "a socket in a new thread");
    })
    .join()
    .unwrap();
    let memory = vec![1_u8; 64 << 20];
    assert_eq!(memory.iter().step_by(4096).map(|byte| u64::from(*byte)).sum::<u64>(), 16 << 10);
}

/// Tries to open, connect, listen and run.
fn nothing_new(held: &Held, address: std::net::SocketAddr, path: &std::path::Path) {
    let refused = |what: &str, result: io::Result<()>| {
        let outcome = result.map_err(|error| error.kind());
        assert_eq!(outcome, Err(io::ErrorKind::PermissionDenied), "{what}");
    };
    let beneath = |name: &str, flags| {
        let opened = rustix::fs::openat(&held.folder, name, flags, Mode::RUSR);
        opened.map(drop).map_err(io::Error::from)
    };
    refused("open a file", File::open("/etc/passwd").map(drop));
    refused("open itself", File::open("/proc/self/exe").map(drop));
    refused("open a device", File::open("/dev/null").map(drop));
    refused("make a file", File::create(path.with_extension("new")).map(drop));
    refused("open beneath a folder", beneath("secret", OFlags::RDONLY));
    refused("make beneath a folder", beneath("new", OFlags::CREATE | OFlags::WRONLY));
    refused("list a folder", std::fs::read_dir("/").map(drop));
    refused("look at a file", std::fs::metadata("/etc/passwd").map(drop));
    refused("make a folder", std::fs::create_dir(path.with_extension("dir")));
    refused("remove a file", std::fs::remove_file(path));
    refused("rename a file", std::fs::rename(path, path.with_extension("other")));
    refused("connect", TcpStream::connect(address).map(drop));
    refused("connect to a Unix socket", UnixStream::connect(path).map(drop));
    refused("listen", TcpListener::bind("127.0.0.1:0").map(drop));
    refused("bind a datagram socket", UdpSocket::bind("127.0.0.1:0").map(drop));
    refused("pair sockets", UnixStream::pair().map(drop));
    refused("run a program", Command::new("/bin/true").status().map(drop));
    let looked = rustix::process::test_kill_process(held.parent);
    refused("signal a process", looked.map_err(io::Error::from));
}

/// What was handed over goes on working.
fn what_was_open(mut held: Held) {
    let mut text = String::new();
    held.file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "secret");
    assert_eq!(rustix::io::write(&held.here, b"word").unwrap(), 4);
    let mut word = [0; 4];
    assert_eq!(rustix::io::read(&held.there, &mut word).unwrap(), 4);
    assert_eq!(&word, b"word");
}
