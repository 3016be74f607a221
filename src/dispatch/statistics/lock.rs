//! Locks over numbers, which no panic can leave unsound.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Lock `mutex`. Nothing can panic while it holds one of these, so a poisoned one is sound too.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
