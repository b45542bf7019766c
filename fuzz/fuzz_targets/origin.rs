//! Runs the target `origin` of `shared/tests/common/targets.rs`.
#![no_main]

#[path = "../../shared/tests/common/targets.rs"]
#[allow(dead_code, unreachable_pub, reason = "each program runs one target")]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::origin(data));
