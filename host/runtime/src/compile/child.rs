//! The child's side of compiling: the only place that reads the bytes of an image.
//!
//! An edge: it is a process of its own.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rustix::process::{Resource, Rlimit, setrlimit};
use serde::{Deserialize, Serialize};

use crate::config;
use crate::prepare::inspect::{self, Names, Shape};
use crate::prepare::{PrepareError, Purpose, imports, plug, wrap};

/// What the child says to the host.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    /// The code is in the output file.
    Compiled,
    /// The binary is refused.
    Refused(PrepareError),
}

/// Imports that a refusal names, the bytes of each, and the bytes of any other refusal.
const IMPORTS_TOLD_MAX: usize = 64;
const NAME_BYTES_MAX: usize = 256;
const MESSAGE_BYTES_MAX: usize = 4096;

/// Bytes of compiled code: no compilation may fill the disk.
const CODE_BYTES_MAX: u64 = 4 << 30;

/// How the kernel is told that this process goes first when the machine runs out of memory; the host
/// must not. *Source:* proc(5), `oom_score_adj`.
const OOM_SCORE_ADJUST: &str = "1000";

/// How much the child steps back behind the host, which serves meanwhile.
const NICE: i32 = 10;

/// What is said to someone who starts this by hand.
const USAGE: &str = "usage: compile MEMORY_BYTES CPU_SECONDS OUTPUT INPUT [PLUG]...\n\
                     (internal: the host starts this to compile untrusted WebAssembly)\n";

/// Runs the compiling child: bounds itself, reads the binaries, writes the code, says how it went.
///
/// `args` are what follows `compile` on the command line: bytes of address space (after `library:`
/// when any component will do), seconds of CPU
/// time, the output file, the input file, and the files of the plugs. Writes JSON to stdout.
pub fn child_main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let Some(job) = Job::parse(args) else {
        let _ = io::stderr().write_all(USAGE.as_bytes());
        return ExitCode::from(2);
    };
    if let Err(error) = job.bound() {
        let _ = writeln!(io::stderr(), "set resource limits: {error}");
        return ExitCode::FAILURE;
    }
    let answer = match job.compile() {
        Ok(()) => Answer::Compiled,
        Err(error) => Answer::Refused(shortened(error)),
    };
    match serde_json::to_writer(io::stdout().lock(), &answer) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// An error that fits into what the host reads; the names in it are the guest's to choose.
fn shortened(mut error: PrepareError) -> PrepareError {
    if let PrepareError::Unsatisfied { imports } = &mut error {
        let more = imports.len().saturating_sub(IMPORTS_TOLD_MAX);
        imports.truncate(IMPORTS_TOLD_MAX);
        imports.iter_mut().for_each(|name| name.truncate(name.floor_char_boundary(NAME_BYTES_MAX)));
        if more > 0 {
            imports.push(format!("and {more} more"));
        }
        return error;
    }
    let mut message = error.to_string();
    if message.len() <= MESSAGE_BYTES_MAX {
        return error;
    }
    message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
    PrepareError::Invalid { message }
}

/// Runs the compiling child if this process was started as one: with `compile` as its first argument,
/// as [`EngineConfig::new`](crate::EngineConfig::new) says. Programs that embed the runtime and
/// compile with their own executable call it first.
///
/// `args` is the whole command line, the program's name first.
pub fn child_if_asked(args: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let mut args = args.into_iter().skip(1);
    let is_asked = args.next().is_some_and(|word| word == COMMAND);
    is_asked.then(|| child_main(args))
}

/// The word that starts a child.
const COMMAND: &str = "compile";

struct Job {
    purpose: Purpose,
    memory_bytes: u64,
    cpu_seconds: u64,
    output: PathBuf,
    input: PathBuf,
    plugs: Vec<PathBuf>,
}

impl Job {
    fn parse(args: impl IntoIterator<Item = OsString>) -> Option<Self> {
        let mut args = args.into_iter();
        let memory = args.next()?;
        let memory = memory.to_str()?;
        let called = memory.strip_prefix(Purpose::Call.prefix());
        Some(Self {
            purpose: if called.is_some() { Purpose::Call } else { Purpose::Run },
            memory_bytes: called.unwrap_or(memory).parse().ok()?,
            cpu_seconds: args.next()?.to_str()?.parse().ok()?,
            output: args.next()?.into(),
            input: args.next()?.into(),
            plugs: args.map(PathBuf::from).collect(),
        })
    }

    /// Takes away what hostile input could use.
    fn bound(&self) -> io::Result<()> {
        let limit = |resource, most| {
            setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })
        };
        limit(Resource::As, self.memory_bytes)?;
        // The soft limit ends the process with SIGXCPU, which tells it from other deaths.
        let cpu = Rlimit { current: Some(self.cpu_seconds), maximum: Some(self.cpu_seconds + 1) };
        setrlimit(Resource::Cpu, cpu)?;
        limit(Resource::Core, 0)?;
        limit(Resource::Fsize, CODE_BYTES_MAX)?;
        // A system without it has its own order of whom to end.
        let _ = std::fs::write("/proc/self/oom_score_adj", OOM_SCORE_ADJUST);
        // A host that dies takes its children with it.
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
        // Being nice is a courtesy; a system that refuses it compiles all the same.
        let _ = rustix::process::nice(NICE);
        Ok(())
    }

    fn compile(&self) -> Result<(), PrepareError> {
        let mut component = component(&self.input)?;
        if !self.plugs.is_empty() {
            let plugs = self.plugs.iter().map(|plug| read(plug)).collect::<Result<Vec<_>, _>>()?;
            component = plug::plug(&component, &plugs)?;
        }
        let names = check(&component, self.purpose)?;
        let engine = wasmtime::Engine::new(&settings(&names)).map_err(invalid)?;
        let code = engine.precompile_component(&component).map_err(invalid)?;
        write(&self.output, &code)
            .map_err(|error| PrepareError::file("write", &self.output, &error))
    }
}

/// Reads a binary and makes it a component if it is a preview-1 module.
fn component(path: &Path) -> Result<Vec<u8>, PrepareError> {
    let bytes = read(path)?;
    match inspect::shape(&bytes)? {
        Shape::Component(_) => Ok(bytes),
        Shape::Module(names) => {
            let entry = inspect::check_preview1(&names)?;
            wrap::wrap(&bytes, &names, entry)
        }
    }
}

/// The settings that a component is compiled with.
fn settings(names: &Names) -> wasmtime::Config {
    #[cfg(feature = "wasi-p3")]
    if inspect::is_for_p3(names) {
        return config::concurrent(config::compile());
    }
    let _ = names;
    config::compile()
}

/// Refuses what could be compiled but not run.
fn check(component: &[u8], purpose: Purpose) -> Result<Names, PrepareError> {
    let (Shape::Component(names) | Shape::Module(names)) = inspect::shape(component)?;
    if purpose == Purpose::Run {
        inspect::kind(&names)?;
    }
    let imports = imports::unsatisfied(&names.imports);
    if imports.is_empty() { Ok(names) } else { Err(PrepareError::Unsatisfied { imports }) }
}

fn read(path: &Path) -> Result<Vec<u8>, PrepareError> {
    std::fs::read(path).map_err(|error| {
        if error.kind() == io::ErrorKind::OutOfMemory {
            // The limit on memory, met before the compiler was: no retry helps.
            return PrepareError::Compiler { how: "memory limit, while reading it".to_owned() };
        }
        PrepareError::file("read", path, &error)
    })
}

/// Writes the code and waits for the disk, so that a crash cannot leave half of it behind.
fn write(path: &Path, code: &[u8]) -> io::Result<()> {
    let mut file = std::fs::File::create(path)?;
    file.write_all(code)?;
    file.sync_data()
}

fn invalid(error: wasmtime::Error) -> PrepareError {
    PrepareError::Invalid { message: format!("{error:#}") }
}
