//! Fuzzes the lines that a program of the engine `exec` writes.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stt_isolated::fuzzing::program(data));
