//! To more rights, and out of the limits and filters that a job has.

use nix::errno::Errno;

use super::{
    Attempt, MINUS_ONE, Verdict, Whom, at, judge, judge_with, out, path, recording_or_none, sys,
};

pub(super) const ATTEMPTS: &[Attempt] = &[
    // As root these change nothing.
    Attempt::new("escape-setuid", "setuid", |_| {
        judge(sys(libc::SYS_setuid, [0]))
    }),
    Attempt::new("escape-setgid", "setgid", |_| {
        judge(sys(libc::SYS_setgid, [0]))
    }),
    Attempt::new("escape-setresuid", "setresuid", |_| {
        judge(sys(libc::SYS_setresuid, [0, 0, 0]))
    }),
    Attempt::new("escape-setresgid", "setresgid", |_| {
        judge(sys(libc::SYS_setresgid, [0, 0, 0]))
    }),
    Attempt::new("escape-setreuid", "setreuid", |_| {
        judge(sys(libc::SYS_setreuid, [0, 0]))
    }),
    Attempt::new("escape-setgroups", "setgroups", |_| {
        judge(sys(libc::SYS_setgroups, [0, 0]))
    }),
    Attempt::new("escape-capset", "capset", |_| {
        // _LINUX_CAPABILITY_VERSION_3 and this process; then effective, permitted, inheritable,
        // twice 32 bits: the first 32 capabilities.
        let header = [0x2008_0522_u32, 0];
        let data = [u32::MAX, u32::MAX, 0, 0, 0, 0];
        judge(sys(libc::SYS_capset, [at(&header), at(&data)]))
    }),
    Attempt::new("escape-keyctl", "keyctl", |_| {
        // KEYCTL_GET_KEYRING_ID of the session's keyring (−3).
        let session = -3_isize as usize;
        judge(sys(libc::SYS_keyctl, [0, session, 0]))
    }),
    Attempt::new("escape-add-key", "add_key", |_| {
        // Into the keyring of this process (−2), which goes with it.
        let process = -2_isize as usize;
        let (kind, name) = (path(c"user"), path(c"stt-fault"));
        let arguments = [kind, name, path(c"x"), 1, process];
        judge(sys(libc::SYS_add_key, arguments))
    }),
    Attempt::new("escape-request-key", "request_key", |_| {
        let arguments = [path(c"user"), path(c"stt-fault-none"), 0, 0];
        judge(sys(libc::SYS_request_key, arguments))
    }),
    Attempt::new("escape-unshare-user", "unshare", |_| {
        unshare(libc::CLONE_NEWUSER)
    }),
    Attempt::new("escape-unshare-mounts", "unshare", |_| {
        unshare(libc::CLONE_NEWNS)
    }),
    Attempt::new("escape-unshare-network", "unshare", |_| {
        unshare(libc::CLONE_NEWNET)
    }),
    Attempt::new("escape-unshare-cgroup", "unshare", |_| {
        unshare(libc::CLONE_NEWCGROUP)
    }),
    Attempt::new("escape-setns", "setns", |_| {
        judge(sys(libc::SYS_setns, [recording_or_none(), 0]))
    }),
    Attempt::new("escape-prctl-seccomp", "prctl", |_| {
        let filter = Filter::allowing_everything();
        prctl(libc::PR_SET_SECCOMP, 2, at(&filter.program()))
    }),
    Attempt::new("escape-prctl-dumpable", "prctl", |_| {
        prctl(libc::PR_SET_DUMPABLE, 1, 0)
    }),
    Attempt::new("escape-prctl-ptracer", "prctl", |_| {
        // EINVAL: a kernel without the Yama module has no such thing.
        let result = sys(
            libc::SYS_prctl,
            [libc::PR_SET_PTRACER as usize, MINUS_ONE, 0, 0, 0],
        );
        judge_with(result, &[Errno::EINVAL])
    }),
    Attempt::new("escape-prctl-pdeathsig", "prctl", |_| {
        prctl(libc::PR_SET_PDEATHSIG, 0, 0)
    }),
    Attempt::new("escape-prctl-ambient", "prctl", |_| {
        // PR_CAP_AMBIENT_RAISE of CAP_SYS_ADMIN (21).
        let arguments = [libc::PR_CAP_AMBIENT as usize, 2, 21, 0, 0];
        judge(sys(libc::SYS_prctl, arguments))
    }),
    Attempt::new("escape-prctl-no-new-privileges", "prctl", |_| {
        // EINVAL: nobody can take it back, and the kernel says so in this way.
        let arguments = [libc::PR_SET_NO_NEW_PRIVS as usize, 0, 0, 0, 0];
        judge_with(sys(libc::SYS_prctl, arguments), &[Errno::EINVAL])
    }),
    Attempt::new("escape-prctl-keep-capabilities", "prctl", |_| {
        prctl(libc::PR_SET_KEEPCAPS, 1, 0)
    }),
    Attempt::new("escape-prctl-securebits", "prctl", |_| {
        prctl(libc::PR_SET_SECUREBITS, 0, 0)
    }),
    Attempt::new("escape-prctl-subreaper", "prctl", |_| {
        prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0)
    }),
    Attempt::new("escape-prctl-memory-map", "prctl", |_| {
        // PR_SET_MM_START_BRK to no address.
        prctl(libc::PR_SET_MM, 6, 0)
    }),
    Attempt::new("escape-seccomp", "seccomp", |_| {
        // SECCOMP_SET_MODE_FILTER
        let filter = Filter::allowing_everything();
        judge(sys(libc::SYS_seccomp, [1, 0, at(&filter.program())]))
    }),
    Attempt::new("escape-landlock-create", "landlock_create_ruleset", |_| {
        // LANDLOCK_CREATE_RULESET_VERSION: asks for the version, makes nothing.
        judge(sys(libc::SYS_landlock_create_ruleset, [0, 0, 1]))
    }),
    Attempt::new("escape-landlock-add", "landlock_add_rule", |_| {
        judge(sys(libc::SYS_landlock_add_rule, [MINUS_ONE, 1, 0, 0]))
    }),
    Attempt::new("escape-landlock-restrict", "landlock_restrict_self", |_| {
        judge(sys(libc::SYS_landlock_restrict_self, [MINUS_ONE, 0]))
    }),
    Attempt::new("escape-setrlimit", "setrlimit", |_| {
        let limit = [u64::MAX, u64::MAX];
        let core = libc::RLIMIT_CORE as usize;
        judge(sys(libc::SYS_setrlimit, [core, at(&limit)]))
    }),
    Attempt::new("escape-prlimit", "prlimit64", |_| {
        let limit = [1_u64 << 19, 1 << 19];
        let files = libc::RLIMIT_NOFILE as usize;
        judge(sys(libc::SYS_prlimit64, [0, files, at(&limit), 0]))
    }),
    Attempt::new("escape-prlimit-supervisor", "prlimit64", |s| {
        s.at(Whom::Supervisor, |pid| {
            // Reads only, which needs the same permission.
            let mut limit = [0_u64; 2];
            let files = libc::RLIMIT_NOFILE as usize;
            let arguments = [pid as usize, files, 0, out(&mut limit)];
            judge_with(sys(libc::SYS_prlimit64, arguments), &[Errno::ESRCH])
        })
    }),
    Attempt::new("escape-setpriority", "setpriority", |_| {
        let nice = -20_isize as usize;
        judge(sys(libc::SYS_setpriority, [0, 0, nice]))
    }),
    Attempt::new("escape-setpriority-supervisor", "setpriority", |s| {
        s.at(Whom::Supervisor, |pid| {
            // To what it has already; a real attacker would starve it.
            let arguments = [libc::PRIO_PROCESS as usize, pid as usize, 0];
            judge_with(sys(libc::SYS_setpriority, arguments), &[Errno::ESRCH])
        })
    }),
    Attempt::new("escape-scheduler", "sched_setscheduler", |_| {
        let priority = 1_i32;
        let fifo = libc::SCHED_FIFO as usize;
        judge(sys(libc::SYS_sched_setscheduler, [0, fifo, at(&priority)]))
    }),
    Attempt::new("escape-affinity-supervisor", "sched_setaffinity", |s| {
        s.at(Whom::Supervisor, |pid| {
            // No processor at all is refused, but only after the permission.
            let none = 0_u64;
            let arguments = [pid as usize, size_of_val(&none), at(&none)];
            judge_with(sys(libc::SYS_sched_setaffinity, arguments), &[Errno::ESRCH])
        })
    }),
    Attempt::new("escape-io-priority", "ioprio_set", |_| {
        // IOPRIO_WHO_PROCESS, this one, IOPRIO_CLASS_RT.
        judge(sys(libc::SYS_ioprio_set, [1, 0, 1 << 13]))
    }),
    Attempt::new("escape-personality", "personality", |_| {
        // READ_IMPLIES_EXEC of linux/personality.h.
        judge(sys(libc::SYS_personality, [0x0040_0000]))
    }),
];

fn unshare(flags: i32) -> Verdict {
    // ENOSPC: the limit on such namespaces is 0, which is a refusal.
    judge_with(sys(libc::SYS_unshare, [flags as usize]), &[Errno::ENOSPC])
}

fn prctl(option: i32, first: usize, second: usize) -> Verdict {
    judge(sys(libc::SYS_prctl, [option as usize, first, second, 0, 0]))
}

/// A seccomp filter of one instruction, so that a success changes nothing.
struct Filter {
    /// One `struct sock_filter`.
    instruction: [u16; 4],
}

/// A whole `struct sock_fprog`.
#[repr(C)]
struct Program {
    length: u16,
    instructions: usize,
}

impl Filter {
    fn allowing_everything() -> Self {
        // BPF_RET | BPF_K, no jumps, SECCOMP_RET_ALLOW (0x7fff0000) in the byte order of this
        // machine.
        let [low, high] = if cfg!(target_endian = "little") {
            [0, 0x7fff]
        } else {
            [0x7fff, 0]
        };
        Self {
            instruction: [0x06, 0, low, high],
        }
    }

    fn program(&self) -> Program {
        Program {
            length: 1,
            instructions: at(&self.instruction),
        }
    }
}
