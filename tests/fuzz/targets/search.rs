//! `bodies/search.rs` on whatever the fuzzer comes up with.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oicq_fuzz::search::run(data));
