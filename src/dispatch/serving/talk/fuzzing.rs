//! Any bytes as what a child says: decoded, checked as in a conversation, and never beyond what a job may say.

use std::{fmt::Debug, time::Duration};

use serde::{Serialize, de::DeserializeOwned};

use super::{Heard, Talk, TimeLimit};
use crate::{
    config::Limits,
    dispatch::{Lower, statistics::Progress},
    isolation::{
        FromZygote,
        channel::{MAX_MESSAGE, decode, encode},
    },
    job::wire::{FromJob, ToJob},
    transcript::Transcript,
};

/// One datagram of each kind that is received anywhere; and, one behind the other without their version bytes, the
/// messages of a job about its request, which is number 1.
pub fn job_messages(data: &[u8]) {
    comes_back_the_same::<FromJob>(data);
    comes_back_the_same::<FromZygote>(data);
    comes_back_the_same::<ToJob>(data);
    let (limits, lower, progress) = (Limits::default(), Lower::default(), Progress::default());
    let mut talk = Talk::about(1, &limits, &lower, &progress);
    let mut transcript = Transcript::default();
    let (mut rest, mut held, mut last) = (data, 0, Duration::ZERO);
    while let Ok((message, behind)) = postcard::take_from_bytes::<FromJob>(rest) {
        rest = behind;
        match talk.check(message) {
            Ok(Heard::Nothing) => {}
            Ok(Heard::Segment(segment)) => {
                held += segment.held() as u64;
                assert!(!segment.text.is_empty() && held <= talk.may_hold());
                assert!(last <= segment.start && segment.start <= segment.end);
                assert!(segment.end <= limits.max_audio);
                last = segment.start;
                transcript.segments.push(segment);
            }
            Ok(Heard::End(_) | Heard::Forbidden(_)) => break,
            Err(what) => {
                assert!(!what.is_empty());
                break;
            }
        }
        assert!(talk.audio <= limits.max_audio);
        let _ = talk.deadline();
        let _ = talk.allowance(TimeLimit::Cpu);
    }
    // Whatever the text is, nobody can end a subtitle with it, or begin another.
    let (srt, vtt) = (transcript.srt(), transcript.vtt());
    let segments = transcript.segments.len();
    assert_eq!(srt.matches("\n\n").count(), segments, "{srt:?}");
    assert_eq!(vtt.matches("\n\n").count(), segments + 1, "{vtt:?}");
    assert_eq!(vtt.matches(" --> ").count(), segments, "{vtt:?}");
}

/// What was understood of a datagram is understood again when it is said by ourselves.
fn comes_back_the_same<M: Serialize + DeserializeOwned + Debug>(datagram: &[u8]) {
    if let Ok(message) = decode::<M>(datagram) {
        // A length in a longer form than is necessary is understood, too.
        let mut buffer = vec![0; 2 * MAX_MESSAGE.max(datagram.len())];
        let encoded = encode(&message, &mut buffer).expect("no longer than it was");
        let again = decode::<M>(encoded).expect("no worse than it was");
        assert_eq!(format!("{again:?}"), format!("{message:?}"));
    }
}
