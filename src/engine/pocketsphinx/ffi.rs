//! The only place that calls `libpocketsphinx.so.3` and `libsphinxbase.so.3`: their symbols, with
//! safe owners.
//!
//! Prototypes are those of `pocketsphinx.h`, `cmd_ln.h`, `err.h`, `fe.h` and `logmath.h` as
//! Debian's `libpocketsphinx-dev` and `libsphinxbase-dev` 0.8+5prealpha have them. The libraries
//! are opened at run time, so that neither building nor starting needs them. Earlier releases
//! (other prototypes, no `ps_start_stream`) and PocketSphinx 5 (no sphinxbase, other configuration
//! calls) lack at least one of the symbols and are refused.

#![allow(unsafe_code)]

use std::cell::RefCell;
use std::ffi::{CStr, c_char, c_double, c_int, c_long, c_void};
use std::io::Write as _;
use std::marker::PhantomData;
use std::path::Path;
use std::ptr::{self, NonNull};
use std::sync::{Mutex, OnceLock, PoisonError};

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

/// File names by which the dynamic linker finds the libraries.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sonames {
    /// Base library: configuration, logging, front end, log-math.
    pub(super) base: &'static str,
    /// Decoder library, which is linked against the base library.
    pub(super) decoder: &'static str,
}

/// File names of Debian's `libsphinxbase3` and `libpocketsphinx3`.
pub(super) const SONAMES: Sonames = Sonames {
    base: "libsphinxbase.so.3",
    decoder: "libpocketsphinx.so.3",
};

/// The decoder library of PocketSphinx 5, looked for only to explain why it is not used.
const SONAME_V5: &str = "libpocketsphinx.so.5";

/// The library's type `cmd_ln_t`, which is opaque.
#[repr(C)]
struct CmdLn(c_void);
/// The library's type `arg_t`, which is opaque.
#[repr(C)]
struct ArgDef(c_void);
/// The library's type `ps_decoder_t`, which is opaque.
#[repr(C)]
struct PsDecoder(c_void);
/// The library's type `ps_seg_t`, which is opaque.
#[repr(C)]
struct PsSeg(c_void);
/// The library's type `fe_t`, which is opaque.
#[repr(C)]
struct Fe(c_void);
/// The library's type `logmath_t`, which is opaque.
#[repr(C)]
struct LogMath(c_void);

/// Defines the table of functions and the way to fill it: one line for each symbol, in one place.
macro_rules! symbols {
    ($($library:ident {$($name:ident: fn($($argument:ty),*) $(-> $result:ty)?;)*})*) => {
        /// Every function used, resolved once.
        pub(super) struct Api {
            $($($name: unsafe extern "C" fn($($argument),*) $(-> $result)?,)*)*
        }

        impl Api {
            /// Look up every symbol; the error names the first one missing.
            fn resolve(base: &Library, decoder: &Library) -> Result<Self, &'static str> {
                let library = Libraries { base, decoder };
                Ok(Self {
                    $($($name: {
                        // SAFETY: the type is the prototype that the headers of this soname declare
                        // for the symbol. The pointer outlives `Library` because both were opened
                        // with RTLD_NODELETE.
                        let symbol = unsafe {
                            library.$library.get::<unsafe extern "C" fn($($argument),*) $(-> $result)?>(stringify!($name))
                        };
                        *symbol.map_err(|_| stringify!($name))?
                    },)*)*
                })
            }
        }
    };
}

/// Names the two libraries for `symbols!`.
struct Libraries<'a> {
    base: &'a Library,
    decoder: &'a Library,
}

symbols! {
    base {
        cmd_ln_parse_r: fn(*mut CmdLn, *const ArgDef, i32, *mut *mut c_char, i32) -> *mut CmdLn;
        cmd_ln_free_r: fn(*mut CmdLn) -> c_int;
        cmd_ln_set_str_r: fn(*mut CmdLn, *const c_char, *const c_char);
        cmd_ln_int_r: fn(*mut CmdLn, *const c_char) -> c_long;
        cmd_ln_float_r: fn(*mut CmdLn, *const c_char) -> c_double;
        err_set_logfp: fn(*mut libc::FILE);
        fe_start_stream: fn(*mut Fe);
        fe_start_utt: fn(*mut Fe) -> c_int;
        fe_get_output_size: fn(*mut Fe) -> c_int;
        fe_get_input_size: fn(*mut Fe, *mut c_int, *mut c_int);
        fe_process_frames: fn(*mut Fe, *mut *const i16, *mut usize, *mut *mut f32, *mut i32, *mut i32) -> c_int;
        fe_end_utt: fn(*mut Fe, *mut f32, *mut i32) -> c_int;
        logmath_exp: fn(*mut LogMath, c_int) -> c_double;
    }
    decoder {
        ps_args: fn() -> *const ArgDef;
        ps_init: fn(*mut CmdLn) -> *mut PsDecoder;
        ps_free: fn(*mut PsDecoder) -> c_int;
        ps_get_config: fn(*mut PsDecoder) -> *mut CmdLn;
        ps_get_fe: fn(*mut PsDecoder) -> *mut Fe;
        ps_get_logmath: fn(*mut PsDecoder) -> *mut LogMath;
        ps_start_stream: fn(*mut PsDecoder) -> c_int;
        ps_start_utt: fn(*mut PsDecoder) -> c_int;
        ps_process_raw: fn(*mut PsDecoder, *const i16, usize, c_int, c_int) -> c_int;
        ps_end_utt: fn(*mut PsDecoder) -> c_int;
        ps_get_n_frames: fn(*mut PsDecoder) -> c_int;
        ps_seg_iter: fn(*mut PsDecoder) -> *mut PsSeg;
        ps_seg_next: fn(*mut PsSeg) -> *mut PsSeg;
        ps_seg_word: fn(*mut PsSeg) -> *const c_char;
        ps_seg_frames: fn(*mut PsSeg, *mut c_int, *mut c_int);
        ps_seg_prob: fn(*mut PsSeg, *mut i32, *mut i32, *mut i32) -> i32;
        ps_seg_free: fn(*mut PsSeg);
    }
}

impl Api {
    /// The libraries of this machine, opened by the first successful call and never closed.
    ///
    /// # Errors
    /// A sentence that says which library is missing or unfit.
    pub(super) fn get() -> Result<&'static Self, String> {
        static API: OnceLock<Api> = OnceLock::new();
        if let Some(api) = API.get() {
            return Ok(api);
        }
        let api = Self::open(SONAMES)?;
        Ok(API.get_or_init(|| {
            divert_log(&api);
            api
        }))
    }

    /// Open both libraries and look up every symbol.
    ///
    /// # Errors
    /// A sentence that says which library is missing or unfit.
    pub(super) fn open(sonames: Sonames) -> Result<Self, String> {
        let base = open_library(sonames.base);
        let decoder = open_library(sonames.decoder);
        let (base, decoder) = match (base, decoder) {
            (Ok(base), Ok(decoder)) => (base, decoder),
            (_, Err(reason)) | (Err(reason), _) => {
                return Err(match open_library(SONAME_V5) {
                    Ok(_) => {
                        format!("{reason}, and {SONAME_V5} is of a version that is not supported")
                    }
                    Err(_) => reason,
                });
            }
        };
        Self::resolve(&base, &decoder).map_err(|symbol| {
            format!(
                "unsupported version of {} or {}: it has no {symbol}",
                sonames.decoder, sonames.base
            )
        })
    }
}

/// Open one library for the rest of the life of the process.
///
/// # Errors
/// The error of the dynamic linker.
fn open_library(soname: &str) -> Result<Library, String> {
    // The function pointers stay in a static, and libraries behind this one (BLAS) may not survive
    // being closed.
    let flags = RTLD_NOW | RTLD_LOCAL | libc::RTLD_NODELETE;
    // SAFETY: this runs the library's initialisers. The names are those of well-known libraries
    // whose initialisers do nothing else that this process relies on. If there is another file
    // under such a name, the administrator put it there.
    unsafe { Library::open(Some(Path::new(soname)), flags) }.map_err(|error| {
        match std::error::Error::source(&error) {
            Some(cause) => format!("cannot open {soname}: {cause}"),
            None => format!("cannot open {soname}: {error}"),
        }
    })
}

/// `cookie_io_functions_t` of `<stdio.h>`; the `libc` crate does not have it.
#[repr(C)]
struct CookieFunctions {
    read: Option<unsafe extern "C" fn(*mut c_void, *mut c_char, usize) -> isize>,
    write: Option<unsafe extern "C" fn(*mut c_void, *const c_char, usize) -> isize>,
    seek: Option<unsafe extern "C" fn(*mut c_void, *mut i64, c_int) -> c_int>,
    close: Option<unsafe extern "C" fn(*mut c_void) -> c_int>,
}

unsafe extern "C" {
    /// A stream whose bytes go to functions of ours; GNU and musl have it.
    fn fopencookie(
        cookie: *mut c_void,
        mode: *const c_char,
        functions: CookieFunctions,
    ) -> *mut libc::FILE;
}

/// Number of complaints that are kept. The first ones name the cause, and the later ones follow
/// from it.
const MAX_COMPLAINTS: usize = 4;

thread_local! {
    /// The library's complaints on this thread since this was last emptied. The process has one log
    /// of the library, but the library has no threads: it complains on the thread that called it.
    static COMPLAINTS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Send the library's log to [`take_log`] instead of the standard error stream.
///
/// A stream and not `err_set_callback`: that wants a C-variadic function, which stable Rust cannot
/// define.
fn divert_log(api: &Api) {
    let functions = CookieFunctions {
        read: None,
        write: Some(take_log),
        seek: None,
        close: None,
    };
    // SAFETY: the mode is a C string, the functions have the signatures that fopencookie(3) gives,
    // and none of them looks at the cookie.
    let stream = unsafe { fopencookie(ptr::null_mut(), c"w".as_ptr(), functions) };
    if !stream.is_null() {
        // SAFETY: `stream` was just opened and nothing was written to it yet. Without a buffer each
        // message arrives as one write, before a fatal one ends the process.
        unsafe { libc::setvbuf(stream, ptr::null_mut(), libc::_IONBF, 0) };
    }
    // SAFETY: the stream is never closed; a null stream is the documented way to have no log. No
    // other thread is in the library yet: to call it, a thread needs the functions from the
    // `OnceLock` that is being filled here.
    unsafe { (api.err_set_logfp)(stream) };
}

/// Keep the library's errors, and drop everything else.
///
/// # Safety
/// `bytes` must point to `len` readable bytes, as stdio promises.
unsafe extern "C" fn take_log(_cookie: *mut c_void, bytes: *const c_char, len: usize) -> isize {
    if !bytes.is_null() {
        // SAFETY: not null, and the caller promises `len` readable bytes that stay put during this
        // call.
        let bytes = unsafe { std::slice::from_raw_parts(bytes.cast::<u8>(), len) };
        let fatal = bytes.starts_with(b"FATAL: ");
        if fatal || bytes.starts_with(b"ERROR: ") {
            let message = complaint(&String::from_utf8_lossy(bytes));
            if fatal {
                // The library calls exit(1) next, so nobody can fetch the message.
                let _ = writeln!(std::io::stderr(), "pocketsphinx: {message}");
            }
            // Not `with`, because a thread that is ending has no complaints any more, and nothing
            // may unwind from here.
            let _ = COMPLAINTS.try_with(|complaints| {
                if let Ok(mut complaints) = complaints.try_borrow_mut()
                    && complaints.len() < MAX_COMPLAINTS
                {
                    complaints.push(message);
                }
            });
        }
    }
    // Report that everything was taken: a short count would mark the stream as failed.
    isize::try_from(len).unwrap_or(isize::MAX)
}

/// The message in a line of the library's log: `ERROR: "acmod.c", line 83: Folder …` without what
/// precedes `Folder`.
fn complaint(line: &str) -> String {
    let line = line.trim();
    let message = line.split_once(": ").map_or(line, |(_level, rest)| rest);
    let message = match message.strip_prefix('"') {
        Some(place) => place
            .split_once(": ")
            .map_or(message, |(_place, rest)| rest),
        None => message,
    };
    message.trim().to_owned()
}

/// The complaints so far in one sentence; `otherwise` if there are none. Forgets them.
fn reason(otherwise: &str) -> String {
    let complaints = COMPLAINTS.take();
    if complaints.is_empty() {
        otherwise.to_owned()
    } else {
        complaints.join("; ")
    }
}

/// Owns a reference to a `cmd_ln_t`: the options of a decoder.
pub(super) struct Config {
    api: &'static Api,
    raw: NonNull<CmdLn>,
}

impl Config {
    /// The library's default options.
    ///
    /// # Errors
    /// The message of the library.
    pub(super) fn new(api: &'static Api) -> Result<Self, String> {
        // SAFETY: takes nothing, returns the address of a constant table.
        let definitions = unsafe { (api.ps_args)() };
        // SAFETY: a null first argument asks for a new object; `definitions` is a terminated table;
        // with a count of zero the null argument vector is never read.
        let raw =
            unsafe { (api.cmd_ln_parse_r)(ptr::null_mut(), definitions, 0, ptr::null_mut(), 0) };
        match NonNull::new(raw) {
            Some(raw) => Ok(Self { api, raw }),
            None => Err(reason("the library's own defaults cannot be read")),
        }
    }

    /// Set a string option. Unlike an argument vector, this does not expand `$(NAME)` in the value.
    pub(super) fn set(&mut self, option: &CStr, value: &CStr) {
        // SAFETY: `raw` is a live object owned by `self`, both strings are terminated, and the
        // library copies the value. An option that does not exist is only logged; the ones set here
        // are strings in every release.
        unsafe { (self.api.cmd_ln_set_str_r)(self.raw.as_ptr(), option.as_ptr(), value.as_ptr()) };
    }
}

impl Drop for Config {
    fn drop(&mut self) {
        // SAFETY: `raw` is a live object with one reference that is ours to give up; a decoder made
        // from it holds its own (`ps_init` retains).
        unsafe { (self.api.cmd_ln_free_r)(self.raw.as_ptr()) };
    }
}

/// One piece of the decoder's segmentation: a word, or a filler such as `<sil>`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Piece {
    /// The dictionary's entry, with its pronunciation mark if it has one: `read(2)`.
    pub(super) entry: String,
    /// First frame, counted in the frames that the decoder searched.
    pub(super) first_frame: usize,
    /// Last frame (inclusive), also among the searched frames.
    pub(super) last_frame: usize,
    /// Posterior probability, not yet limited to 0 … 1.
    pub(super) probability: f64,
}

/// Owns a `ps_decoder_t`: a loaded model and the result of the last utterance.
pub(super) struct Decoder {
    api: &'static Api,
    raw: NonNull<PsDecoder>,
}

// SAFETY: the library has no thread-local data and ties a decoder to no thread; `&mut self` on
// every method keeps two threads out of one decoder. Decoders share the log (a locked stdio stream)
// and tables that are written only while a model is loaded, which `Decoder::new` lets one thread do
// at a time.
unsafe impl Send for Decoder {}

impl Decoder {
    /// Load the model that `config` names. Takes a few hundred milliseconds.
    ///
    /// On a *damaged* model file, the library writes a line on standard error and calls `exit(1)`.
    ///
    /// # Errors
    /// The message of the library.
    pub(super) fn new(config: Config) -> Result<Self, String> {
        // Reading numbers from text uses unprotected static tables in sphinxbase.
        static LOADING: Mutex<()> = Mutex::new(());
        let _loading = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
        COMPLAINTS.take();
        // SAFETY: `config` is live during the call; the decoder takes its own reference, and gives
        // it up on failure.
        let raw = unsafe { (config.api.ps_init)(config.raw.as_ptr()) };
        match NonNull::new(raw) {
            Some(raw) => Ok(Self {
                api: config.api,
                raw,
            }),
            None => Err(reason("the library gave no reason")),
        }
    }

    /// The options in force, including what the model's own `feat.params` set.
    fn config(&self) -> *mut CmdLn {
        // SAFETY: `raw` is a live decoder; it keeps the returned object alive as long as itself.
        unsafe { (self.api.ps_get_config)(self.raw.as_ptr()) }
    }

    /// An integer option; 0 where it does not exist.
    fn integer(&self, option: &CStr) -> c_long {
        // SAFETY: a live object (see `config`) and a terminated string.
        unsafe { (self.api.cmd_ln_int_r)(self.config(), option.as_ptr()) }
    }

    /// Frames in one second of audio (`-frate`); at least 1.
    pub(super) fn frame_rate(&self) -> u32 {
        u32::try_from(self.integer(c"-frate")).unwrap_or(0).max(1)
    }

    /// Samples in one second of the audio that the model was made for (`-samprate`).
    pub(super) fn sample_rate(&self) -> f64 {
        // SAFETY: a live object (see `config`) and a terminated string.
        unsafe { (self.api.cmd_ln_float_r)(self.config(), c"-samprate".as_ptr()) }
    }

    /// Decode one whole utterance, as if the decoder were fresh.
    ///
    /// # Errors
    /// The message of the library. The decoder can be used again.
    pub(super) fn decode(&mut self, samples: &[i16]) -> Result<(), String> {
        let decoder = self.raw.as_ptr();
        COMPLAINTS.take();
        // Without this, the noise estimate of one recording influences the next.
        // SAFETY: `decoder` is live and between utterances.
        let mut failed = unsafe { (self.api.ps_start_stream)(decoder) } < 0;
        // SAFETY: as before; the library itself refuses to start twice.
        if unsafe { (self.api.ps_start_utt)(decoder) } < 0 {
            return Err(reason("an utterance cannot be started"));
        }
        // The whole utterance at once (last argument) lets the library normalise by the mean of all
        // of it. SAFETY: an utterance is under way; pointer and count describe a live slice that is
        // only read.
        failed |=
            unsafe { (self.api.ps_process_raw)(decoder, samples.as_ptr(), samples.len(), 0, 1) }
                < 0;
        // Also after a failure, or the next utterance could not be started.
        // SAFETY: an utterance is under way.
        failed |= unsafe { (self.api.ps_end_utt)(decoder) } < 0;
        if failed {
            return Err(reason("the utterance cannot be decoded"));
        }
        Ok(())
    }

    /// The best hypothesis for the last utterance, piece by piece; empty if there is none.
    pub(super) fn pieces(&mut self) -> Vec<Piece> {
        // SAFETY: `raw` is a live decoder, which owns the result.
        let logmath = unsafe { (self.api.ps_get_logmath)(self.raw.as_ptr()) };
        let mut pieces = Vec::new();
        let mut cursor = Cursor::new(self);
        while let Some(seg) = cursor.seg {
            pieces.extend(cursor.piece(seg, logmath));
            cursor.advance(seg);
        }
        pieces
    }

    /// Which frame of the *recording* each searched frame is.
    ///
    /// The library drops frames that it takes for silence (`-remove_silence`, on by default) before
    /// the search, and then counts only the rest: words after a pause of five seconds would come
    /// five seconds early. It does not tell which frames it dropped, so its front end runs over the
    /// recording once more, frame by frame.
    ///
    /// `samples` must be those of the last utterance. `None` if the second run disagrees with the
    /// first.
    pub(super) fn searched_frames(&mut self, samples: &[i16]) -> Option<Vec<usize>> {
        // SAFETY: `raw` is a live decoder.
        let searched = unsafe { (self.api.ps_get_n_frames)(self.raw.as_ptr()) };
        // The library counts from the index of the next frame and adds one.
        let searched = usize::try_from(searched).ok()?.checked_sub(1)?;
        let frames = FrontEnd::new(self)?.kept_frames(samples)?;
        (frames.len() == searched).then_some(frames)
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        // SAFETY: `raw` is a live decoder with one reference, ours; nothing borrowed from it
        // outlives `self`.
        unsafe { (self.api.ps_free)(self.raw.as_ptr()) };
    }
}

/// Walks over the pieces of a hypothesis; frees the iterator when left early.
struct Cursor<'a> {
    api: &'static Api,
    seg: Option<NonNull<PsSeg>>,
    decoder: PhantomData<&'a mut Decoder>,
}

impl<'a> Cursor<'a> {
    fn new(decoder: &'a mut Decoder) -> Self {
        // SAFETY: a live decoder between utterances; null means that it has not found anything.
        let seg = unsafe { (decoder.api.ps_seg_iter)(decoder.raw.as_ptr()) };
        Self {
            api: decoder.api,
            seg: NonNull::new(seg),
            decoder: PhantomData,
        }
    }

    /// The piece under the cursor; `None` if the library gives it no name or no place.
    fn piece(&self, seg: NonNull<PsSeg>, logmath: *mut LogMath) -> Option<Piece> {
        // SAFETY: `seg` is the live iterator of this cursor.
        let entry = unsafe { (self.api.ps_seg_word)(seg.as_ptr()) };
        if entry.is_null() {
            return None;
        }
        // SAFETY: not null, terminated, and valid until the iterator is advanced; copied before
        // that.
        let entry = unsafe { CStr::from_ptr(entry) }
            .to_string_lossy()
            .into_owned();
        let (mut first, mut last): (c_int, c_int) = (0, 0);
        // SAFETY: a live iterator; both results are places of ours of the right type.
        unsafe { (self.api.ps_seg_frames)(seg.as_ptr(), &raw mut first, &raw mut last) };
        // SAFETY: a live iterator; the library leaves out results whose pointer is null.
        let log = unsafe {
            (self.api.ps_seg_prob)(
                seg.as_ptr(),
                ptr::null_mut(),
                ptr::null_mut(),
                ptr::null_mut(),
            )
        };
        // SAFETY: `logmath` belongs to the decoder that this cursor borrows, and the number is in
        // its base.
        let probability = unsafe { (self.api.logmath_exp)(logmath, log) };
        Some(Piece {
            entry,
            first_frame: usize::try_from(first).ok()?,
            last_frame: usize::try_from(last).ok()?,
            probability,
        })
    }

    /// Go to the next piece.
    fn advance(&mut self, seg: NonNull<PsSeg>) {
        // SAFETY: `seg` is the live iterator of this cursor. At the end the library frees it and
        // returns null.
        self.seg = NonNull::new(unsafe { (self.api.ps_seg_next)(seg.as_ptr()) });
    }
}

impl Drop for Cursor<'_> {
    fn drop(&mut self) {
        if let Some(seg) = self.seg {
            // SAFETY: not at the end, so the iterator is live and still ours.
            unsafe { (self.api.ps_seg_free)(seg.as_ptr()) };
        }
    }
}

/// The decoder's own front end, borrowed between two utterances: the next one resets it.
struct FrontEnd<'a> {
    api: &'static Api,
    raw: NonNull<Fe>,
    /// Samples from the start of one frame to the start of the next.
    shift: usize,
    /// Samples in one frame; at least `shift`.
    size: usize,
    /// Room for the features of the frames that one call can give, row after row. They are not
    /// looked at. `mfcc_t` is `float`, or an integer of the same size.
    features: Vec<f32>,
    /// Features in one frame.
    width: usize,
    decoder: PhantomData<&'a mut Decoder>,
}

impl<'a> FrontEnd<'a> {
    /// `None` if the library's answers make no sense.
    fn new(decoder: &'a mut Decoder) -> Option<Self> {
        let api = decoder.api;
        // SAFETY: a live decoder; it keeps its front end as long as itself.
        let raw = NonNull::new(unsafe { (api.ps_get_fe)(decoder.raw.as_ptr()) })?;
        let (mut shift, mut size): (c_int, c_int) = (0, 0);
        // SAFETY: a live front end and two places of ours.
        unsafe { (api.fe_get_input_size)(raw.as_ptr(), &raw mut shift, &raw mut size) };
        // SAFETY: a live front end.
        let width = unsafe { (api.fe_get_output_size)(raw.as_ptr()) };
        let (shift, size) = (usize::try_from(shift).ok()?, usize::try_from(size).ok()?);
        let width = usize::try_from(width).ok()?;
        // When speech begins, the frames that led up to it come out all at once, with the one that
        // decided it.
        let held_back = usize::try_from(decoder.integer(c"-vad_prespeech")).ok()?;
        if shift == 0 || size < shift || width == 0 || held_back > 10_000 {
            return None;
        }
        Some(Self {
            api,
            raw,
            shift,
            size,
            features: vec![0.0; width * (held_back + 2)],
            width,
            decoder: PhantomData,
        })
    }

    /// The frames of the recording that are not dropped as silence, in order.
    fn kept_frames(&mut self, samples: &[i16]) -> Option<Vec<usize>> {
        // SAFETY: a live front end between utterances; this forgets the noise of the last run.
        unsafe { (self.api.fe_start_stream)(self.raw.as_ptr()) };
        // SAFETY: as before; this empties its buffers.
        if unsafe { (self.api.fe_start_utt)(self.raw.as_ptr()) } < 0 {
            return None;
        }
        let mut kept = Vec::new();
        let mut rest = samples;
        let mut frame: usize = 0;
        let mut need = self.size;
        // The first frame takes `size` samples, each further one `shift` more: one call, one frame
        // analysed.
        while let Some((samples, after)) = rest.split_at_checked(need) {
            let given = self.process(samples)?;
            kept.extend((frame + 1).checked_sub(given)?..frame + 1);
            rest = after;
            frame += 1;
            need = self.shift;
        }
        if !rest.is_empty() && self.process(rest)? != 0 {
            return None;
        }
        if self.finish()? {
            kept.push(frame);
        }
        Some(kept)
    }

    /// Feed samples for at most one frame; how many frames came out.
    fn process(&mut self, samples: &[i16]) -> Option<usize> {
        let mut rows: Vec<*mut f32> = self
            .features
            .chunks_exact_mut(self.width)
            .map(<[f32]>::as_mut_ptr)
            .collect();
        let mut count = i32::try_from(rows.len()).ok()?;
        let mut pointer = samples.as_ptr();
        let mut left = samples.len();
        // SAFETY: a live front end in an utterance. `pointer` and `left` describe a live slice that
        // is only read; `rows` holds `count` pointers to disjoint rows of `width` features, the
        // size that the front end writes; the last result is optional.
        let code = unsafe {
            (self.api.fe_process_frames)(
                self.raw.as_ptr(),
                &raw mut pointer,
                &raw mut left,
                rows.as_mut_ptr(),
                &raw mut count,
                ptr::null_mut(),
            )
        };
        if code < 0 || left != 0 {
            return None;
        }
        usize::try_from(count).ok()
    }

    /// End the utterance; whether a last, incomplete frame came out.
    fn finish(&mut self) -> Option<bool> {
        let mut count = 0;
        // SAFETY: a live front end in an utterance, and room for one row.
        let code = unsafe {
            (self.api.fe_end_utt)(
                self.raw.as_ptr(),
                self.features.as_mut_ptr(),
                &raw mut count,
            )
        };
        (code >= 0).then_some(count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_library_is_named() {
        let sonames = Sonames {
            decoder: "libpocketsphinx-that-nobody-has.so.3",
            ..SONAMES
        };
        let error = Api::open(sonames).err().expect("no such library");
        assert!(
            error.contains("libpocketsphinx-that-nobody-has.so.3"),
            "{error}"
        );
        assert!(error.contains("No such file"), "{error}");
    }

    #[test]
    fn a_library_without_the_symbols_is_an_unsupported_version() {
        let sonames = Sonames {
            decoder: "libm.so.6",
            ..SONAMES
        };
        let error = Api::open(sonames).err().expect("libm is no decoder");
        assert!(
            error.contains("unsupported version of libm.so.6"),
            "{error}"
        );
        assert!(error.contains("ps_args"), "{error}");
    }

    #[test]
    fn a_complaint_is_what_follows_the_place() {
        let line = "ERROR: \"acmod.c\", line 83: Folder '/x' does not contain acoustic model definition 'mdef'\n";
        assert_eq!(
            complaint(line),
            "Folder '/x' does not contain acoustic model definition 'mdef'"
        );
        assert_eq!(
            complaint("ERROR: No configuration specified"),
            "No configuration specified"
        );
        assert_eq!(complaint("FATAL: \"x"), "\"x");
        assert_eq!(complaint(""), "");
    }
}
