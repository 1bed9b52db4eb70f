//! Work that waits for a disk, while other guests go on.

use tokio::runtime::{Handle, RuntimeFlavor};

/// Does work that may take long on a slow disk. On a runtime of several threads whatever else waits
/// for this one is taken over by another meanwhile, so that no guest's `fsync` or large copy holds up
/// its neighbours; anywhere else it is plainly done.
pub(crate) fn aside<T>(work: impl FnOnce() -> T) -> T {
    let has_others = |runtime: Handle| runtime.runtime_flavor() == RuntimeFlavor::MultiThread;
    if Handle::try_current().is_ok_and(has_others) {
        tokio::task::block_in_place(work)
    } else {
        work()
    }
}

#[cfg(test)]
mod tests {
    use super::aside;
    use std::sync::mpsc;

    #[test]
    fn others_go_on_meanwhile() {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let outcome = runtime.block_on(async {
            let (sender, receiver) = mpsc::channel();
            let waits = tokio::spawn(async move { aside(|| receiver.recv()) });
            // With its one thread taken this would never run.
            tokio::spawn(async move { sender.send(7) }).await.unwrap().unwrap();
            waits.await.unwrap()
        });
        assert_eq!(outcome, Ok(7));
    }

    #[test]
    fn with_one_thread_or_none_it_is_plainly_done() {
        assert_eq!(aside(|| 7), 7);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert_eq!(runtime.block_on(async { aside(|| 7) }), 7);
    }
}
