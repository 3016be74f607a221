//! Events of Wyoming.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stt_isolated::fuzzing::wyoming(data));
