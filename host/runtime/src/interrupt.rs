//! Interrupts from a guest's terminal: `coracle:terminal/interrupt`, by which a guest learns of Ctrl-C.
//!
//! *Source:* `sdk/wit/deps/terminal/terminal.wit`.

use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

use crate::store::State;

/// The interface's name as guests import it.
pub(crate) const INTERFACE: &str = "coracle:terminal/interrupt@0.1.0";

/// Adds the interface to a linker.
pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut instance = linker.instance(INTERFACE)?;
    instance.func_wrap("taken", |store: StoreContextMut<'_, State>, (): ()| {
        let input = store.data().core.stdio.input.as_ref();
        Ok((input.is_some_and(|input| input.take_interrupt()),))
    })?;
    Ok(())
}
