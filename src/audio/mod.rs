//! Decodes any common audio file to 16 kHz mono samples; only ever called inside a job.
//!
//! The bytes are hostile. So nothing here opens a file or starts a thread. A file's claim allocates
//! no more than a few MiB before the bytes for it have been read, and memory does not grow with the
//! length of the recording.
//!
//! Symphonia 0.6.1 panics on some crafted files: see [`is_decoding`].

mod bare;
mod bounds;
#[cfg(any(test, fuzzing))]
#[allow(clippy::expect_used)]
mod checks;
mod codecs;
mod containers;
mod damage;
mod decode;
mod error;
mod flac;
mod floats;
mod formats;
mod frames;
#[cfg(any(test, fuzzing))]
#[allow(clippy::expect_used)]
pub(crate) mod fuzzing;
mod headers;
mod hint;
mod intake;
mod live;
mod magic;
mod mark;
mod matroska;
mod mix;
mod mp4;
mod names;
mod ogg;
mod pieces;
mod raw;
mod resample;
mod samples;
mod source;
mod tags;
mod timeline;
mod tracks;
mod turns;
mod vad;
mod voices;
mod xing;

pub use bounds::{CHANNELS, RATES};
pub use decode::Decoder;
pub use error::AudioError;
pub use hint::Hint;
pub use intake::length;
pub use live::{LiveCutter, Part};
pub use mark::is_decoding;
pub use pieces::{Cutter, Keep, Piece};
pub use tracks::Wanted;
pub use turns::{Change, Coding, Judgement, LATEST_NEWS_MS, LiveFormat, LiveListener, Rule};
pub use voices::{MOST_VOICES, Voices};

/// Sample rate of all decoded audio, in hertz: one channel of `f32` in −1 … 1 at 16 kHz.
pub const SAMPLE_RATE: u32 = 16_000;

#[cfg(test)]
mod tests;
