//! Fuzzing of recordings: any bytes must be decoded or refused, quickly and in little memory. Only
//! Symphonia's known panics are allowed.

use std::{fs::File, io::Write as _, os::fd::OwnedFd};

use super::{
    AudioError, Cutter, Hint, Keep, SAMPLE_RATE,
    checks::{Heard, forgiving, hear, memfd, mend_pages},
};

/// Longest part of a recording that is decoded: a few bytes can hold hours of silence.
const LIMIT: usize = 20 * SAMPLE_RATE as usize;

/// Most bytes that fit into a pipe before it is read.
const PIPE: usize = 1 << 16;

/// `data` is a file of any format, read as an upload and as a stream.
pub fn decode(data: &[u8]) {
    let mut data = data.to_vec();
    mend_pages(&mut data);
    survive(&data, Hint::default());
}

/// `data` is a media type, a line feed, and samples.
pub fn raw(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n');
    let Some((mime, samples)) = end.map(|end| data.split_at(end)) else {
        return;
    };
    let Ok(mime) = std::str::from_utf8(mime) else {
        return;
    };
    let hint = Hint {
        extension: None,
        mime: Some(mime),
    };
    survive(&samples[1..], hint);
}

fn survive(data: &[u8], hint: Hint<'_>) {
    check(forgiving(|| hear(memfd(data), hint, LIMIT)));
    if data.len() <= PIPE {
        check(forgiving(|| hear(pipe(data), hint, LIMIT)));
    }
}

/// A pipe that already holds all of `data`.
fn pipe(data: &[u8]) -> File {
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    writer.write_all(data).expect("room in the pipe");
    File::from(OwnedFd::from(reader))
}

fn check(heard: Result<Result<Heard, AudioError>, String>) {
    match heard {
        Ok(Ok(heard)) => {
            heard
                .warnings
                .iter()
                .for_each(|warning| is_for_people(warning));
            cut(&heard.samples);
        }
        Ok(Err(error)) => {
            assert!(!matches!(error, AudioError::Read(_)), "{error}");
            is_for_people(&error.to_string());
        }
        Err(location) => assert!(location.contains("symphonia"), "panic at {location}"),
    }
}

/// Checks a message for the client: the supervisor rejects a job's message if it is longer or has
/// control characters.
fn is_for_people(text: &str) {
    assert!(text.len() <= 500, "{text}");
    assert!(!text.chars().any(char::is_control), "{text:?}");
}

/// Cuts samples into pieces as for an engine.
fn cut(samples: &[f32]) {
    let mut cutter = Cutter::new(Keep::Speech);
    let mut end = 0;
    let mut blocks = samples.chunks(SAMPLE_RATE as usize).take(5);
    let mut is_over = false;
    while !is_over {
        match blocks.next() {
            Some(block) => cutter.push(block),
            None => {
                cutter.finish();
                is_over = true;
            }
        }
        while let Some(piece) = cutter.next_piece() {
            assert!(piece.start >= end && !piece.samples.is_empty());
            end = piece.start + piece.samples.len() as u64;
            assert!(end <= samples.len() as u64);
        }
    }
}
