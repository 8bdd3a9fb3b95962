//! libFuzzer's way to [`penstock_fuzz::if_headers::check`].
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| penstock_fuzz::if_headers::check(data));
