//! Interrupts from the terminal (Ctrl-C), of which the host tells whoever asks.
//!
//! Nothing comes in between on its own: where a tool may take long (reading, writing, sleeping, loops of
//! the shell), it looks, and does nothing more once there is an interrupt. Its future is thrown away by
//! the innermost [`until`], which is a person's shell or this whole program.

use std::future::Future;
use std::pin::pin;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;

/// 128 + SIGINT: what is interrupted ends with.
pub(crate) const CODE: i32 = 130;

/// There was an interrupt, and no [`until`] has ended for it yet.
static PENDING: AtomicBool = AtomicBool::new(false);

/// Says whether this program has a terminal to be interrupted from.
pub(crate) fn has_terminal() -> bool {
    static HAS: OnceLock<bool> = OnceLock::new();
    *HAS.get_or_init(|| std::io::IsTerminal::is_terminal(&std::io::stdin()))
}

/// Says whether there was an interrupt; whoever sees one does nothing more.
pub(crate) fn is_pending() -> bool {
    if has_terminal() && host::taken() {
        PENDING.store(true, Ordering::Relaxed);
    }
    PENDING.load(Ordering::Relaxed)
}

/// Turns of loops between two in which others may look, too: at an interrupt, or at the time.
const TURNS_BETWEEN: usize = 256;

/// Goes no further once there was an interrupt, and now and then lets others look.
pub(crate) async fn check() {
    static TURNS: AtomicUsize = AtomicUsize::new(0);
    if TURNS.fetch_add(1, Ordering::Relaxed) % TURNS_BETWEEN == 0 {
        crate::io::turn().await;
    }
    std::future::poll_fn(|_| if is_pending() { Poll::Pending } else { Poll::Ready(()) }).await;
}

/// Works until the end, or `None` when it is interrupted.
pub(crate) async fn until<T>(work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    std::future::poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending if is_pending() => {
            PENDING.store(false, Ordering::Relaxed);
            Poll::Ready(None)
        }
        Poll::Pending => Poll::Pending,
    })
    .await
}

/// The import of `sdk/wit/deps/terminal/terminal.wit`, as wit-bindgen 0.61 writes it; one function without arguments is
/// not worth the crates that it takes to write this anew with each build.
#[cfg(target_env = "p2")]
mod host {
    #[link(wasm_import_module = "coracle:terminal/interrupt@0.1.0")]
    unsafe extern "C" {
        #[link_name = "taken"]
        fn import() -> i32;
    }

    /// Says whether there was an interrupt since this was asked last.
    pub(super) fn taken() -> bool {
        // SAFETY: the type is that of `taken` in the interface, lowered: nothing in, a bool out.
        unsafe { import() != 0 }
    }

    /// The type of the import, for whoever makes a component of this module.
    #[used]
    #[unsafe(link_section = "component-type:coracle:terminal@0.1.0:guest:encoded world")]
    static TYPE: [u8; 217] = *b"\
\0asm\x0d\0\x01\0\0\x19\x16wit-component-encoding\x04\0\x07^\x01A\x02\x01A\x02\x01\
B\x02\x01@\0\0\x7f\x04\0\x05taken\x01\0\x03\0\x20coracle:terminal/interrupt@0.1.\
0\x05\0\x04\0\x1ccoracle:terminal/guest@0.1.0\x04\0\x0b\x0b\x01\0\x05guest\x03\0\
\0\0G\x09producers\x01\x0cprocessed-by\x02\x0dwit-component\x070.258.3\x10wit-bi\
ndgen-rust\x060.61.1";
}

/// Elsewhere this program is only tested.
#[cfg(not(target_env = "p2"))]
mod host {
    pub(super) fn taken() -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_interrupted_is_thrown_away_once() {
        let never = std::future::pending::<()>;
        PENDING.store(true, Ordering::Relaxed);
        let ended = crate::io::run(until(async {
            let inner = until(never()).await;
            (inner, until(async { 1 }).await)
        }));
        assert_eq!(ended, Some((None, Some(1))));
    }
}
