//! Kernel constants by the names that the policy files use.

/// `FUTEX_CMD_MASK` of linux/futex.h: the operation without its flags (private, real-time clock).
const FUTEX_CMD_MASK: u32 = !(128 | 256);
/// Operation of arch_prctl, from asm/prctl.h of x86.
const ARCH_GET_XCOMP_SUPP: u32 = 0x1021;
/// Operation of arch_prctl, from asm/prctl.h of x86.
const ARCH_GET_XCOMP_PERM: u32 = 0x1022;
/// Operation of arch_prctl, from asm/prctl.h of x86.
const ARCH_REQ_XCOMP_PERM: u32 = 0x1023;
/// asm-generic/ioctls.h, `_IOR('T', 0x2A, struct termios2)`; used by glibc since 2.42.
const TCGETS2: u32 = 0x802c_542a;
/// asm-generic/mman-common.h; since 2.42 glibc guards the stacks of threads with it.
const MADV_GUARD_INSTALL: u32 = 102;
/// Removes such a guard (asm-generic/mman-common.h).
const MADV_GUARD_REMOVE: u32 = 103;
/// Operation of arch_prctl, from asm/prctl.h of x86.
const ARCH_SET_FS: u32 = 0x1002;
/// Operation of arch_prctl, from asm/prctl.h of x86.
const ARCH_GET_FS: u32 = 0x1003;
/// linux/net.h: selects the type of a socket, without its flags.
const SOCK_TYPE_MASK: u32 = 0xf;
/// Operation of prctl, from linux/prctl.h.
const PR_GET_TID_ADDRESS: u32 = 40;

/// Placeholder in a program for the process id of the job that installs it. No process has this id.
pub(super) const OWN_PID: u32 = u32::MAX;

macro_rules! table {
    ($($name:ident)*, libc: $($libc:ident)*) => {
        /// Value of `name` as the lower 32 bits of an argument.
        pub(super) fn value(name: &str) -> Option<u32> {
            match name {
                "STDOUT" => Some(1),
                "STDERR" => Some(2),
                "CHANNEL" => Some(super::CHANNEL.cast_unsigned()),
                "STANDBY" => Some(super::STANDBY.cast_unsigned()),
                "OWN_PID" => Some(OWN_PID),
                $(stringify!($name) => Some($name),)*
                // All of them fit: they are flags and codes of 32 bits, and only their types
                // differ.
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_lossless,
                        clippy::unnecessary_cast, clippy::allow_attributes)]
                $(stringify!($libc) => Some(libc::$libc as u32),)*
                _ => None,
            }
        }
    };
}

table! {
    FUTEX_CMD_MASK ARCH_GET_XCOMP_SUPP ARCH_GET_XCOMP_PERM ARCH_REQ_XCOMP_PERM TCGETS2 MADV_GUARD_INSTALL
    MADV_GUARD_REMOVE PR_GET_TID_ADDRESS ARCH_SET_FS ARCH_GET_FS SOCK_TYPE_MASK,
    libc:
    O_ACCMODE O_RDONLY O_RDWR O_NONBLOCK O_CREAT O_TRUNC O_APPEND O_TMPFILE O_PATH
    PROT_WRITE PROT_EXEC MAP_ANONYMOUS
    MADV_NORMAL MADV_RANDOM MADV_SEQUENTIAL MADV_WILLNEED MADV_DONTNEED MADV_FREE MADV_HUGEPAGE MADV_NOHUGEPAGE
    MADV_DONTDUMP MADV_DODUMP MADV_DONTFORK MADV_DOFORK MADV_WIPEONFORK MADV_KEEPONFORK MADV_COLD MADV_PAGEOUT
    MADV_POPULATE_READ MADV_POPULATE_WRITE
    CLONE_VM CLONE_FS CLONE_FILES CLONE_SIGHAND CLONE_THREAD CLONE_SYSVSEM CLONE_SETTLS CLONE_PARENT_SETTID
    CLONE_CHILD_CLEARTID CLONE_NEWNS CLONE_NEWCGROUP CLONE_NEWUTS CLONE_NEWIPC CLONE_NEWUSER CLONE_NEWPID CLONE_NEWNET
    CLONE_PARENT CLONE_PTRACE
    AF_UNIX AF_INET AF_INET6 SOCK_STREAM SOCK_DGRAM SOCK_SEQPACKET
    FUTEX_WAIT FUTEX_WAKE FUTEX_REQUEUE FUTEX_CMP_REQUEUE FUTEX_WAKE_OP FUTEX_WAIT_BITSET FUTEX_WAKE_BITSET
    MEMBARRIER_CMD_QUERY MEMBARRIER_CMD_PRIVATE_EXPEDITED MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED
    F_GETFD F_GETFL F_SETFL TCGETS FIOCLEX FIONCLEX FIONREAD FIONBIO
    SOL_SOCKET MSG_NOSIGNAL IPPROTO_IP IPPROTO_IPV6 IPPROTO_TCP IPPROTO_UDP IP_RECVERR IPV6_RECVERR
    SIGSYS SIGABRT
    PR_SET_NAME PR_GET_NAME PR_SET_VMA PR_SET_PDEATHSIG PR_GET_DUMPABLE PR_SET_DUMPABLE PR_GET_NO_NEW_PRIVS
    PR_SET_NO_NEW_PRIVS PR_CAPBSET_READ PR_SET_THP_DISABLE PR_GET_THP_DISABLE
    SECCOMP_SET_MODE_FILTER
}

/// Number of the error `name`, with which a filter can answer.
pub(super) fn errno(name: &str) -> Option<u16> {
    let number = match name {
        "EACCES" => libc::EACCES,
        "EINVAL" => libc::EINVAL,
        "ENOSYS" => libc::ENOSYS,
        "EOPNOTSUPP" => libc::EOPNOTSUPP,
        "EPERM" => libc::EPERM,
        "ENOTTY" => libc::ENOTTY,
        "EMFILE" => libc::EMFILE,
        "EAFNOSUPPORT" => libc::EAFNOSUPPORT,
        "ENOPROTOOPT" => libc::ENOPROTOOPT,
        "ENOTCONN" => libc::ENOTCONN,
        _ => return None,
    };
    u16::try_from(number).ok()
}
