//! The only place that calls `libsherpa-onnx-c-api.so`: its structures and symbols, behind safe
//! owners.
//!
//! Structures are those of `c-api.h` in the wheel sherpa-onnx-core 2.0.1. They grow from version to
//! version, and the library does not notice if a caller has others: it reads beyond their ends. So
//! only a version whose layout is known is used.

#![allow(unsafe_code)]

use std::ffi::{CStr, CString, OsStr, c_char, c_float, c_void};
use std::ptr::{self, NonNull};

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

use super::result::{Heard, Token};

/// The version whose structures are declared here.
const VERSION: &str = "2.0.1";

/// Longest text of the library that is accepted, in bytes. A piece of 30 s has about 100 words of
/// 100 bytes each.
const MAX_TEXT: usize = 256 << 10;

/// Most tokens of a piece that are accepted.
const MAX_TOKENS: usize = 16 << 10;

/// Sampling rate and number of Mel bands that the library expects unless the model says otherwise.
const BANDS: i32 = 80;

/// A string for the library, or null for none.
type Text = *const c_char;

/// Declares a structure of `c-api.h`. All its fields are numbers, pointers and such structures.
macro_rules! structures {
    ($($name:ident { $($field:ident: $type:ty,)* })*) => {
        $(
            #[repr(C)]
            #[derive(Clone, Copy)]
            #[allow(dead_code, reason = "only the library reads them")]
            pub(super) struct $name {
                $(pub(super) $field: $type,)*
            }
        )*
    };
}

structures! {
    FeatureConfig { sample_rate: i32, feature_dim: i32, }
    Transducer { encoder: Text, decoder: Text, joiner: Text, }
    Whisper {
        encoder: Text, decoder: Text, language: Text, task: Text, tail_paddings: i32,
        enable_token_timestamps: i32, enable_segment_timestamps: i32,
    }
    Canary { encoder: Text, decoder: Text, src_lang: Text, tgt_lang: Text, use_pnc: i32, }
    CohereTranscribe { encoder: Text, decoder: Text, language: Text, use_punct: i32, use_itn: i32, }
    FireRedAsr { encoder: Text, decoder: Text, }
    Moonshine {
        preprocessor: Text, encoder: Text, uncached_decoder: Text, cached_decoder: Text,
        merged_decoder: Text,
    }
    LanguageModel { model: Text, scale: c_float, }
    SenseVoice { model: Text, language: Text, use_itn: i32, }
    FunAsrNano {
        encoder_adaptor: Text, llm: Text, embedding: Text, tokenizer: Text, system_prompt: Text,
        user_prompt: Text, max_new_tokens: i32, temperature: c_float, top_p: c_float, seed: i32,
        language: Text, itn: i32, hotwords: Text,
    }
    Qwen3Asr {
        conv_frontend: Text, encoder: Text, decoder: Text, tokenizer: Text, max_total_len: i32,
        max_new_tokens: i32, temperature: c_float, top_p: c_float, seed: i32, hotwords: Text,
    }
    ModelConfig {
        transducer: Transducer, paraformer: Text, nemo_ctc: Text, whisper: Whisper, tdnn: Text,
        tokens: Text, num_threads: i32, debug: i32, provider: Text, model_type: Text,
        modeling_unit: Text, bpe_vocab: Text, telespeech_ctc: Text, sense_voice: SenseVoice,
        moonshine: Moonshine, fire_red_asr: FireRedAsr, dolphin: Text, zipformer_ctc: Text,
        canary: Canary, wenet_ctc: Text, omnilingual: Text, medasr: Text, funasr_nano: FunAsrNano,
        fire_red_asr_ctc: Text, qwen3_asr: Qwen3Asr, cohere_transcribe: CohereTranscribe,
    }
    HomophoneReplacer { dict_dir: Text, lexicon: Text, rule_fsts: Text, }
    CtcFstDecoder { graph: Text, max_active: i32, }
    Config {
        feat_config: FeatureConfig, model_config: ModelConfig, lm_config: LanguageModel,
        decoding_method: Text, max_active_paths: i32, hotwords_file: Text, hotwords_score: c_float,
        rule_fsts: Text, rule_fars: Text, blank_penalty: c_float, hr: HomophoneReplacer,
        ctc_fst_decoder_config: CtcFstDecoder,
    }
    PunctuationConfig { ct_transformer: Text, num_threads: i32, debug: i32, provider: Text, }
}

/// The library's structure of a result.
#[repr(C)]
#[allow(dead_code, reason = "some say what others say, too")]
struct RawResult {
    text: Text,
    timestamps: *const c_float,
    count: i32,
    tokens: Text,
    tokens_arr: *const Text,
    json: Text,
    lang: Text,
    emotion: Text,
    event: Text,
    durations: *const c_float,
    ys_log_probs: *const c_float,
    segment_timestamps: *const c_float,
    segment_durations: *const c_float,
    segment_texts: Text,
    segment_texts_arr: *const Text,
    segment_count: i32,
}

/// The library's type of a recogniser, which is opaque.
#[repr(C)]
struct RawRecognizer(c_void);
/// The library's type of a stream, which is opaque.
#[repr(C)]
struct RawStream(c_void);
/// The library's type of a model for punctuation, which is opaque.
#[repr(C)]
struct RawPunctuation(c_void);

/// Defines the table of functions and the way to fill it: one line for each symbol, in one place.
macro_rules! symbols {
    ($($name:ident: fn($($argument:ty),*) $(-> $result:ty)?;)*) => {
        /// Every function used, resolved once.
        #[derive(Clone, Copy)]
        #[allow(non_snake_case, reason = "the library's names")]
        struct Api {
            $($name: unsafe extern "C" fn($($argument),*) $(-> $result)?,)*
        }

        impl Api {
            /// Look up every symbol; the error names the first one missing.
            fn resolve(library: &Library) -> Result<Self, &'static str> {
                Ok(Self {
                    $($name: {
                        // SAFETY: the type is the prototype that `c-api.h` declares for the symbol.
                        // The pointer outlives `Library` because it was opened with RTLD_NODELETE.
                        let symbol = unsafe {
                            library.get::<unsafe extern "C" fn($($argument),*) $(-> $result)?>(stringify!($name))
                        };
                        *symbol.map_err(|_| stringify!($name))?
                    },)*
                })
            }
        }
    };
}

symbols! {
    SherpaOnnxGetVersionStr: fn() -> *const c_char;
    SherpaOnnxCreateOfflineRecognizer: fn(*const Config) -> *mut RawRecognizer;
    SherpaOnnxOfflineRecognizerSetConfig: fn(*mut RawRecognizer, *const Config);
    SherpaOnnxDestroyOfflineRecognizer: fn(*mut RawRecognizer);
    SherpaOnnxCreateOfflineStream: fn(*mut RawRecognizer) -> *mut RawStream;
    SherpaOnnxCreateOfflineStreamWithHotwords: fn(*mut RawRecognizer, *const c_char) -> *mut RawStream;
    SherpaOnnxDestroyOfflineStream: fn(*mut RawStream);
    SherpaOnnxAcceptWaveformOffline: fn(*mut RawStream, i32, *const c_float, i32);
    SherpaOnnxDecodeOfflineStream: fn(*mut RawRecognizer, *mut RawStream);
    SherpaOnnxGetOfflineStreamResult: fn(*mut RawStream) -> *mut RawResult;
    SherpaOnnxDestroyOfflineRecognizerResult: fn(*mut RawResult);
    SherpaOnnxCreateOfflinePunctuation: fn(*const PunctuationConfig) -> *mut RawPunctuation;
    SherpaOnnxDestroyOfflinePunctuation: fn(*mut RawPunctuation);
    SherpaOfflinePunctuationAddPunct: fn(*mut RawPunctuation, *const c_char) -> *mut c_char;
    SherpaOfflinePunctuationFreeText: fn(*mut c_char);
}

/// The library, opened for the rest of the life of the process.
#[derive(Clone, Copy)]
pub(super) struct Sherpa(Api);

impl Sherpa {
    /// Open the library, look up every symbol and check its version.
    ///
    /// # Errors
    /// A sentence that says what is missing or unfit.
    pub(super) fn open(library: &OsStr) -> Result<Self, String> {
        // The function pointers are kept, and ONNX Runtime may not survive being closed.
        let flags = RTLD_NOW | RTLD_LOCAL | libc::RTLD_NODELETE;
        let name = library.display();
        // SAFETY: this runs the library's initialisers. Which file it is, is the administrator's
        // act; those of sherpa-onnx do nothing that this process relies on otherwise.
        let opened = unsafe { Library::open(Some(library), flags) };
        let opened = opened.map_err(|error| match std::error::Error::source(&error) {
            // It begins with the name.
            Some(cause) => cause.to_string(),
            None => format!("cannot open {name}: {error}"),
        })?;
        let api = Api::resolve(&opened).map_err(|symbol| {
            format!(
                "{name} is not sherpa-onnx, or not version {VERSION}: it has no {symbol}; {GET_IT}"
            )
        })?;
        // SAFETY: the function takes nothing.
        let version = unsafe { (api.SherpaOnnxGetVersionStr)() };
        // SAFETY: its string is terminated, and belongs to the library's constants.
        let version = unsafe { text(version) }?;
        if version != VERSION.as_bytes() {
            return Err(format!(
                "{name} is sherpa-onnx {:.32}, and only {VERSION} is known here; {GET_IT}",
                String::from_utf8_lossy(version)
            ));
        }
        Ok(Self(api))
    }
}

/// The remedy for another version.
const GET_IT: &str = "the package sherpa-onnx-core 2.0.1 of PyPI has it";

/// Owns the strings that structures for the library point to.
#[derive(Default)]
pub(super) struct Texts(Vec<CString>);

impl Texts {
    /// A pointer to `text`, which lives as long as `self`.
    ///
    /// # Errors
    /// It has a NUL byte.
    pub(super) fn keep(&mut self, text: impl Into<Vec<u8>>) -> Result<Text, String> {
        let text = CString::new(text).map_err(|error| error.to_string())?;
        let pointer = text.as_ptr();
        self.0.push(text);
        Ok(pointer)
    }
}

/// Settings for the library, with the strings that they point to.
pub(super) struct Settings {
    pub(super) config: Config,
    pub(super) texts: Texts,
}

impl Settings {
    /// Settings that name no model.
    pub(super) fn new() -> Self {
        // SAFETY: it consists of numbers and pointers, of which zeros are valid values.
        let mut config: Config = unsafe { std::mem::zeroed() };
        config.feat_config = FeatureConfig {
            sample_rate: RATE,
            feature_dim: BANDS,
        };
        Self {
            config,
            texts: Texts::default(),
        }
    }
}

/// [`crate::audio::SAMPLE_RATE`] as the library takes it.
#[allow(clippy::cast_possible_wrap)]
const RATE: i32 = crate::audio::SAMPLE_RATE as i32;

/// Owns a recogniser, which is freed on drop.
pub(super) struct Recognizer {
    api: Api,
    raw: NonNull<RawRecognizer>,
}

impl Recognizer {
    /// Load the model that `settings` name. The library writes its errors to standard error, and
    /// ends the process at most of them.
    ///
    /// # Errors
    /// The library does not want the model.
    pub(super) fn load(library: Sherpa, settings: &Settings) -> Result<Self, String> {
        let Sherpa(api) = library;
        // SAFETY: the structure has the layout of this version, and its strings live as long as
        // `settings`; the library copies them.
        let raw = unsafe { (api.SherpaOnnxCreateOfflineRecognizer)(&raw const settings.config) };
        let raw = NonNull::new(raw).ok_or("the library refuses the model")?;
        Ok(Self { api, raw })
    }

    /// Use the language and the task of `settings`, which are otherwise those of [`Self::load`].
    pub(super) fn set(&mut self, settings: &Settings) {
        // SAFETY: as in `load`; `raw` is alive and `&mut self` keeps others out of it.
        unsafe {
            (self.api.SherpaOnnxOfflineRecognizerSetConfig)(
                self.raw.as_ptr(),
                &raw const settings.config,
            );
        }
    }

    /// Transcribe samples, expecting `hotwords`.
    ///
    /// # Errors
    /// The library failed, or its result makes no sense.
    pub(super) fn transcribe(
        &mut self,
        samples: &[f32],
        hotwords: Option<&CStr>,
    ) -> Result<Heard, String> {
        let length = i32::try_from(samples.len()).map_err(|error| error.to_string())?;
        let stream = Stream::new(self, hotwords)?;
        let raw = stream.raw.as_ptr();
        // SAFETY: `raw` is alive and ours alone. Pointer and length describe `samples`, which are
        // only read, during this call.
        unsafe {
            (self.api.SherpaOnnxAcceptWaveformOffline)(raw, RATE, samples.as_ptr(), length);
        }
        // SAFETY: both are alive, and `&mut self` keeps others out of them.
        unsafe { (self.api.SherpaOnnxDecodeOfflineStream)(self.raw.as_ptr(), raw) };
        // SAFETY: `raw` is alive and ours alone.
        let result = unsafe { (self.api.SherpaOnnxGetOfflineStreamResult)(raw) };
        let result = NonNull::new(result).ok_or("it gives no result")?;
        // SAFETY: the result was just made, has the layout of this version, and is freed below.
        let heard = unsafe { result.as_ref() };
        // SAFETY: as above.
        let heard = unsafe { self::heard(heard) };
        // SAFETY: the result is ours, and `heard` has copied what is needed.
        unsafe { (self.api.SherpaOnnxDestroyOfflineRecognizerResult)(result.as_ptr()) };
        heard
    }
}

impl Drop for Recognizer {
    fn drop(&mut self) {
        // SAFETY: `raw` is alive, ours alone, and never used again.
        unsafe { (self.api.SherpaOnnxDestroyOfflineRecognizer)(self.raw.as_ptr()) };
    }
}

/// Owns a stream, which holds one piece of a recording.
struct Stream {
    api: Api,
    raw: NonNull<RawStream>,
}

impl Stream {
    fn new(of: &mut Recognizer, hotwords: Option<&CStr>) -> Result<Self, String> {
        let raw = match hotwords {
            // SAFETY: the recogniser is alive, and `&mut` keeps others out of it.
            None => unsafe { (of.api.SherpaOnnxCreateOfflineStream)(of.raw.as_ptr()) },
            // SAFETY: as above; the string is terminated, and read during this call only.
            Some(words) => unsafe {
                (of.api.SherpaOnnxCreateOfflineStreamWithHotwords)(of.raw.as_ptr(), words.as_ptr())
            },
        };
        let raw = NonNull::new(raw).ok_or("no stream can be made of the model")?;
        Ok(Self { api: of.api, raw })
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: `raw` is alive, ours alone, and never used again.
        unsafe { (self.api.SherpaOnnxDestroyOfflineStream)(self.raw.as_ptr()) };
    }
}

/// Owns a model that adds punctuation.
pub(super) struct Punctuation {
    api: Api,
    raw: NonNull<RawPunctuation>,
}

impl Punctuation {
    /// Load the model in the file `model`, to be used with this many threads.
    ///
    /// # Errors
    /// As [`Recognizer::load`].
    pub(super) fn load(library: Sherpa, model: &CStr, threads: i32) -> Result<Self, String> {
        let Sherpa(api) = library;
        let config = PunctuationConfig {
            ct_transformer: model.as_ptr(),
            num_threads: threads,
            debug: 0,
            provider: ptr::null(),
        };
        // SAFETY: the structure has the layout of this version, and its string outlives the call;
        // the library copies it.
        let raw = unsafe { (api.SherpaOnnxCreateOfflinePunctuation)(&raw const config) };
        let raw = NonNull::new(raw).ok_or("the library refuses the model")?;
        Ok(Self { api, raw })
    }

    /// `text` with punctuation.
    ///
    /// # Errors
    /// The library failed.
    pub(super) fn add(&mut self, text: &str) -> Result<String, String> {
        let own = CString::new(text.replace('\0', " ")).map_err(|error| error.to_string())?;
        // SAFETY: `raw` is alive and `&mut self` keeps others out of it; the string is terminated,
        // and read during this call only.
        let answer =
            unsafe { (self.api.SherpaOfflinePunctuationAddPunct)(self.raw.as_ptr(), own.as_ptr()) };
        // SAFETY: the string was just made, is terminated if there is one, and is freed below.
        let copied = unsafe { self::text(answer) };
        let copied = copied.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        if !answer.is_null() {
            // SAFETY: the string is ours, and not used again.
            unsafe { (self.api.SherpaOfflinePunctuationFreeText)(answer) };
        }
        copied
    }
}

impl Drop for Punctuation {
    fn drop(&mut self) {
        // SAFETY: `raw` is alive, ours alone, and never used again.
        unsafe { (self.api.SherpaOnnxDestroyOfflinePunctuation)(self.raw.as_ptr()) };
    }
}

/// A copy of a result.
///
/// # Errors
/// There is no text, or it is longer than [`MAX_TEXT`]; or there are too many tokens.
///
/// # Safety
/// `raw` is a result of the library that nobody has freed.
unsafe fn heard(raw: &RawResult) -> Result<Heard, String> {
    // SAFETY: its strings are terminated and stay until it is freed.
    let said = unsafe { text(raw.text) }?;
    let language = match raw.lang.is_null() {
        true => &[][..],
        // SAFETY: as above.
        false => unsafe { text(raw.lang) }?,
    };
    let count = usize::try_from(raw.count).unwrap_or(0);
    if count > MAX_TOKENS {
        return Err(format!("its result has more than {MAX_TOKENS} tokens"));
    }
    // SAFETY: each array of a result has `count` elements, if it is there. Here and below.
    let starts = unsafe { numbers(raw.timestamps, count) };
    // SAFETY: see above.
    let durations = unsafe { numbers(raw.durations, count) };
    // SAFETY: see above.
    let logprobs = unsafe { numbers(raw.ys_log_probs, count) };
    let names = match raw.tokens_arr.is_null() {
        true => &[][..],
        // SAFETY: as above.
        false => unsafe { std::slice::from_raw_parts(raw.tokens_arr, count) },
    };
    let mut tokens = Vec::with_capacity(names.len());
    for (index, name) in names.iter().enumerate() {
        // SAFETY: as above.
        let bytes = unsafe { text(*name) }?;
        tokens.push(Token {
            bytes: bytes.to_vec(),
            start: starts.get(index).copied(),
            duration: durations.get(index).copied(),
            logprob: logprobs.get(index).copied(),
        });
    }
    Ok(Heard {
        text: String::from_utf8_lossy(said).into_owned(),
        language: String::from_utf8_lossy(language).into_owned(),
        tokens,
    })
}

/// The numbers of an array; none if there is no array.
///
/// # Safety
/// `array` is null, or points to `count` numbers that stay during `'a`.
unsafe fn numbers<'a>(array: *const c_float, count: usize) -> &'a [f32] {
    match array.is_null() {
        true => &[],
        // SAFETY: as the caller promises.
        false => unsafe { std::slice::from_raw_parts(array, count) },
    }
}

/// The bytes of one of the library's strings.
///
/// # Errors
/// There is none (the library failed), or it is longer than [`MAX_TEXT`].
///
/// # Safety
/// `string` is null, or points to a terminated string that stays as it is during `'a`.
unsafe fn text<'a>(string: *const c_char) -> Result<&'a [u8], String> {
    if string.is_null() {
        return Err("it gives no result".into());
    }
    // SAFETY: not null, and terminated, as the caller promises: nothing behind the end is read.
    let length = unsafe { libc::strnlen(string, MAX_TEXT + 1) };
    if length > MAX_TEXT {
        return Err(format!("its result is longer than {MAX_TEXT} bytes"));
    }
    // SAFETY: `length` bytes are there, and stay, as the caller promises.
    Ok(unsafe { std::slice::from_raw_parts(string.cast::<u8>(), length) })
}

#[cfg(test)]
mod tests {
    use std::mem::{offset_of, size_of};

    use super::*;

    /// Sizes and places as a C compiler finds them in `c-api.h` of 2.0.1, on x86-64.
    #[test]
    fn structures_have_the_layout_of_the_header() {
        assert_eq!(size_of::<Config>(), 624);
        assert_eq!(size_of::<RawResult>(), 128);
        assert_eq!(size_of::<PunctuationConfig>(), 24);
        let model = offset_of!(Config, model_config);
        for (found, expected) in [
            (offset_of!(ModelConfig, tokens), 0x68),
            (offset_of!(ModelConfig, sense_voice), 0xa0),
            (offset_of!(ModelConfig, moonshine), 0xb8),
            (offset_of!(ModelConfig, canary), 0x100),
            (offset_of!(ModelConfig, funasr_nano), 0x140),
            (offset_of!(ModelConfig, qwen3_asr), 0x1a0),
            (offset_of!(ModelConfig, cohere_transcribe), 0x1e0),
        ] {
            assert_eq!(model + found, expected);
        }
        assert_eq!(offset_of!(Config, decoding_method), 0x210);
        assert_eq!(offset_of!(Config, blank_penalty), 0x240);
        assert_eq!(offset_of!(RawResult, segment_count), 120);
    }
}
