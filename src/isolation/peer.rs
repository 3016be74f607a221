//! Groups of the process at the other end of a Unix socket, as the kernel knows them.
#![allow(unsafe_code)]

use std::{
    io,
    os::fd::{AsFd, AsRawFd},
};

/// Largest number of supplementary groups of a process (`NGROUPS_MAX` of the kernel).
const MAX_GROUPS: usize = 65_536;

/// Groups for which there is room at first; few processes have more.
const USUAL: usize = 32;

/// The supplementary groups that the peer of the Unix socket `socket` had when it connected
/// (`SO_PEERGROUPS`). They do not always include its primary group.
///
/// # Errors
/// `socket` is not a connected Unix socket, or the kernel is older than 4.13.
pub fn peer_groups(socket: &impl AsFd) -> io::Result<Vec<u32>> {
    let mut groups: Vec<u32> = vec![0; USUAL];
    loop {
        let room = size_of_val(groups.as_slice());
        let mut length = libc::socklen_t::try_from(room).map_err(|_| io::ErrorKind::InvalidData)?;
        // SAFETY: the kernel writes at most `length` bytes of group numbers, for which `groups` has
        // room, and the length itself; any bytes are valid numbers.
        let result = unsafe {
            libc::getsockopt(
                socket.as_fd().as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        // The number of groups found, or with ERANGE the number for which room is needed.
        let count = length as usize / size_of::<u32>();
        if result == 0 {
            groups.truncate(count);
            return Ok(groups);
        }
        match io::Error::last_os_error() {
            error
                if error.raw_os_error() == Some(libc::ERANGE)
                    && (groups.len() + 1..=MAX_GROUPS).contains(&count) =>
            {
                groups.resize(count, 0);
            }
            error => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write, os::unix::net::UnixStream};

    use rustix::thread::{Gid, set_thread_groups};

    use super::*;

    #[test]
    fn a_peer_has_the_groups_of_its_process() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let mut expected: Vec<u32> = nix::unistd::getgroups()
            .unwrap()
            .iter()
            .map(|gid| gid.as_raw())
            .collect();
        let mut groups = peer_groups(&ours).unwrap();
        groups.sort_unstable();
        expected.sort_unstable();
        assert_eq!(groups, expected);
    }

    #[test]
    fn more_groups_than_usual_are_all_told() {
        if !nix::unistd::geteuid().is_root() {
            // Not with eprintln!, whose output the test harness hides if a test passes.
            let _ = writeln!(io::stderr(), "SKIPPED: only root can give itself groups");
            return;
        }
        for count in [0, 1, USUAL, USUAL + 1, 1000, MAX_GROUPS] {
            let groups: Vec<u32> = (0..count as u32).map(|n| 100_000 + n).collect();
            let told = std::thread::spawn({
                let groups: Vec<Gid> = groups.iter().copied().map(Gid::from_raw).collect();
                move || {
                    // This sets the groups of this thread only, which ends below.
                    set_thread_groups(&groups).unwrap();
                    let (ours, _theirs) = UnixStream::pair().unwrap();
                    peer_groups(&ours).unwrap()
                }
            });
            assert_eq!(told.join().unwrap(), groups);
        }
    }

    #[test]
    fn nobody_vouches_for_groups_over_tcp() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert!(peer_groups(&stream).is_err());
    }
}
