//! Marks the thread that decodes, for the panic hook.

use std::cell::Cell;

thread_local! {
    static DECODING: Cell<bool> = const { Cell::new(false) };
}

/// True if this thread is inside the decoder.
///
/// Crafted files make Symphonia 0.6.1 panic: a Vorbis header whose codebooks have absurd dimensions
/// or lengths, an MP4 sample at an offset beyond 2^63. If panics abort, they cannot be caught, but
/// the panic hook still runs. There this function tells a bad recording from a bug of ours.
#[must_use]
pub fn is_decoding() -> bool {
    DECODING.get()
}

/// While it exists, [`is_decoding`] returns true.
pub(super) struct Mark;

impl Mark {
    pub(super) fn set() -> Self {
        DECODING.set(true);
        Self
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        DECODING.set(false);
    }
}
