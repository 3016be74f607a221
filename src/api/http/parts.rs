//! Parts of answers that several formats share.

use std::time::Duration;

use serde_json::{Value, json};

use super::merge::UNKNOWN;
use crate::{
    language::{english_name, primary_language},
    transcript::{Decoding, Segment},
};

/// Natural logarithm, at least -100: JSON has no number for the logarithm of 0.
pub(super) fn logarithm(probability: f32) -> f64 {
    f64::from(probability).ln().max(-100.0)
}

/// Mean over the words with a known probability; 0 if there is none.
#[allow(clippy::cast_possible_truncation)]
fn mean_logprob(segment: &Segment) -> f32 {
    let known = segment.words.iter().filter_map(|word| word.confidence);
    let (sum, count) = known.fold((0.0, 0.0_f64), |(sum, count), probability| {
        (sum + logarithm(probability), count + 1.0)
    });
    (sum / count.max(1.0)) as f32
}

/// A segment with all fields that OpenAI's have. Fields that only Whisper can fill get values with
/// which no client takes the segment for a bad one.
pub(super) fn described(id: usize, segment: &Segment) -> Value {
    let unknown = || Decoding {
        seek: Duration::ZERO,
        tokens: Vec::new(),
        temperature: 0.0,
        avg_logprob: mean_logprob(segment),
        compression_ratio: 1.0,
        no_speech_prob: 0.0,
    };
    let decoding = segment.decoding.clone().unwrap_or_else(unknown);
    let mut object = json!({
        "id": id,
        "seek": frames(decoding.seek),
        "start": seconds(segment.start),
        "end": seconds(segment.end),
        "text": segment.text,
        "tokens": decoding.tokens,
        "temperature": figure(decoding.temperature),
        "avg_logprob": figure(decoding.avg_logprob),
        "compression_ratio": figure(decoding.compression_ratio),
        "no_speech_prob": figure(decoding.no_speech_prob),
    });
    if let Some(speaker) = &segment.speaker {
        object["speaker"] = speaker.as_str().into();
    }
    object
}

/// The id of segment `number`, counted from 0.
pub(super) fn segment_id(number: usize) -> String {
    format!("seg_{:03}", number + 1)
}

/// A segment with its speaker, as OpenAI's service gives it in an answer and in a stream.
pub(super) fn spoken(number: usize, segment: &Segment) -> Value {
    json!({
        "type": "transcript.text.segment",
        "id": segment_id(number),
        "start": seconds(segment.start),
        "end": seconds(segment.end),
        "text": segment.text,
        "speaker": segment.speaker.as_deref().unwrap_or(UNKNOWN),
    })
}

/// Position in frames of 10 ms, OpenAI's unit.
fn frames(position: Duration) -> u64 {
    position.as_secs() * 100 + u64::from(position.subsec_millis() / 10)
}

/// Convert to `f64` with the same decimal digits, not with the digits that the wider type would
/// add.
fn figure(number: f32) -> f64 {
    (f64::from(number) * 1e6).round() / 1e6
}

/// Seconds with three decimal digits, which is finer than anyone can hear.
pub(super) fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1000.0).round() / 1000.0
}

/// Name of the language as OpenAI gives it (`english`). The code itself if it has no name, and
/// `unknown` without a code.
pub(super) fn name_of(code: Option<&str>) -> String {
    match code {
        Some(code) => english_name(code).unwrap_or_else(|| primary_language(code).to_owned()),
        None => "unknown".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn languages_have_the_names_that_openai_gives_them() {
        for (code, name) in [
            ("en", "english"),
            ("en-us", "english"),
            ("de", "german"),
            ("el", "greek"),
            ("eng", "english"),
            ("zz", "zz"),
        ] {
            assert_eq!(name_of(Some(code)), name);
        }
        assert_eq!(name_of(None), "unknown");
    }
}
