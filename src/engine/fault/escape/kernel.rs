//! To the machine itself.
//!
//! None of these changes anything where it is allowed: see the remark at each.

use super::{AT_FDCWD, Attempt, MINUS_ONE, at, judge, out, path, sys};

pub(super) const ATTEMPTS: &[Attempt] = &[
    Attempt::new("escape-bpf", "bpf", |_| {
        // BPF_MAP_CREATE: an array of one number, which goes with its descriptor.
        let attributes = [2_u32, 4, 4, 1, 0, 0, 0, 0];
        let arguments = [0, at(&attributes), size_of_val(&attributes)];
        judge(sys(libc::SYS_bpf, arguments))
    }),
    Attempt::new("escape-perf-event", "perf_event_open", |_| {
        // struct perf_event_attr: PERF_TYPE_SOFTWARE and its size; the CPU clock of this thread.
        let attributes = [1_u32, 64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let arguments = [at(&attributes), 0, MINUS_ONE, MINUS_ONE, 0];
        judge(sys(libc::SYS_perf_event_open, arguments))
    }),
    Attempt::new("escape-io-uring", "io_uring_setup", |_| {
        let mut parameters = [0_u32; 30];
        judge(sys(libc::SYS_io_uring_setup, [1, out(&mut parameters)]))
    }),
    Attempt::new("escape-mount", "mount", |_| {
        // No such file system exists: ENODEV comes after the permission.
        let kind = path(c"stt-fault-none");
        let arguments = [path(c"none"), path(c"/tmp"), kind, 0, 0];
        judge(sys(libc::SYS_mount, arguments))
    }),
    Attempt::new("escape-umount", "umount2", |_| {
        // Never a mount point, and even if it were one, MNT_EXPIRE only marks it.
        let expire = libc::MNT_EXPIRE as usize;
        judge(sys(libc::SYS_umount2, [path(c"/proc/self/fd"), expire]))
    }),
    Attempt::new("escape-pivot-root", "pivot_root", |_| {
        // Never a mount point.
        let folder = path(c"/proc/self/fd");
        judge(sys(libc::SYS_pivot_root, [folder, folder]))
    }),
    Attempt::new("escape-fsopen", "fsopen", |_| {
        // A file system that is mounted nowhere goes with its descriptor.
        judge(sys(libc::SYS_fsopen, [path(c"tmpfs"), 0]))
    }),
    Attempt::new("escape-open-tree", "open_tree", |_| {
        // OPEN_TREE_CLONE: a copy that is mounted nowhere goes with its descriptor.
        judge(sys(libc::SYS_open_tree, [AT_FDCWD, path(c"/"), 1]))
    }),
    Attempt::new("escape-move-mount", "move_mount", |_| {
        let nothing = path(c"");
        let arguments = [MINUS_ONE, nothing, MINUS_ONE, nothing, 0];
        judge(sys(libc::SYS_move_mount, arguments))
    }),
    Attempt::new("escape-mount-setattr", "mount_setattr", |_| {
        // struct mount_attr: nothing to set, nothing to clear.
        let attributes = [0_u64; 4];
        let size = size_of_val(&attributes);
        let arguments = [AT_FDCWD, path(c"/"), 0, at(&attributes), size];
        judge(sys(libc::SYS_mount_setattr, arguments))
    }),
    #[cfg(target_arch = "x86_64")]
    Attempt::new("escape-modify-ldt", "modify_ldt", |_| {
        // Reads an empty table.
        judge(sys(libc::SYS_modify_ldt, [0, 0, 0]))
    }),
    #[cfg(target_arch = "x86_64")]
    Attempt::new("escape-iopl", "iopl", |_| {
        // The level that every process has.
        judge(sys(libc::SYS_iopl, [0]))
    }),
    #[cfg(target_arch = "x86_64")]
    Attempt::new("escape-ioperm", "ioperm", |_| {
        // One port, for this process; nothing is read from it.
        judge(sys(libc::SYS_ioperm, [0x80, 1, 1]))
    }),
    Attempt::new("escape-quotactl", "quotactl", |_| {
        // Q_GETINFO (0x800005) of user quotas: of a device that does not exist.
        let command = 0x800005 << 8;
        judge(sys(libc::SYS_quotactl, [command, path(NOTHING), 0, 0]))
    }),
    Attempt::new("escape-swapon", "swapon", |_| {
        judge(sys(libc::SYS_swapon, [path(NOTHING), 0]))
    }),
    Attempt::new("escape-swapoff", "swapoff", |_| {
        judge(sys(libc::SYS_swapoff, [path(NOTHING)]))
    }),
    Attempt::new("escape-reboot", "reboot", |_| {
        // Without the magic numbers nothing is rebooted.
        judge(sys(libc::SYS_reboot, [0, 0, 0, 0]))
    }),
    Attempt::new("escape-init-module", "init_module", |_| {
        // A module of no bytes.
        judge(sys(libc::SYS_init_module, [0, 0, path(c"")]))
    }),
    Attempt::new("escape-finit-module", "finit_module", |_| {
        judge(sys(libc::SYS_finit_module, [MINUS_ONE, path(c""), 0]))
    }),
    Attempt::new("escape-delete-module", "delete_module", |_| {
        let arguments = [path(c"stt_fault_none"), libc::O_NONBLOCK as usize];
        judge(sys(libc::SYS_delete_module, arguments))
    }),
    Attempt::new("escape-kexec", "kexec_load", |_| {
        // More segments than there can be, and unknown flags. Never 0 segments: that unloads.
        judge(sys(libc::SYS_kexec_load, [0, 10_000, 0, 0xdead]))
    }),
    Attempt::new("escape-sethostname", "sethostname", |_| {
        // A length below zero.
        judge(sys(libc::SYS_sethostname, [path(c"x"), MINUS_ONE]))
    }),
    Attempt::new("escape-setdomainname", "setdomainname", |_| {
        judge(sys(libc::SYS_setdomainname, [path(c"x"), MINUS_ONE]))
    }),
    Attempt::new("escape-settimeofday", "settimeofday", |_| {
        // struct timezone: further west than there is.
        let zone = [100_000_i32, 0];
        judge(sys(libc::SYS_settimeofday, [0, at(&zone)]))
    }),
    Attempt::new("escape-clock-adjtime", "clock_adjtime", |_| {
        // struct timex: ADJ_TICK, to a clock that stands still, which no kernel accepts.
        let mut time = [0_u64; 32];
        time[0] = u64::from(libc::ADJ_TICK);
        let real = libc::CLOCK_REALTIME as usize;
        judge(sys(libc::SYS_clock_adjtime, [real, out(&mut time)]))
    }),
    Attempt::new("escape-syslog", "syslog", |_| {
        // SYSLOG_ACTION_SIZE_BUFFER: reads a number.
        judge(sys(libc::SYS_syslog, [10, 0, 0]))
    }),
    Attempt::new("escape-acct", "acct", |_| {
        // Accounting into a file that does not exist.
        judge(sys(libc::SYS_acct, [path(NOTHING)]))
    }),
];

/// A path that no machine has.
const NOTHING: &std::ffi::CStr = c"/tmp/stt-isolated-fault-engine-none";
