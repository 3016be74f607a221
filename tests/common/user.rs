//! Clients that are other users of this machine.

use std::{fs, io::Write, os::unix::fs::PermissionsExt, panic};

use rustix::thread::{Gid, Uid, set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use super::daemon::Daemon;

/// Whether there can be other users: only root can be somebody else. Says so loudly where not.
pub fn are_possible() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        // Not through the macro, whose words a test that passes keeps to itself.
        let _ = writeln!(std::io::stderr(), "SKIPPED: only root can be several users");
    }
    root
}

/// Let every user connect.
pub fn let_in(daemon: &Daemon) {
    for (path, mode) in [(daemon.folder(), 0o755), (daemon.socket(), 0o666)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
}

/// Somebody; nobody else has this number.
#[derive(Clone, Debug)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
}

impl User {
    /// A user in no group but one of his own.
    pub fn new(uid: u32) -> User {
        User {
            uid,
            gid: uid,
            groups: Vec::new(),
        }
    }

    /// From now on the calling thread is this user's, for the kernel and for everybody who asks it.
    /// It cannot be undone.
    pub fn take_over_thread(&self) {
        let groups: Vec<Gid> = self.groups.iter().copied().map(Gid::from_raw).collect();
        let (gid, uid) = (Gid::from_raw(self.gid), Uid::from_raw(self.uid));
        set_thread_groups(&groups).unwrap();
        set_thread_res_gid(gid, gid, gid).unwrap();
        set_thread_res_uid(uid, uid, uid).unwrap();
    }

    /// Do something as this user, on a thread that ends with it.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let result = std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                self.take_over_thread();
                work()
            });
            thread.join()
        });
        result.unwrap_or_else(|panic| panic::resume_unwind(panic))
    }
}
