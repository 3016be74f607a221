//! Leaves a mark of a request in memory, and searches for it from another request.
//!
//! A mark is never kept as it is given but with each bit pattern of [`VEIL`] changed, so that the
//! request which asks for it does not find itself.
//!
//! The search needs no `/proc`: it walks from addresses that it knows (stack, heap, static memory,
//! code, libraries, mapped memory) page by page in both directions, across gaps of up to [`GAP`]
//! pages, and asks the kernel before each whether it can be read. That covers the program with all
//! its libraries, the heap, the stack and all mapped memory near the libraries, where the kernel
//! puts everything that is mapped without an address of its own; it does not cover a mapping that
//! somebody put more than [`GAP`] pages away from every other.
#![allow(unsafe_code)]

use std::{
    collections::HashSet,
    hint::black_box,
    sync::atomic::{AtomicU8, Ordering},
};

use nix::errno::Errno;

use super::escape::sys;

const VEIL: u8 = 0x5a;

const PAGE: usize = 4096;

/// 128 MiB: more than the space that one thread's heap reserves.
const GAP: usize = 1 << 15;

/// No walk is longer than 8 GiB.
const LONGEST: usize = 2 << 20;

static STATIC: [AtomicU8; 2 * PAGE] = [const { AtomicU8::new(0) }; 2 * PAGE];

/// Leave `mark` wherever a request can leave something: all of it stays when the request is over.
pub(super) fn plant(mark: &str) {
    let veiled: Vec<u8> = mark.bytes().map(|byte| byte ^ VEIL).collect();
    let fill = |memory: &mut [u8]| {
        for copy in memory.chunks_exact_mut(veiled.len()) {
            copy.copy_from_slice(&veiled);
        }
    };
    // Never freed, freed, and so large that it is mapped.
    for size in [256, 16 << 10, 4 << 20] {
        let mut lost = vec![0_u8; size];
        fill(&mut lost);
        black_box(lost.leak());
        let mut freed = vec![0_u8; size];
        fill(&mut freed);
        drop(black_box(freed));
    }
    for (byte, value) in STATIC.iter().zip(veiled.iter().cycle()) {
        byte.store(*value, Ordering::Relaxed);
    }
    let mut stack = [0_u8; 8 * PAGE];
    fill(&mut stack);
    black_box(&mut stack);
}

/// Look for `mark` in all memory; the text to answer with.
pub(super) fn search(mark: &str) -> String {
    let mut walk = Walk {
        mark: mark.as_bytes(),
        seen: HashSet::new(),
        page: Box::new([0; PAGE]),
    };
    let found = starts().into_iter().any(|start| walk.around(start));
    let kibibytes = walk.seen.len() * (PAGE >> 10);
    if found {
        format!("ESCAPED escape-leftovers after {kibibytes} KiB")
    } else {
        let errno = Errno::ENOENT;
        format!("denied escape-leftovers {errno:?} in {kibibytes} KiB")
    }
}

/// An address in each region that is known.
fn starts() -> Vec<usize> {
    let local = 0_u8;
    let (small, large) = (vec![0_u8; 64], vec![0_u8; 1 << 20]);
    let code: fn(&str) -> String = search;
    // SAFETY: sbrk(0) only tells where the heap ends.
    let heap = unsafe { libc::sbrk(0) };
    vec![
        std::ptr::from_ref(&local).addr(),
        STATIC.as_ptr().addr(),
        code as usize,
        heap.addr().saturating_sub(1),
        small.as_ptr().addr(),
        large.as_ptr().addr(),
        libc::getpid as *const () as usize,
    ]
}

struct Walk<'a> {
    mark: &'a [u8],
    /// Numbers of the pages that were searched.
    seen: HashSet<usize>,
    page: Box<[u8; PAGE]>,
}

impl Walk<'_> {
    /// Whether the mark is somewhere around that address.
    fn around(&mut self, address: usize) -> bool {
        let start = address / PAGE;
        if self.seen.contains(&start) {
            return false;
        }
        let up = start..start.saturating_add(LONGEST);
        let down = (start.saturating_sub(LONGEST)..start).rev();
        self.along(up) || self.along(down)
    }

    fn along(&mut self, pages: impl Iterator<Item = usize>) -> bool {
        let mut gap = 0;
        for number in pages {
            if self.seen.contains(&number) {
                gap = 0;
            } else if !readable(number * PAGE) {
                gap += 1;
                if gap > GAP {
                    return false;
                }
            } else {
                gap = 0;
                self.seen.insert(number);
                if self.is_in(number * PAGE) {
                    return true;
                }
            }
        }
        false
    }

    /// Whether the mark lies whole in the page at `address`, which is readable.
    fn is_in(&mut self, address: usize) -> bool {
        let page = std::ptr::with_exposed_provenance::<u8>(address);
        // SAFETY: the kernel has just read from this page. If something else writes to it or unmaps
        // it meanwhile, that can at worst end a process of a test; as bytes any content is valid.
        unsafe { page.copy_to(self.page.as_mut_ptr(), PAGE) };
        let is_mark = |bytes: &[u8]| bytes.iter().zip(self.mark).all(|(a, b)| a ^ VEIL == *b);
        let mut rest = self.page.as_slice();
        let mut found = false;
        while rest.len() >= self.mark.len() && !found {
            let first = i32::from(self.mark[0] ^ VEIL);
            // SAFETY: `rest` is readable for its whole length.
            let next = unsafe { libc::memchr(rest.as_ptr().cast(), first, rest.len()) };
            if next.is_null() {
                break;
            }
            rest = &rest[next.addr() - rest.as_ptr().addr()..];
            found = rest.len() >= self.mark.len() && is_mark(rest);
            rest = &rest[1..];
        }
        // The copy must not be found again in a later search.
        self.page.fill(0);
        found
    }
}

/// Whether the page at `address` can be read: rt_sigprocmask reads a set of signals there before it
/// finds that it does not know what to do with it.
fn readable(address: usize) -> bool {
    const NONSENSE: usize = 99;
    sys(libc::SYS_rt_sigprocmask, [NONSENSE, address, 0, 8]) == Err(Errno::EINVAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_planted_is_found_and_what_was_not_is_not() {
        let absent = search("never-planted-anywhere");
        assert!(
            absent.starts_with("denied escape-leftovers ENOENT"),
            "{absent}"
        );
        plant("planted-by-the-test");
        let found = search("planted-by-the-test");
        assert!(found.starts_with("ESCAPED escape-leftovers"), "{found}");
    }
}
