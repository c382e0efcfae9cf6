#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| claviger_fuzz_checks::barbican_urls(data));
