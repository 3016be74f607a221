//! Fuzzes the files of models, whose metadata are read before they are loaded.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stt_isolated::fuzzing::onnx(data));
