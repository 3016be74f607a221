//! Fuzzes a program's messages: each line is either refused with a reason, or gives something
//! possible.

use std::time::Duration;

use super::protocol::{Answer, MAX_LINE, language, parse, quote, seconds};

/// Length of the audio heard so far, in everything that is tried here.
const HEARD: Duration = Duration::from_secs(100);

/// Bytes of a job's message of 64 KiB that are left for a segment.
const MAX_SEGMENT: usize = 64 * 1024 - 32;

/// The input is the program's stdout.
pub fn program(data: &[u8]) {
    let mut earliest = Duration::ZERO;
    let lines = data.split(|byte| *byte == b'\n');
    for line in lines.filter(|line| line.len() <= MAX_LINE) {
        match parse(line) {
            Err(reason) => assert!((1..2000).contains(&reason.len()), "{reason}"),
            Ok(Answer::Segment(piece)) => match piece.check(earliest, Some(HEARD)) {
                Err(reason) => assert!(!reason.is_empty()),
                Ok(None) => {}
                Ok(Some(segment)) => {
                    assert!(!segment.text.is_empty());
                    assert!(segment.start <= segment.end && segment.end <= HEARD);
                    for word in &segment.words {
                        assert!(word.start <= word.end && word.end <= HEARD);
                    }
                    let message = postcard::to_stdvec(&segment).expect("it can be written");
                    assert!(message.len() <= MAX_SEGMENT.min(line.len() + 64));
                    earliest = segment.start;
                }
            },
            Ok(Answer::Progress(time)) => {
                let _ = seconds(time);
            }
            Ok(Answer::Done(done)) => {
                if let Some(Ok(code)) = done.language.map(language) {
                    assert!((2..=3).contains(&code.len()));
                }
            }
            Ok(Answer::Failed(failed)) => {
                let message = quote(&failed.message);
                assert!(!message.chars().any(char::is_control));
            }
            Ok(Answer::Partial(text) | Answer::Committed(text)) => {
                assert!(text.len() <= line.len())
            }
            Ok(Answer::Ready(_)) => {}
        }
    }
}
