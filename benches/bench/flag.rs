//! A flag that ends other threads' work. It is raised however its holder ends, so nobody waits for
//! a thread that panicked.

use std::sync::atomic::{AtomicBool, Ordering};

/// Raises its flag when it is dropped.
pub struct Raise<'a>(pub &'a AtomicBool);

impl Drop for Raise<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
