//! The process's clock and entropy, taken over for the simulation's threads.
//!
//! Everything in a process, product code and libraries alike, asks the C library for the time and for random bytes.
//! [`take_over`] leads the C library's two functions to those below, in a process that simulates and in no other: a
//! server never calls it. On a simulated thread they answer from the virtual clock and from the seed, on any other
//! thread they ask the kernel. So no product code knows that it is simulated (`specs/decisions.md`).
#![expect(unsafe_code, reason = "two functions of the C library are replaced, with its signatures")]

use std::cell::Cell;
use std::ffi::CStr;
use std::io;
use std::sync::OnceLock;
use std::time::Duration;

use libc::{c_int, c_uint, c_void, clockid_t, size_t, ssize_t, timespec};
use tokio::time::Instant;

/// What the wall clock shows at the begin of a simulation: 2026-01-01T00:00:00Z, in seconds since 1970.
const EPOCH_SECONDS: u64 = 1_767_225_600;

/// What the monotonic clock shows at the begin.
const UPTIME_SECONDS: u64 = 1_000;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// Code that goes on at an address: this and the eight bytes of the address.
#[cfg(target_arch = "x86_64")]
const JUMP: &[u8] = &[0xff, 0x25, 0, 0, 0, 0];
/// The same: load what stands behind the two instructions into the register for such jumps, and go there.
#[cfg(target_arch = "aarch64")]
const JUMP: &[u8] = &[0x50, 0, 0, 0x58, 0, 0x02, 0x1f, 0xd6];
/// How to jump on this machine is not known.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const JUMP: &[u8] = &[];

thread_local! {
    /// Nanoseconds since the simulation's begin; `None` on threads that are not simulated.
    static VIRTUAL_NANOS: Cell<Option<u64>> = const { Cell::new(None) };
    /// How far the wall clock was set forward or back, in seconds.
    static WALL_SHIFT_SECONDS: Cell<i64> = const { Cell::new(0) };
    static BEGAN: Cell<Option<Instant>> = const { Cell::new(None) };
    static ENTROPY: Cell<u64> = const { Cell::new(0) };
}

/// Leads the C library's clock and entropy to the functions of this file, for the rest of the process. Call it while the
/// process has one thread: another one could be in the middle of what is replaced.
///
/// # Errors
/// The machine is of a kind that is not known, or does not let a process change its own code.
pub fn take_over() -> io::Result<()> {
    static DONE: OnceLock<Result<(), (io::ErrorKind, String)>> = OnceLock::new();
    let take = || {
        replace(c"clock_gettime", clock_gettime as *const () as usize)?;
        replace(c"getrandom", getrandom as *const () as usize)
    };
    let done = DONE.get_or_init(|| take().map_err(|error| (error.kind(), error.to_string())));
    done.clone().map_err(|(kind, text)| io::Error::new(kind, text))
}

/// Writes a jump over the beginning of a function of the C library.
fn replace(name: &CStr, with: usize) -> io::Result<()> {
    if JUMP.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "simulations run on x86_64 and aarch64 machines alone",
        ));
    }
    // SAFETY: the name ends with a zero byte.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    if found.is_null() {
        let text = format!("the C library has no {name:?} that could be replaced");
        return Err(io::Error::new(io::ErrorKind::Unsupported, text));
    }
    let code = [JUMP, &with.to_ne_bytes()].concat();
    // SAFETY: asks for a number.
    let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096);
    let first = found as usize / page * page;
    let length = (found as usize + code.len()).next_multiple_of(page) - first;
    let pages = first as *mut c_void;
    let (reads, writes) = (libc::PROT_READ | libc::PROT_EXEC, libc::PROT_WRITE);
    // SAFETY: the pages are those of the function, which stays readable and executable; the mapping is private to this
    // process. Both functions are longer than the jump, and nobody else runs.
    unsafe {
        if libc::mprotect(pages, length, reads | writes) != 0 {
            return Err(io::Error::last_os_error());
        }
        found.cast::<u8>().copy_from_nonoverlapping(code.as_ptr(), code.len());
        forget_cached(found as usize);
        if libc::mprotect(pages, length, reads) != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Has the processor read the code at an address anew; most see by themselves that it has changed.
///
/// # Safety
/// The address is one of code.
unsafe fn forget_cached(address: usize) {
    #[cfg(target_arch = "aarch64")]
    for address in [address, address + 15] {
        // SAFETY: the instructions look at one line of the caches, that of the address.
        unsafe {
            std::arch::asm!(
                "dc cvau, {0}", "dsb ish", "ic ivau, {0}", "dsb ish", "isb", in(reg) address
            );
        }
    }
    let _ = address;
}

/// Makes this thread a simulated one: its clock stands still until the runtime moves it, its entropy follows from the seed.
pub fn simulate(seed: u64) {
    VIRTUAL_NANOS.set(Some(0));
    ENTROPY.set(seed);
}

fn set_elapsed(elapsed: Duration) {
    VIRTUAL_NANOS.set(Some(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)));
}

/// Begins to follow the clock of the runtime that this is called in.
pub fn begin() {
    BEGAN.set(Some(Instant::now()));
}

/// Takes the time over from the runtime, which moves it on while it has nothing to do. The runtime calls it then.
pub fn follow_runtime() {
    if let Some(began) = BEGAN.get() {
        set_elapsed(began.elapsed());
    }
}

/// Sets this thread's wall clock forward, or back, by some seconds, as a time daemon does; the monotonic clock goes on.
pub fn shift_wall_clock(seconds: i64) {
    WALL_SHIFT_SECONDS.set(WALL_SHIFT_SECONDS.get() + seconds);
}

/// Gives the machine's own monotonic time, whatever the thread.
pub fn real_time() -> Duration {
    let mut time = timespec { tv_sec: 0, tv_nsec: 0 };
    kernel_clock(libc::CLOCK_MONOTONIC, &raw mut time);
    let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), nanos)
}

fn kernel_clock(clock: clockid_t, out: *mut timespec) -> c_int {
    // SAFETY: the kernel checks the pointer itself and gives an error for a wrong one.
    let result = unsafe { libc::syscall(libc::SYS_clock_gettime, clock, out) };
    c_int::try_from(result).unwrap_or(-1)
}

/// The C library's `clock_gettime`.
///
/// # Safety
/// `out` must be valid for a write.
unsafe extern "C" fn clock_gettime(clock: clockid_t, out: *mut timespec) -> c_int {
    let Some(elapsed) = VIRTUAL_NANOS.get() else { return kernel_clock(clock, out) };
    let begin = match clock {
        libc::CLOCK_REALTIME | libc::CLOCK_REALTIME_COARSE => {
            EPOCH_SECONDS.saturating_add_signed(WALL_SHIFT_SECONDS.get())
        }
        libc::CLOCK_MONOTONIC
        | libc::CLOCK_MONOTONIC_COARSE
        | libc::CLOCK_MONOTONIC_RAW
        | libc::CLOCK_BOOTTIME => UPTIME_SECONDS,
        _ => return kernel_clock(clock, out),
    };
    let seconds = begin + elapsed / NANOS_PER_SECOND;
    let time = timespec {
        tv_sec: seconds.cast_signed(),
        tv_nsec: (elapsed % NANOS_PER_SECOND).cast_signed(),
    };
    // SAFETY: the caller promises that `out` can be written.
    unsafe { out.write(time) };
    0
}

/// The C library's `getrandom`.
///
/// # Safety
/// `out` must be valid for writes of `length` bytes.
unsafe extern "C" fn getrandom(out: *mut c_void, length: size_t, flags: c_uint) -> ssize_t {
    if VIRTUAL_NANOS.get().is_none() {
        // SAFETY: the kernel checks the pointer itself.
        let result = unsafe { libc::syscall(libc::SYS_getrandom, out, length, flags) };
        return isize::try_from(result).unwrap_or(-1);
    }
    for at in 0..length {
        // SAFETY: the caller promises that `length` bytes can be written.
        unsafe { out.cast::<u8>().add(at).write(next_byte()) };
    }
    length.cast_signed()
}

/// SplitMix64, a byte at a time.
fn next_byte() -> u8 {
    let state = ENTROPY.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
    ENTROPY.set(state);
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed >> 56) as u8
}
