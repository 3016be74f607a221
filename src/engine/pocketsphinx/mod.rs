//! Engine `pocketsphinx`: CMU PocketSphinx 0.8-5prealpha, out of the box from the distribution's packages.
//!
//! Facts of the library that shape this code (measured with Debian's 0.8+5prealpha+1 and `pocketsphinx-en-us`):
//! - Given a whole utterance at once it errs in 27 % of the words of a mixed test set, given pieces in 33 %.
//! - What one recording leaves behind for the next is the noise estimate of the front end. `ps_start_stream` forgets
//!   it, so results do not depend on what was decoded before, also where one engine serves many recordings.
//! - It starts no threads and opens no files after loading: it can be loaded before the fork of a job.
//! - It calls `exit(1)` on damaged model files and when memory runs out. It belongs in a process that may end.

mod ffi;
mod settings;

use std::ffi::CString;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt as _;
use std::time::Duration;

pub use self::settings::PocketsphinxSettings;
use super::{AudioSource, Engine, EngineError, HearsSamples, SAMPLE_RATE, files, samples::to_i16};
use crate::request::Ask;
use crate::transcript::{Segment, Word};

/// Name of the engine in the configuration and in messages.
pub const NAME: &str = "pocketsphinx";

/// Debian's package of the library.
const LIBRARY_PACKAGE: &str = "libpocketsphinx3";

/// Debian's package of the default model.
const MODEL_PACKAGE: &str = "pocketsphinx-en-us";

/// Files without which the library cannot use an acoustic model; it also needs one of [`ANY_MODEL_FILE`].
const MODEL_FILES: [&str; 4] = ["mdef", "means", "variances", "transition_matrices"];

/// The mixture weights, packed or not.
const ANY_MODEL_FILE: [&str; 2] = ["sendump", "mixture_weights"];

/// By how many samples the recording's buffer grows (30 s, 1 MB): doubling could pass a job's memory limit where the
/// recording itself does not.
const GROWTH: usize = 30 * SAMPLE_RATE as usize;

/// The library counts samples in 32 bits (37 hours).
const MAX_SAMPLES: usize = i32::MAX as usize;

/// A loaded model.
pub struct Pocketsphinx {
    decoder: ffi::Decoder,
    /// Frames in one second.
    frame_rate: u32,
}

/// Load the library and the model; a few hundred milliseconds and about 90 MB of anonymous memory.
///
/// Call it in a process that may end: the library answers a *damaged* model file with a line on standard error and
/// `exit(1)`. That files exist and can be read is therefore checked before the library sees them.
///
/// # Errors
/// [`EngineError::Unavailable`]: the library is missing or of an unsupported version, a file is missing or cannot be
/// read, or the library refuses the model. The message names the package to install or the key to mend.
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

/// Whether every file that the library will want is there.
///
/// # Errors
/// The first one that is not, and what to do about it.
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
        emit: &mut dyn FnMut(Segment) -> ControlFlow<()>,
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
            // The only segment: whether anybody wants more makes no difference.
            let (ControlFlow::Continue(()) | ControlFlow::Break(())) = emit(segment);
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

/// The whole recording as the library wants it: 16 bits, signed.
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

/// How long so many samples are.
fn length(samples: usize) -> Duration {
    ratio(samples, SAMPLE_RATE)
}

/// `count` / `rate` seconds.
fn ratio(count: usize, rate: u32) -> Duration {
    let nanos = count as u128 * 1_000_000_000 / u128::from(rate);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// The word that a dictionary entry stands for; `None` for what nobody said: `<s>`, `<sil>`, `[NOISE]`, `++UM++`.
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

/// The words among the pieces, with times from the beginning of the recording, in order and within `end`.
///
/// `frames` says which frame of the recording each searched frame is; without it they are taken for the same.
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

/// A probability as 0 … 1; the library's sums of rounded logarithms can exceed 1. `None` if it is no number.
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
    })
}

#[cfg(test)]
mod tests;
