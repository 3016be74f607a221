//! Engine `pocketsphinx`: CMU PocketSphinx 0.8-5prealpha, ready to use from the distribution's
//! packages.
//!
//! Facts of the library that shape this code (measured with Debian's 0.8+5prealpha+1 and
//! `pocketsphinx-en-us`):
//! - If it gets a whole utterance at once, it errs in 27 % of the words of a mixed test set; if it
//!   gets pieces, in 33 %.
//! - The noise estimate of the front end carries over from one recording to the next.
//!   `ps_start_stream` forgets it, so that results do not depend on earlier recordings, even if one
//!   engine serves many.
//! - It starts no threads and opens no files after loading, so it can be loaded before the fork of
//!   a job.
//! - It calls `exit(1)` on damaged model files and when memory runs out, so it belongs in a process
//!   that may end.

mod ffi;
mod settings;

use std::ffi::CString;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt as _;
use std::time::Duration;

pub use self::settings::PocketsphinxSettings;
use super::{
    AudioSource, Emit, Engine, EngineError, HearsSamples, SAMPLE_RATE, Said, files, samples::to_i16,
};
use crate::request::Ask;
use crate::transcript::{Segment, Word};

/// Name of the engine in the configuration and in messages.
pub const NAME: &str = "pocketsphinx";

/// Debian's package of the library.
const LIBRARY_PACKAGE: &str = "libpocketsphinx3";

/// Debian's package of the default model.
const MODEL_PACKAGE: &str = "pocketsphinx-en-us";

/// Files without which the library cannot use an acoustic model; it also needs one of
/// [`ANY_MODEL_FILE`].
const MODEL_FILES: [&str; 4] = ["mdef", "means", "variances", "transition_matrices"];

/// The mixture weights, packed or not.
const ANY_MODEL_FILE: [&str; 2] = ["sendump", "mixture_weights"];

/// Number of samples by which the recording's buffer grows (30 s, 1 MB). Doubling could exceed a
/// job's memory limit although the recording itself does not.
const GROWTH: usize = 30 * SAMPLE_RATE as usize;

/// Most samples: the library counts them in 32 bits (37 hours).
const MAX_SAMPLES: usize = i32::MAX as usize;

/// A loaded model, with the decoder that uses it.
pub struct Pocketsphinx {
    decoder: ffi::Decoder,
    /// Frames in one second.
    frame_rate: u32,
}

/// Load the library and the model. This takes a few hundred milliseconds and about 90 MB of
/// anonymous memory.
///
/// Call it in a process that may end: on a *damaged* model file, the library writes a line on
/// standard error and calls `exit(1)`. So this function first checks that the files exist and can
/// be read.
///
/// # Errors
/// [`EngineError::Unavailable`]: the library is missing or has an unsupported version, a file is
/// missing or cannot be read, or the library refuses the model. The message names the package to
/// install or the key to correct.
pub fn load(settings: &PocketsphinxSettings) -> Result<Pocketsphinx, EngineError> {
    let api = ffi::Api::get().map_err(library_missing)?;
    check_files(settings)?;
    let refused = |reason: String| {
        EngineError::Unavailable(format!(
            "pocketsphinx cannot load the model: {}",
            reason.trim()
        ))
    };
    let mut config = ffi::Config::new(api).map_err(refused)?;
    for (option, path) in [
        (c"-hmm", &settings.acoustic_model),
        (c"-lm", &settings.language_model),
        (c"-dict", &settings.dictionary),
    ] {
        let value = CString::new(path.as_os_str().as_bytes()).map_err(|_| {
            EngineError::Unavailable(format!("{}: a path cannot hold a NUL byte", path.display()))
        })?;
        config.set(option, &value);
    }
    let decoder = ffi::Decoder::new(config).map_err(refused)?;
    let sample_rate = decoder.sample_rate();
    if sample_rate != f64::from(SAMPLE_RATE) {
        return Err(EngineError::Unavailable(format!(
            "the acoustic model {} is made for {sample_rate} Hz, not for {SAMPLE_RATE} Hz \
             (models.<name>.pocketsphinx.acoustic_model)",
            settings.acoustic_model.display()
        )));
    }
    let frame_rate = decoder.frame_rate();
    Ok(Pocketsphinx {
        decoder,
        frame_rate,
    })
}

/// The error for a library that cannot be opened.
fn library_missing(reason: String) -> EngineError {
    EngineError::Unavailable(format!(
        "pocketsphinx is not available: {reason}; install the package {LIBRARY_PACKAGE}"
    ))
}

/// Check that every file that the library needs exists.
///
/// # Errors
/// The first file that does not, and what to do about it.
fn check_files(settings: &PocketsphinxSettings) -> Result<(), EngineError> {
    let default = PocketsphinxSettings::default();
    let hint = |is_default: bool, key: &str| {
        if is_default {
            format!("install the package {MODEL_PACKAGE}")
        } else {
            format!("check models.<name>.pocketsphinx.{key}")
        }
    };
    let folder = &settings.acoustic_model;
    let advice = hint(*folder == default.acoustic_model, "acoustic_model");
    let wrong = |what: &str, reason: String, advice: &str| {
        EngineError::Unavailable(format!("the {what} cannot be read: {reason}; {advice}"))
    };
    let metadata = std::fs::metadata(folder).map_err(|error| {
        wrong(
            "acoustic model",
            format!("{}: {error}", folder.display()),
            &advice,
        )
    })?;
    if !metadata.is_dir() {
        let reason = format!("{} is not a folder", folder.display());
        return Err(wrong("acoustic model", reason, &advice));
    }
    for file in MODEL_FILES {
        files::check(&folder.join(file))
            .map_err(|reason| wrong("acoustic model", reason, &advice))?;
    }
    let weights = ANY_MODEL_FILE.map(|file| files::check(&folder.join(file)));
    if let [Err(reason), Err(_)] = weights {
        return Err(wrong("acoustic model", reason, &advice));
    }
    for (what, path, default, key) in [
        (
            "language model",
            &settings.language_model,
            &default.language_model,
            "language_model",
        ),
        (
            "dictionary",
            &settings.dictionary,
            &default.dictionary,
            "dictionary",
        ),
    ] {
        files::check(path).map_err(|reason| wrong(what, reason, &hint(path == default, key)))?;
    }
    Ok(())
}

impl Engine for Pocketsphinx {}

impl HearsSamples for Pocketsphinx {
    /// Emits at most one segment, when the whole recording is decoded.
    fn transcribe(
        &mut self,
        audio: &mut dyn AudioSource,
        _options: &Ask,
        emit: &mut Emit<'_>,
    ) -> Result<(), EngineError> {
        let samples = collect(audio)?;
        if samples.is_empty() {
            return Ok(());
        }
        self.decoder.decode(&samples).map_err(failed)?;
        let pieces = self.decoder.pieces();
        let words = if pieces.iter().any(|piece| spoken(&piece.entry).is_some()) {
            let frames = self.decoder.searched_frames(&samples);
            words(
                &pieces,
                frames.as_deref(),
                self.frame_rate,
                length(samples.len()),
            )
        } else {
            Vec::new()
        };
        if let Some(segment) = segment(words) {
            // This is the only segment, so the answer makes no difference.
            let (ControlFlow::Continue(()) | ControlFlow::Break(())) = emit(Said::Segment(segment));
        }
        Ok(())
    }
}

/// An error of this engine.
fn failed(reason: String) -> EngineError {
    EngineError::Failed {
        engine: NAME,
        reason,
    }
}

/// The whole recording in the library's format: 16 bits, signed.
///
/// # Errors
/// The source failed, or the recording does not fit into memory.
fn collect(audio: &mut dyn AudioSource) -> Result<Vec<i16>, EngineError> {
    let mut samples = Vec::new();
    while let Some(block) = audio.next_block()? {
        if block.len() > MAX_SAMPLES - samples.len() {
            return Err(failed(format!(
                "the recording is longer than {} hours",
                length(MAX_SAMPLES).as_secs() / 3600
            )));
        }
        if samples.capacity() - samples.len() < block.len() {
            samples
                .try_reserve_exact(block.len().max(GROWTH))
                .map_err(|error| {
                    failed(format!("the recording does not fit into memory: {error}"))
                })?;
        }
        samples.extend(block.iter().map(|&sample| to_i16(sample)));
    }
    Ok(samples)
}

/// Length of a number of samples.
fn length(samples: usize) -> Duration {
    ratio(samples, SAMPLE_RATE)
}

/// `count` / `rate` seconds.
fn ratio(count: usize, rate: u32) -> Duration {
    let nanos = count as u128 * 1_000_000_000 / u128::from(rate);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// The word of a dictionary entry; `None` for entries that are not words: `<s>`, `<sil>`,
/// `[NOISE]`, `++UM++`.
fn spoken(entry: &str) -> Option<&str> {
    let entry = entry.trim();
    let filler = [("<", ">"), ("[", "]"), ("++", "++")]
        .iter()
        .any(|(open, close)| entry.starts_with(open) && entry.ends_with(close));
    if filler {
        return None;
    }
    let word = match entry
        .strip_suffix(')')
        .and_then(|entry| entry.rsplit_once('('))
    {
        // `read(2)` is another pronunciation of `read`.
        Some((word, number))
            if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            word
        }
        _ => entry,
    };
    (!word.is_empty()).then_some(word)
}

/// The words among the pieces, with times from the beginning of the recording, in order and at most
/// `end`.
///
/// `frames` gives the frame of the recording for each searched frame. Without it, both are the
/// same.
fn words(
    pieces: &[ffi::Piece],
    frames: Option<&[usize]>,
    frame_rate: u32,
    end: Duration,
) -> Vec<Word> {
    let in_recording = |frame: usize| {
        frames
            .and_then(|frames| frames.get(frame))
            .map_or(frame, |&frame| frame)
    };
    let mut earliest = Duration::ZERO;
    let mut words = Vec::new();
    for piece in pieces {
        let Some(text) = spoken(&piece.entry) else {
            continue;
        };
        let start = ratio(in_recording(piece.first_frame), frame_rate).clamp(earliest, end);
        let stop =
            ratio(in_recording(piece.last_frame).saturating_add(1), frame_rate).clamp(start, end);
        earliest = stop;
        words.push(Word {
            text: text.to_owned(),
            start,
            end: stop,
            confidence: confidence(piece.probability),
        });
    }
    words
}

/// A probability as 0 … 1, because the library's sums of rounded logarithms can exceed 1. `None`
/// for NaN.
fn confidence(probability: f64) -> Option<f32> {
    #[allow(clippy::cast_possible_truncation)]
    let confidence = probability.clamp(0.0, 1.0) as f32;
    confidence.is_finite().then_some(confidence)
}

/// The words as one segment; `None` if there are none.
fn segment(words: Vec<Word>) -> Option<Segment> {
    let (start, end) = (words.first()?.start, words.last()?.end);
    let texts: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
    Some(Segment {
        text: texts.join(" "),
        start,
        end,
        words,
        decoding: None,
        speaker: None,
    })
}

#[cfg(test)]
mod tests;
