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
use crate::prepare::inspect::{self, Shape};
use crate::prepare::{PrepareError, imports, plug, wrap};

/// What the child says to the host.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    /// The code is in the output file.
    Compiled,
    /// The binary is refused.
    Refused(PrepareError),
}

/// How much the child steps back behind the host, which serves meanwhile.
const NICE: i32 = 10;

/// What is said to someone who starts this by hand.
const USAGE: &str = "usage: compile MEMORY_BYTES CPU_SECONDS OUTPUT INPUT [PLUG]...\n\
                     (internal: the host starts this to compile untrusted WebAssembly)\n";

/// Runs the compiling child: bounds itself, reads the binaries, writes the code, says how it went.
///
/// `args` are what follows `compile` on the command line: bytes of address space, seconds of CPU
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
        Err(error) => Answer::Refused(error),
    };
    match serde_json::to_writer(io::stdout().lock(), &answer) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

struct Job {
    memory_bytes: u64,
    cpu_seconds: u64,
    output: PathBuf,
    input: PathBuf,
    plugs: Vec<PathBuf>,
}

impl Job {
    fn parse(args: impl IntoIterator<Item = OsString>) -> Option<Self> {
        let mut args = args.into_iter();
        let mut number = || args.next()?.to_str()?.parse().ok();
        Some(Self {
            memory_bytes: number()?,
            cpu_seconds: number()?,
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
        check(&component)?;
        let engine = wasmtime::Engine::new(&config::compile()).map_err(invalid)?;
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
            inspect::check_preview1(&names)?;
            wrap::wrap(&bytes)
        }
    }
}

/// Refuses what could be compiled but not run.
fn check(component: &[u8]) -> Result<(), PrepareError> {
    let (Shape::Component(names) | Shape::Module(names)) = inspect::shape(component)?;
    inspect::kind(&names)?;
    let imports = imports::unsatisfied(&names.imports);
    if imports.is_empty() { Ok(()) } else { Err(PrepareError::Unsatisfied { imports }) }
}

fn read(path: &Path) -> Result<Vec<u8>, PrepareError> {
    std::fs::read(path).map_err(|error| PrepareError::file("read", path, &error))
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
