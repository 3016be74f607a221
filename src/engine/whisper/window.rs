//! Cuts the model's window of thirty seconds to the length of a piece.
//!
//! The encoder's work grows with the window, so a piece of 3 s need not cost as much as 30 s. Two
//! rules keep the text right (decision 47 has the figures).

use std::ffi::c_int;

use crate::engine::SAMPLE_RATE;

/// Samples of one place in the window: 20 ms.
const PLACE: usize = SAMPLE_RATE as usize / 50;

/// Places of silence after the piece: 1.3 s. Without them the model does not see that the speech
/// has ended, and makes more mistakes.
const SILENCE: usize = 64;

/// A cut window is a multiple of this. Flash attention reads whole blocks of so many places; in an
/// incomplete block it would read what the state keeps of an earlier run.
const BLOCK: usize = 256;

/// The part of the model's window that a run uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Window {
    /// This many places.
    Cut(c_int),
    /// All that the model has.
    Whole,
}

impl Window {
    /// The window for a piece of this many samples, of a model with `all` places.
    pub(super) fn of(samples: usize, all: c_int) -> Self {
        let places = (samples.div_ceil(PLACE) + SILENCE).next_multiple_of(BLOCK);
        match c_int::try_from(places) {
            Ok(places) if places < all => Self::Cut(places),
            _ => Self::Whole,
        }
    }

    /// The number of places, as the library wants it: 0 stands for all.
    pub(super) fn places(self) -> c_int {
        match self {
            Self::Cut(places) => places,
            Self::Whole => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: usize = SAMPLE_RATE as usize;

    #[test]
    fn a_window_is_as_long_as_the_piece_and_some_silence() {
        for (samples, window) in [
            (0, Window::Cut(256)),
            (3 * SECOND, Window::Cut(256)),
            // 192 places and 64 of silence fill the first block.
            (192 * PLACE, Window::Cut(256)),
            (192 * PLACE + 1, Window::Cut(512)),
            (10 * SECOND, Window::Cut(768)),
            (24 * SECOND, Window::Cut(1280)),
            (25 * SECOND, Window::Whole),
            (30 * SECOND, Window::Whole),
            (usize::MAX / 2, Window::Whole),
        ] {
            assert_eq!(Window::of(samples, 1500), window, "{samples}");
        }
    }

    #[test]
    fn a_small_model_has_no_larger_window_than_its_own() {
        assert_eq!(Window::of(SECOND, 256), Window::Whole);
        assert_eq!(Window::of(SECOND, 300), Window::Cut(256));
        assert_eq!(Window::of(4 * SECOND, 300), Window::Whole);
        assert_eq!(
            (Window::Cut(256).places(), Window::Whole.places()),
            (256, 0)
        );
    }
}
