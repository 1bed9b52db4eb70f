//! Turns a start request into what `coracle-runtime` starts.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use coracle_runtime as engine;
use coracle_runtime::mounts::{Charge, Mount, MountTable, Quota, RootSpec};

use super::root_files::Surroundings;
use super::wasm::{PodSandbox, fault};
use super::{ExitReport, Isolation, MountRequest, MountSource, QuotaRequest, StartRequest};
use crate::eviction::measure::bytes_below;
use crate::pods::state::Fault;

/// Most bytes of a termination message. *Source:* `v1.Container.terminationMessagePath`.
const MESSAGE_BYTES_MAX: usize = 4096;
/// Most bytes of the file that it is written to: the message is its end.
const MESSAGE_FILE_BYTES_MAX: u64 = 64 << 10;
/// Most bytes and lines of a log that stand in for one. *Source:* the same.
const LOG_TAIL_BYTES_MAX: usize = 2048;
const LOG_TAIL_LINES_MAX: usize = 80;

/// Makes the specification of a container in `pod`.
pub(super) fn container(
    request: &StartRequest,
    image: Arc<engine::Image>,
    pod: &PodSandbox,
    surroundings: &Surroundings,
) -> Result<engine::ContainerSpec, Fault> {
    let mounts = table(request, pod, surroundings)?;
    let sink = request.on_fault.clone();
    let on_fault = sink.map(|sink| -> engine::FaultSink {
        Arc::new(move |fault: engine::Fault| (sink.0)(fault.kind.as_str(), told(&fault)))
    });
    Ok(engine::ContainerSpec {
        argv: request.argv.clone(),
        env: request.env.clone(),
        cwd: request.cwd.clone(),
        mounts,
        limits: engine::Limits {
            memory_bytes: request.memory_bytes,
            cpu_millis: request.cpu_millis,
        },
        http_port: request.http_port,
        isolation: match request.isolation {
            Isolation::Request => engine::Isolation::Request,
            Isolation::Pooled => engine::Isolation::Pooled,
            Isolation::Resident => engine::Isolation::Resident,
        },
        stdin: request.stdin,
        tty: request.tty,
        log: Some(engine::LogSpec::new(request.log.clone())),
        on_fault,
        ..engine::ContainerSpec::new(request.container.clone(), image)
    })
}

fn told(fault: &engine::Fault) -> String {
    match fault.suppressed {
        0 => fault.message.clone(),
        n => format!("{} ({n} more since the last one)", fault.message),
    }
}

fn table(
    request: &StartRequest,
    pod: &PodSandbox,
    surroundings: &Surroundings,
) -> Result<MountTable, Fault> {
    let bad = |error: engine::mounts::MountError| fault("CreateContainerError", error.to_string());
    let mut builder = MountTable::builder().root(RootSpec {
        image: request.image.rootfs.clone(),
        files: surroundings.files(&pod.request),
        dirs: vec!["/tmp".into()],
        scratch: (!request.read_only_root).then(|| request.scratch.clone()),
        quota: layer_quota(request),
    });
    let taken = |path: &str| request.mounts.iter().any(|mount| mount.path == path);
    if !taken(&request.termination_message_path) {
        let quota = Arc::new(Quota::new(MESSAGE_FILE_BYTES_MAX, 0));
        let file = Mount::host(message_file(request)).quota(quota);
        builder = builder.mount(&request.termination_message_path, file).map_err(bad)?;
    }
    for wanted in &request.mounts {
        builder = builder.mount(&wanted.path, mount(wanted, pod)).map_err(bad)?;
    }
    for wanted in &request.services {
        let place = mount(&wanted.mount, pod);
        builder = builder.service(wanted.service, place).map_err(bad)?;
    }
    builder.build().map_err(bad)
}

fn mount(wanted: &MountRequest, pod: &PodSandbox) -> Mount {
    let mut mount = match &wanted.source {
        MountSource::Host(path) => Mount::host(path),
        MountSource::SubPath { volume, path } => Mount::sub_path(volume, path),
        MountSource::Pinned(bytes) => Mount::bytes(bytes.to_vec()),
    };
    if wanted.read_only {
        mount = mount.read_only();
    }
    match &wanted.quota {
        Some(quota) => mount.quota(charge(pod, quota)),
        None => mount,
    }
}

/// What the copy-up layer may hold. The eviction at the limit itself looks only from time to time;
/// this is so that nobody fills the disk in between.
fn layer_quota(request: &StartRequest) -> Option<Arc<dyn Charge>> {
    let bytes_max = request.storage_bytes?.saturating_mul(2);
    Some(Arc::new(Quota::new(bytes_max, 0)))
}

/// One quota per volume, shared by all containers of the pod.
fn charge(pod: &PodSandbox, wanted: &QuotaRequest) -> Arc<dyn Charge> {
    let mut quotas = pod.quotas.lock();
    let quota = quotas.entry(wanted.volume.clone()).or_insert_with(|| {
        let quota = Quota::new(wanted.bytes_max, bytes_below(&wanted.place));
        Arc::new(if wanted.in_memory { quota.under(pod.sandbox.memory_charge()) } else { quota })
    });
    quota.clone()
}

fn message_file(request: &StartRequest) -> PathBuf {
    request.scratch.join(format!("termination-{}", request.container))
}

/// Where to look for what a container had to say at its end.
pub(super) struct LastWords {
    file: PathBuf,
    log: Option<PathBuf>,
}

/// Makes an empty file for the termination message.
pub(super) fn last_words(request: &StartRequest) -> Result<LastWords, Fault> {
    let file = message_file(request);
    let made = fs::create_dir_all(&request.scratch).and_then(|()| fs::write(&file, ""));
    made.map_err(|error| {
        fault("CreateContainerError", format!("make {}: {error}", file.display()))
    })?;
    Ok(LastWords { file, log: request.message_from_log.then(|| request.log.clone()) })
}

impl LastWords {
    /// Puts the end of a container into words: its own message, else the trap, else its log.
    pub(super) async fn report(self, exit: engine::Exit) -> ExitReport {
        let own = tokio::fs::read(&self.file).await.unwrap_or_default();
        let own = tail(&own, MESSAGE_BYTES_MAX);
        let mut message = if own.is_empty() { exit.message } else { own };
        if message.is_empty()
            && exit.code != 0
            && let Some(log) = self.log
        {
            message = log_tail(&tokio::fs::read(log).await.unwrap_or_default());
        }
        let message = head(message, MESSAGE_BYTES_MAX);
        ExitReport { code: exit.code, reason: exit.reason.as_str().into(), message }
    }
}

fn head(mut text: String, most: usize) -> String {
    text.truncate(text.floor_char_boundary(most));
    text
}

fn tail(bytes: &[u8], most: usize) -> String {
    let from = bytes.len().saturating_sub(most);
    String::from_utf8_lossy(bytes.get(from..).unwrap_or_default()).into_owned()
}

fn log_tail(log: &[u8]) -> String {
    let options = crate::server::select::LogOptions {
        tail_lines: Some(LOG_TAIL_LINES_MAX),
        ..Default::default()
    };
    let mut selection = crate::server::select::Selection::new(options);
    let mut text = selection.take(log);
    text.extend(selection.caught_up());
    tail(&text, LOG_TAIL_BYTES_MAX)
}
