//! Any bytes as a recording: heard or refused, soon and in little memory; only Symphonia's own panics are forgiven.

use std::{fs::File, io::Write as _, os::fd::OwnedFd};

use super::{
    AudioError, Cutter, Hint, Keep, SAMPLE_RATE,
    checks::{Heard, forgiving, hear, memfd, mend_pages},
};

/// The longest that is heard of one recording: a few bytes can hold hours of silence.
const LIMIT: usize = 20 * SAMPLE_RATE as usize;

/// Most bytes that go into a pipe before somebody reads.
const PIPE: usize = 1 << 16;

/// A file of any format, as an upload and as a stream.
pub fn decode(data: &[u8]) {
    let mut data = data.to_vec();
    mend_pages(&mut data);
    survive(&data, Hint::default());
}

/// A media type, a line feed, and samples.
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

/// Bytes that come from a pipe, all of them there already.
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

/// A client sees it, and the supervisor takes no longer one from a job, and none with control characters.
fn is_for_people(text: &str) {
    assert!(text.len() <= 500, "{text}");
    assert!(!text.chars().any(char::is_control), "{text:?}");
}

/// The pieces that an engine would hear.
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
