//! Fuzzes events of Wyoming clients.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stt_isolated::fuzzing::wyoming(data));
