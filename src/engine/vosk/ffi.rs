//! The only place that calls `libvosk.so`: its symbols, behind safe owners.
//!
//! Prototypes are those of `vosk_api.h` of Vosk 0.3.45; they have been the same since 0.3.15. The
//! library is opened at run time, so that neither building nor starting needs it.

#![allow(unsafe_code)]

use std::ffi::{CStr, OsStr, c_char, c_float, c_int, c_short, c_void};
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::{Mutex, PoisonError};

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

/// Longest answer of the library that is accepted, in bytes. A piece of 30 s has about 100 words of
/// 100 bytes each.
const MAX_ANSWER: usize = 256 << 10;

/// Most samples that the library gets at once (0.25 s). After each block it looks for the end of an
/// utterance.
pub(super) const BLOCK: usize = 4000;

/// Level of `vosk_set_log_level` that logs errors only.
const ERRORS_ONLY: c_int = -1;

/// The library's type `VoskModel`, which is opaque.
#[repr(C)]
struct VoskModel(c_void);
/// The library's type `VoskRecognizer`, which is opaque.
#[repr(C)]
struct VoskRecognizer(c_void);

/// Defines the table of functions and the way to fill it: one line for each symbol, in one place.
macro_rules! symbols {
    ($($name:ident: fn($($argument:ty),*) $(-> $result:ty)?;)*) => {
        /// Every function used, resolved once.
        #[derive(Clone, Copy)]
        struct Api {
            $($name: unsafe extern "C" fn($($argument),*) $(-> $result)?,)*
        }

        impl Api {
            /// Look up every symbol; the error names the first one missing.
            fn resolve(library: &Library) -> Result<Self, &'static str> {
                Ok(Self {
                    $($name: {
                        // SAFETY: the type is the prototype that `vosk_api.h` declares for the
                        // symbol. The pointer outlives `Library` because it was opened with
                        // RTLD_NODELETE.
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
    vosk_set_log_level: fn(c_int);
    vosk_model_new: fn(*const c_char) -> *mut VoskModel;
    vosk_model_free: fn(*mut VoskModel);
    vosk_recognizer_new: fn(*mut VoskModel, c_float) -> *mut VoskRecognizer;
    vosk_recognizer_free: fn(*mut VoskRecognizer);
    vosk_recognizer_set_words: fn(*mut VoskRecognizer, c_int);
    vosk_recognizer_accept_waveform_s: fn(*mut VoskRecognizer, *const c_short, c_int) -> c_int;
    vosk_recognizer_result: fn(*mut VoskRecognizer) -> *const c_char;
    vosk_recognizer_partial_result: fn(*mut VoskRecognizer) -> *const c_char;
    vosk_recognizer_final_result: fn(*mut VoskRecognizer) -> *const c_char;
}

/// Open the library for the rest of the life of the process, and look up every symbol.
///
/// # Errors
/// A sentence that says what is missing or unfit.
fn open(library: &OsStr) -> Result<Api, String> {
    // The function pointers are kept, and OpenBLAS inside this library may not survive being
    // closed.
    let flags = RTLD_NOW | RTLD_LOCAL | libc::RTLD_NODELETE;
    let name = library.display();
    // SAFETY: this runs the library's initialisers. Which file it is, is the administrator's act;
    // those of Vosk do nothing that this process relies on otherwise.
    let opened = unsafe { Library::open(Some(library), flags) };
    let opened = opened.map_err(|error| match std::error::Error::source(&error) {
        // It begins with the name.
        Some(cause) => cause.to_string(),
        None => format!("cannot open {name}: {error}"),
    })?;
    Api::resolve(&opened).map_err(|symbol| {
        format!("{name} is not Vosk, or of an unsupported version: it has no {symbol}")
    })
}

/// Owns a `VoskModel`, which is freed on drop.
pub(super) struct Model {
    api: Api,
    raw: NonNull<VoskModel>,
}

impl Model {
    /// Open the library and load the model in `folder`. Errors of the library go to standard error.
    ///
    /// # Errors
    /// The library cannot be used, or (`Ok(None)`) does not want the model.
    pub(super) fn load(library: &OsStr, folder: &CStr) -> Result<Option<Self>, String> {
        // Options are registered in static tables while a model is read.
        static LOADING: Mutex<()> = Mutex::new(());
        let api = open(library)?;
        let _alone = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: takes a plain number.
        unsafe { (api.vosk_set_log_level)(ERRORS_ONLY) };
        // SAFETY: the path is terminated, and read during this call only.
        let raw = unsafe { (api.vosk_model_new)(folder.as_ptr()) };
        Ok(NonNull::new(raw).map(|raw| Self { api, raw }))
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        // SAFETY: `raw` is a live object with one reference that is ours to give up.
        unsafe { (self.api.vosk_model_free)(self.raw.as_ptr()) };
    }
}

/// Owns a `VoskRecognizer`, with everything that it heard of one piece of a recording.
pub(super) struct Recognizer {
    model: Rc<Model>,
    raw: NonNull<VoskRecognizer>,
}

/// State after a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// An utterance has ended, and its result can be read.
    Utterance,
    /// Nothing is final yet.
    Nothing,
}

impl Recognizer {
    /// A recogniser that has heard nothing, for samples of `rate` Hz.
    ///
    /// # Errors
    /// The library cannot make one.
    pub(super) fn new(model: &Rc<Model>, rate: u16) -> Result<Self, String> {
        let api = &model.api;
        // SAFETY: the model is alive, and kept so by the clone below for as long as the recogniser.
        let raw = unsafe { (api.vosk_recognizer_new)(model.raw.as_ptr(), c_float::from(rate)) };
        let raw = NonNull::new(raw).ok_or("no recogniser can be made of the model")?;
        // SAFETY: `raw` was just made, and nobody else has it; the other argument is a plain
        // number.
        unsafe { (api.vosk_recognizer_set_words)(raw.as_ptr(), 1) };
        Ok(Self {
            model: model.clone(),
            raw,
        })
    }

    /// Hear up to [`BLOCK`] more samples.
    ///
    /// # Errors
    /// The library failed.
    pub(super) fn accept(&mut self, samples: &[i16]) -> Result<Heard, String> {
        let samples = samples.get(..BLOCK).unwrap_or(samples);
        let length = c_int::try_from(samples.len()).map_err(|error| error.to_string())?;
        // SAFETY: `raw` is alive and `&mut self` keeps others out of it. Pointer and length
        // describe `samples`, which are only read.
        let heard = unsafe {
            (self.model.api.vosk_recognizer_accept_waveform_s)(
                self.raw.as_ptr(),
                samples.as_ptr(),
                length,
            )
        };
        match heard {
            0 => Ok(Heard::Nothing),
            1.. => Ok(Heard::Utterance),
            ..0 => Err("the samples cannot be decoded".into()),
        }
    }

    /// The utterance that has just ended, as JSON.
    ///
    /// # Errors
    /// As [`text`].
    pub(super) fn result(&mut self) -> Result<&[u8], String> {
        // SAFETY: `raw` is alive and `&mut self` keeps others out of it.
        let answer = unsafe { (self.model.api.vosk_recognizer_result)(self.raw.as_ptr()) };
        // SAFETY: the string belongs to the recogniser and stays until its next call, which the
        // borrow keeps away.
        unsafe { text(answer) }
    }

    /// The words of an utterance that has not ended, as JSON. They may still change.
    ///
    /// # Errors
    /// As [`text`].
    pub(super) fn partial_result(&mut self) -> Result<&[u8], String> {
        // SAFETY: `raw` is alive and `&mut self` keeps others out of it.
        let answer = unsafe { (self.model.api.vosk_recognizer_partial_result)(self.raw.as_ptr()) };
        // SAFETY: as in `result`.
        unsafe { text(answer) }
    }

    /// The end of the recording: what was heard since the last utterance, as JSON.
    ///
    /// # Errors
    /// As [`text`].
    pub(super) fn final_result(&mut self) -> Result<&[u8], String> {
        // SAFETY: `raw` is alive and `&mut self` keeps others out of it.
        let answer = unsafe { (self.model.api.vosk_recognizer_final_result)(self.raw.as_ptr()) };
        // SAFETY: as in `result`.
        unsafe { text(answer) }
    }
}

impl Drop for Recognizer {
    fn drop(&mut self) {
        // SAFETY: `raw` is alive, ours alone, and never used again; its model outlives this call.
        unsafe { (self.model.api.vosk_recognizer_free)(self.raw.as_ptr()) };
    }
}

/// The bytes of one of the library's strings.
///
/// # Errors
/// There is none (the library failed), or it is longer than [`MAX_ANSWER`].
///
/// # Safety
/// `string` is null, or points to a terminated string that stays as it is during `'a`.
unsafe fn text<'a>(string: *const c_char) -> Result<&'a [u8], String> {
    if string.is_null() {
        return Err("it gives no result".into());
    }
    // SAFETY: not null, and terminated, as the caller promises: nothing behind the end is read.
    let length = unsafe { libc::strnlen(string, MAX_ANSWER + 1) };
    if length > MAX_ANSWER {
        return Err(format!("its result is longer than {MAX_ANSWER} bytes"));
    }
    // SAFETY: `length` bytes are there, and stay, as the caller promises.
    Ok(unsafe { std::slice::from_raw_parts(string.cast::<u8>(), length) })
}
