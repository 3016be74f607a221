//! Reasons why a recording cannot be decoded, in words for its sender.

use std::io;

/// Reasons why a recording cannot be decoded. Each is one sentence with the problem and its remedy.
#[derive(Debug, thiserror::Error)]
pub enum AudioError {
    /// The file has 0 bytes.
    #[error("the file is empty (0 bytes): send the recording itself")]
    Empty,
    /// The bytes are not a known audio format.
    #[error(
        "the file is not audio in a supported format ({0}): send WAV, FLAC, MP3, MP2, Ogg, Opus, WebM, MKV, MP4, M4A, MOV, 3GP, AAC, AIFF, CAF, AU, W64, VOC, SPHERE, AMR, GSM, MPEG-TS, MPEG-PS, FLV or AVI"
    )]
    Unsupported(String),
    /// The format is known by its first bytes, but cannot be read.
    #[error(
        "the recording is in a format that is not supported ({0}): convert it, for example to FLAC or 16-bit WAV"
    )]
    UnsupportedFormat(&'static str),
    /// A later part of a recording that was made piece by piece.
    #[error(
        "the file is {0} without its beginning: send the recording from its first byte, so all pieces from the first one on, joined in their order"
    )]
    NoBeginning(&'static str),
    /// The media type announces raw samples, but does not describe them completely.
    #[error(
        "raw audio cannot be read without knowing what it is ({0}): send it as `audio/L16;rate=16000` (high byte first) or `audio/pcm;rate=16000;encoding=s16le`, with `channels` if there are more than one"
    )]
    Raw(String),
    /// The file has no header, and its name is that of files of this media type.
    #[error("the recording has no header: if it is what its name says, send it as `{0}`")]
    Headerless(&'static str),
    /// The requested channel does not exist.
    #[error("there is no channel {asked}: the recording has {channels}, counted from 0")]
    NoChannel {
        /// The requested channel, from 0.
        asked: u16,
        /// Number of channels in the recording.
        channels: usize,
    },
    /// The requested track does not exist.
    #[error("there is no audio track {asked}: the file has {tracks}, counted from 1")]
    NoTrack {
        /// The requested track, from 1.
        asked: u16,
        /// Number of audio tracks in the file.
        tracks: usize,
    },
    /// The engine gets the recording as it is, so nothing of it can be selected here.
    #[error(
        "`{0}` cannot be selected: the engine of this model decodes recordings by itself; send only the wanted part, or ask another model"
    )]
    NotSelectable(&'static str),
    /// The container is known, but has no audio track.
    #[error("the file has no audio track: send a recording with sound")]
    NoAudioTrack,
    /// The container is known, but the codec of its audio is not.
    #[error(
        "the audio in the file is coded in a way that is not supported ({0}): convert it, for example to FLAC or 16-bit WAV"
    )]
    UnsupportedCodec(String),
    /// The sample rate, in hertz, is outside the accepted range.
    #[error(
        "the file claims a sample rate of {0} Hz, outside 2000 to 384000: send it again or convert it, for example to FLAC"
    )]
    SampleRate(u32),
    /// The number of channels is outside the accepted range.
    #[error(
        "the file claims {0} audio channels, outside 1 to 64: send it again or convert it, for example to FLAC"
    )]
    Channels(usize),
    /// So much of the file is damaged or missing that nothing can be transcribed.
    #[error("the file is damaged ({0}) and holds no usable audio: send it again or re-encode it")]
    Corrupt(String),
    /// The file is valid but shorter than any speech.
    #[error("the recording is too short: it lasts {seconds:.3} s, at least 0.1 s is needed")]
    TooShort {
        /// Length of the recording in seconds.
        seconds: f64,
    },
    /// The descriptor could not be read; this is not the file's fault.
    #[error("the audio could not be read ({0}): send it again")]
    Read(#[source] io::Error),
}

impl AudioError {
    /// True if the recording may be sound, but is of a kind that is not known here.
    #[must_use]
    pub fn is_unknown_kind(&self) -> bool {
        matches!(
            self,
            Self::Unsupported(_) | Self::UnsupportedFormat(_) | Self::UnsupportedCodec(_)
        )
    }
}
