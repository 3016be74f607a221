//! Runs whisper.cpp on one piece of a recording, and reads what it found. Nothing else does.
#![allow(unsafe_code)]

use std::{
    ffi::{CStr, c_int, c_void},
    mem,
    ops::ControlFlow,
    time::Duration,
};

use whisper_rs::{
    FullParams, WhisperError, WhisperState, WhisperSysContext, WhisperSysState, WhisperTokenData,
    get_lang_str,
    whisper_rs_sys::{
        whisper_full_get_segment_no_speech_prob_from_state, whisper_full_get_segment_t0_from_state,
        whisper_full_get_segment_t1_from_state, whisper_full_get_token_data_from_state,
        whisper_full_n_segments_from_state, whisper_full_n_tokens_from_state, whisper_n_vocab,
        whisper_token_eot, whisper_token_to_str,
    },
};

use super::{
    Temperatures,
    decoding::{compression_ratio, mean_logprob, probability},
    failed, log,
    tongue::Search,
    words::{Token, clean, words},
};
use crate::{
    engine::{AudioSource, EngineError, SAMPLE_RATE},
    transcript::{Decoding, Segment},
};

/// The library's answer if it ran out of memory during the run. In that case it has freed the state
/// itself.
const STATE_IS_FREE: c_int = -7;

/// The language that a run is told while it is searched for: the first in the library's list.
const ASSUMED: c_int = 0;

/// The language of a run.
#[derive(Clone, Debug)]
pub(super) enum Tongue {
    /// It is known.
    Told(&'static str),
    /// The run finds it out.
    Sought(Search),
}

/// The end of a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    /// The language of the text; `None` if it was not found out.
    pub(super) language: Option<&'static str>,
    /// The run ended here, because another window follows and was to be in the language that was
    /// assumed before the right one was found.
    pub(super) rest: Option<Duration>,
}

/// Transcribe `samples`. Segments are emitted as soon as they are found. If
/// nobody wants more, which `audio` or `emit` tells, the work ends after the present computation (a
/// window, or a token).
#[expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "one promise for all callbacks"
)]
pub(super) fn run(
    mut state: WhisperState,
    mut params: FullParams<'_, '_>,
    samples: &[f32],
    tongue: Tongue,
    temperatures: Temperatures,
    audio: &dyn AudioSource,
    emit: &mut dyn FnMut(Segment) -> ControlFlow<()>,
) -> Result<Ended, EngineError> {
    let (language, search) = match tongue {
        Tongue::Told(language) => (Some(language), None),
        Tongue::Sought(search) => (None, Some(search)),
    };
    params.set_language(language.or(get_lang_str(ASSUMED)));
    let mut course = Course {
        audio,
        emit,
        temperatures,
        search,
        spoken: None,
        no_speech: None,
        tries: 0,
        seek: Duration::ZERO,
        heard: Duration::ZERO,
        length: Duration::from_secs(samples.len() as u64) / SAMPLE_RATE,
        language,
        rest: None,
        is_unwanted: false,
        has_failed: false,
    };
    let user_data = (&raw mut course).cast::<c_void>();
    // SAFETY: the functions are called by `full` below only, with this very pointer, to what lives
    // longer than that call and is used by nobody else meanwhile. None of them unwinds: a panic
    // aborts.
    unsafe {
        params.set_new_segment_callback(Some(found));
        params.set_new_segment_callback_user_data(user_data);
        params.set_start_encoder_callback(Some(another_window));
        params.set_start_encoder_callback_user_data(user_data);
        params.set_filter_logits_callback(Some(another_token));
        params.set_filter_logits_callback_user_data(user_data);
        params.set_abort_callback(Some(is_unwanted));
        params.set_abort_callback_user_data(user_data);
    }
    let result = state.full(params, samples);
    let ended = Ended {
        language: course.language,
        rest: course.rest,
    };
    match result {
        _ if course.has_failed => Err(failed(log::reason("the language was not found out"))),
        Ok(()) => {
            if ended.rest.is_some() {
                // It complains of the end that it was told.
                log::reason("");
            }
            Ok(ended)
        }
        Err(_) if course.is_unwanted => {
            log::reason("");
            Ok(ended)
        }
        Err(error) => {
            if matches!(error, WhisperError::GenericError(STATE_IS_FREE)) {
                mem::forget(state);
            }
            Err(failed(log::reason(error)))
        }
    }
}

/// The data of a run that the library's callbacks use.
struct Course<'a> {
    audio: &'a dyn AudioSource,
    emit: &'a mut dyn FnMut(Segment) -> ControlFlow<()>,
    temperatures: Temperatures,
    search: Option<Search>,
    /// The number of the language that was found.
    spoken: Option<c_int>,
    /// Probability that there is no speech, from the search in this window.
    no_speech: Option<f32>,
    /// How often the decoding of the present window was begun.
    tries: u16,
    /// Beginning of that window in the recording.
    seek: Duration,
    /// End of the last segment.
    heard: Duration,
    length: Duration,
    language: Option<&'static str>,
    rest: Option<Duration>,
    is_unwanted: bool,
    has_failed: bool,
}

/// Called before the next window, of at most thirty seconds, is encoded.
unsafe extern "C" fn another_window(
    _: *mut WhisperSysContext,
    _: *mut WhisperSysState,
    user_data: *mut c_void,
) -> bool {
    // SAFETY: see `run`.
    let course = unsafe { &mut *user_data.cast::<Course<'_>>() };
    course.tries = 0;
    course.no_speech = None;
    course.seek = course.heard;
    if course.spoken.is_some_and(|language| language != ASSUMED) {
        course.rest = Some(course.heard);
        return false;
    }
    !course.is_unwanted
}

/// Called before another token is chosen. The first token of a text is chosen again with each
/// temperature that is tried; nothing else tells that.
unsafe extern "C" fn another_token(
    context: *mut WhisperSysContext,
    state: *mut WhisperSysState,
    _: *const WhisperTokenData,
    before: c_int,
    logits: *mut f32,
    user_data: *mut c_void,
) {
    // Several threads at once choose the later tokens.
    if before != 0 {
        return;
    }
    // SAFETY: see `run`.
    let course = unsafe { &mut *user_data.cast::<Course<'_>>() };
    course.tries = course.tries.saturating_add(1);
    // SAFETY: the library passes the context and the state that it works on.
    let size = usize::try_from(unsafe { whisper_n_vocab(context) }).unwrap_or(0);
    // SAFETY: the library passes a number for each token of the vocabulary, to be changed here.
    let logits = unsafe { std::slice::from_raw_parts_mut(logits, size) };
    // SAFETY: as above; the window is encoded before a token is chosen, and the library works on
    // with the state only after this returns.
    if unsafe { course.search(context, state, logits) }.is_none() {
        course.has_failed = true;
    }
}

unsafe extern "C" fn is_unwanted(user_data: *mut c_void) -> bool {
    // SAFETY: see `run`.
    let course = unsafe { &mut *user_data.cast::<Course<'_>>() };
    course.is_unwanted |= !course.audio.is_wanted();
    course.is_unwanted || course.has_failed
}

/// Called when segments were found.
unsafe extern "C" fn found(
    context: *mut WhisperSysContext,
    state: *mut WhisperSysState,
    count: c_int,
    user_data: *mut c_void,
) {
    // SAFETY: see `run`.
    let course = unsafe { &mut *user_data.cast::<Course<'_>>() };
    // SAFETY: the library passes the state that it works on.
    let all = unsafe { whisper_full_n_segments_from_state(state) };
    for index in all.saturating_sub(count)..all {
        if course.is_unwanted {
            return;
        }
        // SAFETY: context and state are those that the library works on, and have a segment with
        // this number.
        let segment = unsafe { course.segment(context, state, index) };
        if let Some(segment) = segment {
            course.is_unwanted = (course.emit)(segment).is_break();
        }
    }
}

impl Course<'_> {
    /// If the language is sought, find it once, and then lead the model to a text in it. `None` if
    /// the library fails.
    ///
    /// # Safety
    /// As for [`Search::find`].
    unsafe fn search(
        &mut self,
        context: *mut WhisperSysContext,
        state: *mut WhisperSysState,
        logits: &mut [f32],
    ) -> Option<()> {
        let Some(search) = &self.search else {
            return Some(());
        };
        let spoken = match self.spoken {
            // The library itself has led the model to this language.
            Some(ASSUMED) => return Some(()),
            Some(spoken) => spoken,
            None => {
                // SAFETY: as the caller promises.
                let found = unsafe { search.find(context, state) }?;
                self.no_speech = Some(found.no_speech);
                found.language
            }
        };
        self.spoken = Some(spoken);
        self.language = get_lang_str(spoken);
        let temperature = self.temperatures.after(self.tries.saturating_sub(1));
        // SAFETY: as the caller promises.
        unsafe { search.lead(context, state, spoken, temperature, logits) }
    }

    /// Segment `index`; `None` if it has no text.
    ///
    /// # Safety
    /// `state` is one of `context`'s, and has such a segment.
    unsafe fn segment(
        &mut self,
        context: *mut WhisperSysContext,
        state: *mut WhisperSysState,
        index: c_int,
    ) -> Option<Segment> {
        // SAFETY: as the caller promises, here and below.
        let start = unsafe { whisper_full_get_segment_t0_from_state(state, index) };
        // SAFETY: see above.
        let end = unsafe { whisper_full_get_segment_t1_from_state(state, index) };
        let start = time(start).clamp(self.heard, self.length.max(self.heard));
        let end = time(end).clamp(start, self.length.max(start));
        self.heard = end;
        // SAFETY: see above.
        let no_speech = unsafe { whisper_full_get_segment_no_speech_prob_from_state(state, index) };
        // SAFETY: see above.
        let end_of_text = unsafe { whisper_token_eot(context) };
        // SAFETY: see above.
        let count = unsafe { whisper_full_n_tokens_from_state(state, index) };
        let data: Vec<WhisperTokenData> = (0..count)
            // SAFETY: see above; the segment has a token with this number.
            .map(|token| unsafe { whisper_full_get_token_data_from_state(state, index, token) })
            .collect();
        let mut last = start;
        let text = data.iter().filter(|token| token.id < end_of_text);
        let tokens: Vec<Token> = text
            .map(|token| {
                // SAFETY: see above; the number is one of this vocabulary.
                let bytes = unsafe { whisper_token_to_str(context, token.id) };
                // SAFETY: a text of the vocabulary is NUL-terminated, and lives as long as the
                // context.
                let bytes = unsafe { CStr::from_ptr(bytes) }.to_bytes().to_vec();
                let start = time(token.t0).clamp(last, end);
                last = time(token.t1).clamp(start, end);
                Token {
                    bytes,
                    probability: token.p,
                    start,
                    end: last,
                }
            })
            .collect();
        let bytes: Vec<u8> = tokens
            .iter()
            .flat_map(|t| t.bytes.iter().copied())
            .collect();
        let text = clean(&bytes);
        if text.is_empty() {
            return None;
        }
        let decoding = Decoding {
            seek: self.seek,
            tokens: (data.iter())
                .filter_map(|token| u32::try_from(token.id).ok())
                .collect(),
            temperature: self.temperatures.after(self.tries.saturating_sub(1)),
            avg_logprob: mean_logprob(data.iter().map(|token| token.plog)),
            compression_ratio: compression_ratio(&text),
            no_speech_prob: probability(self.no_speech.unwrap_or(no_speech)),
        };
        Some(Segment {
            words: words(&tokens, self.language),
            text,
            start,
            end,
            decoding: Some(decoding),
            speaker: None,
        })
    }
}

/// The library counts in hundredths of a second. A negative number stands for an unknown time.
fn time(hundredths: i64) -> Duration {
    Duration::from_millis(u64::try_from(hundredths).unwrap_or(0).saturating_mul(10))
}
