//! The fuzz target `auto`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| midge_fuzz::run("auto", data));
