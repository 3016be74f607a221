//! Ways to end that no orderly program has.
#![allow(unsafe_code)]

use std::{arch::asm, hint::black_box};

use super::escape::{self, sys};

/// SIGSEGV, by a write where no memory is.
pub(super) fn segfault() -> ! {
    // Not address 0: that one is caught by checks of the standard library in unoptimised builds.
    let nowhere = std::ptr::without_provenance_mut::<u8>(16);
    // SAFETY: not sound, on purpose: the first page is never mapped (vm.mmap_min_addr), so the
    // processor faults.
    unsafe { nowhere.write_volatile(1) };
    unreached()
}

/// SIGILL, by an instruction that never is one.
pub(super) fn illegal() -> ! {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the instruction does nothing but fault.
    unsafe {
        asm!("ud2");
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: the instruction does nothing but fault.
    unsafe {
        asm!("udf #0");
    }
    unreached()
}

/// SIGTRAP, by a breakpoint without a debugger.
pub(super) fn trap() -> ! {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the instruction does nothing but trap.
    unsafe {
        asm!("int3");
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: the instruction does nothing but trap.
    unsafe {
        asm!("brk #1");
    }
    unreached()
}

/// SIGFPE, by a division by zero.
pub(super) fn fpe() -> ! {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the division faults before it writes anything; the registers it names are declared.
    unsafe {
        asm!("xor edx, edx", "mov eax, 1", "div edx", out("eax") _, out("edx") _);
    }
    // Where a division by zero does not fault.
    // SAFETY: raise takes a plain number.
    unsafe { libc::raise(libc::SIGFPE) };
    unreached()
}

/// SIGBUS, by a read behind the end of a mapped file: the recording.
pub(super) fn bus() -> ! {
    const FAR: usize = 1 << 30;
    if let Some(recording) = escape::recording() {
        let arguments = [
            0,
            FAR,
            libc::PROT_READ as usize,
            libc::MAP_SHARED as usize,
            recording as usize,
            0,
        ];
        if let Ok(address) = sys(libc::SYS_mmap, arguments) {
            let last = std::ptr::with_exposed_provenance::<u8>(address + FAR - 1);
            // SAFETY: not sound, on purpose: the address is mapped, but no recording of a test is a
            // GiB long.
            unsafe { last.read_volatile() };
        }
    }
    unreached()
}

/// By the guard page under the stack.
pub(super) fn stack_overflow() -> ! {
    fn deeper(depth: u64) -> u64 {
        let frame = black_box([depth; 512]);
        if depth == black_box(u64::MAX) {
            return 0;
        }
        // Used after the call, so that it cannot become a loop.
        deeper(depth + 1) + black_box(frame[7])
    }
    black_box(deeper(0));
    unreached()
}

/// End the process without a message.
pub(super) fn exit(status: i32) -> ! {
    // SAFETY: _exit has no preconditions.
    unsafe { libc::_exit(status) }
}

/// Stopped, not ended: only SIGKILL and SIGCONT reach it now.
pub(super) fn stop() {
    // SAFETY: raise takes a plain number.
    unsafe { libc::raise(libc::SIGSTOP) };
}

/// A fault that did not come is told from every signal by this status.
fn unreached() -> ! {
    exit(99)
}
