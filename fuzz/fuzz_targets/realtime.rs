//! Fuzzes the events of a realtime session's client.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stt_isolated::fuzzing::realtime(data));
