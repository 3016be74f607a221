//! The policies and the programs compiled from them, checked without a kernel.

use super::policy::{Action, Condition, Rule, Rules, number};
use super::*;
use crate::isolation::Profile;
use syscalls::Sysno;

/// Calls that no stage may ever make, with any arguments: new processes (except the zygote's jobs),
/// other programs, other processes' memory, sockets, privileges, namespaces, mounts, and parts of
/// the kernel with a history of flaws.
const DANGEROUS: &str = "accept accept4 acct add_key adjtimex bind bpf capset chdir chmod chown chroot clock_adjtime \
    clock_settime connect creat delete_module epoll_create1 eventfd2 execve execveat fanotify_init fchdir fchmod \
    fchmodat fchown fchownat fork fsconfig fsmount fsopen fspick ftruncate futex_requeue getpeername init_module \
    inotify_init1 io_setup io_uring_enter io_uring_register io_uring_setup ioperm iopl kcmp kexec_file_load kexec_load \
    keyctl kill landlock_add_rule landlock_create_ruleset link linkat listen listxattr lookup_dcookie mbind \
    memfd_create memfd_secret migrate_pages mincore mkdir mkdirat mknod mknodat mlock mlock2 modify_ldt mount \
    mount_setattr move_mount move_pages mq_open msgget name_to_handle_at open open_by_handle_at open_tree openat2 \
    perf_event_open personality pidfd_getfd pidfd_open pidfd_send_signal pivot_root pkey_alloc pkey_mprotect \
    process_madvise process_mrelease process_vm_readv process_vm_writev ptrace pwrite64 pwritev quotactl reboot \
    recvfrom recvmmsg remap_file_pages rename renameat renameat2 request_key rmdir rt_sigqueueinfo rt_tgsigqueueinfo \
    sched_setaffinity sched_setattr sched_setparam sched_setscheduler sendfile sendmmsg sendto set_mempolicy \
    set_thread_area setdomainname setfsgid setfsuid setgid setgroups sethostname setitimer setns setpgid setpriority \
    setregid setresgid setresuid setreuid setrlimit setsid setsockopt settimeofday setuid setxattr shmat shmget \
    signalfd4 socket socketpair splice swapoff swapon symlink symlinkat sync syslog tee timer_create \
    timerfd_create tkill truncate umask umount2 unlink unlinkat unshare uselib userfaultfd ustat utimensat vfork vhangup \
    vmsplice wait4 waitid write_process_vm";

const PROFILES: [Profile; 2] = [Profile::Library, Profile::Network];

/// The calls of [`DANGEROUS`] that a process may make if its engine asks a remote service; each
/// under conditions.
const OF_NETWORK: &str = "connect recvfrom sendmmsg sendto setsockopt socket";

fn policy() -> Policy {
    Policy::load(Profile::Library, false).unwrap()
}

/// Run `code` like the kernel (Documentation/networking/filter.rst), with the instructions that our
/// programs use.
fn run(program: &Program, call: u32, arguments: [u64; 6]) -> u32 {
    let mut data = Vec::new();
    data.extend(call.to_le_bytes());
    let architecture: u32 = if cfg!(target_arch = "x86_64") {
        0xc000_003e
    } else {
        0xc000_00b7
    };
    data.extend(architecture.to_le_bytes());
    data.extend(0u64.to_le_bytes());
    for argument in arguments {
        data.extend(argument.to_le_bytes());
    }
    interpret(program, &data)
}

fn interpret(program: &Program, data: &[u8]) -> u32 {
    let (mut at, mut accumulator) = (0, 0u32);
    loop {
        let insn = program.code()[at];
        at += 1;
        let jump = |condition: bool| usize::from(if condition { insn.jt } else { insn.jf });
        match u32::from(insn.code) {
            0x20 => {
                let word = &data[insn.k as usize..][..4];
                accumulator = u32::from_le_bytes(word.try_into().unwrap());
            }
            0x54 => accumulator &= insn.k,
            0x05 => at += insn.k as usize,
            0x15 => at += jump(accumulator == insn.k),
            0x35 => at += jump(accumulator >= insn.k),
            0x06 => return insn.k,
            code => panic!("instruction {code:#x}"),
        }
    }
}

/// The meaning of `rules` by definition, to compare with the compiled program.
fn meaning(rules: &Rules, call: u32, arguments: [u64; 6]) -> u32 {
    let holds = |c: &Condition| {
        let argument = arguments[usize::from(c.argument)];
        let lower = argument as u32 & c.mask.unwrap_or(u32::MAX);
        let upper = argument >> 32;
        let hit = c.values.contains(&lower) && (!c.wide || c.mask.is_some() || upper == 0);
        hit == c.equal
    };
    let action = rules.get(&call).and_then(|rules| {
        let fits = |rule: &&Rule| rule.conditions.iter().all(holds);
        rules.iter().find(fits).map(|rule| rule.action)
    });
    match action {
        Some(Action::Allow) => libc::SECCOMP_RET_ALLOW,
        Some(Action::Errno(number)) => libc::SECCOMP_RET_ERRNO | u32::from(number),
        Some(Action::Trap) | None => libc::SECCOMP_RET_TRAP,
    }
}

/// The kernel's decision between the answers of two filters: the action with the lower number, as
/// signed. If both actions are equal, that of the filter installed last counts, with its error
/// number (seccomp(2), "precedence"; `seccomp_run_filters`).
fn stricter(older: u32, newer: u32) -> u32 {
    let action = |answer: u32| (answer & libc::SECCOMP_RET_ACTION_FULL).cast_signed();
    if action(older) < action(newer) {
        older
    } else {
        newer
    }
}

#[test]
fn the_filters_of_each_stage_together_do_what_its_policy_says() {
    let (network, jit) = (true, true);
    let program = Profile::Program { network, jit };
    for standby in [false, true] {
        for profile in PROFILES {
            follow(profile, standby, &Stage::ALL);
            // This job loads its model itself.
            follow(profile, standby, &[Stage::Load, Stage::Job]);
        }
        follow(program, standby, &[Stage::Load, Stage::Job]);
    }
}

/// Extra rights that settings can give a program: network and jit.
const EXTRAS: [(bool, bool); 4] = [(false, false), (true, false), (false, true), (true, true)];

/// Arguments worth trying: every value that any rule compares with, its neighbours, and stray bits
/// in the upper half, in each place.
fn tries(rules: &Rules, call: u32) -> Vec<[u64; 6]> {
    if !rules.contains_key(&call) {
        return vec![[0; 6]];
    }
    let mut values = vec![0, 1, 2, 3, 4, 7, u64::MAX, 1 << 32];
    for value in rules
        .get(&call)
        .into_iter()
        .flatten()
        .flat_map(|r| &r.conditions)
    {
        for v in &value.values {
            let v = u64::from(*v);
            values.extend([v, v ^ 1, v ^ 4, v | 1 << 32, v | 0xffff_ffff << 32]);
        }
    }
    values.sort_unstable();
    values.dedup();
    let places = (0..6).flat_map(|index| values.iter().map(move |value| (index, *value)));
    let one = places.map(|(index, value)| {
        let mut arguments = [0; 6];
        arguments[index] = value;
        arguments
    });
    // Rules with two conditions check the first two arguments.
    let pairs = rules
        .get(&call)
        .into_iter()
        .flatten()
        .any(|r| r.conditions.len() > 1);
    let seconds = if pairs { values.as_slice() } else { &[] };
    let two = seconds
        .iter()
        .flat_map(|a| seconds.iter().map(move |b| [*a, *b, 0, 0, 0, 0]));
    one.chain(two).collect()
}

#[test]
fn a_program_gets_the_answers_of_its_policy_whatever_was_in_force_before() {
    for (network, jit) in EXTRAS {
        let load = Policy::load(Profile::Program { network, jit }, false).unwrap();
        let load = Program::new(&load.rules(Stage::Load), Others::Forbidden);
        for signals in [false, true] {
            let rules = Policy::of_program(network, jit, signals).unwrap();
            let own = Program::new(&rules, Others::Forbidden);
            for call in 0..600 {
                for arguments in tries(&rules, call) {
                    let expected = meaning(&rules, call, arguments);
                    let answer = run(&own, call, arguments);
                    assert_eq!(answer, expected, "call {call} with {arguments:x?}");
                    let both = stricter(run(&load, call, arguments), answer);
                    assert_eq!(
                        both, expected,
                        "call {call} with {arguments:x?} after loading"
                    );
                }
            }
        }
    }
}

/// Calls that no program may ever make: other processes' memory, namespaces, mounts, privileges,
/// listening sockets, and parts of the kernel with a history of flaws.
const HOSTILE: &str = "accept accept4 acct add_key adjtimex bpf capset chown chroot clock_settime clone3 delete_module \
    execveat fanotify_init finit_module fsconfig fsmount fsopen fspick init_module io_setup io_uring_enter \
    io_uring_register io_uring_setup ioperm iopl kcmp kexec_file_load kexec_load keyctl landlock_add_rule listen \
    lookup_dcookie mbind memfd_secret migrate_pages mknod mknodat modify_ldt mount mount_setattr move_mount move_pages \
    name_to_handle_at open_by_handle_at open_tree openat2 perf_event_open personality pidfd_getfd pivot_root pkey_mprotect \
    process_madvise process_mrelease process_vm_readv process_vm_writev ptrace quotactl reboot remap_file_pages \
    request_key rt_sigqueueinfo rt_tgsigqueueinfo sched_setaffinity sched_setattr sched_setscheduler seccomp setdomainname \
    setgid setgroups sethostname setns setpgid setpriority setresuid setsid setuid shmat shmget splice swapon syslog tee \
    umount2 unshare uselib userfaultfd vhangup vmsplice";

#[test]
fn no_settings_let_a_program_do_what_none_may() {
    let allowed = |rules: &Rules, call: Sysno, arguments| {
        meaning(rules, number(call), arguments) == libc::SECCOMP_RET_ALLOW
    };
    let all = Policy::of_program(true, true, true).unwrap();
    for name in HOSTILE.split_ascii_whitespace() {
        if let Ok(call) = name.parse::<Sysno>() {
            for arguments in tries(&all, number(call)) {
                assert!(!allowed(&all, call, arguments), "{name} {arguments:x?}");
            }
        }
    }
    let none = Policy::of_program(false, false, false).unwrap();
    let (stream, datagram, raw, unix, internet) = (1, 2, 3, 1, 2);
    let socket = |rules, family, kind| allowed(rules, Sysno::socket, [family, kind, 0, 0, 0, 0]);
    assert!(socket(&all, internet, stream) && socket(&all, internet, datagram));
    assert!(!socket(&all, internet, raw) && !socket(&all, unix, stream));
    assert!(!socket(&none, internet, stream) && !socket(&none, unix, stream));
    let pair = |kind| allowed(&none, Sysno::socketpair, [unix, kind, 0, 0, 0, 0]);
    assert!(pair(stream) && pair(stream | 0o2_000_000) && !pair(datagram));
    // A child in its own namespace, and a plain child.
    let clone = |flags| allowed(&all, Sysno::clone, [flags, 0, 0, 0, 0, 0]);
    assert!(
        clone(17) && !clone(17 | 0x1000_0000) && !clone(17 | 0x0002_0000) && !clone(17 | 0x8000)
    );
    // A program can write and execute the same memory only if its settings say so; it can always
    // execute code of libraries.
    let [write, execute, anonymous] = [2, 4, 0x20];
    let mmap =
        |rules, protection, kind| allowed(rules, Sysno::mmap, [0, 0, protection, kind, 0, 0]);
    assert!(mmap(&none, write, anonymous) && mmap(&none, execute, 0));
    for protection in [execute, write | execute] {
        assert!(!mmap(&none, protection, anonymous) && mmap(&all, protection, anonymous));
        let mprotect = |rules| allowed(rules, Sysno::mprotect, [0, 0, protection, 0, 0, 0]);
        assert!(!mprotect(&none) && mprotect(&all));
    }
    assert!(!mmap(&none, write | execute, 0));
    // If the kernel does not keep signals in, a program can send them only to itself and its
    // process group.
    let kill = |rules, pid| allowed(rules, Sysno::kill, [pid, 9, 0, 0, 0, 0]);
    assert!(kill(&all, 4711) && !kill(&none, 4711) && !kill(&none, u64::MAX - 1) && kill(&none, 0));
}

#[test]
fn a_standby_gets_the_answers_of_its_policy_whatever_job_made_it() {
    let (network, jit) = (true, true);
    let profiles = PROFILES
        .into_iter()
        .chain([Profile::Program { network, jit }]);
    let rules = Policy::of_standby().unwrap();
    for profile in profiles {
        let own = Program::new(&rules, Others::Forbidden);
        let job = Policy::load(profile, true).unwrap();
        // A job of a loaded zygote, and one that will load its model itself.
        let job = [Stage::Load, Stage::Fork].map(|stage| job.rules(stage));
        let of_program = matches!(profile, Profile::Program { .. });
        for rules_of_job in job.iter().take(if of_program { 1 } else { 2 }) {
            let before = Program::new(rules_of_job, Others::Forbidden);
            for call in 0..600 {
                for arguments in tries(&rules, call) {
                    let expected = meaning(&rules, call, arguments);
                    let both = stricter(run(&before, call, arguments), run(&own, call, arguments));
                    assert_eq!(both, expected, "{profile:?}: {call} with {arguments:x?}");
                }
            }
        }
    }
}

#[test]
fn neither_a_standby_nor_a_zygote_that_keeps_its_rights_may_change_a_file() {
    let files = "creat truncate ftruncate mkdir unlink rename link symlink chmod fchmod utimensat kill tkill";
    let zygote = Policy::load(Profile::Library, true).unwrap();
    for rules in [Policy::of_standby().unwrap(), zygote.rules(Stage::Fork)] {
        let answer = |name: &str, arguments| {
            let call = name.parse::<Sysno>().ok().map(number);
            call.map(|call| meaning(&rules, call, arguments))
        };
        for name in files.split_ascii_whitespace() {
            let allowed = answer(name, [0; 6]) == Some(libc::SECCOMP_RET_ALLOW);
            assert!(!allowed, "{name}");
        }
        let open = |flags: i32| answer("openat", [0, 0, flags as u64, 0, 0, 0]);
        assert_eq!(
            open(libc::O_PATH | libc::O_CLOEXEC),
            Some(libc::SECCOMP_RET_ALLOW)
        );
        for flags in [libc::O_WRONLY, libc::O_RDWR, libc::O_TRUNC, libc::O_CREAT] {
            assert_ne!(open(flags), Some(libc::SECCOMP_RET_ALLOW), "{flags:x}");
        }
        for name in HOSTILE.split_ascii_whitespace() {
            // A zygote forks, confines its jobs and makes groups of them.
            let own = ["clone3", "seccomp", "setpgid", "landlock_add_rule"].contains(&name);
            let allowed = answer(name, [0; 6]) == Some(libc::SECCOMP_RET_ALLOW);
            assert!(own || !allowed, "{name}");
        }
    }
}

#[test]
fn a_job_with_a_standby_may_do_nothing_else_than_start_it_and_await_it() {
    for profile in PROFILES {
        let [without, with] = [false, true].map(|standby| {
            let policy = Policy::load(profile, standby).unwrap();
            policy.rules(Stage::Job)
        });
        let more = ["poll", "ppoll", "waitid"].map(|name| name.parse::<Sysno>().ok().map(number));
        let send = number(Sysno::sendmsg);
        for call in 0..600 {
            for arguments in tries(&with, call) {
                let is_more = more.contains(&Some(call))
                    || (call == send && arguments[0] as u32 == STANDBY.cast_unsigned());
                if !is_more {
                    let told = format!("{profile:?}: {call} with {arguments:x?}");
                    let expected = meaning(&without, call, arguments);
                    assert_eq!(meaning(&with, call, arguments), expected, "{told}");
                }
            }
        }
        let to = |fd: i32| meaning(&with, send, [u64::from(fd.cast_unsigned()), 0, 0, 0, 0, 0]);
        assert_eq!(to(STANDBY), libc::SECCOMP_RET_ALLOW);
        assert_eq!(to(STANDBY + 1), libc::SECCOMP_RET_TRAP);
    }
}

fn follow(profile: Profile, standby: bool, stages: &[Stage]) {
    let policy = Policy::load(profile, standby).unwrap();
    let mut filters = Vec::new();
    let mut before = None;
    for stage in stages.iter().copied() {
        filters.push(match before.replace(stage) {
            None => Program::new(&policy.rules(stage), Others::Forbidden),
            Some(before) => Program::new(&policy.changes(before, stage), Others::AsBefore),
        });
        let rules = policy.rules(stage);
        // Every value that any rule compares with, its neighbours, and stray bits in the upper
        // half.
        let mut values = vec![0, 1, u64::MAX, 1 << 32];
        for value in rules.values().flatten().flat_map(|r| &r.conditions) {
            for v in &value.values {
                let v = u64::from(*v);
                values.extend([v, v ^ 1, v ^ 4, v | 1 << 32, v | 0xffff_ffff << 32]);
            }
        }
        values.sort_unstable();
        values.dedup();
        for call in (0..1024).chain([0x4000_0000, 0x4000_0001, u32::MAX]) {
            let counts = rules.get(&call).map_or(0, |_| values.len());
            let tries = (0..6).flat_map(|index| {
                values[..counts].iter().map(move |value| {
                    let mut arguments = [0; 6];
                    arguments[index] = *value;
                    arguments
                })
            });
            for arguments in tries.chain([[0; 6]]) {
                let answers = filters.iter().map(|f| run(f, call, arguments));
                let answer = answers.fold(libc::SECCOMP_RET_ALLOW, stricter);
                assert_eq!(
                    answer,
                    meaning(&rules, call, arguments),
                    "{stage:?}: call {call} with {arguments:x?}"
                );
            }
        }
    }
}

#[test]
fn two_conditions_must_both_hold() {
    let rules = policy().rules(Stage::Job);
    let program = Program::new(&rules, Others::Forbidden);
    let call = number(Sysno::prlimit64);
    let get = run(&program, call, [0, 7, 0, 0x7fff_0000, 0, 0]);
    assert_eq!(get, libc::SECCOMP_RET_ALLOW);
    for arguments in [
        [1, 7, 0, 0x7fff_0000, 0, 0],
        [0, 7, 0x7fff_0000, 0, 0, 0],
        [0, 7, 1 << 32, 0, 0, 0],
    ] {
        assert_eq!(run(&program, call, arguments), libc::SECCOMP_RET_TRAP);
    }
}

#[test]
fn a_call_of_another_architecture_is_the_end() {
    let program = Program::new(&policy().rules(Stage::Load), Others::Forbidden);
    let mut data = vec![0; 64];
    // AUDIT_ARCH_I386: there, number 0 is restart_syscall and 5 is open.
    data[4..8].copy_from_slice(&0x4000_0003u32.to_le_bytes());
    assert_eq!(interpret(&program, &data), libc::SECCOMP_RET_KILL_PROCESS);
}

#[test]
fn only_the_own_process_can_be_signalled_by_a_job() {
    let mut job = Program::new(&policy().changes(Stage::Fork, Stage::Job), Others::AsBefore);
    let call = number(Sysno::tgkill);
    let abort = |pid: u64| [pid, pid, 6, 0, 0, 0];
    for pid in [1, 77, 4711, u64::from(u32::MAX)] {
        job.set_own_pid(77);
        let expected = match pid {
            77 => libc::SECCOMP_RET_ALLOW,
            _ => libc::SECCOMP_RET_TRAP,
        };
        assert_eq!(run(&job, call, abort(pid)), expected, "process {pid}");
    }
    job.set_own_pid(78);
    assert_eq!(run(&job, call, abort(77)), libc::SECCOMP_RET_TRAP);
    assert_eq!(run(&job, call, abort(78)), libc::SECCOMP_RET_ALLOW);
}

#[test]
fn no_policy_allows_a_dangerous_call() {
    let rules = policy().rules(Stage::Load);
    for name in DANGEROUS.split_ascii_whitespace() {
        if let Ok(call) = name.parse::<Sysno>() {
            let runs = |rule: &Rule| rule.action == Action::Allow;
            let rules = rules.get(&number(call)).into_iter().flatten();
            assert!(!rules.into_iter().any(runs), "{name}");
        }
    }
}

#[test]
fn an_engine_with_a_network_may_do_nothing_else_that_is_dangerous() {
    let rules = Policy::load(Profile::Network, false).unwrap();
    let rules = rules.rules(Stage::Load);
    let of_network: Vec<&str> = OF_NETWORK.split_ascii_whitespace().collect();
    let runs = |name: &str, call| {
        let rules = rules.get(&number(call)).map(Vec::as_slice);
        let mut runs = rules.unwrap_or_default().iter();
        // A socket receives only from its peer; all other calls depend on their arguments.
        let is_bounded = |rule: &Rule| name == "recvfrom" || !rule.conditions.is_empty();
        let allowed = |rule: &&Rule| rule.action == Action::Allow;
        assert!(runs.clone().filter(allowed).all(is_bounded), "{name}");
        runs.any(|rule| rule.action == Action::Allow)
    };
    for name in DANGEROUS.split_ascii_whitespace() {
        if let Ok(call) = name.parse::<Sysno>() {
            assert_eq!(runs(name, call), of_network.contains(&name), "{name}");
        }
    }
}

#[test]
fn an_engine_with_a_network_has_no_sockets_but_for_tcp_and_name_servers() {
    let rules = Policy::load(Profile::Network, false).unwrap();
    let rules = rules.rules(Stage::Job);
    let program = Program::new(&rules, Others::Forbidden);
    let refused = |errno: i32| libc::SECCOMP_RET_ERRNO | errno.cast_unsigned();
    let unknown = refused(libc::EAFNOSUPPORT);
    let socket = |family: i32, kind: i32, protocol: i32| {
        let arguments = [family, kind, protocol].map(|n| u64::from(n.cast_unsigned()));
        let [family, kind, protocol] = arguments;
        run(
            &program,
            number(Sysno::socket),
            [family, kind, protocol, 0, 0, 0],
        )
    };
    let cloexec = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    for family in [libc::AF_INET, libc::AF_INET6] {
        assert_eq!(
            socket(family, libc::SOCK_STREAM, 0),
            libc::SECCOMP_RET_ALLOW
        );
        assert_eq!(
            socket(family, libc::SOCK_DGRAM | cloexec, 17),
            libc::SECCOMP_RET_ALLOW
        );
        assert_eq!(socket(family, libc::SOCK_RAW, 1), unknown);
        assert_eq!(
            socket(family, libc::SOCK_STREAM, libc::IPPROTO_MPTCP),
            unknown
        );
        assert_eq!(
            socket(family, libc::SOCK_DGRAM, libc::IPPROTO_ICMP),
            unknown
        );
    }
    for family in [
        libc::AF_UNIX,
        libc::AF_NETLINK,
        libc::AF_PACKET,
        libc::AF_VSOCK,
        libc::AF_ALG,
    ] {
        assert_eq!(socket(family, libc::SOCK_STREAM, 0), unknown, "{family}");
    }
    let send = |address| run(&program, number(Sysno::sendto), [5, 1, 1, 0, address, 16]);
    assert_eq!(send(0), libc::SECCOMP_RET_ALLOW);
    assert_eq!(send(0x7fff_0000), libc::SECCOMP_RET_TRAP);
    let open = |flags: i32| {
        run(
            &program,
            number(Sysno::openat),
            [0, 1, u64::from(flags.cast_unsigned()), 0, 0, 0],
        )
    };
    assert_eq!(
        open(libc::O_RDONLY | libc::O_CLOEXEC),
        libc::SECCOMP_RET_ALLOW
    );
    assert_eq!(open(libc::O_RDWR | libc::O_CREAT), refused(libc::EACCES));
    let code = u64::from((libc::PROT_READ | libc::PROT_EXEC).cast_unsigned());
    let map = run(&program, number(Sysno::mmap), [0, 4096, code, 2, 5, 0]);
    assert_eq!(map, refused(libc::EACCES));
}

#[test]
fn each_stage_allows_a_part_of_what_the_one_before_it_did() {
    let policy = policy();
    let size = |stage| policy.rules(stage).len();
    assert!(size(Stage::Load) > size(Stage::Fork));
    assert!(size(Stage::Fork) > size(Stage::Job));
    for call in ["openat", "stat", "clone3", "seccomp", "dup2", "close_range"] {
        let Ok(call) = call.parse::<Sysno>() else {
            continue;
        };
        let last = policy.rules(Stage::Job);
        let allowed = last
            .get(&number(call))
            .is_some_and(|rules| rules.iter().any(|rule| rule.action == Action::Allow));
        assert!(!allowed, "{call}");
    }
}

#[test]
fn names_of_calls_are_told() {
    assert_eq!(system_call_name(number(Sysno::openat)), Some("openat"));
    assert_eq!(system_call_name(u32::MAX), None);
}
