//! Judges samples while they arrive: when somebody begins to speak, and when they have ended.

use std::collections::VecDeque;

use audio_codec::{Decoder as _, pcma::PcmaDecoder, pcmu::PcmuDecoder};
use serde::{Deserialize, Serialize};

use super::{
    AudioError, SAMPLE_RATE,
    resample::Resampler,
    vad::{FRAME, Vad},
};

/// Length of a judged frame, in milliseconds.
pub const FRAME_MS: u64 = FRAME as u64 * 1_000 / SAMPLE_RATE as u64;

/// Number of frames that prove speech: 0.2 s, a short vowel, as in `pieces.rs`.
const SURE_FRAMES: usize = 6;

/// Frames before those that prove speech in which it can have begun.
const EARLIER: usize = 10;

/// How long before [`Change::Began`] is told the speech can have begun, in milliseconds.
pub const LATEST_NEWS_MS: u64 = (SURE_FRAMES + EARLIER) as u64 * FRAME_MS;

/// How sure the detector must be at the beginning, as a multiple of the threshold for speech that
/// goes on: at the usual 0.5 it is the 0.8 of `pieces.rs`.
const SURE: f32 = 1.6;

/// The highest mean probability that can be asked for. Clear speech has 0.99 and more.
const SUREST: f32 = 0.97;

/// Coding of samples of one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Coding {
    /// Signed, 16 bits, low byte first.
    Samples16,
    /// G.711 µ-law.
    MuLaw,
    /// G.711 A-law.
    ALaw,
}

/// Format of samples of one channel that arrive without a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveFormat {
    /// Coding of a sample.
    pub coding: Coding,
    /// Samples per second.
    pub rate: u32,
}

impl LiveFormat {
    /// Bytes of one sample.
    #[must_use]
    pub fn width(self) -> u64 {
        match self.coding {
            Coding::Samples16 => 2,
            Coding::MuLaw | Coding::ALaw => 1,
        }
    }

    /// Bytes of the first `milliseconds` of a recording; always whole samples.
    #[must_use]
    pub fn bytes(self, milliseconds: u64) -> u64 {
        milliseconds.saturating_mul(u64::from(self.rate)) / 1_000 * self.width()
    }

    /// Milliseconds that `bytes` last.
    #[must_use]
    pub fn milliseconds(self, bytes: u64) -> u64 {
        (bytes / self.width()).saturating_mul(1_000) / u64::from(self.rate)
    }

    /// The media type by which a job reads such samples.
    #[must_use]
    pub fn media_type(self) -> String {
        let rate = self.rate;
        match self.coding {
            Coding::Samples16 => format!("audio/pcm;encoding=s16le;rate={rate}"),
            Coding::MuLaw => format!("audio/pcm;encoding=mulaw;rate={rate}"),
            Coding::ALaw => format!("audio/pcm;encoding=alaw;rate={rate}"),
        }
    }
}

/// When speech is taken for ended.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// Probability of speech, 0 … 1, above which a frame continues speech.
    pub threshold: f32,
    /// Length of the silence that ends speech, in milliseconds.
    pub silence: u32,
}

/// A change between speech and silence. Times are milliseconds since the first sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// Somebody has begun to speak at this time.
    Began(u64),
    /// They have stopped at this time, and the silence that ends speech has passed since.
    Ended(u64),
}

/// The result of judging some samples.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judgement {
    /// All changes before this time are told, in milliseconds since the first sample.
    pub until: u64,
    /// The changes in these samples, in their order.
    pub changes: Vec<Change>,
}

/// Listens to one stream of samples. Its memory does not grow.
pub struct LiveListener {
    format: LiveFormat,
    rule: Rule,
    /// The first byte of a sample whose second has not come.
    half: Option<u8>,
    resampler: Resampler,
    /// Samples at 16 kHz that do not fill a frame yet.
    rest: Vec<f32>,
    vad: Vad,
    /// Number of judged frames.
    judged: u64,
    /// Probabilities of the last frames.
    recent: VecDeque<f32>,
    /// While somebody speaks: number of the frame after their last one.
    spoken: Option<u64>,
}

impl LiveListener {
    /// A listener at the beginning of a stream.
    ///
    /// # Errors
    /// The rate is one that cannot be brought to 16 kHz.
    pub fn new(format: LiveFormat, rule: Rule) -> Result<Self, AudioError> {
        Ok(Self {
            format,
            rule,
            half: None,
            resampler: Resampler::new(format.rate)?,
            rest: Vec::new(),
            vad: Vad::default(),
            judged: 0,
            recent: VecDeque::with_capacity(SURE_FRAMES + EARLIER),
            spoken: None,
        })
    }

    /// Judge by `rule` from now on.
    pub fn set_rule(&mut self, rule: Rule) {
        self.rule = rule;
    }

    /// Forget that somebody speaks. A speaker who goes on begins anew.
    fn forget(&mut self) {
        self.spoken = None;
        self.recent.clear();
    }

    /// Judge the next bytes, which need not be whole samples.
    ///
    /// # Errors
    /// They cannot be brought to 16 kHz.
    pub fn hear(&mut self, bytes: &[u8]) -> Result<Judgement, AudioError> {
        let samples = self.samples(bytes);
        let mut rest = std::mem::take(&mut self.rest);
        self.resampler.push(&samples, &mut rest)?;
        let (frames, left) = rest.as_chunks::<FRAME>();
        let mut changes = Vec::new();
        for frame in frames {
            let speech = self.vad.judge(frame).speech;
            self.judged += 1;
            changes.extend(self.change(speech));
        }
        self.rest = left.to_vec();
        Ok(Judgement {
            until: self.judged * FRAME_MS,
            changes,
        })
    }

    /// The samples in `bytes`, −1 … 1.
    fn samples(&mut self, bytes: &[u8]) -> Vec<f32> {
        let scaled = |sample: i16| f32::from(sample) / 32_768.0;
        let mut decoded = vec![0; bytes.len()];
        // With one sample for each byte there is always room.
        let _ = match self.format.coding {
            Coding::Samples16 => {
                let half = self.half.take();
                let whole: Vec<u8> = half.into_iter().chain(bytes.iter().copied()).collect();
                let (pairs, half) = whole.as_chunks::<2>();
                self.half = half.first().copied();
                let sample = |pair: &[u8; 2]| scaled(i16::from_le_bytes(*pair));
                return pairs.iter().map(sample).collect();
            }
            Coding::MuLaw => PcmuDecoder::new().decode_into(bytes, &mut decoded),
            Coding::ALaw => PcmaDecoder::new().decode_into(bytes, &mut decoded),
        };
        decoded.into_iter().map(scaled).collect()
    }

    /// The change that the last judged frame brings.
    fn change(&mut self, speech: f32) -> Option<Change> {
        if self.recent.len() == SURE_FRAMES + EARLIER {
            self.recent.pop_front();
        }
        self.recent.push_back(speech);
        let threshold = self.rule.threshold;
        let Some(spoken) = self.spoken else {
            let begun = self.begun(threshold)?;
            self.spoken = Some(self.judged);
            return Some(Change::Began((self.judged - begun as u64) * FRAME_MS));
        };
        if speech >= threshold {
            self.spoken = Some(self.judged);
            return None;
        }
        let silent = (self.judged - spoken) * FRAME_MS;
        if silent < u64::from(self.rule.silence) {
            return None;
        }
        self.forget();
        Some(Change::Ended(spoken * FRAME_MS))
    }

    /// If the last frames prove speech: how many frames ago it began.
    fn begun(&self, threshold: f32) -> Option<usize> {
        let proving = self.recent.len().checked_sub(SURE_FRAMES)?;
        let sum: f32 = self.recent.iter().skip(proving).sum();
        if sum < (threshold * SURE).min(SUREST) * SURE_FRAMES as f32 {
            return None;
        }
        let before = self.recent.iter().take(proving).rev();
        Some(SURE_FRAMES + before.take_while(|speech| **speech >= threshold).count())
    }
}
