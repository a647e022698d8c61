//! The fuzz target `log_replay`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| midge_fuzz::run("log_replay", data));
