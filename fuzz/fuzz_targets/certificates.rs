//! libFuzzer's way to [`penstock_fuzz::certificates::check`].
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| penstock_fuzz::certificates::check(data));
