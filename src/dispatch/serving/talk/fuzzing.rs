//! Any bytes as a child's messages: decoded, checked as in a conversation, and never beyond the
//! bounds for a job.

use std::{fmt::Debug, time::Duration};

use serde::{Serialize, de::DeserializeOwned};

use super::{Checked, JobTalk, TimeLimit, partial::Partials};
use crate::{
    audio::MOST_VOICES,
    config::Limits,
    dispatch::{
        request::{events::RequestEvent, submission::OwnLimits},
        statistics::open::JobProgress,
    },
    isolation::{
        FromZygote,
        channel::{MAX_MESSAGE, decode, encode},
    },
    job::wire::{FromJob, ToJob},
    transcript::{Hypothesis, Lines, Transcript},
};

/// Take `data` as one datagram of each kind that is received anywhere. Then take it as the messages
/// of a job about its request, which is number 1, one after the other without their version bytes.
pub fn job_messages(data: &[u8]) {
    comes_back_the_same::<FromJob>(data);
    comes_back_the_same::<FromZygote>(data);
    comes_back_the_same::<ToJob>(data);
    let (limits, own_limits) = (Limits::default(), OwnLimits::default());
    let progress = JobProgress::default();
    let mut talk = JobTalk {
        may_name: true,
        partials: Some(Partials::default()),
        ..JobTalk::about(1, &limits, &own_limits, &progress)
    };
    let mut transcript = Transcript::default();
    let mut committed = String::new();
    let (mut rest, mut held, mut last) = (data, 0, Duration::ZERO);
    while let Ok((message, behind)) = postcard::take_from_bytes::<FromJob>(rest) {
        rest = behind;
        match talk.check(message) {
            Ok(Checked::Nothing) => {}
            Ok(Checked::Event(RequestEvent::Channels(channels))) => {
                assert!((1..=MOST_VOICES).contains(&channels.len()) && last.is_zero());
            }
            Ok(Checked::Event(RequestEvent::Hypothesis(hypothesis))) => {
                assert!(hypothesis.tentative.len() <= Hypothesis::LONGEST);
                committed += &hypothesis.committed;
            }
            Ok(Checked::Event(RequestEvent::Segment(segment))) => {
                assert!(segment.text.starts_with(&committed));
                committed.clear();
                held += segment.held() as u64;
                assert!(!segment.text.is_empty() && held <= talk.may_hold());
                assert!(last <= segment.start && segment.start <= segment.end);
                assert!(segment.end <= limits.max_audio);
                last = segment.start;
                transcript.segments.push(segment);
            }
            Ok(Checked::Event(event)) => unreachable!("a job cannot say {event:?}"),
            Ok(Checked::Done(_)) => {
                assert!(committed.is_empty());
                break;
            }
            Ok(Checked::Failed(_) | Checked::Forbidden(_)) => break,
            Err(what) => {
                assert!(!what.is_empty());
                break;
            }
        }
        assert!(talk.audio <= limits.max_audio);
        let _ = talk.deadline();
        let _ = talk.allowance(TimeLimit::Cpu);
    }
    // No text can end a subtitle, or begin another.
    let lines = Lines::default();
    let (srt, vtt) = (transcript.srt(lines), transcript.vtt(lines));
    // A speaker's name needs room in the one, so a text may be divided otherwise than in the other.
    let cues = |text: &str| text.matches(" --> ").count();
    assert_eq!(srt.matches("\n\n").count(), cues(&srt), "{srt:?}");
    assert_eq!(vtt.matches("\n\n").count(), cues(&vtt) + 1, "{vtt:?}");
}

/// A message that was decoded from a datagram can be encoded, and decodes to the same message.
fn comes_back_the_same<M: Serialize + DeserializeOwned + Debug>(datagram: &[u8]) {
    if let Ok(message) = decode::<M>(datagram) {
        // A length may be written in a longer form than necessary, so there may be more to write.
        let mut buffer = vec![0; 2 * MAX_MESSAGE.max(datagram.len())];
        let encoded = encode(&message, &mut buffer).expect("no longer than it was");
        let again = decode::<M>(encoded).expect("no worse than it was");
        assert_eq!(format!("{again:?}"), format!("{message:?}"));
    }
}
