//! More memory, time, processes and descriptors than anybody should have.
#![allow(unsafe_code)]

use std::{
    hint::{black_box, spin_loop},
    thread::Builder,
    time::Duration,
};

use nix::time::ClockId;

use super::{EngineError, escape::sys, failed, sleep_for_ever};
use crate::units::ByteSize;

/// Memory is taken in pieces of this size: large enough to lie in huge pages mostly, where the
/// kernel has them.
const PIECE: usize = 64 << 20;

/// The smallest page there is.
const PAGE: usize = 4096;

/// Take that much memory, touch each page of it, and lose it.
pub(super) fn leak(size: ByteSize) {
    let mut left = usize::try_from(size.bytes()).unwrap_or(usize::MAX);
    while left > 0 {
        let piece = left.min(PIECE);
        let memory = black_box(vec![0_u8; piece]).leak();
        for page in memory.chunks_mut(PAGE) {
            page[0] = 1;
        }
        black_box(memory);
        left -= piece;
    }
}

pub(super) fn leak_forever() -> ! {
    loop {
        leak(ByteSize(PIECE as u64));
    }
}

pub(super) fn spin() -> ! {
    loop {
        spin_loop();
    }
}

/// Use so much CPU time, however long that takes.
pub(super) fn burn(time: Duration) {
    let used = || ClockId::CLOCK_THREAD_CPUTIME_ID.now().map(Duration::from);
    let Ok(begin) = used() else { return };
    while used().is_ok_and(|now| now < begin + time) {
        spin_loop();
    }
}

/// Burn CPU time on `count` threads, of which this is one.
pub(super) fn spin_threads(count: usize) -> Result<(), EngineError> {
    for _ in 1..count {
        let thread = Builder::new().spawn(|| spin());
        thread.map_err(|error| failed(format!("it cannot start a thread: {error}")))?;
    }
    spin()
}

/// Processes that make processes for ever; or a number of processes that only sleep and die with
/// this one.
///
/// The unlimited kind must only be run where `pids.max` holds: nothing else stops it.
pub(super) fn fork_bomb(count: Option<usize>) {
    let Some(count) = count else {
        loop {
            if fork().is_none() {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    };
    for _ in 0..count {
        if fork() == Some(0) {
            let _ = nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL);
            sleep_for_ever();
        }
    }
}

/// 0 in the new process, as the system call has it.
fn fork() -> Option<usize> {
    // The bare call of fork(2) on every architecture: clone without any sharing.
    sys(libc::SYS_clone, [libc::SIGCHLD as usize]).ok()
}

/// Start `count` sleeping threads, or as many as possible.
pub(super) fn thread_bomb(count: Option<usize>) {
    let mut threads = 0;
    while count.is_none_or(|count| threads < count) {
        // Small stacks: the bomb is the number of threads, not their memory.
        let thread = Builder::new().stack_size(16 << 10);
        if thread.spawn(|| sleep_for_ever()).is_err() {
            return;
        }
        threads += 1;
    }
}

/// As many descriptors as there can be.
pub(super) fn fd_flood() {
    // SAFETY: dup takes a plain number; nobody owns or misses the new descriptors.
    while unsafe { libc::dup(libc::STDERR_FILENO) } >= 0 {}
}
