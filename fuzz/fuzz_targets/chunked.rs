//! libFuzzer's way to [`penstock_fuzz::chunked::check`].
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| penstock_fuzz::chunked::check(data));
