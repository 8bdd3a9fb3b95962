//! libFuzzer's way to [`penstock_fuzz::credentials::check`].
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| penstock_fuzz::credentials::check(data));
