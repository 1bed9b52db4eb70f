//! What a worker gives up before it sees anything of a guest.
//!
//! Two fences: Landlock refuses every path and every TCP port, and a list of system calls has none
//! that opens a file, makes a socket, connects, runs a program or looks at another process. What a
//! worker has is what it was handed: the sockets to its host, files that are open, and memory.
//! A kernel without Landlock leaves the list, which holds by itself.
//!
//! Must run while the process has one thread; threads that are made later inherit it.

use std::collections::BTreeMap;
use std::io;

use landlock::{ABI, Access as _, AccessFs, AccessNet, Ruleset, RulesetAttr as _, Scope};
use rustix::process::{Resource, Rlimit, Signal, setrlimit};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Length, SeccompCmpOp as Is, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch,
};

/// The newest Landlock that is asked for; a kernel with an older one does what it can.
const LANDLOCK: ABI = ABI::V6;

/// Makes this process die with the thread that started it.
///
/// # Errors
/// The kernel refuses, which none does.
pub(super) fn die_with_parent() -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    Ok(())
}

/// Closes every descriptor but the three of every process: what a host's own parent left open is not
/// for a worker.
///
/// # Errors
/// The kernel refuses, which none does that has workers.
#[expect(unsafe_code, reason = "there is no safe way to close what nobody here has opened")]
pub(super) fn close_the_rest() -> io::Result<()> {
    // SAFETY: this is called first of all in the process, so nothing in it has a descriptor yet
    // that could be closed under it.
    let closed = unsafe { libc::close_range(3, libc::c_uint::MAX, 0) };
    if closed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Confines this process for good, as a worker is confined: from now on it can open no file, make no
/// socket, start no process and look at none. Must be called while it has one thread.
///
/// # Errors
/// A fence cannot be put up: the process must end.
pub fn confine() -> io::Result<()> {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Core, none)?;
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    landlock().map_err(|error| io::Error::other(format!("confine by Landlock: {error}")))?;
    let failed =
        |error: &dyn std::fmt::Display| io::Error::other(format!("confine by seccomp: {error}"));
    for filter in [without_clone3(), list()] {
        let filter = filter.map_err(|error| failed(&error))?;
        seccompiler::apply_filter(&filter).map_err(|error| failed(&error))?;
    }
    Ok(())
}

/// Whether this kernel has Landlock, and has it switched on.
#[expect(unsafe_code, reason = "the kernel is asked by a call of its own")]
pub(super) fn has_landlock() -> bool {
    /// *Source:* `LANDLOCK_CREATE_RULESET_VERSION` of Linux' `landlock.h`.
    const VERSION: libc::c_uint = 1;
    let nothing = std::ptr::null::<libc::c_void>();
    // SAFETY: with this flag the call reads no memory, makes nothing, and answers with a number.
    let version =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, nothing, 0_usize, VERSION) };
    version > 0
}

/// Refuses all that Landlock knows of, without an exception.
fn landlock() -> Result<(), landlock::RulesetError> {
    Ruleset::default()
        .handle_access(AccessFs::from_all(LANDLOCK))?
        .handle_access(AccessNet::from_all(LANDLOCK))?
        .scope(Scope::from_all(LANDLOCK))?
        .create()?
        .restrict_self()
        .map(|_status| ())
}

/// Calls that work on what the process has already.
const ALLOWED: &[i64] = &[
    // Open files and sockets.
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_preadv,
    libc::SYS_pwritev,
    libc::SYS_preadv2,
    libc::SYS_pwritev2,
    libc::SYS_lseek,
    libc::SYS_fstat,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_fadvise64,
    libc::SYS_fcntl,
    libc::SYS_flock,
    libc::SYS_close,
    libc::SYS_sendmsg,
    libc::SYS_recvmsg,
    // Waiting.
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_eventfd2,
    libc::SYS_ppoll,
    libc::SYS_futex,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_restart_syscall,
    // Memory. It may be made executable: compiled code is.
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_memfd_create,
    libc::SYS_membarrier,
    // Threads and their signals.
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    // Refused before: see `without_clone3`.
    libc::SYS_clone3,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_exit,
    libc::SYS_exit_group,
    // Clocks and chance.
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
    // What only this processor's kernel has.
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
];

/// `ioctl` requests: which pages were written (what the pool of instances asks), and not blocking.
const IOCTLS: [u64; 2] = [0xC060_6610, 0x5421];

/// `prctl`: a thread's name, and a mapping's.
const PRCTLS: [u64; 2] = [15, 0x5356_4d41];

/// `CLONE_THREAD`: no new process.
const CLONE_THREAD: u64 = 0x0001_0000;

/// Says that `clone3` does not exist, whose flags cannot be looked at: the C library then uses
/// `clone`. Of two filters the stricter answer counts.
fn without_clone3() -> Result<BpfProgram, seccompiler::BackendError> {
    let rules = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    let absent = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    SeccompFilter::new(rules, SeccompAction::Allow, absent, ARCH)?.try_into()
}

/// The list. Whatever is not on it fails with `EPERM`.
fn list() -> Result<BpfProgram, seccompiler::BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    rules.extend(ALLOWED.iter().map(|call| (*call, Vec::new())));
    let one_of = |argument, values: &[u64]| {
        let rule = |value: &u64| when(argument, Length::Dword, Is::Eq, *value);
        values.iter().map(rule).collect::<Result<Vec<_>, _>>()
    };
    rules.insert(libc::SYS_ioctl, one_of(1, &IOCTLS)?);
    rules.insert(libc::SYS_prctl, one_of(0, &PRCTLS)?);
    let thread = when(0, Length::Qword, Is::MaskedEq(CLONE_THREAD), CLONE_THREAD)?;
    rules.insert(libc::SYS_clone, vec![thread]);
    // The times of an open file: without a path.
    rules.insert(libc::SYS_utimensat, vec![when(1, Length::Qword, Is::Eq, 0)?]);
    let own = u64::from(std::process::id());
    rules.insert(libc::SYS_tgkill, vec![when(0, Length::Dword, Is::Eq, own)?]);
    let refused = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let filter = SeccompFilter::new(rules, refused, SeccompAction::Allow, ARCH)?;
    filter.try_into()
}

fn when(
    argument: u8,
    length: Length,
    is: Is,
    value: u64,
) -> Result<SeccompRule, seccompiler::BackendError> {
    SeccompRule::new(vec![SeccompCondition::new(argument, length, is, value)?])
}

#[cfg(target_arch = "x86_64")]
const ARCH: TargetArch = TargetArch::x86_64;
#[cfg(target_arch = "aarch64")]
const ARCH: TargetArch = TargetArch::aarch64;
