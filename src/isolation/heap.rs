//! The heap of this process: what it has no use for any more goes back to the kernel.
#![allow(unsafe_code)]

/// Free memory at the heap's end that is kept for what comes next, and size from which a piece is mapped by itself and
/// unmapped when it is freed, both in bytes. More than a request without thousands of words takes.
const KEPT: i32 = 256 << 10;

/// Have the allocator keep no more than that. Left to itself glibc keeps twice as much as the largest piece that was ever
/// freed, up to 64 MiB: for one long transcript a service would be large for ever.
pub fn keep_little() {
    for parameter in [libc::M_MMAP_THRESHOLD, libc::M_TRIM_THRESHOLD] {
        // SAFETY: sets a number within the allocator, under its own lock; touches no memory of ours.
        let is_set = unsafe { libc::mallopt(parameter, KEPT) } == 1;
        debug_assert!(is_set, "glibc knows both");
    }
}

/// Give back all pages that are free now, in the middle of the heap as well: what many requests at once have left there
/// would stay for ever where one of them ended last. Takes some 100 µs.
pub fn give_back() {
    let pad = 0;
    // SAFETY: looks through the allocator's free pieces under its own locks; memory that is in use stays as it is.
    unsafe { libc::malloc_trim(pad) };
}
