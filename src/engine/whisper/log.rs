//! Keeps whisper.cpp's error messages.
#![allow(unsafe_code)]

use std::{
    ffi::{CStr, c_char, c_void},
    fmt::Display,
    mem,
    sync::{Mutex, PoisonError},
};

use whisper_rs::{set_log_callback, whisper_rs_sys};

/// The first complaint since the last question. Later ones are its consequences.
static COMPLAINT: Mutex<String> = Mutex::new(String::new());

/// Keep complaints and drop everything else. By default, the library writes dozens of lines for
/// each model and job to stderr.
pub(super) fn listen() {
    // SAFETY: the function may be called from any thread at any time, and does not panic.
    unsafe { set_log_callback(Some(hear), std::ptr::null_mut()) };
}

/// The reason of a failure: in the library's words if it had any, else those of `error`.
pub(super) fn reason(error: impl Display) -> String {
    let mut complaint = COMPLAINT.lock().unwrap_or_else(PoisonError::into_inner);
    let complaint = mem::take(&mut *complaint);
    if complaint.is_empty() {
        return error.to_string();
    }
    complaint
}

/// Keep a message of the library if it is the first complaint.
///
/// # Safety
/// `text` is null or NUL-terminated.
pub(super) unsafe extern "C" fn hear(
    level: whisper_rs_sys::ggml_log_level,
    text: *const c_char,
    _: *mut c_void,
) {
    if level != whisper_rs_sys::ggml_log_level_GGML_LOG_LEVEL_ERROR || text.is_null() {
        return;
    }
    // SAFETY: the library passes a NUL-terminated text that lives until this returns.
    let text = unsafe { CStr::from_ptr(text) }.to_string_lossy();
    let mut complaint = COMPLAINT.lock().unwrap_or_else(PoisonError::into_inner);
    if complaint.is_empty() {
        // `whisper_model_load: unknown tensor …`
        let text = text.split_once(": ").map_or(&*text, |(_, text)| text);
        *complaint = text.trim().chars().take(300).collect();
    }
}
