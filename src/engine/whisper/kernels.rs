//! Replaces whisper.cpp's kernels by those for a newer CPU, if this machine has one.
//!
//! The kernels that are compiled in run on every CPU with AVX2. `packaging/kernels` builds the same
//! source again for newer CPUs, as a shared library. The library registers itself as any of
//! whisper.cpp's backends does.
#![allow(unsafe_code)]

use std::{
    env,
    ffi::CString,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use libloading::os::unix::Library;
use whisper_rs::{
    WHISPER_CPP_VERSION,
    whisper_rs_sys::{
        ggml_backend_load, ggml_backend_reg_by_name, ggml_backend_register, ggml_backend_unload,
        ggml_log_callback,
    },
};

/// The folder of the kernels, seen from the folder of the program.
const FOLDER: &str = "../lib/stt-isolated";

/// The function of the kernels' library by which it is told who hears its messages.
type SetLog = unsafe extern "C" fn(ggml_log_callback, *mut std::ffi::c_void);

/// The file of the best kernels for this CPU; `None` if those that are compiled in are the best.
/// Its name has the library's version, so that a service that runs on while it is upgraded does not
/// load another.
///
/// Call it first before the process is confined: afterwards it may not know where its program is.
pub(super) fn file() -> Option<&'static Path> {
    static FILE: OnceLock<Option<PathBuf>> = OnceLock::new();
    FILE.get_or_init(|| {
        let level = level()?;
        let program = env::current_exe().ok()?;
        let name = format!("whisper-{WHISPER_CPP_VERSION}-{level}.so");
        let file = program.parent()?.join(FOLDER).join(name);
        file.canonicalize().ok()
    })
    .as_deref()
}

/// The newest instructions that there are kernels for and that this CPU knows.
fn level() -> Option<&'static str> {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512cd")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vbmi")
        && is_x86_feature_detected!("avx512vnni")
        && is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("f16c")
        && is_x86_feature_detected!("bmi2")
    {
        return Some("avx512");
    }
    None
}

/// Use the best kernels from now on; `listener` hears their messages. If they cannot be loaded, the
/// ones that are compiled in stay.
pub(super) fn choose(listener: ggml_log_callback) {
    static CHOSEN: OnceLock<()> = OnceLock::new();
    CHOSEN.get_or_init(|| {
        if let Some(file) = file() {
            let _ = load(file, listener);
        }
    });
}

fn load(file: &Path, listener: ggml_log_callback) -> Option<()> {
    let path = CString::new(file.as_os_str().as_bytes()).ok()?;
    // SAFETY: the library comes with this program, and its constructors need nothing.
    let library = unsafe { Library::new(file) }.ok()?;
    // SAFETY: the function of this name has this type in every version of the library.
    let set_log = unsafe { library.get::<SetLog>(b"ggml_log_set\0") }.ok()?;
    // SAFETY: the listener may be called at any time, and uses no data.
    unsafe { set_log(listener, std::ptr::null_mut()) };
    // SAFETY: the name is NUL-terminated.
    let own = unsafe { ggml_backend_reg_by_name(c"CPU".as_ptr()) };
    if own.is_null() {
        return None;
    }
    // SAFETY: no model is loaded yet, so nothing uses the kernels. They are part of this program:
    // only the list of kernels forgets them.
    unsafe { ggml_backend_unload(own) };
    // SAFETY: the path is NUL-terminated.
    let newer = unsafe { ggml_backend_load(path.as_ptr()) };
    if newer.is_null() {
        // SAFETY: the kernels are those that were in the list before.
        unsafe { ggml_backend_register(own) };
        return None;
    }
    // It stays loaded as long as the process lives.
    std::mem::forget(library);
    Some(())
}
