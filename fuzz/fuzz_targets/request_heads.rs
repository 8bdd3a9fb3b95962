//! libFuzzer's way to [`penstock_fuzz::request_heads::check`].
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| penstock_fuzz::request_heads::check(data));
