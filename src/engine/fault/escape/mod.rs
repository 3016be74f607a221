//! Attempts to get out of a job, each by the bare system call.
//!
//! Every attempt is harmless if it succeeds, so that it may run without a sandbox, even by root.
//! Signals have number 0. Files are opened and never written, or made without a name (`O_TMPFILE`).
//! Calls that would change the machine get an argument that the kernel refuses only *after* it has
//! checked the permission (a bad magic, a bad flag, a name that does not exist). Hence the strict
//! rule of [`judge`]: only the errors by which a sandbox or a lack of privilege refuses count as a
//! refusal. Every other error means that the kernel went on to look at the rest, and counts as an
//! escape.
//!
//! Either no answer comes back, because the sandbox ended the job and the service names the system
//! call ([`Attempt::call`]); or the text `denied NAME ERRNO`; or `ESCAPED NAME`, which must never
//! be seen.

mod files;
mod kernel;
mod memory;
mod network;
mod privileges;
mod processes;

use std::sync::atomic::{AtomicI32, Ordering};

use nix::errno::Errno;

use super::{EngineError, failed};

/// One attempt to get out.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    /// Name of the mode: `escape-…`.
    pub name: &'static str,
    /// The first system call of the attempt that a sandbox must not let through, as `strace` spells
    /// it.
    pub call: &'static str,
    attempt: fn(&Surroundings) -> Verdict,
}

/// All attempts, without `escape-leftovers=MARK`, which needs a mark.
pub fn all() -> impl Iterator<Item = &'static Attempt> {
    [
        files::ATTEMPTS,
        memory::ATTEMPTS,
        network::ATTEMPTS,
        processes::ATTEMPTS,
        privileges::ATTEMPTS,
        kernel::ATTEMPTS,
    ]
    .into_iter()
    .flatten()
}

/// The result of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Denied(Errno),
    /// With the error that came after the permission, if one did.
    Escaped(Option<Errno>),
}

impl Attempt {
    const fn new(
        name: &'static str,
        call: &'static str,
        attempt: fn(&Surroundings) -> Verdict,
    ) -> Self {
        Self {
            name,
            call,
            attempt,
        }
    }

    /// Try it, and say what came of it.
    pub(super) fn run(&self, surroundings: &Surroundings) -> Result<String, EngineError> {
        if surroundings.zygote == 0 {
            return Err(failed("the service itself must not try to escape".into()));
        }
        let name = self.name;
        Ok(match (self.attempt)(surroundings) {
            Verdict::Denied(errno) => format!("denied {name} {errno:?}"),
            Verdict::Escaped(None) => format!("ESCAPED {name}"),
            Verdict::Escaped(Some(errno)) => format!("ESCAPED {name} {errno:?}"),
        })
    }
}

/// The processes around a job, as far as it knows them.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings {
    supervisor: i32,
    zygote: i32,
}

static SUPERVISOR: AtomicI32 = AtomicI32::new(0);
static ZYGOTE: AtomicI32 = AtomicI32::new(0);

/// Note who the processes around are; to be called once, by a zygote that has no sandbox yet. Its
/// jobs inherit what it knows, and would be stopped already at the question.
pub fn look_around() {
    SUPERVISOR.store(nix::unistd::getppid().as_raw(), Ordering::Relaxed);
    ZYGOTE.store(std::process::id().cast_signed(), Ordering::Relaxed);
}

/// At whom an attempt is aimed.
#[derive(Clone, Copy, Debug)]
enum Whom {
    Supervisor,
    Zygote,
    /// Any other process near the zygote's number: its jobs were forked after it.
    Neighbour,
}

/// Number of process ids after the zygote's that are tried in search of a neighbour.
const NEIGHBOURHOOD: i32 = 512;

impl Surroundings {
    /// The processes as noted; zeros in a process that no zygote made.
    pub(super) fn noted() -> Self {
        Self {
            supervisor: SUPERVISOR.load(Ordering::Relaxed),
            zygote: ZYGOTE.load(Ordering::Relaxed),
        }
    }

    /// Try it on `whom`. A process that cannot be found is out of reach.
    fn at(&self, whom: Whom, attempt: fn(i32) -> Verdict) -> Verdict {
        let only = match whom {
            Whom::Supervisor => Some(self.supervisor),
            Whom::Zygote => Some(self.zygote),
            Whom::Neighbour => None,
        };
        if let Some(pid) = only {
            // 0 and 1: in a pid namespace of its own, a process has no name for those outside.
            return if pid > 1 {
                attempt(pid)
            } else {
                Verdict::Denied(Errno::ESRCH)
            };
        }
        let own = std::process::id().cast_signed();
        let mut last = Verdict::Denied(Errno::ESRCH);
        for pid in self.zygote + 1..=self.zygote + NEIGHBOURHOOD {
            if pid == own || pid == self.supervisor {
                continue;
            }
            match attempt(pid) {
                Verdict::Denied(Errno::ESRCH | Errno::ENOENT) => {}
                Verdict::Denied(errno) => last = Verdict::Denied(errno),
                escaped @ Verdict::Escaped(_) => return escaped,
            }
        }
        last
    }
}

/// Errors by which a sandbox, or a lack of privilege, refuses.
const REFUSALS: [Errno; 3] = [Errno::EPERM, Errno::EACCES, Errno::ENOSYS];

/// Denied if it failed by a refusal.
fn judge(result: Result<usize, Errno>) -> Verdict {
    judge_with(result, &[])
}

/// Denied if it failed by a refusal, or by an error of `also`: one that, for this very call, cannot
/// come after the permission.
fn judge_with(result: Result<usize, Errno>, also: &[Errno]) -> Verdict {
    match result {
        Ok(_) => Verdict::Escaped(None),
        Err(errno) if REFUSALS.contains(&errno) || also.contains(&errno) => Verdict::Denied(errno),
        Err(errno) => Verdict::Escaped(Some(errno)),
    }
}

/// −1 as an argument: no descriptor, every process, the longest length.
const MINUS_ONE: usize = usize::MAX;

/// The current directory in place of a descriptor.
const AT_FDCWD: usize = libc::AT_FDCWD as isize as usize;

/// A system call, as bare as it can be.
pub(super) fn sys<const N: usize>(
    number: libc::c_long,
    arguments: [usize; N],
) -> Result<usize, Errno> {
    const { assert!(N <= 6) };
    let mut all = [0_usize; 6];
    all[..N].copy_from_slice(&arguments);
    let [a, b, c, d, e, f] = all;
    // SAFETY: a system call can break any promise of the language, and some of these are meant to.
    // It is sound because all callers are in this folder. They pass pointers to live values of the
    // size that the call writes, map memory only where the kernel chooses, and leave a process that
    // they made by `_exit` or sleep in it.
    #[allow(unsafe_code)]
    let result = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    usize::try_from(result).map_err(|_| Errno::last())
}

/// The address of something that the kernel reads, as an argument.
fn at<T>(value: &T) -> usize {
    std::ptr::from_ref(value).expose_provenance()
}

/// The address of something that the kernel writes, as an argument.
fn out<T>(value: &mut T) -> usize {
    std::ptr::from_mut(value).expose_provenance()
}

/// The address of a NUL-terminated text, as an argument.
fn path(text: &std::ffi::CStr) -> usize {
    text.as_ptr().expose_provenance()
}

/// The descriptor of the recording: the only one behind the channel that can be sought in.
pub(super) fn recording() -> Option<i32> {
    (4..64).find(|fd| {
        let arguments = [*fd as usize, 0, libc::SEEK_CUR as usize];
        sys(libc::SYS_lseek, arguments).is_ok()
    })
}

/// The recording's descriptor as an argument; the attempts that need it fail with EBADF without it.
fn recording_or_none() -> usize {
    recording().map_or(MINUS_ONE, |fd| fd as usize)
}

/// The job's end of its channel, a Unix socket.
const CHANNEL: usize = 3;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn attempts_have_names_of_their_own_that_fit_into_a_model_name_and_a_text() {
        let names: BTreeSet<&str> = all().map(|attempt| attempt.name).collect();
        assert_eq!(names.len(), all().count());
        assert!(names.len() >= 40, "{}", names.len());
        for name in names {
            let sound = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            assert!(
                name.starts_with("escape-") && name.bytes().all(sound),
                "{name}"
            );
        }
    }

    #[test]
    fn only_a_refusal_counts_as_denied() {
        assert_eq!(judge(Ok(0)), Verdict::Escaped(None));
        assert_eq!(judge(Err(Errno::EPERM)), Verdict::Denied(Errno::EPERM));
        let looked_at = Verdict::Escaped(Some(Errno::EINVAL));
        assert_eq!(judge(Err(Errno::EINVAL)), looked_at);
        let invalid = judge_with(Err(Errno::EINVAL), &[Errno::EINVAL]);
        assert_eq!(invalid, Verdict::Denied(Errno::EINVAL));
    }
}
