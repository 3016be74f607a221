//! Fuzzes configuration files, with environment variables that override them.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stt_isolated::fuzzing::config(data));
