//! Fuzzes media types of raw samples, and the samples.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stt_isolated::fuzzing::raw(data));
