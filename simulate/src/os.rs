//! The process's clock and entropy, taken over for the simulation's threads.
//!
//! Everything in the process, product code and libraries alike, asks the C library for the time and for random bytes.
//! The two functions below stand in its place: on a simulated thread they answer from the virtual clock and from the
//! seed, on any other thread they hand the call on to the C library's own. So no product code knows that it is
//! simulated, and all others pay a look at a variable of their thread (`specs/decisions.md`).
#![expect(
    unsafe_code,
    reason = "two functions of the C library are defined anew, with its signatures"
)]

use std::cell::Cell;
use std::ffi::CStr;
use std::mem::transmute;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::time::Duration;

use libc::{c_int, c_uint, c_void, clockid_t, size_t, ssize_t, timespec};
use tokio::time::Instant;

/// What the wall clock shows at the begin of a simulation: 2026-01-01T00:00:00Z, in seconds since 1970.
const EPOCH_SECONDS: u64 = 1_767_225_600;

/// What the monotonic clock shows at the begin.
const UPTIME_SECONDS: u64 = 1_000;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

type ClockGettime = unsafe extern "C" fn(clockid_t, *mut timespec) -> c_int;
type Getrandom = unsafe extern "C" fn(*mut c_void, size_t, c_uint) -> ssize_t;

static OWN_CLOCK: Own = Own::new(c"clock_gettime");
static OWN_ENTROPY: Own = Own::new(c"getrandom");

thread_local! {
    /// Nanoseconds since the simulation's begin; `None` on threads that are not simulated.
    static VIRTUAL_NANOS: Cell<Option<u64>> = const { Cell::new(None) };
    /// How far the wall clock was set forward or back, in seconds.
    static WALL_SHIFT_SECONDS: Cell<i64> = const { Cell::new(0) };
    static BEGAN: Cell<Option<Instant>> = const { Cell::new(None) };
    static ENTROPY: Cell<u64> = const { Cell::new(0) };
}

/// A function of the C library that one of ours hides.
struct Own {
    name: &'static CStr,
    found: AtomicPtr<c_void>,
    looked: AtomicBool,
}

impl Own {
    const fn new(name: &'static CStr) -> Own {
        Own { name, found: AtomicPtr::new(null_mut()), looked: AtomicBool::new(false) }
    }

    /// Where it is; `None` in a program that was linked statically, which has one definition of each name.
    fn get(&self) -> Option<*mut c_void> {
        if !self.looked.load(Ordering::Acquire) {
            // SAFETY: the name ends with a zero byte; the result is only called as what the C library declares it to be.
            let found = unsafe { libc::dlsym(libc::RTLD_NEXT, self.name.as_ptr()) };
            self.found.store(found, Ordering::Relaxed);
            self.looked.store(true, Ordering::Release);
        }
        let found = self.found.load(Ordering::Relaxed);
        (!found.is_null()).then_some(found)
    }
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
    own_clock(libc::CLOCK_MONOTONIC, &raw mut time);
    let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), nanos)
}

fn own_clock(clock: clockid_t, out: *mut timespec) -> c_int {
    if let Some(own) = OWN_CLOCK.get() {
        // SAFETY: this is the C library's `clock_gettime`, and the pointer is the caller's.
        return unsafe { transmute::<*mut c_void, ClockGettime>(own)(clock, out) };
    }
    // SAFETY: the kernel checks the pointer itself and gives an error for a wrong one.
    let result = unsafe { libc::syscall(libc::SYS_clock_gettime, clock, out) };
    c_int::try_from(result).unwrap_or(-1)
}

/// The C library's `clock_gettime`.
///
/// # Safety
/// `out` must be valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: clockid_t, out: *mut timespec) -> c_int {
    let Some(elapsed) = VIRTUAL_NANOS.get() else { return own_clock(clock, out) };
    let begin = match clock {
        libc::CLOCK_REALTIME | libc::CLOCK_REALTIME_COARSE => {
            EPOCH_SECONDS.saturating_add_signed(WALL_SHIFT_SECONDS.get())
        }
        libc::CLOCK_MONOTONIC
        | libc::CLOCK_MONOTONIC_COARSE
        | libc::CLOCK_MONOTONIC_RAW
        | libc::CLOCK_BOOTTIME => UPTIME_SECONDS,
        _ => return own_clock(clock, out),
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
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(out: *mut c_void, length: size_t, flags: c_uint) -> ssize_t {
    if VIRTUAL_NANOS.get().is_none() {
        if let Some(own) = OWN_ENTROPY.get() {
            // SAFETY: this is the C library's `getrandom`, and the caller promises what it asks for.
            return unsafe { transmute::<*mut c_void, Getrandom>(own)(out, length, flags) };
        }
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
