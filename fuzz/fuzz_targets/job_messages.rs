//! What zygotes and jobs say over their channels.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stt_isolated::fuzzing::job_messages(data));
