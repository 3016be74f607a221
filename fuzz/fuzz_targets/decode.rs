//! Fuzzes recordings of every format, as uploads and as streams.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stt_isolated::fuzzing::decode(data));
