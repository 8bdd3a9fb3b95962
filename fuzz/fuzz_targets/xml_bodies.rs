//! libFuzzer's way to [`penstock_fuzz::xml_bodies::check`].
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| penstock_fuzz::xml_bodies::check(data));
