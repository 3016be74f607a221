//! Configuration files and the environment over them.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stt_isolated::fuzzing::config(data));
