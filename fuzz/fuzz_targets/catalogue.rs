//! Fuzzes files of the catalogue of models.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stt_isolated::fuzzing::catalogue(data));
