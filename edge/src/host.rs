//! What is done in JavaScript (`host.js`) because it takes one call across the border of the module, and from here a dozen.

use wasm_bindgen::{JsValue, prelude::wasm_bindgen};
use worker::{Env, js_sys::Promise, web_sys};

#[wasm_bindgen(module = "/src/host.js")]
extern "C" {
    /// A response of JSON. `lines` are further headers: the name of each and its value on a line of their own.
    #[wasm_bindgen(catch)]
    pub(crate) fn reply(status: u16, body: &[u8], lines: &str) -> Result<web_sys::Response, JsValue>;

    /// Calls the hub of this name; a promise of the parts of its answer.
    #[wasm_bindgen(catch)]
    pub(crate) fn ask(
        env: &Env,
        name: &str,
        location_hint: Option<&str>,
        kind: &str,
        body: &[u8],
    ) -> Result<Promise, JsValue>;

    /// The headers in the answers that scripts of other sites may read, by their names.
    pub(crate) fn exposed() -> String;
}
