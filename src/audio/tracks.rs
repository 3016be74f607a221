//! Decides which sound track of a file is heard.

use std::sync::Arc;

use symphonia::core::{
    codecs::{CodecParameters, audio::AudioDecoder},
    formats::{FormatReader, Track, TrackFlags, well_known::FORMAT_ID_OGG},
};

use super::{AudioError, formats::decoder_of, voices::Voices};
use crate::language::is_same_language;

/// The sender's wishes.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// The only channel to decode, counted from 0; `None` mixes all.
    pub channel: Option<u16>,
    /// Number of the sound track, counted from 1; `None` leaves the choice to the file.
    pub track: Option<u16>,
    /// Language in which the recording is spoken. It decides only if exactly one track has it.
    pub language: Option<String>,
    /// True to compare the channels: [`Decoder::voices`](super::Decoder::voices).
    pub survey: bool,
    /// The comparison. With it, nothing is heard of `channel` that crosses over from another one.
    pub voices: Option<Arc<Voices>>,
}

/// The track that is heard.
pub(super) struct Heard {
    pub(super) track: Track,
    pub(super) decoder: Box<dyn AudioDecoder>,
    /// Warning about the tracks that are not heard.
    pub(super) others: Option<String>,
}

/// Finds the track that is wanted. Without a wish it is the first one that the file enables and
/// that can be decoded, else the first one that can be decoded.
pub(super) fn heard(format: &dyn FormatReader, wanted: &Wanted) -> Result<Heard, AudioError> {
    let all = format.tracks();
    // In Ogg, pictures have no description either. They count only where nothing else is.
    let is_ogg = format.format_info().format == FORMAT_ID_OGG;
    let is_described = |track: &&Track| !is_ogg || track.codec_params.is_some();
    let mut tracks: Vec<&Track> = all.iter().filter(|track| is_sound(track)).collect();
    if tracks.iter().any(is_described) {
        tracks.retain(is_described);
    }
    if tracks.is_empty() {
        return Err(AudioError::NoAudioTrack);
    }
    if let Some(asked) = wanted.track {
        let number = usize::from(asked).checked_sub(1);
        let track = number.and_then(|number| tracks.get(number));
        let tracks = tracks.len();
        let track = track.ok_or(AudioError::NoTrack { asked, tracks })?;
        return opened(format, track, None);
    }
    let speaks = |track: &&&Track| {
        let pair = track.language.as_deref().zip(wanted.language.as_deref());
        pair.is_some_and(|(has, wanted)| is_same_language(has, wanted))
    };
    let mut spoken = tracks.iter().filter(speaks);
    if let (Some(track), None) = (spoken.next(), spoken.next()) {
        return opened(format, track, warning(&tracks, track));
    }
    let is_enabled = |track: &&&Track| track.flags.contains(TrackFlags::DEFAULT);
    let others = tracks.iter().filter(|track| !is_enabled(track));
    let mut failure = None;
    for track in tracks.iter().filter(is_enabled).chain(others) {
        match opened(format, track, warning(&tracks, track)) {
            Ok(heard) => return Ok(heard),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    Err(failure.unwrap_or(AudioError::NoAudioTrack))
}

/// Demuxers leave out the description of a codec that they do not know, and only of sound.
fn is_sound(track: &Track) -> bool {
    matches!(track.codec_params, None | Some(CodecParameters::Audio(_)))
}

fn opened(
    format: &dyn FormatReader,
    track: &Track,
    others: Option<String>,
) -> Result<Heard, AudioError> {
    Ok(Heard {
        track: track.clone(),
        decoder: decoder_of(format, track)?,
        others,
    })
}

fn warning(tracks: &[&Track], heard: &Track) -> Option<String> {
    let number = tracks.iter().position(|track| track.id == heard.id)? + 1;
    (tracks.len() > 1).then(|| {
        format!(
            "the file has {} audio tracks, and only number {number} was heard: `track` selects \
             another",
            tracks.len()
        )
    })
}
