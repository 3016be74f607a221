//! To code of one's own: memory that is written and then executed.

use nix::errno::Errno;

use super::{
    Attempt, MINUS_ONE, Surroundings, Verdict, at, judge, judge_with, path, recording_or_none, sys,
};

const READ: usize = libc::PROT_READ as usize;
const WRITE: usize = libc::PROT_WRITE as usize;
const EXEC: usize = libc::PROT_EXEC as usize;
const PRIVATE: usize = libc::MAP_PRIVATE as usize;
const ANONYMOUS: usize = PRIVATE | libc::MAP_ANONYMOUS as usize;
const PAGE: usize = 4096;

pub(super) const ATTEMPTS: &[Attempt] = &[
    Attempt::new("escape-mmap-exec", "mmap", |_| {
        let arguments = [0, PAGE, READ | EXEC, ANONYMOUS, MINUS_ONE, 0];
        judge(sys(libc::SYS_mmap, arguments))
    }),
    Attempt::new("escape-mmap-write-exec", "mmap", |_| {
        let arguments = [0, PAGE, READ | WRITE | EXEC, ANONYMOUS, MINUS_ONE, 0];
        judge(sys(libc::SYS_mmap, arguments))
    }),
    Attempt::new("escape-mmap-audio-exec", "mmap", |_| {
        // The recording as a program: what a client uploads would run.
        let arguments = [0, PAGE, READ | EXEC, PRIVATE, recording_or_none(), 0];
        judge(sys(libc::SYS_mmap, arguments))
    }),
    Attempt::new("escape-mprotect-exec", "mprotect", |_| {
        let Ok(page) = fresh_page() else {
            return Verdict::Denied(Errno::ENOMEM);
        };
        judge(sys(libc::SYS_mprotect, [page, PAGE, READ | EXEC]))
    }),
    Attempt::new("escape-mprotect-code", "mprotect", |_| {
        // Still executable, so that a success does not stop this very function.
        let page = code_page();
        judge(sys(libc::SYS_mprotect, [page, PAGE, READ | WRITE | EXEC]))
    }),
    Attempt::new("escape-pkey-mprotect", "pkey_mprotect", |_| {
        let Ok(page) = fresh_page() else {
            return Verdict::Denied(Errno::ENOMEM);
        };
        let arguments = [page, PAGE, READ | EXEC, MINUS_ONE];
        judge(sys(libc::SYS_pkey_mprotect, arguments))
    }),
    Attempt::new("escape-memfd-create", "memfd_create", |_| {
        judge(sys(libc::SYS_memfd_create, [path(c"fault"), 0]))
    }),
    Attempt::new("escape-memfd-secret", "memfd_secret", |_| {
        judge(sys(libc::SYS_memfd_secret, [0]))
    }),
    Attempt::new("escape-userfaultfd", "userfaultfd", |_| {
        // UFFD_USER_MODE_ONLY of linux/userfaultfd.h: what an unprivileged process may ask for.
        judge(sys(libc::SYS_userfaultfd, [1]))
    }),
    Attempt::new("escape-mlockall", "mlockall", |_| {
        // ENOMEM: RLIMIT_MEMLOCK is too small, which is a refusal, too.
        let current = libc::MCL_CURRENT as usize;
        judge_with(sys(libc::SYS_mlockall, [current]), &[Errno::ENOMEM])
    }),
    Attempt::new("escape-remap-file-pages", "remap_file_pages", |_| {
        judge(sys(libc::SYS_remap_file_pages, [0, 0, 0, 0, 0]))
    }),
    Attempt::new("escape-shared-memory", "shmget", |_| {
        // Looks for a segment and makes none.
        judge(sys(libc::SYS_shmget, [0x5354_5431, PAGE, 0]))
    }),
    Attempt::new("escape-process-madvise", "process_madvise", |_| {
        let vector = [0_usize; 2];
        let arguments = [MINUS_ONE, at(&vector), 1, libc::MADV_COLD as usize, 0];
        judge(sys(libc::SYS_process_madvise, arguments))
    }),
    Attempt::new("escape-move-pages-supervisor", "move_pages", |s| {
        s.at(super::Whom::Supervisor, |pid| {
            // With neither pages nor places it moves nothing.
            judge(sys(libc::SYS_move_pages, [pid as usize, 0, 0, 0, 0, 0]))
        })
    }),
];

fn fresh_page() -> Result<usize, Errno> {
    let arguments = [0, PAGE, READ | WRITE, ANONYMOUS, MINUS_ONE, 0];
    sys(libc::SYS_mmap, arguments)
}

/// The page in which some function of ours begins.
fn code_page() -> usize {
    let function: fn(&Surroundings) -> Verdict = |_| Verdict::Denied(Errno::EPERM);
    (function as usize) & !(PAGE - 1)
}
