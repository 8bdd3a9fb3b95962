//! libFuzzer's way to [`penstock_fuzz::scitags::check`].
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| penstock_fuzz::scitags::check(data));
