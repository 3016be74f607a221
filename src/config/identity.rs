//! Which numbers of users and groups mean somebody: a user namespace (`PrivateUsers=`) may have a part of them only.

use std::{fs, ops::Range};

/// Everybody without a number here, users and groups alike: what the kernel tells instead, unless somebody changed
/// `kernel.overflowuid`, which systemd does not provide for.
pub(super) const NOBODY: u32 = 65_534;

/// The numbers that this process's user namespace has.
pub(super) struct Numbers(Vec<Range<u64>>);

impl Numbers {
    /// Of users.
    pub(super) fn of_users() -> Self {
        Self::read("/proc/self/uid_map")
    }

    /// Of groups.
    pub(super) fn of_groups() -> Self {
        Self::read("/proc/self/gid_map")
    }

    /// All of them where nobody says which: then there is no such namespace.
    fn read(file: &str) -> Self {
        let map = fs::read_to_string(file).unwrap_or_else(|_| "0 0 4294967295".into());
        Self::parse(&map)
    }

    /// A line for each range: its first number here, the same outside, how many (user_namespaces(7)).
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
