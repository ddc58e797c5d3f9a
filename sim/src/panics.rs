//! Panics of nodes: caught, with their place, and without noise on the terminal.

use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::Once;

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs code of a node; a panic comes back as its message and place. // H28
pub(crate) fn caught<R>(run: impl FnOnce() -> R) -> Result<R, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            // Other panics of the process are as loud as ever.
            if INSIDE.get() { note(info) } else { before(info) }
        }));
    });
    let was_inside = INSIDE.replace(true);
    let ran = panic::catch_unwind(AssertUnwindSafe(run));
    INSIDE.set(was_inside);
    ran.map_err(|_| LAST.take().unwrap_or_else(|| "panicked".to_owned()))
}

fn note(info: &PanicHookInfo<'_>) {
    let payload = info.payload();
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
    let text = text.unwrap_or_else(|| "a panic without a message".to_owned());
    let place = info.location().map(|at| format!(" at {}:{}", at.file(), at.line()));
    let message = format!("{text}{}", place.unwrap_or_default());
    LAST.set(Some(message));
}
