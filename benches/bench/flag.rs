//! A flag that ends others' work, raised however its holder ends: nobody waits for ever for one who panicked.

use std::sync::atomic::{AtomicBool, Ordering};

/// Raises its flag when it is dropped.
pub struct Raise<'a>(pub &'a AtomicBool);

impl Drop for Raise<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
