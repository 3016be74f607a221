//! Numbers of users and groups that a user namespace maps: `PrivateUsers=` may map only some.

use std::{fs, ops::Range};

/// The number that the kernel reports for any user or group without a number in this namespace.
/// `kernel.overflowuid` could change it, but systemd does not support that.
pub(super) const NOBODY: u32 = 65_534;

/// The numbers that this process's user namespace maps.
pub(super) struct Numbers(Vec<Range<u64>>);

impl Numbers {
    /// The numbers of users in this namespace.
    pub(super) fn of_users() -> Self {
        Self::read("/proc/self/uid_map")
    }

    /// The numbers of groups in this namespace.
    pub(super) fn of_groups() -> Self {
        Self::read("/proc/self/gid_map")
    }

    /// All numbers if the file cannot be read: then the kernel has no user namespaces.
    fn read(file: &str) -> Self {
        let map = fs::read_to_string(file).unwrap_or_else(|_| "0 0 4294967295".into());
        Self::parse(&map)
    }

    /// Parse a map of user_namespaces(7). Each line is a range: its first number inside, its first
    /// number outside, and its length.
    pub(super) fn parse(map: &str) -> Self {
        let range = |line: &str| {
            let mut words = line.split_ascii_whitespace();
            let first: u64 = words.next()?.parse().ok()?;
            let count: u64 = words.nth(1)?.parse().ok()?;
            Some(first..first.saturating_add(count))
        };
        Self(map.lines().filter_map(range).collect())
    }

    pub(super) fn has(&self, number: u32) -> bool {
        self.0.iter().any(|range| range.contains(&number.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_has_the_numbers_of_its_map() {
        let identity = Numbers::parse("         0          0      65536\n");
        assert!(identity.has(0) && identity.has(65_535));
        assert!(!identity.has(65_536) && !identity.has(u32::MAX - 1));
        let own = Numbers::parse("0 0 1\n990 990 1\n");
        assert!(own.has(0) && own.has(990));
        assert!(!own.has(1) && !own.has(989) && !own.has(991));
        let full = Numbers::parse("0 0 1\n1 1 4294967294\n");
        assert!(full.has(0) && full.has(1) && full.has(u32::MAX - 1));
    }

    #[test]
    fn this_process_has_its_own_numbers() {
        let (user, group) = (nix::unistd::getuid(), nix::unistd::getgid());
        assert!(Numbers::of_users().has(user.as_raw()));
        assert!(Numbers::of_groups().has(group.as_raw()));
        assert!(Numbers::read("/no/such/map").has(u32::MAX - 1));
    }
}
