//! The end of patience: a timer of the runtime as a future.
//!
//! Not `worker::Delay`, which takes what `setTimeout` returns for a number; under the runtime's newer compatibility dates it
//! is an object, so that the timer could not be cleared and would call back into memory that is gone.

use futures_util::future::{Either, select};
use std::{future::Future, pin::pin};
use wasm_bindgen::{JsValue, prelude::wasm_bindgen};
use worker::js_sys::{Function, Promise, futures::JsFuture};

/// What `work` comes to, unless that takes longer than `after_ms`.
pub(crate) async fn within<T>(after_ms: u32, work: impl Future<Output = T>) -> Option<T> {
    let mut timer = Timer::start(after_ms);
    match select(pin!(work), pin!(timer.rings())).await {
        Either::Left((done, _)) => Some(done),
        Either::Right(_) => None,
    }
}

/// A timer that is running; dropped, it is cleared, since it would keep the object from sleeping.
pub(crate) struct Timer {
    rings: JsFuture,
    id: JsValue,
}

impl Timer {
    /// Rings once, so many milliseconds from now.
    pub(crate) fn start(after_ms: u32) -> Self {
        let mut id = JsValue::UNDEFINED;
        let rings = Promise::new(&mut |resolve, _reject| id = set_timeout(&resolve, after_ms));
        Self { rings: rings.into(), id }
    }

    /// Returns when it has rung.
    pub(crate) async fn rings(&mut self) {
        // The promise is never rejected.
        let _undefined = (&mut self.rings).await;
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
