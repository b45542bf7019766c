//! The runtime's time and random bits.

use headwater::id::TimestampMs;
use worker::js_sys;

/// The runtime's clock. It stands still within an event but for what the event waits for.
///
/// Asked as a number: `worker::Date` makes an object and asks that.
pub(crate) fn now() -> TimestampMs {
    TimestampMs(js_sys::Date::now() as i64)
}

/// 64 random bits, for identities and the seeds of machines. Not to be had outside of an event.
pub(crate) fn entropy() -> Result<u64, worker::Error> {
    let bytes = js_sys::Uint8Array::new_with_length(8);
    crypto::get_random_values(&bytes)?;
    let mut entropy = [0; 8];
    bytes.copy_to(&mut entropy);
    Ok(u64::from_le_bytes(entropy))
}

mod crypto {
    //! The runtime's source of random bits.

    use wasm_bindgen::{JsValue, prelude::wasm_bindgen};
    use worker::js_sys::Uint8Array;

    #[wasm_bindgen]
    extern "C" {
        #[wasm_bindgen(catch, js_namespace = crypto, js_name = getRandomValues)]
        pub(super) fn get_random_values(bytes: &Uint8Array) -> Result<JsValue, JsValue>;
    }
}
