//! Gives memory that holds nothing but zeros back to the kernel, before jobs are forked.
//!
//! Some libraries clear large buffers long before they fill them, and cleared memory is as resident
//! as any other (whisper.cpp with `small`: 76 MiB of caches). If the kernel takes back a page of
//! private anonymous memory, then the next access finds a page of zeros. So the program cannot tell
//! the difference.
#![allow(unsafe_code)]

use std::{
    fs::File,
    io::{self, BufReader},
    os::raw::c_void,
    ptr::{NonNull, with_exposed_provenance},
};

use nix::sys::mman::{MmapAdvise, madvise};
use procfs::{
    FromBufRead, ProcResult,
    process::{
        MMPermissions, MMapPath, MemoryMap, MemoryMaps, MemoryPageFlags, PageInfo, PageMap, Process,
    },
};

use super::clone::SingleThreaded;

/// Memory is given back in aligned blocks of this many bytes: huge pages of x86-64. A huge page of
/// which only a part is given back would be split: it would be slower to fork, and the kernel would
/// keep all of it until memory runs short.
const BLOCK: usize = 2 << 20;

/// The files that tell which memory this process has. They are opened before a sandbox forbids
/// that.
pub(super) struct Zeros {
    maps: File,
    pages: PageMap,
}

impl Zeros {
    /// Open the files.
    ///
    /// # Errors
    /// `/proc` is not mounted, or the kernel does not tell (`CONFIG_PROC_PAGE_MONITOR`).
    pub(super) fn open() -> ProcResult<Self> {
        Ok(Self {
            maps: File::open("/proc/self/maps")?,
            pages: Process::myself()?.pagemap()?,
        })
    }

    /// Give back each block that holds only zeros, and return the number of bytes. Do it where no
    /// job has memory in huge pages: the first byte that it writes in such a block would cost it
    /// 2 MiB.
    ///
    /// # Errors
    /// This process has more than one thread, or `/proc` cannot be read.
    pub(super) fn give_back(mut self, thread: &mut SingleThreaded) -> io::Result<usize> {
        thread.require()?;
        let maps = MemoryMaps::from_buf_read(BufReader::new(&self.maps));
        let maps = maps.map_err(io::Error::other)?;
        let mut given = 0;
        for map in maps.iter().filter(|map| is_private_and_anonymous(map)) {
            // SAFETY: there is no other thread. This one meanwhile keeps what it writes on its
            // stack, or allocates it before a block is looked at; and handlers of signals write to
            // nothing that is in use.
            given += unsafe { self.give_back_of(map.address) }.map_err(io::Error::other)?;
        }
        Ok(given)
    }

    /// Give back the blocks of zeros in one mapping, of which these are the first address and the
    /// one after the last.
    ///
    /// # Safety
    /// The mapping must be private, anonymous and readable. Nobody else may write to this memory or
    /// change the mapping meanwhile.
    unsafe fn give_back_of(&mut self, mapping: (u64, u64)) -> ProcResult<usize> {
        let here = 0_u8;
        // SAFETY: it has no preconditions.
        let thread = unsafe { libc::pthread_self() };
        // The stack, and the thread's own data, into which the kernel writes (rseq).
        let kept = [(&raw const here).addr() as u64, thread];
        let size = page_size();
        let mut given = 0;
        for block in blocks(mapping) {
            if kept
                .iter()
                .any(|kept| kept.abs_diff(block as u64) < 2 * BLOCK as u64)
            {
                continue;
            }
            let pages = block / size..(block + BLOCK) / size;
            let pages = self.pages.get_range_info(pages)?;
            // SAFETY: the block is part of the mapping, which is readable.
            let is_zero = unsafe { holds_only_zeros(block, &pages) };
            let Some(start) = NonNull::new(with_exposed_provenance::<c_void>(block).cast_mut())
            else {
                continue;
            };
            // SAFETY: all bytes of the block are zero, as was just seen, and nobody has written to
            // it since: the caller promises that of others, and this function has only read. The
            // mapping is private and anonymous, so the kernel replaces its pages by zeros.
            if is_zero && unsafe { madvise(start, BLOCK, MmapAdvise::MADV_DONTNEED) }.is_ok() {
                given += BLOCK;
            }
        }
        Ok(given)
    }
}

/// Whether only this process sees the mapping, and no file is behind it. Memory of hugetlbfs has a
/// file.
fn is_private_and_anonymous(map: &MemoryMap) -> bool {
    map.perms == MMPermissions::READ | MMPermissions::WRITE | MMPermissions::PRIVATE
        && map.inode == 0
        && matches!(map.pathname, MMapPath::Heap | MMapPath::Anonymous)
}

/// The addresses of the aligned blocks that lie in this mapping as a whole.
fn blocks((start, end): (u64, u64)) -> impl Iterator<Item = usize> {
    let address = |address| usize::try_from(address).unwrap_or(usize::MAX);
    let (start, end) = (address(start), address(end));
    let first = start.checked_next_multiple_of(BLOCK).unwrap_or(end);
    (first..end)
        .step_by(BLOCK)
        .filter(move |block| end - block >= BLOCK)
}

/// The size of a page, in bytes.
fn page_size() -> usize {
    usize::try_from(procfs::page_size()).unwrap_or(BLOCK)
}

/// Whether a block has pages, and all of them hold only zeros. `pages` are all of its pages.
///
/// # Safety
/// The block must be readable where it has pages.
unsafe fn holds_only_zeros(block: usize, pages: &[PageInfo]) -> bool {
    let mut is_resident = false;
    for (page, address) in pages.iter().zip((block..).step_by(page_size())) {
        match page {
            // Looking at it would bring it back.
            PageInfo::SwapPage(_) => return false,
            // Never touched, or a guard, which must not be touched.
            PageInfo::MemoryPage(flags) if !flags.contains(MemoryPageFlags::PRESENT) => {}
            PageInfo::MemoryPage(_) => {
                is_resident = true;
                // SAFETY: the page is present, and as readable as the caller promises.
                if !unsafe { is_zero(address) } {
                    return false;
                }
            }
        }
    }
    is_resident
}

/// Whether the page at this address holds only zeros.
///
/// # Safety
/// It must be readable.
unsafe fn is_zero(address: usize) -> bool {
    let words = with_exposed_provenance::<u64>(address);
    (0..page_size() / size_of::<u64>()).all(|word| {
        // SAFETY: within the page.
        let word = unsafe { words.add(word) };
        // SAFETY: within the page, which is aligned. The read is volatile, because the page belongs
        // to values of which this function knows nothing; it takes them for mere bytes.
        unsafe { word.read_volatile() == 0 }
    })
}

#[cfg(test)]
mod tests {
    use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};

    use super::*;

    /// Three blocks of memory that belong to nobody else, and the address of the first.
    fn memory() -> (&'static mut [u8], usize) {
        let (protection, flags) = (
            ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
            MapFlags::MAP_PRIVATE,
        );
        let size = (4 * BLOCK).try_into().unwrap();
        // SAFETY: new memory, which is never unmapped.
        let memory = unsafe { mmap_anonymous(None, size, protection, flags) }.unwrap();
        let address = memory.addr().get();
        let skip = address.next_multiple_of(BLOCK) - address;
        // SAFETY: readable and writable, and nobody else has it.
        let memory = unsafe { std::slice::from_raw_parts_mut(memory.cast().as_ptr(), 4 * BLOCK) };
        (&mut memory[skip..skip + 3 * BLOCK], address + skip)
    }

    fn resident(address: usize) -> bool {
        let mut pages = Process::myself().unwrap().pagemap().unwrap();
        let page = pages.get_info(address / page_size()).unwrap();
        matches!(page, PageInfo::MemoryPage(flags) if flags.contains(MemoryPageFlags::PRESENT))
    }

    fn give_back(from: usize, to: usize) -> usize {
        let mapping = (from as u64, to as u64);
        // SAFETY: all is from `memory`, and only the calling thread knows it.
        unsafe { Zeros::open().unwrap().give_back_of(mapping) }.unwrap()
    }

    #[test]
    fn only_whole_blocks_of_zeros_are_given_back_and_stay_zero() {
        let (memory, at) = memory();
        memory.fill(7);
        memory.fill(0);
        memory[2 * BLOCK - 1] = 1;
        assert_eq!(give_back(at + 1, at + 3 * BLOCK - 1), 0);
        assert_eq!(give_back(at, at + 3 * BLOCK), 2 * BLOCK);
        let there = [0, 1, 2].map(|block| resident(at + block * BLOCK));
        assert_eq!(there, [false, true, false]);
        assert_eq!(
            memory.iter().position(|byte| *byte != 0),
            Some(2 * BLOCK - 1)
        );
        memory[0] = 5;
        assert_eq!(give_back(at, at + BLOCK), 0);
        assert_eq!(memory[0], 5);
    }

    #[test]
    fn pages_that_nobody_has_touched_are_left_alone() {
        let (memory, at) = memory();
        assert_eq!(give_back(at, at + 3 * BLOCK), 0);
        assert!(!resident(at) && !resident(at + BLOCK));
        // One page of the first block, the other ones are not there.
        memory[page_size()] = 0;
        assert!(resident(at + page_size()));
        assert_eq!(give_back(at, at + 3 * BLOCK), BLOCK);
        assert!(!resident(at + page_size()));
    }

    #[test]
    fn only_private_memory_without_a_file_is_looked_at() {
        let line = |line: &str| {
            let maps = MemoryMaps::from_buf_read(line.as_bytes()).unwrap();
            is_private_and_anonymous(&maps.0[0])
        };
        assert!(line("7f0000000000-7f0000400000 rw-p 00000000 00:00 0 \n"));
        assert!(line(
            "7f0000000000-7f0000400000 rw-p 00000000 00:00 0    [heap]\n"
        ));
        for other in [
            "7f0000000000-7f0000400000 rw-p 00000000 00:00 0    [stack]\n",
            "7f0000000000-7f0000400000 r--p 00000000 00:00 0 \n",
            "7f0000000000-7f0000400000 ---p 00000000 00:00 0 \n",
            "7f0000000000-7f0000400000 rwxp 00000000 00:00 0 \n",
            "7f0000000000-7f0000400000 rw-s 00000000 00:01 9    /dev/zero (deleted)\n",
            "7f0000000000-7f0000400000 rw-p 00000000 00:10 9    /anon_hugepage (deleted)\n",
            "7f0000000000-7f0000400000 rw-p 00000000 fe:01 9    /usr/lib/libc.so.6\n",
        ] {
            assert!(!line(other), "{other}");
        }
    }
}
