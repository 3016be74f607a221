//! The only place that calls Microsoft's Speech SDK: the symbols of its core library, with safe
//! owners.
//!
//! The functions are declared as the SDK's own programs for other languages call them; nothing of
//! its headers is copied. Every handle is a pointer, and every result is a number: 0, or the handle
//! of an error. Tested with 1.53.0; the same declarations worked with 1.38.0, 1.41.1, 1.44.0 and
//! 1.46.0.

#![allow(unsafe_code)]

use std::{
    ffi::{CStr, CString, c_char, c_int, c_void},
    fmt,
    path::Path,
    ptr,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    time::Duration,
};

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

/// The SDK's part for this platform. The core library opens it for its first recogniser; if it was
/// opened before, the core library cannot connect. It exists since 1.38, and every version before
/// that needs OpenSSL 1.1. The core library does not tell its version.
const PLATFORM: &str = "libpal_azure_c_shared_openssl3.so";

/// The library that this part needs: `libssl3`. It is opened first, since without it every
/// recognition fails with "error 2407".
const OPENSSL: [&str; 2] = ["libcrypto.so.3", "libssl.so.3"];

/// Handle of one of the SDK's objects.
type Raw = *mut c_void;
/// 0, or the handle of an error.
type Status = usize;
/// Called on the SDK's own threads with a recogniser, an event that the callee must release, and
/// the context.
type Callback = unsafe extern "C" fn(Raw, Raw, *mut c_void);
type Release = unsafe extern "C" fn(Raw) -> Status;

/// Defines the table of functions and the way to fill it: one line for each symbol, in one place.
macro_rules! symbols {
    ($($name:ident: fn($($argument:ty),*) -> $result:ty;)*) => {
        /// Every function used, resolved once.
        struct Api {
            $($name: unsafe extern "C" fn($($argument),*) -> $result,)*
        }

        impl Api {
            /// Look up every symbol; the error names the first one missing.
            fn resolve(library: &Library) -> Result<Self, &'static str> {
                Ok(Self {
                    $($name: {
                        // SAFETY: the type is that of the function of this name, as the module's
                        // head says. The pointer outlives `Library` because that was opened with
                        // RTLD_NODELETE.
                        let symbol = unsafe {
                            library.get::<unsafe extern "C" fn($($argument),*) -> $result>(stringify!($name))
                        };
                        *symbol.map_err(|_| stringify!($name))?
                    },)*
                })
            }
        }
    };
}

symbols! {
    error_get_error_code: fn(Raw) -> Status;
    error_get_message: fn(Raw) -> *const c_char;
    error_release: fn(Raw) -> Status;
    speech_config_from_subscription: fn(*mut Raw, *const c_char, *const c_char) -> Status;
    speech_config_from_host: fn(*mut Raw, *const c_char, *const c_char) -> Status;
    speech_config_from_endpoint: fn(*mut Raw, *const c_char, *const c_char) -> Status;
    speech_config_set_service_property: fn(Raw, *const c_char, *const c_char, c_int) -> Status;
    speech_config_get_property_bag: fn(Raw, *mut Raw) -> Status;
    speech_config_release: fn(Raw) -> Status;
    property_bag_set_string: fn(Raw, c_int, *const c_char, *const c_char) -> Status;
    property_bag_get_string: fn(Raw, c_int, *const c_char, *const c_char) -> *const c_char;
    property_bag_free_string: fn(*const c_char) -> Status;
    property_bag_release: fn(Raw) -> Status;
    audio_stream_format_create_from_waveformat_pcm: fn(*mut Raw, u32, u8, u8) -> Status;
    audio_stream_format_release: fn(Raw) -> Status;
    audio_stream_create_push_audio_input_stream: fn(*mut Raw, Raw) -> Status;
    push_audio_input_stream_write: fn(Raw, *mut u8, u32) -> Status;
    push_audio_input_stream_close: fn(Raw) -> Status;
    audio_stream_release: fn(Raw) -> Status;
    audio_config_create_audio_input_from_stream: fn(*mut Raw, Raw) -> Status;
    audio_config_release: fn(Raw) -> Status;
    recognizer_create_speech_recognizer_from_config: fn(*mut Raw, Raw, Raw) -> Status;
    recognizer_handle_release: fn(Raw) -> Status;
    recognizer_start_continuous_recognition_async: fn(Raw, *mut Raw) -> Status;
    recognizer_start_continuous_recognition_async_wait_for: fn(Raw, u32) -> Status;
    recognizer_stop_continuous_recognition_async: fn(Raw, *mut Raw) -> Status;
    recognizer_stop_continuous_recognition_async_wait_for: fn(Raw, u32) -> Status;
    recognizer_async_handle_release: fn(Raw) -> Status;
    recognizer_speech_start_detected_set_callback: fn(Raw, Option<Callback>, *mut c_void) -> Status;
    recognizer_speech_end_detected_set_callback: fn(Raw, Option<Callback>, *mut c_void) -> Status;
    recognizer_recognizing_set_callback: fn(Raw, Option<Callback>, *mut c_void) -> Status;
    recognizer_recognized_set_callback: fn(Raw, Option<Callback>, *mut c_void) -> Status;
    recognizer_canceled_set_callback: fn(Raw, Option<Callback>, *mut c_void) -> Status;
    recognizer_session_stopped_set_callback: fn(Raw, Option<Callback>, *mut c_void) -> Status;
    recognizer_recognition_event_get_result: fn(Raw, *mut Raw) -> Status;
    recognizer_event_handle_release: fn(Raw) -> Status;
    recognizer_result_handle_release: fn(Raw) -> Status;
    result_get_reason: fn(Raw, *mut c_int) -> Status;
    result_get_offset: fn(Raw, *mut u64) -> Status;
    result_get_reason_canceled: fn(Raw, *mut c_int) -> Status;
    result_get_canceled_error_code: fn(Raw, *mut c_int) -> Status;
    result_get_property_bag: fn(Raw, *mut Raw) -> Status;
    phrase_list_grammar_from_recognizer_by_name: fn(*mut Raw, Raw, *const c_char) -> Status;
    phrase_list_grammar_add_phrase: fn(Raw, Raw) -> Status;
    grammar_phrase_create_from_text: fn(*mut Raw, *const c_char) -> Status;
    grammar_phrase_handle_release: fn(Raw) -> Status;
    grammar_handle_release: fn(Raw) -> Status;
}

/// A property that the SDK knows by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub(super) enum Property {
    /// The language to be recognised.
    Language = 3001,
    /// `true`: results with everything that the service knows.
    Detailed = 4000,
    /// `true`: with the times of words.
    WordTimes = 4004,
    /// A result as the service sent it.
    Json = 5000,
    /// Why a recognition was cancelled.
    ErrorDetails = 5001,
}

/// The SDK's message about a failure.
#[derive(Debug)]
pub(super) struct SdkError {
    what: &'static str,
    code: Status,
    message: String,
}

impl fmt::Display for SdkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            what,
            code,
            message,
        } = self;
        write!(f, "{what} failed ({code:#x}): {message}")
    }
}

/// The SDK, open for the rest of the life of the process.
pub(super) struct Sdk {
    api: Api,
}

/// Calls a function of the SDK's, and gives its status the name of the function.
macro_rules! call {
    ($sdk:expr, $name:ident($($argument:expr),*)) => {{
        let sdk: &Sdk = $sdk;
        // SAFETY: every handle given is one that the SDK made and that its owner, a `Handle` that
        // is alive during the call, has not yet released; strings are NUL-terminated and copied;
        // what is written to is a live local.
        let status = unsafe { (sdk.api.$name)($($argument),*) };
        sdk.check(stringify!($name), status)
    }};
}

/// Owns one object of the SDK.
struct Handle {
    raw: Raw,
    release: Release,
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: the SDK made the handle for us, and this is the only place that releases it,
        // once, by the function for its kind.
        unsafe { (self.release)(self.raw) };
    }
}

impl Sdk {
    /// Open the core library at `path`.
    ///
    /// # Errors
    /// The library that is missing or too old, and what to do.
    pub(super) fn open(path: &Path) -> Result<&'static Self, String> {
        let folder = path.parent().unwrap_or(Path::new("/"));
        let platform = folder.join(PLATFORM);
        if !platform.exists() {
            return Err(format!(
                "{} does not exist: it belongs beside the core library from version 1.38 of the SDK on, and older ones \
                 cannot be used",
                platform.display()
            ));
        }
        for name in OPENSSL {
            open_library(Path::new(name))
                .map_err(|reason| format!("{reason}; install libssl3 (OpenSSL 3)"))?;
        }
        let core = open_library(path)?;
        let api = Api::resolve(&core).map_err(|symbol| {
            format!(
                "{} has no {symbol}: it is no version from 1.38 on",
                path.display()
            )
        })?;
        Ok(Box::leak(Box::new(Self { api })))
    }

    /// The object that `make` puts into the place it is given.
    fn make(
        &'static self,
        release: Release,
        make: impl FnOnce(*mut Raw) -> Result<(), SdkError>,
    ) -> Result<Handle, SdkError> {
        let mut raw: Raw = ptr::null_mut();
        make(&raw mut raw)?;
        Ok(Handle { raw, release })
    }

    fn check(&self, what: &'static str, status: Status) -> Result<(), SdkError> {
        if status == 0 {
            return Ok(());
        }
        // Not a pointer of ours, but the number by which the library knows the error.
        let error = ptr::without_provenance_mut(status);
        // SAFETY: a status that is not 0 is the handle of an error, which is released below.
        let code = unsafe { (self.api.error_get_error_code)(error) };
        // SAFETY: as above.
        let message = unsafe { (self.api.error_get_message)(error) };
        let message = if message.is_null() {
            String::new()
        } else {
            // SAFETY: not null, so it is a C string that lives until the error is released.
            let text = unsafe { CStr::from_ptr(message) }.to_string_lossy();
            // Before it stands where in the library that was.
            let last = text.lines().rfind(|line| !line.trim().is_empty());
            last.unwrap_or_default().trim().to_owned()
        };
        // SAFETY: as above; nothing uses it any more.
        unsafe { (self.api.error_release)(error) };
        Err(SdkError {
            what,
            code,
            message,
        })
    }

    /// The property of the object that `bag` belongs to; empty if it has none.
    fn property(&self, bag: &Handle, property: Property) -> String {
        // SAFETY: the bag is alive; without a name the number counts; the default is a C string.
        let text = unsafe {
            (self.api.property_bag_get_string)(
                bag.raw,
                property as c_int,
                ptr::null(),
                c"".as_ptr(),
            )
        };
        if text.is_null() {
            return String::new();
        }
        // SAFETY: not null, so it is a C string that is ours until it is freed below.
        let copy = unsafe { CStr::from_ptr(text) }
            .to_string_lossy()
            .into_owned();
        // SAFETY: it came from property_bag_get_string, and nothing uses it any more.
        unsafe { (self.api.property_bag_free_string)(text) };
        copy
    }
}

/// Open one library for the rest of the life of the process.
///
/// # Errors
/// The error of the dynamic linker.
fn open_library(path: &Path) -> Result<Library, String> {
    let flags = RTLD_NOW | RTLD_LOCAL | libc::RTLD_NODELETE;
    // SAFETY: this runs the library's initialisers. It is the one that the administrator named, or
    // OpenSSL's, and this process is a job, which is confined.
    unsafe { Library::open(Some(path), flags) }.map_err(|error| {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        let cause = cause.unwrap_or_else(|| error.to_string());
        format!("cannot open {}: {cause}", path.display())
    })
}

/// Address of the service.
pub(super) enum Address<'a> {
    Region(&'a CStr),
    Host(&'a CStr),
    Endpoint(&'a CStr),
}

/// Settings for recognisers: service, key, and properties.
pub(super) struct Config {
    sdk: &'static Sdk,
    bag: Handle,
    handle: Handle,
}

impl Config {
    /// Settings for this service, which knows us by this key.
    ///
    /// # Errors
    /// The message of the SDK.
    pub(super) fn new(
        sdk: &'static Sdk,
        address: &Address<'_>,
        key: Option<&CStr>,
    ) -> Result<Self, SdkError> {
        let key = key.map_or(ptr::null(), CStr::as_ptr);
        let handle = match address {
            Address::Region(region) => sdk.make(sdk.api.speech_config_release, |place| {
                call!(
                    sdk,
                    speech_config_from_subscription(place, key, region.as_ptr())
                )
            }),
            Address::Host(host) => sdk.make(sdk.api.speech_config_release, |place| {
                call!(sdk, speech_config_from_host(place, host.as_ptr(), key))
            }),
            Address::Endpoint(url) => sdk.make(sdk.api.speech_config_release, |place| {
                call!(sdk, speech_config_from_endpoint(place, url.as_ptr(), key))
            }),
        }?;
        let bag = sdk.make(sdk.api.property_bag_release, |place| {
            call!(sdk, speech_config_get_property_bag(handle.raw, place))
        })?;
        Ok(Self { sdk, bag, handle })
    }

    /// Set a property of all recognisers that are made from now on.
    ///
    /// # Errors
    /// The message of the SDK.
    pub(super) fn set(&mut self, property: Property, value: &CStr) -> Result<(), SdkError> {
        let bag = self.bag.raw;
        call!(
            self.sdk,
            property_bag_set_string(bag, property as c_int, ptr::null(), value.as_ptr())
        )
    }

    /// Set a property that has a name.
    ///
    /// # Errors
    /// The message of the SDK.
    pub(super) fn set_named(&mut self, name: &CStr, value: &CStr) -> Result<(), SdkError> {
        let bag = self.bag.raw;
        call!(
            self.sdk,
            property_bag_set_string(bag, -1, name.as_ptr(), value.as_ptr())
        )
    }

    /// Set a property that the SDK passes to the service, in the query of its address.
    ///
    /// # Errors
    /// The message of the SDK.
    pub(super) fn ask_service(&mut self, name: &CStr, value: &CStr) -> Result<(), SdkError> {
        let handle = self.handle.raw;
        call!(
            self.sdk,
            speech_config_set_service_property(handle, name.as_ptr(), value.as_ptr(), 0)
        )
    }
}

/// Events of a recognition.
#[derive(Debug)]
pub(super) enum Event {
    /// The service has said something.
    Sign,
    /// The service hears something, to which a result must come.
    Begun,
    /// That is no speech.
    Nothing,
    /// A phrase is final.
    Phrase {
        /// The service's message about the phrase.
        json: String,
        /// Where it begins in the recording, in units of 100 ns. In the JSON times are counted from
        /// the beginning of a connection, of which a long recording may need several.
        offset: u64,
    },
    /// The recognition ended before the recording did.
    Failed {
        /// Kind of the failure: 1 to 9, see `Trouble`; 0 if the SDK does not say.
        code: i32,
        /// Words of the SDK and the service.
        details: String,
    },
    /// The recognition is over.
    Stopped,
}

/// Most events that wait. The SDK's thread waits for room, so nothing is lost.
const EVENTS: usize = 1024;

/// `ResultReason`, as far as it matters.
mod reason {
    pub(super) const NO_MATCH: i32 = 0;
    pub(super) const CANCELED: i32 = 1;
    pub(super) const RECOGNIZED: i32 = 3;
    /// `CancellationReason`: the end of the audio, as it should be, is another.
    pub(super) const ERROR: i32 = 1;
}

/// The data that the SDK's threads use. It is never freed, because nothing tells when the last
/// thread has ended.
struct Listener {
    sdk: &'static Sdk,
    events: SyncSender<Event>,
}

impl Listener {
    /// The meaning of a result's event.
    fn understand(&self, event: &Handle) -> Result<Event, SdkError> {
        let sdk = self.sdk;
        let result = sdk.make(sdk.api.recognizer_result_handle_release, |place| {
            call!(
                sdk,
                recognizer_recognition_event_get_result(event.raw, place)
            )
        })?;
        let mut reason = 0;
        call!(sdk, result_get_reason(result.raw, &raw mut reason))?;
        match reason {
            reason::RECOGNIZED => {
                let mut offset = 0;
                call!(sdk, result_get_offset(result.raw, &raw mut offset))?;
                let json = sdk.property(&self.bag(&result)?, Property::Json);
                Ok(Event::Phrase { json, offset })
            }
            reason::CANCELED => {
                let mut why = 0;
                call!(sdk, result_get_reason_canceled(result.raw, &raw mut why))?;
                if why != reason::ERROR {
                    return Ok(Event::Sign);
                }
                let mut code = 0;
                call!(
                    sdk,
                    result_get_canceled_error_code(result.raw, &raw mut code)
                )?;
                let details = sdk.property(&self.bag(&result)?, Property::ErrorDetails);
                Ok(Event::Failed { code, details })
            }
            reason::NO_MATCH => Ok(Event::Nothing),
            _ => Ok(Event::Sign),
        }
    }

    fn bag(&self, result: &Handle) -> Result<Handle, SdkError> {
        self.sdk.make(self.sdk.api.property_bag_release, |place| {
            call!(self.sdk, result_get_property_bag(result.raw, place))
        })
    }

    /// The listener and the event of a callback.
    ///
    /// # Safety
    /// Both must be what the SDK passed to a callback that [`Session::open`] set.
    unsafe fn called(event: Raw, context: *mut c_void) -> (&'static Self, Handle) {
        // SAFETY: the context is the listener that was leaked for this very purpose.
        let listener: &'static Self = unsafe { &*context.cast_const().cast::<Self>() };
        let release = listener.sdk.api.recognizer_event_handle_release;
        let event = Handle {
            raw: event,
            release,
        };
        (listener, event)
    }
}

/// A result, or the end by an error. Runs on a thread of the SDK.
unsafe extern "C" fn heard(_recognizer: Raw, event: Raw, context: *mut c_void) {
    // SAFETY: this is such a callback.
    let (listener, event) = unsafe { Listener::called(event, context) };
    let event = listener
        .understand(&event)
        .unwrap_or_else(|error| Event::Failed {
            code: 0,
            details: error.to_string(),
        });
    let _ = match event {
        // Another event would say nothing new.
        Event::Sign => listener.events.try_send(event).is_ok(),
        _ => listener.events.send(event).is_ok(),
    };
}

/// The service sent something else. Runs on a thread of the SDK.
unsafe extern "C" fn noticed(_recognizer: Raw, event: Raw, context: *mut c_void) {
    // SAFETY: this is such a callback.
    let (listener, _event) = unsafe { Listener::called(event, context) };
    let _ = listener.events.try_send(Event::Sign);
}

/// The service hears something. Runs on a thread of the SDK.
unsafe extern "C" fn begun(_recognizer: Raw, event: Raw, context: *mut c_void) {
    // SAFETY: this is such a callback.
    let (listener, _event) = unsafe { Listener::called(event, context) };
    let _ = listener.events.send(Event::Begun);
}

/// The recognition is over. Runs on a thread of the SDK.
unsafe extern "C" fn stopped(_recognizer: Raw, event: Raw, context: *mut c_void) {
    // SAFETY: this is such a callback.
    let (listener, _event) = unsafe { Listener::called(event, context) };
    let _ = listener.events.send(Event::Stopped);
}

/// One recording on its way through a recogniser. Dropping it waits until the library has released
/// it, which takes 60 ms after a good end, and 10 s after a failure: so after a failure, forget it.
pub(super) struct Session {
    sdk: &'static Sdk,
    /// Taken before the rest is released, so that no thread of the SDK waits for room in a queue
    /// that nobody empties.
    events: Option<Receiver<Event>>,
    is_started: bool,
    // The fields are in the order in which they must be released.
    recognizer: Handle,
    _audio: Handle,
    stream: Handle,
    _format: Handle,
}

impl Session {
    /// A recogniser for mono samples of 16 bits at this rate, not yet started.
    ///
    /// # Errors
    /// The message of the SDK.
    pub(super) fn open(config: &Config, rate: u32) -> Result<Self, SdkError> {
        let sdk = config.sdk;
        let format = sdk.make(sdk.api.audio_stream_format_release, |place| {
            call!(
                sdk,
                audio_stream_format_create_from_waveformat_pcm(place, rate, 16, 1)
            )
        })?;
        let stream = sdk.make(sdk.api.audio_stream_release, |place| {
            call!(
                sdk,
                audio_stream_create_push_audio_input_stream(place, format.raw)
            )
        })?;
        let audio = sdk.make(sdk.api.audio_config_release, |place| {
            call!(
                sdk,
                audio_config_create_audio_input_from_stream(place, stream.raw)
            )
        })?;
        let recognizer = sdk.make(sdk.api.recognizer_handle_release, |place| {
            call!(
                sdk,
                recognizer_create_speech_recognizer_from_config(
                    place,
                    config.handle.raw,
                    audio.raw
                )
            )
        })?;
        let (sender, events) = sync_channel(EVENTS);
        let listener: &'static Listener = Box::leak(Box::new(Listener {
            sdk,
            events: sender,
        }));
        let context = ptr::from_ref(listener).cast_mut().cast::<c_void>();
        let of = recognizer.raw;
        call!(
            sdk,
            recognizer_speech_start_detected_set_callback(of, Some(begun), context)
        )?;
        call!(
            sdk,
            recognizer_speech_end_detected_set_callback(of, Some(noticed), context)
        )?;
        call!(
            sdk,
            recognizer_recognizing_set_callback(of, Some(noticed), context)
        )?;
        call!(
            sdk,
            recognizer_recognized_set_callback(of, Some(heard), context)
        )?;
        call!(
            sdk,
            recognizer_canceled_set_callback(of, Some(heard), context)
        )?;
        call!(
            sdk,
            recognizer_session_stopped_set_callback(of, Some(stopped), context)
        )?;
        Ok(Self {
            sdk,
            events: Some(events),
            is_started: false,
            recognizer,
            _audio: audio,
            stream,
            _format: format,
        })
    }

    /// Words and names that are likely to be said.
    ///
    /// # Errors
    /// The message of the SDK.
    pub(super) fn expect(&mut self, phrases: &[CString]) -> Result<(), SdkError> {
        if phrases.is_empty() {
            return Ok(());
        }
        let sdk = self.sdk;
        let list = sdk.make(sdk.api.grammar_handle_release, |place| {
            call!(
                sdk,
                phrase_list_grammar_from_recognizer_by_name(
                    place,
                    self.recognizer.raw,
                    c"".as_ptr()
                )
            )
        })?;
        for phrase in phrases {
            let phrase = sdk.make(sdk.api.grammar_phrase_handle_release, |place| {
                call!(sdk, grammar_phrase_create_from_text(place, phrase.as_ptr()))
            })?;
            call!(sdk, phrase_list_grammar_add_phrase(list.raw, phrase.raw))?;
        }
        Ok(())
    }

    /// Begin, within this time.
    ///
    /// # Errors
    /// The message of the SDK.
    pub(super) fn start(&mut self, within: Duration) -> Result<(), SdkError> {
        let sdk = self.sdk;
        let start = sdk.make(sdk.api.recognizer_async_handle_release, |place| {
            call!(
                sdk,
                recognizer_start_continuous_recognition_async(self.recognizer.raw, place)
            )
        })?;
        self.is_started = true;
        call!(
            sdk,
            recognizer_start_continuous_recognition_async_wait_for(start.raw, milliseconds(within))
        )
    }

    /// Send more samples.
    ///
    /// # Errors
    /// The message of the SDK.
    pub(super) fn push(&mut self, samples: &[i16]) -> Result<(), SdkError> {
        let mut bytes: Vec<u8> = samples
            .iter()
            .flat_map(|sample| sample.to_le_bytes())
            .collect();
        for chunk in bytes.chunks_mut(1 << 16) {
            let length = u32::try_from(chunk.len()).unwrap_or(0);
            call!(
                self.sdk,
                push_audio_input_stream_write(self.stream.raw, chunk.as_mut_ptr(), length)
            )?;
        }
        Ok(())
    }

    /// Tell that there are no more samples.
    ///
    /// # Errors
    /// The message of the SDK.
    pub(super) fn finish(&mut self) -> Result<(), SdkError> {
        call!(self.sdk, push_audio_input_stream_close(self.stream.raw))
    }

    /// The next event, if one comes in time.
    pub(super) fn next(&self, within: Duration) -> Option<Event> {
        self.events.as_ref()?.recv_timeout(within).ok()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.events = None;
        let (sdk, of) = (self.sdk, self.recognizer.raw);
        if self.is_started {
            let stop = sdk.make(sdk.api.recognizer_async_handle_release, |place| {
                call!(sdk, recognizer_stop_continuous_recognition_async(of, place))
            });
            if let Ok(stop) = stop {
                let _ = call!(
                    sdk,
                    recognizer_stop_continuous_recognition_async_wait_for(
                        stop.raw,
                        milliseconds(STOP)
                    )
                );
            }
        }
        let nothing = ptr::null_mut();
        let _ = call!(
            sdk,
            recognizer_speech_start_detected_set_callback(of, None, nothing)
        );
        let _ = call!(
            sdk,
            recognizer_speech_end_detected_set_callback(of, None, nothing)
        );
        let _ = call!(sdk, recognizer_recognizing_set_callback(of, None, nothing));
        let _ = call!(sdk, recognizer_recognized_set_callback(of, None, nothing));
        let _ = call!(sdk, recognizer_canceled_set_callback(of, None, nothing));
        let _ = call!(
            sdk,
            recognizer_session_stopped_set_callback(of, None, nothing)
        );
    }
}

/// How long a recogniser that has done its work may take to stop.
const STOP: Duration = Duration::from_secs(2);

fn milliseconds(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}
