//! The end of patience: a timer of the runtime as a future.
//!
//! Not `worker::Delay`, which takes what `setTimeout` returns for a number; under the runtime's newer compatibility dates it
//! is an object, so that the timer could not be cleared and would call back into memory that is gone. Nor a promise, which
//! keeps what waits for it until it is settled: that of a timer which is cleared never is.

use futures_channel::oneshot;
use futures_util::future::{Either, select};
use std::{future::Future, pin::pin};
use wasm_bindgen::{
    JsCast, JsValue,
    prelude::{Closure, wasm_bindgen},
};
use worker::js_sys::Function;

/// What `work` comes to, unless that takes longer than `after_ms`.
pub(crate) async fn within<T>(after_ms: u32, work: impl Future<Output = T>) -> Option<T> {
    let mut timer = Timer::start(after_ms);
    match select(pin!(work), pin!(timer.rings())).await {
        Either::Left((done, _)) => Some(done),
        Either::Right(_) => None,
    }
}

/// A timer that is running; dropped, it is cleared, since it would keep the object from sleeping, and all that it took is free.
pub(crate) struct Timer {
    rings: oneshot::Receiver<()>,
    id: JsValue,
    /// What the runtime calls, which lives as long as the timer may call it.
    _callback: Closure<dyn FnMut()>,
}

impl Timer {
    /// Rings once, so many milliseconds from now.
    pub(crate) fn start(after_ms: u32) -> Self {
        let (ring, rings) = oneshot::channel();
        let callback = Closure::once(move || {
            // Whoever waited may have gone in this very turn.
            let _gone = ring.send(());
        });
        let id = set_timeout(callback.as_ref().unchecked_ref(), after_ms);
        Self { rings, id, _callback: callback }
    }

    /// Returns when it has rung.
    pub(crate) async fn rings(&mut self) {
        // The sender lives as long as the timer.
        let _rung = (&mut self.rings).await;
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        clear_timeout(&self.id);
    }
}

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_name = setTimeout)]
    fn set_timeout(callback: &Function, after_ms: u32) -> JsValue;

    #[wasm_bindgen(js_name = clearTimeout)]
    fn clear_timeout(id: &JsValue);
}
