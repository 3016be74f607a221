//! Fuzzes bodies of transcription requests.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stt_isolated::fuzzing::multipart(data));
