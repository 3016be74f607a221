//! Fuzzes the messages of zygotes and jobs.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stt_isolated::fuzzing::job_messages(data));
