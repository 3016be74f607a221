//! Returns unused heap memory of this process to the kernel.
#![allow(unsafe_code)]

/// In bytes, both the free memory kept at the end of the heap and the size from which an allocation
/// is mapped by itself, to be unmapped when it is freed. Larger than a request needs, unless it has
/// thousands of words.
const KEPT: i32 = 256 << 10;

/// Make the allocator keep at most `KEPT`. By default glibc keeps twice the largest block that was
/// ever freed, up to 64 MiB: one long transcript would enlarge the service until it restarts.
pub fn keep_little() {
    for parameter in [libc::M_MMAP_THRESHOLD, libc::M_TRIM_THRESHOLD] {
        // SAFETY: sets a number inside the allocator, under its own lock; touches no memory of
        // ours.
        let is_set = unsafe { libc::mallopt(parameter, KEPT) } == 1;
        debug_assert!(is_set, "glibc knows both");
    }
}

/// Return all free pages to the kernel, also those in the middle of the heap. Many concurrent
/// requests and sessions leave such pages, and the allocator would never return them if the last of
/// those ended above them. Takes about 100 µs.
pub fn give_back() {
    let pad = 0;
    // SAFETY: walks the allocator's free blocks under its own locks; memory in use stays as it is.
    unsafe { libc::malloc_trim(pad) };
}
