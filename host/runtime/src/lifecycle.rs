//! The stop notice: `coracle:lifecycle/stop`, by which a guest learns that it should end.
//!
//! *Source:* `sdk/wit/lifecycle.wit`.

use std::time::Instant;

use tokio::sync::watch;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi_io::poll::{DynPollable, Pollable, subscribe};

use crate::meter;
use crate::store::State;

/// The interface's name as guests import it.
pub(crate) const INTERFACE: &str = "coracle:lifecycle/stop@0.1.0";

/// Whether a container was asked to stop, and by when.
pub(crate) struct Notice {
    deadline: watch::Sender<Option<Instant>>,
}

impl Default for Notice {
    fn default() -> Self {
        Self { deadline: watch::Sender::new(None) }
    }
}

impl Notice {
    /// Tells the guest to end by `deadline`.
    pub(crate) fn raise(&self, deadline: Instant) {
        self.deadline.send_replace(Some(deadline));
    }

    /// The deadline, once there is one.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        *self.deadline.borrow()
    }
}

/// The resource behind the pollable that a guest waits on.
struct NoticePoll {
    deadline: watch::Receiver<Option<Instant>>,
}

#[wasmtime_wasi::async_trait]
impl Pollable for NoticePoll {
    async fn ready(&mut self) {
        // An error means that the container is gone, and then nobody waits here any more.
        let _ = self.deadline.wait_for(Option::is_some).await;
    }
}

/// Adds the interface to a linker.
pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut instance = linker.instance(INTERFACE)?;
    instance.func_wrap("subscribe", |mut store: StoreContextMut<'_, State>, (): ()| {
        let state = store.data_mut();
        let deadline = state.core.notice.deadline.subscribe();
        let poll: Resource<NoticePoll> = state.table.push(NoticePoll { deadline })?;
        Ok::<(Resource<DynPollable>,), wasmtime::Error>((subscribe(&mut state.table, poll)?,))
    })?;
    instance.func_wrap("remaining", |store: StoreContextMut<'_, State>, (): ()| {
        let left = store.data().core.notice.deadline().map(|deadline| {
            let left = deadline.saturating_duration_since(meter::now());
            u64::try_from(left.as_nanos()).unwrap_or(u64::MAX)
        });
        Ok((left,))
    })?;
    Ok(())
}
