//! Finds out the spoken language in the middle of a run.
//!
//! The library's own detection encodes the first thirty seconds, then the transcription encodes
//! them again. But when the first token of a text is chosen, the window is already encoded: the
//! model is asked for the language there, and is led up to the text in that language. That takes
//! three short computations of the decoder instead of one of the encoder, which is ten times as
//! much work.
#![allow(unsafe_code)]

use std::ffi::c_int;

use whisper_rs::{
    WhisperSysContext, WhisperSysState,
    whisper_rs_sys::{
        whisper_decode_with_state, whisper_get_logits_from_state, whisper_n_vocab,
        whisper_token_lang, whisper_token_nosp, whisper_token_not, whisper_token_prev,
        whisper_token_sot, whisper_token_transcribe, whisper_token_translate,
    },
};

/// Above this temperature the library leaves the prompt out.
const PROMPT_UP_TO: f32 = 0.5;

/// The result of a search.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    /// The library's number of the language.
    pub(super) language: c_int,
    /// Probability that nobody speaks in the window. The library's own figure is right only for
    /// models of English: 1.8.3 takes it from a place where it has written nothing.
    pub(super) no_speech: f32,
}

/// The search for the language of a run.
#[derive(Clone, Debug)]
pub(super) struct Search {
    /// The library's numbers of the languages that may be spoken.
    pub(super) among: Vec<c_int>,
    /// The tokens that precede the text, at most as many as the model takes.
    pub(super) prompt: Vec<c_int>,
    /// Whether the text shall be English.
    pub(super) translate: bool,
    /// Whether the library asks this model for text without times: it does so for models with two
    /// layers for text, the first distilled ones.
    pub(super) no_times: bool,
    /// Threads of a computation.
    pub(super) threads: c_int,
}

impl Search {
    /// The likeliest language in the window that was encoded last; `None` if the library fails.
    ///
    /// # Safety
    /// `state` is one of `context`'s, has encoded a window, and nobody else uses it meanwhile.
    pub(super) unsafe fn find(
        &self,
        context: *mut WhisperSysContext,
        state: *mut WhisperSysState,
    ) -> Option<Found> {
        // SAFETY: as the caller promises, here and below.
        let start = unsafe { whisper_token_sot(context) };
        // SAFETY: see above.
        let logits = unsafe { self.decode(context, state, &[start]) }?;
        let likely = |language: c_int| {
            // SAFETY: see above.
            let token = unsafe { whisper_token_lang(context, language) };
            let token = usize::try_from(token).ok()?;
            Some((language, *logits.get(token)?))
        };
        let all = self.among.iter().filter_map(|&language| likely(language));
        let (language, _) = all.max_by(|(_, a), (_, b)| a.total_cmp(b))?;
        // SAFETY: see above.
        let nothing = usize::try_from(unsafe { whisper_token_nosp(context) }).ok()?;
        Some(Found {
            language,
            no_speech: share(logits, nothing),
        })
    }

    /// Lead the model up to a text in this language, and put into `logits` how likely each first
    /// token of that text is. Tokens that the library has ruled out stay so.
    ///
    /// # Safety
    /// As for [`Self::find`].
    pub(super) unsafe fn lead(
        &self,
        context: *mut WhisperSysContext,
        state: *mut WhisperSysState,
        language: c_int,
        temperature: f32,
        logits: &mut [f32],
    ) -> Option<()> {
        let mut tokens = Vec::with_capacity(self.prompt.len() + 5);
        if !self.prompt.is_empty() && temperature < PROMPT_UP_TO {
            // SAFETY: as the caller promises, here and below.
            tokens.push(unsafe { whisper_token_prev(context) });
            tokens.extend(&self.prompt);
        }
        // SAFETY: see above.
        tokens.push(unsafe { whisper_token_sot(context) });
        // SAFETY: see above.
        tokens.push(unsafe { whisper_token_lang(context, language) });
        tokens.push(if self.translate {
            // SAFETY: see above.
            unsafe { whisper_token_translate(context) }
        } else {
            // SAFETY: see above.
            unsafe { whisper_token_transcribe(context) }
        });
        if self.no_times {
            // SAFETY: see above.
            tokens.push(unsafe { whisper_token_not(context) });
        }
        // SAFETY: see above.
        let led = unsafe { self.decode(context, state, &tokens) }?;
        let divisor = if temperature > 0.0 { temperature } else { 1.0 };
        for (logit, led) in logits.iter_mut().zip(led) {
            if logit.is_finite() {
                *logit = led / divisor;
            }
        }
        Some(())
    }

    /// How likely each token is after these, from the beginning of a text on.
    ///
    /// # Safety
    /// As for [`Self::find`]. The result is valid until the next computation.
    unsafe fn decode<'a>(
        &self,
        context: *mut WhisperSysContext,
        state: *mut WhisperSysState,
        tokens: &[c_int],
    ) -> Option<&'a [f32]> {
        let count = c_int::try_from(tokens.len()).ok()?;
        let (first, past) = (tokens.as_ptr(), 0);
        // SAFETY: as the caller promises; `first` points to `count` tokens.
        let failed =
            unsafe { whisper_decode_with_state(context, state, first, count, past, self.threads) };
        if failed != 0 {
            return None;
        }
        // SAFETY: as the caller promises.
        let size = usize::try_from(unsafe { whisper_n_vocab(context) }).ok()?;
        // SAFETY: as the caller promises.
        let logits = unsafe { whisper_get_logits_from_state(state) };
        // SAFETY: the library has room for all tokens, of which it fills in the last.
        let last = unsafe { logits.add(size * (tokens.len() - 1)) };
        // SAFETY: see above.
        Some(unsafe { std::slice::from_raw_parts(last, size) })
    }
}

/// The probability of the token with this number.
fn share(logits: &[f32], token: usize) -> f32 {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f32 = logits.iter().map(|logit| (logit - most).exp()).sum();
    logits
        .get(token)
        .map_or(0.0, |logit| (logit - most).exp() / sum)
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn the_shares_of_all_tokens_are_one() {
        let logits = [2.0, 2.0 + 3.0_f32.ln(), -1000.0];
        assert!((share(&logits, 0) - 0.25).abs() < 1e-6);
        assert!((share(&logits, 1) - 0.75).abs() < 1e-6);
        assert_eq!((share(&logits, 2), share(&logits, 3)), (0.0, 0.0));
    }
}
