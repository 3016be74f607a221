//! To other processes: signal, watch, read, write and make them.
#![allow(unsafe_code)]

use nix::errno::Errno;

use super::{
    Attempt, MINUS_ONE, Verdict, Whom, at, judge, judge_with, out, path, recording_or_none, sys,
};

pub(super) const ATTEMPTS: &[Attempt] = &[
    Attempt::new("escape-kill-supervisor", "kill", |s| {
        s.at(Whom::Supervisor, kill)
    }),
    Attempt::new("escape-kill-zygote", "kill", |s| s.at(Whom::Zygote, kill)),
    Attempt::new("escape-kill-neighbour", "kill", |s| {
        s.at(Whom::Neighbour, kill)
    }),
    Attempt::new("escape-kill-group", "kill", |_| kill(0)),
    Attempt::new("escape-kill-all", "kill", |_| kill(-1)),
    Attempt::new("escape-tkill-supervisor", "tkill", |s| {
        s.at(Whom::Supervisor, |pid| {
            reach(sys(libc::SYS_tkill, [pid as usize, 0]))
        })
    }),
    Attempt::new("escape-tgkill-supervisor", "tgkill", |s| {
        s.at(Whom::Supervisor, tgkill)
    }),
    Attempt::new("escape-tgkill-zygote", "tgkill", |s| {
        s.at(Whom::Zygote, tgkill)
    }),
    Attempt::new("escape-tgkill-neighbour", "tgkill", |s| {
        s.at(Whom::Neighbour, tgkill)
    }),
    Attempt::new("escape-sigqueue-supervisor", "rt_sigqueueinfo", |s| {
        s.at(Whom::Supervisor, sigqueue)
    }),
    Attempt::new("escape-sigqueue-zygote", "rt_sigqueueinfo", |s| {
        s.at(Whom::Zygote, sigqueue)
    }),
    Attempt::new("escape-sigqueue-neighbour", "rt_sigqueueinfo", |s| {
        s.at(Whom::Neighbour, sigqueue)
    }),
    Attempt::new("escape-pidfd-open-supervisor", "pidfd_open", |s| {
        s.at(Whom::Supervisor, pidfd_open)
    }),
    Attempt::new("escape-pidfd-open-zygote", "pidfd_open", |s| {
        s.at(Whom::Zygote, pidfd_open)
    }),
    Attempt::new("escape-pidfd-open-neighbour", "pidfd_open", |s| {
        s.at(Whom::Neighbour, pidfd_open)
    }),
    // With no pidfd at hand: whether the call is there at all.
    Attempt::new("escape-pidfd-send-signal", "pidfd_send_signal", |_| {
        judge(sys(libc::SYS_pidfd_send_signal, [MINUS_ONE, 0, 0, 0]))
    }),
    Attempt::new("escape-pidfd-getfd", "pidfd_getfd", |_| {
        judge(sys(libc::SYS_pidfd_getfd, [MINUS_ONE, 0, 0]))
    }),
    Attempt::new("escape-pidfd-getfd-supervisor", "pidfd_open", |s| {
        s.at(Whom::Supervisor, pidfd_getfd)
    }),
    Attempt::new("escape-pidfd-getfd-zygote", "pidfd_open", |s| {
        s.at(Whom::Zygote, pidfd_getfd)
    }),
    Attempt::new("escape-pidfd-getfd-neighbour", "pidfd_open", |s| {
        s.at(Whom::Neighbour, pidfd_getfd)
    }),
    Attempt::new("escape-ptrace-traceme", "ptrace", |_| {
        judge(sys(libc::SYS_ptrace, [libc::PTRACE_TRACEME as usize, 0]))
    }),
    Attempt::new("escape-ptrace-attach", "ptrace", |_| {
        // A success would stop its target: so on a process id above the highest that there can be.
        let arguments = [libc::PTRACE_ATTACH as usize, 1 << 22];
        judge(sys(libc::SYS_ptrace, arguments))
    }),
    Attempt::new("escape-ptrace-supervisor", "ptrace", |s| {
        s.at(Whom::Supervisor, seize)
    }),
    Attempt::new("escape-ptrace-zygote", "ptrace", |s| {
        s.at(Whom::Zygote, seize)
    }),
    Attempt::new("escape-ptrace-neighbour", "ptrace", |s| {
        s.at(Whom::Neighbour, seize)
    }),
    Attempt::new("escape-vm-readv-supervisor", "process_vm_readv", |s| {
        s.at(Whom::Supervisor, vm_readv)
    }),
    Attempt::new("escape-vm-readv-zygote", "process_vm_readv", |s| {
        s.at(Whom::Zygote, vm_readv)
    }),
    Attempt::new("escape-vm-readv-neighbour", "process_vm_readv", |s| {
        s.at(Whom::Neighbour, vm_readv)
    }),
    Attempt::new("escape-vm-writev-supervisor", "process_vm_writev", |s| {
        s.at(Whom::Supervisor, vm_writev)
    }),
    Attempt::new("escape-vm-writev-zygote", "process_vm_writev", |s| {
        s.at(Whom::Zygote, vm_writev)
    }),
    Attempt::new("escape-vm-writev-neighbour", "process_vm_writev", |s| {
        s.at(Whom::Neighbour, vm_writev)
    }),
    Attempt::new("escape-kcmp", "kcmp", |s| {
        s.at(Whom::Supervisor, |pid| {
            // KCMP_VM of linux/kcmp.h.
            let own = std::process::id() as usize;
            reach(sys(libc::SYS_kcmp, [own, pid as usize, 1, 0, 0]))
        })
    }),
    // A success leaves a process that ends with status 0 without a word: `worker_crashed`.
    Attempt::new("escape-execve", "execve", |_| {
        let program = c"/bin/true";
        let arguments = [program.as_ptr(), std::ptr::null()];
        judge(sys(
            libc::SYS_execve,
            [path(program), at(&arguments), at(&arguments[1])],
        ))
    }),
    Attempt::new("escape-execveat", "execveat", |_| {
        // The recording as a program: what a client uploads would run.
        let program = c"recording";
        let list = [program.as_ptr(), std::ptr::null()];
        let arguments = [
            recording_or_none(),
            path(c""),
            at(&list),
            at(&list[1]),
            libc::AT_EMPTY_PATH as usize,
        ];
        judge(sys(libc::SYS_execveat, arguments))
    }),
    #[cfg(target_arch = "x86_64")]
    Attempt::new("escape-fork", "fork", |_| born(libc::SYS_fork, [])),
    #[cfg(target_arch = "x86_64")]
    Attempt::new("escape-vfork", "vfork", |_| {
        born_sharing(libc::SYS_vfork, 0, 0)
    }),
    Attempt::new("escape-clone", "clone", |_| {
        born(libc::SYS_clone, [libc::SIGCHLD as usize])
    }),
    #[cfg(target_arch = "x86_64")]
    Attempt::new("escape-clone-vm", "clone", |_| {
        // Looks like a thread to a filter that asks only for CLONE_VM, and is a process.
        let flags = libc::CLONE_VM | libc::CLONE_SIGHAND | libc::SIGCHLD;
        let stack = [0_u128; 256];
        born_sharing(
            libc::SYS_clone,
            flags as usize,
            at(&stack) + size_of_val(&stack),
        )
    }),
    Attempt::new("escape-clone-parent", "clone", |_| {
        born(
            libc::SYS_clone,
            [(libc::CLONE_PARENT | libc::SIGCHLD) as usize],
        )
    }),
    Attempt::new("escape-clone-user-namespace", "clone", |_| {
        born(
            libc::SYS_clone,
            [(libc::CLONE_NEWUSER | libc::SIGCHLD) as usize],
        )
    }),
    Attempt::new("escape-clone-namespaces", "clone", |_| {
        let flags = libc::CLONE_NEWNS
            | libc::CLONE_NEWPID
            | libc::CLONE_NEWNET
            | libc::CLONE_NEWIPC
            | libc::SIGCHLD;
        born(libc::SYS_clone, [flags as usize])
    }),
    Attempt::new("escape-clone3", "clone3", |_| {
        // struct clone_args: flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size,
        // tls.
        let arguments = [0, 0, 0, 0, libc::SIGCHLD as u64, 0, 0, 0];
        born(libc::SYS_clone3, [at(&arguments), size_of_val(&arguments)])
    }),
    Attempt::new("escape-setsid", "setsid", |_| {
        judge(sys(libc::SYS_setsid, []))
    }),
    Attempt::new("escape-setpgid", "setpgid", |_| {
        judge(sys(libc::SYS_setpgid, [0, 0]))
    }),
];

/// ESRCH: the process does not exist in our view.
fn reach(result: Result<usize, Errno>) -> Verdict {
    judge_with(result, &[Errno::ESRCH])
}

/// Signal 0: whether a signal would arrive, and nothing more.
fn kill(pid: i32) -> Verdict {
    reach(sys(libc::SYS_kill, [pid as usize, 0]))
}

fn tgkill(pid: i32) -> Verdict {
    reach(sys(libc::SYS_tgkill, [pid as usize, pid as usize, 0]))
}

fn sigqueue(pid: i32) -> Verdict {
    // siginfo_t: signal, error, code; with any code of the kernel's own even root is refused.
    let mut info = [0_i32; 32];
    info[2] = libc::SI_QUEUE;
    let arguments = [pid as usize, 0, at(&info)];
    reach(sys(libc::SYS_rt_sigqueueinfo, arguments))
}

fn pidfd_open(pid: i32) -> Verdict {
    reach(sys(libc::SYS_pidfd_open, [pid as usize, 0]))
}

fn pidfd_getfd(pid: i32) -> Verdict {
    match sys(libc::SYS_pidfd_open, [pid as usize, 0]) {
        // Descriptor 0 is open in every process of the service.
        Ok(pidfd) => judge(sys(libc::SYS_pidfd_getfd, [pidfd, 0, 0])),
        refused => reach(refused),
    }
}

/// Attach without stopping it; the kernel lets go of it when this process ends.
fn seize(pid: i32) -> Verdict {
    let arguments = [libc::PTRACE_SEIZE as usize, pid as usize, 0, 0];
    reach(sys(libc::SYS_ptrace, arguments))
}

/// In the first page, which no process has: EFAULT comes after the permission.
const NOWHERE: usize = 16;

fn vm_readv(pid: i32) -> Verdict {
    transfer(libc::SYS_process_vm_readv, pid)
}

fn vm_writev(pid: i32) -> Verdict {
    transfer(libc::SYS_process_vm_writev, pid)
}

fn transfer(number: libc::c_long, pid: i32) -> Verdict {
    let mut buffer = 0_u64;
    // struct iovec: address, length.
    let here = [out(&mut buffer), size_of::<u64>()];
    let there = [NOWHERE, size_of::<u64>()];
    let arguments = [pid as usize, at(&here), 1, at(&there), 1, 0];
    reach(sys(number, arguments))
}

/// Errors of a limit on processes or namespaces, which refuses as well as a filter does.
const LIMITS: [Errno; 2] = [Errno::EAGAIN, Errno::ENOSPC];

/// A process is born, and it runs: an escape. It ends at once.
fn born<const N: usize>(number: libc::c_long, arguments: [usize; N]) -> Verdict {
    let result = sys(number, arguments);
    if result == Ok(0) {
        // SAFETY: _exit has no preconditions.
        unsafe { libc::_exit(0) };
    }
    judge_with(result, &LIMITS)
}

/// The same for a process that shares our memory: it must not return to any function, so it ends
/// where it is born.
#[cfg(target_arch = "x86_64")]
fn born_sharing(number: libc::c_long, flags: usize, stack: usize) -> Verdict {
    let mut result = number as isize;
    // SAFETY: the parent's registers are declared and its stack is not touched; the child, for
    // which rax is 0, makes one system call from registers alone (exit_group(0)), which does not
    // return.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor edi, edi",
            "mov eax, {exit_group}",
            "syscall",
            "2:",
            exit_group = const libc::SYS_exit_group,
            inout("rax") result,
            inout("rdi") flags => _,
            in("rsi") stack,
            in("rdx") 0,
            in("r10") 0,
            in("r8") 0,
            out("rcx") _,
            out("r11") _,
            options(nostack),
        );
    }
    let result = usize::try_from(result)
        .map_err(|_| Errno::from_raw(i32::try_from(-result).unwrap_or(libc::EINVAL)));
    judge_with(result, &LIMITS)
}
