//! Ways out of a job. Each must be stopped at the system call itself, and reported by its name.

use std::{ffi::CString, ptr};

use libc::{c_int, c_long};

use super::{
    Attempt,
    Expect::{Fine, Signal, Stopped, Violation},
};

/// The result of a call that came back.
fn back<T: std::fmt::Display>(result: T) -> Result<(), String> {
    Err(format!(
        "the call came back with {result} ({})",
        std::io::Error::last_os_error()
    ))
}

fn open(path: &str, flags: c_int) -> Result<(), String> {
    let path = CString::new(path).unwrap();
    back(unsafe { libc::open(path.as_ptr(), flags, 0o600) })
}

fn socket(family: c_int, kind: c_int) -> Result<(), String> {
    back(unsafe { libc::socket(family, kind, 0) })
}

macro_rules! call {
    ($number:ident $(, $argument:expr)*) => {
        back(unsafe { libc::syscall(libc::$number $(, $argument)*) })
    };
}

/// Must be refused with `expected`, by which libraries know what to do instead.
fn refused(result: c_long, expected: c_int) -> Result<(), String> {
    let error = std::io::Error::last_os_error();
    if result == -1 && error.raw_os_error() == Some(expected) {
        Ok(())
    } else {
        Err(format!("got {result}, {error}"))
    }
}

const NULL: *const libc::c_void = ptr::null();

macro_rules! attempts {
    ($($name:literal => $expect:expr, $run:expr;)*) => {
        pub(super) const ALL: &[Attempt] = &[
            $(Attempt { name: $name, expect: $expect, run: $run },)*
        ];
    };
}

attempts! {
    // Files
    "escape::open_etc_passwd" => Violation("openat"), |_| open("/etc/passwd", libc::O_RDONLY);
    "escape::open_by_the_old_call" => Violation("open"), |_| call!(SYS_open, c"/etc/passwd".as_ptr(), 0);
    "escape::openat2" => Violation("openat2"), |_| call!(SYS_openat2, libc::AT_FDCWD, c"/etc/passwd".as_ptr(), NULL, 24);
    "escape::open_own_memory" => Violation("openat"), |_| open("/proc/self/mem", libc::O_RDWR);
    "escape::open_neighbours_memory" => Violation("openat"), |s| open(&format!("/proc/{}/mem", s.neighbour), libc::O_RDONLY);
    "escape::open_neighbours_maps" => Violation("openat"), |s| open(&format!("/proc/{}/maps", s.neighbour), libc::O_RDONLY);
    "escape::open_supervisors_environment" => Violation("openat"), |s| open(&format!("/proc/{}/environ", s.supervisor), libc::O_RDONLY);
    "escape::open_cgroup_file" => Violation("openat"), |_| open("/sys/fs/cgroup/cgroup.procs", libc::O_WRONLY);
    "escape::open_own_memory_limit" => Violation("openat"), |_| open("/sys/fs/cgroup/memory.max", libc::O_WRONLY);
    "escape::open_the_model_for_writing" => Violation("openat"), |_| open("/usr/share/pocketsphinx/model/en-us/en-us.lm.bin", libc::O_RDWR);
    "escape::create_a_file" => Violation("openat"), |_| open("/tmp/escaped", libc::O_CREAT | libc::O_WRONLY);
    "escape::write_a_file_of_advice" => Violation("openat"), |_| open("/proc/sys/vm/overcommit_memory/../overcommit_memory", libc::O_RDWR);
    "escape::temporary_file" => Violation("openat"), |_| open("/tmp", libc::O_TMPFILE | libc::O_RDWR);
    "escape::stat_a_path" => Violation("newfstatat"), |_| {
        let mut stat: libc::stat = unsafe { std::mem::zeroed() };
        back(unsafe { libc::fstatat(libc::AT_FDCWD, c"/etc/shadow".as_ptr(), &raw mut stat, 0) })
    };
    "escape::stat_a_path_with_an_empty_flag" => Violation("newfstatat"), |_| {
        let mut stat: libc::stat = unsafe { std::mem::zeroed() };
        back(unsafe { libc::fstatat(libc::AT_FDCWD, c"/etc/shadow".as_ptr(), &raw mut stat, libc::AT_EMPTY_PATH) })
    };
    "escape::statx_a_path" => Violation("statx"), |_| {
        let mut stat: libc::statx = unsafe { std::mem::zeroed() };
        back(unsafe { libc::statx(libc::AT_FDCWD, c"/etc".as_ptr(), libc::AT_EMPTY_PATH, libc::STATX_ALL, &raw mut stat) })
    };
    "escape::unlink" => Violation("unlink"), |_| back(unsafe { libc::unlink(c"/tmp/nothing".as_ptr()) });
    "escape::rename" => Violation("rename"), |_| back(unsafe { libc::rename(c"/tmp/a".as_ptr(), c"/tmp/b".as_ptr()) });
    "escape::mkdir" => Violation("mkdir"), |_| back(unsafe { libc::mkdir(c"/tmp/escaped".as_ptr(), 0o700) });
    "escape::symlink" => Violation("symlink"), |_| back(unsafe { libc::symlink(c"/etc".as_ptr(), c"/tmp/escaped".as_ptr()) });
    "escape::read_a_link" => Violation("readlink"), |_| call!(SYS_readlink, c"/proc/self/exe".as_ptr(), NULL, 0);
    "escape::list_a_folder" => Violation("getdents64"), |s| call!(SYS_getdents64, s.recording, NULL, 0);
    "escape::truncate_the_recording" => Violation("ftruncate"), |s| back(unsafe { libc::ftruncate(s.recording, 0) });
    "escape::write_the_recording" => Violation("write"), |s| back(unsafe { libc::write(s.recording, c"x".as_ptr().cast(), 1) });
    "escape::pwrite_the_recording" => Violation("pwrite64"), |s| back(unsafe { libc::pwrite(s.recording, c"x".as_ptr().cast(), 1, 0) });
    "escape::memfd" => Violation("memfd_create"), |_| back(unsafe { libc::memfd_create(c"x".as_ptr(), 0) });
    "escape::memfd_secret" => Violation("memfd_secret"), |_| call!(SYS_memfd_secret, 0);
    "escape::name_to_handle" => Violation("name_to_handle_at"), |_| call!(SYS_name_to_handle_at, -100, c"/".as_ptr(), NULL, NULL, 0);
    "escape::open_by_handle" => Violation("open_by_handle_at"), |_| call!(SYS_open_by_handle_at, -100, NULL, 0);
    "escape::chroot" => Violation("chroot"), |_| back(unsafe { libc::chroot(c"/tmp".as_ptr()) });
    "escape::chdir" => Violation("chdir"), |_| back(unsafe { libc::chdir(c"/tmp".as_ptr()) });
    "escape::chmod" => Violation("chmod"), |_| back(unsafe { libc::chmod(c"/tmp".as_ptr(), 0o777) });
    "escape::inotify" => Violation("inotify_init1"), |_| back(unsafe { libc::inotify_init1(0) });
    "escape::fanotify" => Violation("fanotify_init"), |_| back(unsafe { libc::fanotify_init(0, 0) });
    "escape::ioctl" => Violation("ioctl"), |_| back(unsafe { libc::ioctl(0, libc::TIOCSTI, c"x".as_ptr()) });
    "escape::fcntl_signal_owner" => Violation("fcntl"), |s| back(unsafe { libc::fcntl(3, libc::F_SETOWN, s.supervisor) });
    "escape::splice" => Violation("splice"), |_| call!(SYS_splice, 4, NULL, 2, NULL, 1, 0);

    // Sockets
    "escape::socket_unix" => Violation("socket"), |_| socket(libc::AF_UNIX, libc::SOCK_STREAM);
    "escape::socket_tcp" => Violation("socket"), |_| socket(libc::AF_INET, libc::SOCK_STREAM);
    "escape::socket_udp6" => Violation("socket"), |_| socket(libc::AF_INET6, libc::SOCK_DGRAM);
    "escape::socket_netlink" => Violation("socket"), |_| socket(libc::AF_NETLINK, libc::SOCK_RAW);
    "escape::socket_packet" => Violation("socket"), |_| socket(libc::AF_PACKET, libc::SOCK_RAW);
    "escape::socket_vsock" => Violation("socket"), |_| socket(libc::AF_VSOCK, libc::SOCK_STREAM);
    "escape::socket_alg" => Violation("socket"), |_| socket(libc::AF_ALG, libc::SOCK_SEQPACKET);
    "escape::socketpair" => Violation("socketpair"), |_| {
        let mut pair = [0; 2];
        back(unsafe { libc::socketpair(libc::AF_UNIX, libc::SOCK_STREAM, 0, pair.as_mut_ptr()) })
    };
    "escape::connect" => Violation("connect"), |_| back(unsafe { libc::connect(3, ptr::null(), 0) });
    "escape::bind" => Violation("bind"), |_| back(unsafe { libc::bind(3, ptr::null(), 0) });
    "escape::listen" => Violation("listen"), |_| back(unsafe { libc::listen(3, 1) });
    "escape::accept" => Violation("accept"), |_| back(unsafe { libc::accept(3, ptr::null_mut(), ptr::null_mut()) });
    "escape::setsockopt" => Violation("setsockopt"), |_| back(unsafe { libc::setsockopt(3, 1, 7, NULL, 0) });
    "escape::sendto" => Violation("sendto"), |_| back(unsafe { libc::send(3, NULL, 0, 0) });
    "escape::sendmsg_elsewhere" => Violation("sendmsg"), |s| back(unsafe { libc::sendmsg(s.recording, ptr::null(), 0) });

    // Other processes
    "escape::kill_the_supervisor" => Violation("kill"), |s| back(unsafe { libc::kill(s.supervisor, libc::SIGKILL) });
    "escape::kill_the_zygote" => Violation("kill"), |s| back(unsafe { libc::kill(s.zygote, libc::SIGKILL) });
    "escape::kill_the_neighbour" => Violation("kill"), |s| back(unsafe { libc::kill(s.neighbour, libc::SIGKILL) });
    "escape::kill_everybody" => Violation("kill"), |_| back(unsafe { libc::kill(-1, libc::SIGKILL) });
    "escape::tgkill_the_neighbour" => Violation("tgkill"), |s| call!(SYS_tgkill, s.neighbour, s.neighbour, libc::SIGABRT);
    "escape::tgkill_the_supervisor" => Violation("tgkill"), |s| call!(SYS_tgkill, s.supervisor, s.supervisor, libc::SIGABRT);
    "escape::tkill" => Violation("tkill"), |s| call!(SYS_tkill, s.zygote, libc::SIGKILL);
    "escape::sigqueue" => Violation("rt_sigqueueinfo"), |s| call!(SYS_rt_sigqueueinfo, s.zygote, libc::SIGKILL, NULL);
    "escape::pidfd_open" => Violation("pidfd_open"), |s| call!(SYS_pidfd_open, s.supervisor, 0);
    "escape::pidfd_getfd" => Violation("pidfd_getfd"), |s| call!(SYS_pidfd_getfd, s.recording, 3, 0);
    "escape::pidfd_send_signal" => Violation("pidfd_send_signal"), |s| call!(SYS_pidfd_send_signal, s.recording, 9, NULL, 0);
    "escape::ptrace_the_supervisor" => Violation("ptrace"), |s| back(unsafe { libc::ptrace(libc::PTRACE_ATTACH, s.supervisor, NULL, NULL) });
    "escape::ptrace_the_zygote" => Violation("ptrace"), |s| back(unsafe { libc::ptrace(libc::PTRACE_ATTACH, s.zygote, NULL, NULL) });
    "escape::ptrace_the_neighbour" => Violation("ptrace"), |s| back(unsafe { libc::ptrace(libc::PTRACE_SEIZE, s.neighbour, NULL, NULL) });
    "escape::read_the_neighbours_memory" => Violation("process_vm_readv"), |s| back(unsafe { libc::process_vm_readv(s.neighbour, ptr::null(), 0, ptr::null(), 0, 0) });
    "escape::write_the_supervisors_memory" => Violation("process_vm_writev"), |s| back(unsafe { libc::process_vm_writev(s.supervisor, ptr::null(), 0, ptr::null(), 0, 0) });
    "escape::kcmp" => Violation("kcmp"), |s| call!(SYS_kcmp, s.supervisor, s.neighbour, 0, 0, 0);
    "escape::process_madvise" => Violation("process_madvise"), |s| call!(SYS_process_madvise, s.recording, NULL, 0, 4, 0);
    "escape::limits_of_the_neighbour" => Violation("prlimit64"), |s| back(unsafe { libc::prlimit(s.neighbour, libc::RLIMIT_CPU, ptr::null(), ptr::null_mut()) });
    "escape::scheduler" => Violation("sched_setscheduler"), |_| call!(SYS_sched_setscheduler, 0, 1, NULL);
    "escape::priority" => Violation("setpriority"), |_| back(unsafe { libc::setpriority(0, 0, -20) });
    "escape::affinity" => Violation("sched_setaffinity"), |_| back(unsafe { libc::sched_setaffinity(0, 0, ptr::null()) });
    "escape::global_membarrier" => Violation("membarrier"), |_| call!(SYS_membarrier, 1, 0, 0);

    // New processes, other programs
    "escape::execve" => Violation("execve"), |_| back(unsafe { libc::execve(c"/bin/sh".as_ptr(), [c"sh".as_ptr(), ptr::null()].as_ptr(), ptr::null()) });
    "escape::execveat" => Violation("execveat"), |s| call!(SYS_execveat, s.recording, c"".as_ptr(), NULL, NULL, libc::AT_EMPTY_PATH);
    "escape::fork" => Stopped("clone"), |_| back(unsafe { libc::fork() });
    "escape::fork_by_the_old_call" => Violation("fork"), |_| call!(SYS_fork);
    "escape::vfork" => Violation("vfork"), |_| call!(SYS_vfork);
    "escape::clone_a_process" => Violation("clone"), |_| call!(SYS_clone, libc::SIGCHLD, 0, 0, 0, 0);
    "escape::clone_a_thread_outside" => Violation("clone"), |_| call!(SYS_clone, 0x3d_0f00 | libc::CLONE_NEWUSER, 0, 0, 0, 0);
    "escape::clone_with_a_flag_in_the_upper_half" => Violation("clone"), |_| call!(SYS_clone, 0x1_003d_0f00_u64, 0, 0, 0, 0);
    "escape::clone3" => Fine, |_| refused(unsafe { libc::syscall(libc::SYS_clone3, NULL, 0) }, libc::ENOSYS);
    "escape::posix_spawn" => Stopped("clone"), |_| {
        let mut pid = 0;
        let argv = [c"true".as_ptr().cast_mut(), ptr::null_mut()];
        back(unsafe { libc::posix_spawn(&raw mut pid, c"/bin/true".as_ptr(), ptr::null(), ptr::null(), argv.as_ptr(), argv[1..].as_ptr()) })
    };
    "escape::wait" => Violation("wait4"), |_| back(unsafe { libc::waitpid(-1, ptr::null_mut(), 0) });
    "escape::new_session" => Violation("setsid"), |_| back(unsafe { libc::setsid() });

    // Namespaces, mounts
    "escape::unshare_user" => Violation("unshare"), |_| back(unsafe { libc::unshare(libc::CLONE_NEWUSER) });
    "escape::unshare_files" => Violation("unshare"), |_| back(unsafe { libc::unshare(libc::CLONE_FILES) });
    "escape::setns" => Violation("setns"), |s| back(unsafe { libc::setns(s.recording, 0) });
    "escape::mount" => Violation("mount"), |_| back(unsafe { libc::mount(ptr::null(), c"/tmp".as_ptr(), c"tmpfs".as_ptr(), 0, NULL) });
    "escape::umount" => Violation("umount2"), |_| back(unsafe { libc::umount2(c"/tmp".as_ptr(), 0) });
    "escape::fsopen" => Violation("fsopen"), |_| call!(SYS_fsopen, c"tmpfs".as_ptr(), 0);
    "escape::open_tree" => Violation("open_tree"), |_| call!(SYS_open_tree, -100, c"/".as_ptr(), 1);
    "escape::pivot_root" => Violation("pivot_root"), |_| call!(SYS_pivot_root, c"/".as_ptr(), c"/".as_ptr());

    // Privileges
    "escape::setuid" => Violation("setuid"), |_| back(unsafe { libc::setuid(0) });
    "escape::setgid" => Violation("setgid"), |_| back(unsafe { libc::setgid(0) });
    "escape::setresuid" => Violation("setresuid"), |_| back(unsafe { libc::setresuid(0, 0, 0) });
    "escape::setgroups" => Violation("setgroups"), |_| back(unsafe { libc::setgroups(0, ptr::null()) });
    "escape::capset" => Violation("capset"), |_| call!(SYS_capset, NULL, NULL);
    "escape::prctl_dumpable" => Violation("prctl"), |_| back(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1) });
    "escape::prctl_parent_death" => Violation("prctl"), |_| back(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, 0) });
    "escape::prctl_ptracer" => Violation("prctl"), |_| back(unsafe { libc::prctl(libc::PR_SET_PTRACER, -1) });
    "escape::prctl_ambient_capability" => Violation("prctl"), |_| back(unsafe { libc::prctl(libc::PR_CAP_AMBIENT, 2, 0, 0, 0) });
    "escape::prctl_seccomp" => Violation("prctl"), |_| back(unsafe { libc::prctl(libc::PR_SET_SECCOMP, 2, NULL) });
    "escape::prctl_executable" => Violation("prctl"), |_| back(unsafe { libc::prctl(libc::PR_SET_MM, 0, 0, 0, 0) });
    "escape::seccomp_listener" => Violation("seccomp"), |_| call!(SYS_seccomp, 1, 8, NULL);
    "escape::landlock" => Violation("landlock_create_ruleset"), |_| call!(SYS_landlock_create_ruleset, NULL, 0, 1);
    "escape::landlock_restrict" => Violation("landlock_restrict_self"), |_| call!(SYS_landlock_restrict_self, 5, 0);
    "escape::raise_the_limit_of_descriptors" => Violation("prlimit64"), |_| {
        let limit = libc::rlimit { rlim_cur: 1024, rlim_max: 1024 };
        back(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) })
    };
    "escape::raise_the_limit_by_the_old_call" => Violation("setrlimit"), |_| call!(SYS_setrlimit, 1, NULL);
    "escape::replace_the_handler_of_violations" => Violation("rt_sigaction"), |_| back(unsafe { libc::signal(libc::SIGSYS, libc::SIG_IGN) } as i64);
    "escape::replace_the_handler_behind_a_stray_bit" => Violation("rt_sigaction"), |_| call!(SYS_rt_sigaction, (1_u64 << 32) | 31, NULL, NULL, 8);
    "escape::block_the_signal_of_violations" => Signal(libc::SIGSYS), |_| {
        unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigfillset(&raw mut set);
            libc::sigprocmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut());
            back(libc::getppid())
        }
    };
    "escape::descriptor_table" => Violation("close_range"), |_| call!(SYS_close_range, 0, 2, 0);
    "escape::flood_of_descriptors" => Fine, |_| refused(c_long::from(unsafe { libc::dup(0) }), libc::EMFILE);
    "escape::dup2" => Violation("dup2"), |_| back(unsafe { libc::dup2(0, 9) });

    // The kernel's cellars
    "escape::keyctl" => Violation("keyctl"), |_| call!(SYS_keyctl, 0, -3, 0);
    "escape::add_key" => Violation("add_key"), |_| call!(SYS_add_key, c"user".as_ptr(), c"x".as_ptr(), NULL, 0, -3);
    "escape::request_key" => Violation("request_key"), |_| call!(SYS_request_key, c"user".as_ptr(), c"x".as_ptr(), NULL, -3);
    "escape::bpf" => Violation("bpf"), |_| call!(SYS_bpf, 0, NULL, 0);
    "escape::io_uring" => Violation("io_uring_setup"), |_| call!(SYS_io_uring_setup, 1, NULL);
    "escape::io_uring_enter" => Violation("io_uring_enter"), |_| call!(SYS_io_uring_enter, 4, 1, 0, 0, NULL, 0);
    "escape::aio" => Violation("io_setup"), |_| call!(SYS_io_setup, 1, NULL);
    "escape::userfaultfd" => Violation("userfaultfd"), |_| call!(SYS_userfaultfd, 1);
    "escape::perf" => Violation("perf_event_open"), |_| call!(SYS_perf_event_open, NULL, 0, -1, -1, 0);
    "escape::personality" => Violation("personality"), |_| back(unsafe { libc::personality(0x0400_0000) });
    "escape::module" => Violation("init_module"), |_| call!(SYS_init_module, NULL, 0, c"".as_ptr());
    "escape::kexec" => Violation("kexec_load"), |_| call!(SYS_kexec_load, 0, 0, NULL, 0);
    "escape::message_queue" => Violation("mq_open"), |_| call!(SYS_mq_open, c"x".as_ptr(), 0, 0, NULL);
    "escape::shared_memory" => Violation("shmget"), |_| back(unsafe { libc::shmget(1, 1, 0o1666) });
    "escape::log_of_the_kernel" => Violation("syslog"), |_| call!(SYS_syslog, 3, NULL, 0);
    "escape::clock" => Violation("clock_settime"), |_| call!(SYS_clock_settime, 0, NULL);
    "escape::host_name" => Violation("sethostname"), |_| back(unsafe { libc::sethostname(c"x".as_ptr(), 1) });
    "escape::timer" => Violation("timer_create"), |_| call!(SYS_timer_create, 0, NULL, NULL);
    "escape::priority_inheriting_futex" => Violation("futex"), |_| {
        let word = 0_u32;
        call!(SYS_futex, &raw const word, libc::FUTEX_LOCK_PI, 0, NULL)
    };
    "escape::call_that_does_not_exist" => Violation("unknown"), |_| back(unsafe { libc::syscall(9999) });

    // Code of one's own
    "escape::map_executable_memory" => Violation("mmap"), |_| {
        let protection = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        back(unsafe { libc::mmap(ptr::null_mut(), 4096, protection, flags, -1, 0) } as usize)
    };
    "escape::map_the_recording_executable" => Violation("mmap"), |s| {
        let protection = libc::PROT_READ | libc::PROT_EXEC;
        back(unsafe { libc::mmap(ptr::null_mut(), 4096, protection, libc::MAP_PRIVATE, s.recording, 0) } as usize)
    };
    "escape::make_memory_executable" => Violation("mprotect"), |_| {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        unsafe {
            let page = libc::mmap(ptr::null_mut(), 4096, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0);
            back(libc::mprotect(page, 4096, libc::PROT_READ | libc::PROT_EXEC))
        }
    };
    "escape::make_memory_executable_by_key" => Violation("pkey_mprotect"), |_| call!(SYS_pkey_mprotect, NULL, 0, 4, -1);
    "escape::share_pages_with_neighbours" => Violation("madvise"), |_| {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        unsafe {
            let page = libc::mmap(ptr::null_mut(), 4096, libc::PROT_READ, flags, -1, 0);
            back(libc::madvise(page, 4096, libc::MADV_MERGEABLE))
        }
    };
}
