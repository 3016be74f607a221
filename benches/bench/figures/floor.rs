//! Lower bounds for any design with processes: a fork, an exit and a wait; one byte to a waiting
//! child and back.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    time::Instant,
};

use nix::{
    sys::wait::waitpid,
    unistd::{ForkResult, Pid},
};

use crate::{outcome::Outcome, sample::Samples, scale::Scale};

pub fn measure(scale: &Scale, outcome: &mut Outcome) {
    let mut forks = Samples::default();
    for _ in 0..scale.pairs {
        let start = Instant::now();
        let child = fork(|| ());
        waitpid(child, None).unwrap();
        forks.push(start.elapsed());
    }
    outcome.tell("floor_fork", forks.p50(), forks.len(), p99(&forks));
    outcome.plot(
        "latency",
        "floor: fork, exit, wait",
        forks.distribution(400),
    );

    let mut bytes = Samples::default();
    for _ in 0..scale.pairs {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        let child = fork(|| {
            let mut byte = [0];
            let _ = theirs.read_exact(&mut byte);
            let _ = theirs.write_all(&byte);
            // Like a job, it exits only when told to.
            let _ = theirs.read_exact(&mut byte);
        });
        // By now the child waits. A request that finds a spare has the same pause before it.
        std::thread::sleep(std::time::Duration::from_millis(2));
        let mut byte = [1];
        let start = Instant::now();
        ours.write_all(&byte).unwrap();
        ours.read_exact(&mut byte).unwrap();
        bytes.push(start.elapsed());
        ours.write_all(&byte).unwrap();
        waitpid(child, None).unwrap();
    }
    outcome.tell("floor_byte", bytes.p50(), bytes.len(), p99(&bytes));
    outcome.plot("latency", "floor: a byte and back", bytes.distribution(400));
}

fn p99(samples: &Samples) -> String {
    format!("p99 {:.0} µs", samples.p99())
}

/// Do `work` in a child.
fn fork(work: impl FnOnce()) -> Pid {
    // SAFETY: called while this program has one thread (`main` measures this figure first, before
    // any daemon or client exists), so no other thread, which the child would lack, can hold a
    // lock. The child reads and writes a socket, and leaves through `_exit` without unwinding or
    // running anything of the parent's.
    #[allow(unsafe_code)]
    let fork = unsafe { nix::unistd::fork() };
    match fork.unwrap() {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            work();
            // SAFETY: it ends the process, and takes any status.
            #[allow(unsafe_code)]
            unsafe {
                nix::libc::_exit(0)
            }
        }
    }
}
