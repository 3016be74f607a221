//! Why a recording cannot be decoded, in words for the person who sent it.

use std::io;

/// Why a recording cannot be decoded: one sentence that says what is wrong and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum AudioError {
    /// Not one byte arrived.
    #[error("the file is empty (0 bytes): send the recording itself")]
    Empty,
    /// The bytes are no audio format that is known here.
    #[error(
        "the file is not audio in a supported format ({0}): send WAV, FLAC, MP3, Ogg, Opus, WebM, MP4, M4A, AAC, AIFF or CAF"
    )]
    Unsupported(String),
    /// The media type says that the samples are raw, but not well enough what they are.
    #[error(
        "raw audio cannot be read without knowing what it is ({0}): send it as `audio/L16;rate=16000` (high byte first) or `audio/pcm;rate=16000;encoding=s16le`, with `channels` if there are more than one"
    )]
    Raw(String),
    /// The channel that was asked for is not there.
    #[error("there is no channel {asked}: the recording has {channels}, counted from 0")]
    NoChannel {
        /// The one that was asked for.
        asked: u16,
        /// How many there are.
        channels: usize,
    },
    /// The container is known, but nothing in it is sound.
    #[error("the file has no audio track: send a recording with sound")]
    NoAudioTrack,
    /// The container is known, its audio is coded in a way that is not.
    #[error(
        "the audio in the file is coded in a way that is not supported ({0}): convert it, for example to FLAC or 16-bit WAV"
    )]
    UnsupportedCodec(String),
    /// The sample rate, in hertz, is one that no recording of speech has.
    #[error(
        "the file claims a sample rate of {0} Hz, outside 2000 to 384000: send it again or convert it, for example to FLAC"
    )]
    SampleRate(u32),
    /// The number of channels is one that no recording of speech has.
    #[error(
        "the file claims {0} audio channels, outside 1 to 64: send it again or convert it, for example to FLAC"
    )]
    Channels(usize),
    /// Too much of the file is damaged or missing for anything to be transcribed.
    #[error("the file is damaged ({0}) and holds no usable audio: send it again or re-encode it")]
    Corrupt(String),
    /// The file is sound but shorter than any speech.
    #[error("the recording is too short: it lasts {seconds:.3} s, at least 0.1 s is needed")]
    TooShort {
        /// How long the recording is.
        seconds: f64,
    },
    /// The descriptor could not be read; not the file's fault.
    #[error("the audio could not be read ({0}): send it again")]
    Read(#[source] io::Error),
}
