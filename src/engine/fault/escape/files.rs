//! To files: read what is not ours, write anywhere, learn what exists.

use std::ffi::{CStr, CString};

use nix::errno::Errno;

use super::{
    AT_FDCWD, Attempt, CHANNEL, MINUS_ONE, Verdict, Whom, at, judge, judge_with, out, path,
    recording_or_none, sys,
};

pub(super) const ATTEMPTS: &[Attempt] = &[
    #[cfg(target_arch = "x86_64")]
    Attempt::new("escape-open", "open", |_| {
        judge(sys(
            libc::SYS_open,
            [path(c"/etc/passwd"), libc::O_RDONLY as usize],
        ))
    }),
    #[cfg(target_arch = "x86_64")]
    Attempt::new("escape-creat", "creat", |_| {
        // A folder cannot be created: EISDIR comes after the permission.
        judge(sys(libc::SYS_creat, [path(c"/tmp"), 0o600]))
    }),
    Attempt::new("escape-openat", "openat", |_| {
        open(c"/etc/passwd", libc::O_RDONLY)
    }),
    Attempt::new("escape-openat2", "openat2", |_| {
        // struct open_how: flags, mode, resolve.
        let how = [libc::O_RDONLY as u64, 0, 0];
        let arguments = [AT_FDCWD, path(c"/etc/passwd"), at(&how), size_of_val(&how)];
        judge(sys(libc::SYS_openat2, arguments))
    }),
    Attempt::new("escape-open-path", "openat", |_| {
        open(c"/etc/passwd", libc::O_PATH)
    }),
    Attempt::new("escape-open-folder", "openat", |_| {
        open(c"/", libc::O_DIRECTORY)
    }),
    Attempt::new("escape-open-device", "openat", |_| {
        open(c"/dev/null", libc::O_RDWR)
    }),
    Attempt::new("escape-open-config", "openat", |_| {
        let files = [
            c"/etc/stt-isolated/stt-isolated.toml",
            c"/etc/machine-id",
            c"/etc/passwd",
        ];
        first_of(&files, libc::O_RDONLY)
    }),
    Attempt::new("escape-proc-self-environ", "openat", |_| {
        open(c"/proc/self/environ", libc::O_RDONLY)
    }),
    Attempt::new("escape-proc-self-maps", "openat", |_| {
        open(c"/proc/self/maps", libc::O_RDONLY)
    }),
    Attempt::new("escape-proc-self-mem", "openat", |_| {
        open(c"/proc/self/mem", libc::O_RDWR)
    }),
    Attempt::new("escape-proc-folder", "openat", |_| {
        open(c"/proc", libc::O_DIRECTORY)
    }),
    Attempt::new("escape-proc-supervisor-environ", "openat", |s| {
        s.at(Whom::Supervisor, environ)
    }),
    Attempt::new("escape-proc-supervisor-maps", "openat", |s| {
        s.at(Whom::Supervisor, maps)
    }),
    Attempt::new("escape-proc-supervisor-mem", "openat", |s| {
        s.at(Whom::Supervisor, mem)
    }),
    Attempt::new("escape-proc-supervisor-fd", "openat", |s| {
        s.at(Whom::Supervisor, descriptors)
    }),
    Attempt::new("escape-proc-zygote-environ", "openat", |s| {
        s.at(Whom::Zygote, environ)
    }),
    Attempt::new("escape-proc-zygote-maps", "openat", |s| {
        s.at(Whom::Zygote, maps)
    }),
    Attempt::new("escape-proc-zygote-mem", "openat", |s| {
        s.at(Whom::Zygote, mem)
    }),
    Attempt::new("escape-proc-neighbour-environ", "openat", |s| {
        s.at(Whom::Neighbour, environ)
    }),
    Attempt::new("escape-proc-neighbour-maps", "openat", |s| {
        s.at(Whom::Neighbour, maps)
    }),
    Attempt::new("escape-proc-neighbour-mem", "openat", |s| {
        s.at(Whom::Neighbour, mem)
    }),
    Attempt::new("escape-cgroup-read", "openat", |_| {
        cgroup("memory.max", libc::O_RDONLY)
    }),
    Attempt::new("escape-cgroup-memory-max", "openat", |_| {
        cgroup("memory.max", libc::O_WRONLY)
    }),
    Attempt::new("escape-cgroup-pids-max", "openat", |_| {
        cgroup("pids.max", libc::O_WRONLY)
    }),
    Attempt::new("escape-cgroup-procs", "openat", |_| {
        cgroup("cgroup.procs", libc::O_WRONLY)
    }),
    Attempt::new("escape-cgroup-kill", "openat", |_| {
        cgroup("cgroup.kill", libc::O_WRONLY)
    }),
    Attempt::new("escape-model-write", "openat", |_| {
        // Opened, never written.
        let files = [
            c"/usr/share/pocketsphinx/model/en-us/en-us.lm.bin",
            c"/usr/bin/stt-isolated",
            c"/etc/passwd",
        ];
        first_of(&files, libc::O_WRONLY)
    }),
    Attempt::new("escape-create-tmp", "openat", |_| {
        open(c"/tmp", libc::O_TMPFILE | libc::O_WRONLY)
    }),
    Attempt::new("escape-create-var-tmp", "openat", |_| {
        open(c"/var/tmp", libc::O_TMPFILE | libc::O_WRONLY)
    }),
    Attempt::new("escape-create-shm", "openat", |_| {
        open(c"/dev/shm", libc::O_TMPFILE | libc::O_WRONLY)
    }),
    Attempt::new("escape-mkdir", "mkdirat", |_| {
        judge(sys(libc::SYS_mkdirat, [AT_FDCWD, path(c"/tmp"), 0o700]))
    }),
    Attempt::new("escape-mknod", "mknodat", |_| {
        let mode = (libc::S_IFIFO | 0o600) as usize;
        judge(sys(libc::SYS_mknodat, [AT_FDCWD, path(c"/tmp"), mode, 0]))
    }),
    Attempt::new("escape-symlink", "symlinkat", |_| {
        let arguments = [path(c"/etc/passwd"), AT_FDCWD, path(c"/tmp")];
        judge(sys(libc::SYS_symlinkat, arguments))
    }),
    Attempt::new("escape-link", "linkat", |_| {
        let arguments = [AT_FDCWD, path(NOTHING), AT_FDCWD, path(NOTHING), 0];
        judge(sys(libc::SYS_linkat, arguments))
    }),
    Attempt::new("escape-unlink", "unlinkat", |_| {
        judge(sys(libc::SYS_unlinkat, [AT_FDCWD, path(NOTHING), 0]))
    }),
    Attempt::new("escape-rename", "renameat2", |_| {
        let arguments = [AT_FDCWD, path(NOTHING), AT_FDCWD, path(NOTHING), 0];
        judge(sys(libc::SYS_renameat2, arguments))
    }),
    Attempt::new("escape-chmod", "fchmodat", |_| {
        judge(sys(libc::SYS_fchmodat, [AT_FDCWD, path(NOTHING), 0o777]))
    }),
    Attempt::new("escape-chown", "fchownat", |_| {
        judge(sys(libc::SYS_fchownat, [AT_FDCWD, path(NOTHING), 0, 0, 0]))
    }),
    Attempt::new("escape-truncate", "truncate", |_| {
        judge(sys(libc::SYS_truncate, [path(NOTHING), 0]))
    }),
    Attempt::new("escape-utime", "utimensat", |_| {
        judge(sys(libc::SYS_utimensat, [AT_FDCWD, path(NOTHING), 0, 0]))
    }),
    Attempt::new("escape-setxattr", "setxattr", |_| {
        let name = path(c"user.stt-fault");
        let arguments = [path(NOTHING), name, path(c"x"), 1, 0];
        judge(sys(libc::SYS_setxattr, arguments))
    }),
    Attempt::new("escape-readlink", "readlinkat", |_| {
        let mut buffer = [0_u8; 256];
        let link = path(c"/proc/self/exe");
        let arguments = [AT_FDCWD, link, out(&mut buffer), buffer.len()];
        judge(sys(libc::SYS_readlinkat, arguments))
    }),
    Attempt::new("escape-access", "faccessat", |_| {
        judge(sys(
            libc::SYS_faccessat,
            [AT_FDCWD, path(c"/etc/passwd"), 0],
        ))
    }),
    Attempt::new("escape-statfs", "statfs", |_| {
        let mut buffer = [0_u64; 32];
        judge(sys(libc::SYS_statfs, [path(c"/"), out(&mut buffer)]))
    }),
    Attempt::new("escape-chdir", "chdir", |_| {
        judge(sys(libc::SYS_chdir, [path(c"/")]))
    }),
    Attempt::new("escape-chroot", "chroot", |_| {
        judge(sys(libc::SYS_chroot, [path(c"/")]))
    }),
    Attempt::new("escape-audio-write", "pwrite64", |_| {
        // EBADF: the descriptor is open for reading only. The bytes are those that a WAV file
        // begins with.
        let arguments = [recording_or_none(), path(c"R"), 1, 0];
        judge_with(sys(libc::SYS_pwrite64, arguments), &[Errno::EBADF])
    }),
    Attempt::new("escape-audio-truncate", "ftruncate", |_| {
        // EINVAL: the descriptor is open for reading only; the length itself is sound.
        let arguments = [recording_or_none(), 1 << 20];
        judge_with(sys(libc::SYS_ftruncate, arguments), &[Errno::EINVAL])
    }),
    Attempt::new("escape-audio-map-writable", "mmap", |_| {
        let protection = (libc::PROT_READ | libc::PROT_WRITE) as usize;
        let shared = libc::MAP_SHARED as usize;
        let arguments = [0, 4096, protection, shared, recording_or_none(), 0];
        judge(sys(libc::SYS_mmap, arguments))
    }),
    Attempt::new("escape-audio-reopen", "openat", |_| {
        match CString::new(format!("/proc/self/fd/{}", recording_or_none())) {
            Ok(file) => open(&file, libc::O_RDWR),
            Err(_) => Verdict::Escaped(None),
        }
    }),
    Attempt::new("escape-audio-owner", "fchown", |_| {
        judge(sys(libc::SYS_fchown, [recording_or_none(), 0, 0]))
    }),
    Attempt::new("escape-audio-mode", "fchmod", |_| {
        judge(sys(libc::SYS_fchmod, [recording_or_none(), 0o666]))
    }),
    Attempt::new("escape-name-to-handle", "name_to_handle_at", |_| {
        // struct file_handle: the size of the rest, a type, then that many bytes.
        let mut handle = [128_u32; 34];
        let mut mount = 0_i32;
        let arguments = [AT_FDCWD, path(c"/"), out(&mut handle), out(&mut mount), 0];
        judge(sys(libc::SYS_name_to_handle_at, arguments))
    }),
    Attempt::new("escape-open-by-handle", "open_by_handle_at", |_| {
        let handle = [0_u32; 34];
        let arguments = [AT_FDCWD, at(&handle), 0];
        judge(sys(libc::SYS_open_by_handle_at, arguments))
    }),
    Attempt::new("escape-inotify", "inotify_init1", |_| {
        judge(sys(libc::SYS_inotify_init1, [0]))
    }),
    Attempt::new("escape-fanotify", "fanotify_init", |_| {
        judge(sys(libc::SYS_fanotify_init, [0, 0]))
    }),
    Attempt::new("escape-splice", "splice", |_| {
        judge(sys(libc::SYS_splice, [MINUS_ONE, 0, MINUS_ONE, 0, 1, 0]))
    }),
    Attempt::new("escape-vmsplice", "vmsplice", |_| {
        judge(sys(libc::SYS_vmsplice, [MINUS_ONE, 0, 0, 0]))
    }),
    Attempt::new("escape-tee", "tee", |_| {
        judge(sys(libc::SYS_tee, [MINUS_ONE, MINUS_ONE, 1, 0]))
    }),
    Attempt::new("escape-copy-file-range", "copy_file_range", |_| {
        let arguments = [MINUS_ONE, 0, MINUS_ONE, 0, 1, 0];
        judge(sys(libc::SYS_copy_file_range, arguments))
    }),
    Attempt::new("escape-sendfile", "sendfile", |_| {
        judge(sys(libc::SYS_sendfile, [MINUS_ONE, MINUS_ONE, 0, 1]))
    }),
    Attempt::new("escape-pipe", "pipe2", |_| {
        let mut ends = [0_i32; 2];
        judge(sys(libc::SYS_pipe2, [out(&mut ends), 0]))
    }),
    Attempt::new("escape-terminal-input", "ioctl", |_| {
        // Type into the terminal from which the service was started. ENOTTY: standard input is not
        // a terminal.
        let arguments = [0, libc::TIOCSTI as usize, path(c"x")];
        judge_with(sys(libc::SYS_ioctl, arguments), &[Errno::ENOTTY])
    }),
    Attempt::new("escape-fcntl-owner", "fcntl", |s| {
        // With O_ASYNC the kernel would send the owner SIGIO, which ends it; without, nothing is
        // sent.
        s.at(Whom::Supervisor, |pid| {
            let arguments = [CHANNEL, libc::F_SETOWN as usize, pid as usize];
            judge(sys(libc::SYS_fcntl, arguments))
        })
    }),
    Attempt::new("escape-ioctl-owner", "ioctl", |s| {
        // FIOSETOWN of asm-generic/sockios.h: the same by another door.
        const FIOSETOWN: usize = 0x8901;
        s.at(Whom::Supervisor, |pid| {
            judge(sys(libc::SYS_ioctl, [CHANNEL, FIOSETOWN, at(&pid)]))
        })
    }),
];

/// A path that no machine has: what is done to it does nothing.
const NOTHING: &CStr = c"/tmp/stt-isolated-fault-engine-none";

fn open(file: &CStr, flags: i32) -> Verdict {
    let flags = (flags | libc::O_CLOEXEC) as usize;
    judge(sys(libc::SYS_openat, [AT_FDCWD, path(file), flags, 0o600]))
}

/// The first of these files that exists.
fn first_of<T: AsRef<CStr>>(files: &[T], flags: i32) -> Verdict {
    let mut last = Verdict::Escaped(Some(Errno::ENOENT));
    for file in files {
        last = open(file.as_ref(), flags);
        if last != Verdict::Escaped(Some(Errno::ENOENT)) {
            break;
        }
    }
    last
}

/// `/proc/PID/NAME`, for reading and, where that means something, writing. ENOENT: the process is
/// not in our view, or the file system shows only our own.
fn of_process(pid: i32, name: &str, flags: i32) -> Verdict {
    match CString::new(format!("/proc/{pid}/{name}")) {
        Ok(file) => match open(&file, flags) {
            Verdict::Escaped(Some(Errno::ENOENT)) => Verdict::Denied(Errno::ENOENT),
            verdict => verdict,
        },
        Err(_) => Verdict::Escaped(None),
    }
}

fn environ(pid: i32) -> Verdict {
    of_process(pid, "environ", libc::O_RDONLY)
}

fn maps(pid: i32) -> Verdict {
    of_process(pid, "maps", libc::O_RDONLY)
}

fn mem(pid: i32) -> Verdict {
    of_process(pid, "mem", libc::O_RDWR)
}

fn descriptors(pid: i32) -> Verdict {
    of_process(pid, "fd", libc::O_DIRECTORY)
}

/// That file of the first slot that exists under the unit's cgroup; on machines where the service
/// is not that unit, files that every cgroup v2, or every machine, has.
fn cgroup(name: &str, flags: i32) -> Verdict {
    const UNIT: &str = "/sys/fs/cgroup/system.slice/stt-isolated.service";
    let slots = (0..64).map(|slot| format!("{UNIT}/job-{slot}/{name}"));
    let others = [
        format!("{UNIT}/{name}"),
        "/sys/fs/cgroup/cgroup.procs".into(),
        "/sys/fs/cgroup/unified/cgroup.procs".into(),
        "/etc/passwd".into(),
    ];
    let files: Vec<CString> = slots
        .chain(others)
        .filter_map(|file| CString::new(file).ok())
        .collect();
    first_of(&files, flags)
}
