//! `[clients]` with every name resolved: which clients may ask, and how many requests each may
//! have.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use nix::unistd::{Group, User};

use super::{
    clients::Clients,
    identity::{NOBODY, Numbers},
    keys::{self, Keys},
    share::{Share, ShareOverride},
};
use crate::{problems::Problems, request::KeyName};

/// Users and groups by number, so that nothing has to be looked up when a client connects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// The clients that may ask; `None`: every client that can connect.
    allowed: Option<Allowed>,
    general: Share,
    groups: BTreeMap<u32, ShareOverride>,
    users: BTreeMap<u32, ShareOverride>,
    /// The keys of clients over TCP; `None`: none is asked for, and only this machine is served.
    keys: Option<Keys>,
    wyoming_network: bool,
    remarks: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Allowed {
    users: BTreeSet<u32>,
    groups: BTreeSet<u32>,
}

impl Access {
    /// The share of a user with this primary group and these other groups; `None`: the user may not
    /// ask.
    ///
    /// Each cap is looked up separately. The user's own cap comes first, then the largest cap of
    /// the user's groups, then the general cap.
    pub fn of_user(&self, uid: u32, gid: u32, groups: &[u32]) -> Option<Share> {
        let groups = || groups.iter().copied().chain([gid]);
        if let Some(allowed) = &self.allowed
            && !allowed.users.contains(&uid)
            && !groups().any(|group| allowed.groups.contains(&group))
        {
            return None;
        }
        let own = self.users.get(&uid).copied().unwrap_or_default();
        let cap = |cap: fn(&ShareOverride) -> Option<usize>, general| {
            let of_groups = groups().filter_map(|group| cap(self.groups.get(&group)?));
            // 0 means "no cap", which is larger than any cap.
            let largest = of_groups.max_by_key(|cap| cap.wrapping_sub(1));
            cap(&own).or(largest).unwrap_or(general)
        };
        Some(Share {
            max_running: cap(|caps| caps.max_running, self.general.max_running),
            max_queued: cap(|caps| caps.max_queued, self.general.max_queued),
        })
    }

    /// How many keys clients over TCP may show; `None` if no key is asked for.
    pub fn keys(&self) -> Option<usize> {
        self.keys.as_ref().map(Keys::count)
    }

    /// The name of `key`, and the share of all who show it, together; `None`: it is not known.
    pub fn of_key(&self, key: &[u8]) -> Option<(KeyName, Share)> {
        let (name, own) = self.keys.as_ref()?.find(key)?;
        let share = Share {
            max_running: own.max_running.unwrap_or(self.general.max_running),
            max_queued: own.max_queued.unwrap_or(self.general.max_queued),
        };
        Some((name.clone(), share))
    }

    /// Whether Wyoming also serves clients on other machines, which cannot show a key.
    pub fn wyoming_network(&self) -> bool {
        self.wyoming_network
    }

    /// The share of all clients over TCP without a key together. `None`: they may not ask, because
    /// only certain users may and TCP does not tell which user a client is.
    pub fn of_network(&self) -> Option<Share> {
        match self.allowed {
            None => Some(self.general),
            Some(_) => None,
        }
    }

    /// Warnings: about configured users and groups whose numbers are unmapped in the service's user
    /// namespace, which the kernel never reports to the service; and about keys.
    pub(super) fn remarks(&self, users: &Numbers, groups: &Numbers) -> Vec<String> {
        let allowed = self.allowed.iter();
        let named_users = allowed.clone().flat_map(|allowed| &allowed.users);
        let named_groups = allowed.flat_map(|allowed| &allowed.groups);
        let strangers = |named: BTreeSet<&u32>, known: &Numbers| {
            let unknown = named.into_iter().filter(|number| !known.has(**number));
            unknown.map(u32::to_string).collect::<Vec<_>>().join(", ")
        };
        let kinds = [
            (
                "users",
                strangers(named_users.chain(self.users.keys()).collect(), users),
            ),
            (
                "groups",
                strangers(named_groups.chain(self.groups.keys()).collect(), groups),
            ),
        ];
        let kinds = kinds.into_iter().filter(|(_, numbers)| !numbers.is_empty());
        let of_numbers = kinds.map(|(kind, numbers)| {
                format!(
                    "clients: the unit's PrivateUsers= keeps the service from knowing these {kind} when they come: \
                     {numbers} (the drop-in large-ids.conf of the unit changes that)"
                )
            });
        of_numbers.chain(self.remarks.iter().cloned()).collect()
    }

    /// True if a client's share depends on the groups that it is a member of.
    pub fn knows_groups(&self) -> bool {
        let allowed = self.allowed.as_ref();
        !self.groups.is_empty() || allowed.is_some_and(|allowed| !allowed.groups.is_empty())
    }
}

/// Resolve all names. `credentials` is systemd's folder of the service's credentials. The present
/// table of `problems` is `[clients]`.
pub(super) fn resolve(
    clients: &Clients,
    credentials: Option<&Path>,
    problems: &mut Problems,
) -> Access {
    let mut list = |names: &[String], key: &str, number: Lookup| {
        let mut numbers = BTreeSet::new();
        for name in names {
            match number(name) {
                Ok(found) => {
                    numbers.insert(found);
                }
                Err(what) => problems.add(key, what),
            }
        }
        numbers
    };
    let users = list(&clients.allow_users, "allow_users", user);
    let groups = list(&clients.allow_groups, "allow_groups", group);
    let mut table = |caps: &BTreeMap<String, ShareOverride>, key: &str, number: Lookup| {
        let mut numbers = BTreeMap::new();
        for (name, caps) in caps {
            match number(name) {
                Ok(found) => match numbers.insert(found, *caps) {
                    None => {}
                    Some(_) => problems.within(&[key], |problems| {
                        let what = format!("number {found} has its caps already, by another name");
                        problems.add(name, what);
                    }),
                },
                Err(what) => problems.within(&[key], |problems| problems.add(name, what)),
            }
        }
        numbers
    };
    let (users_caps, groups_caps) = (
        table(&clients.users, "users", user),
        table(&clients.groups, "groups", group),
    );
    let (keys, remarks) = keys::resolve(&clients.keys, credentials, problems);
    Access {
        allowed: (!clients.allow_users.is_empty() || !clients.allow_groups.is_empty())
            .then_some(Allowed { users, groups }),
        general: Share {
            max_running: clients.max_running,
            max_queued: clients.max_queued,
        },
        groups: groups_caps,
        users: users_caps,
        keys,
        wyoming_network: clients.wyoming_network,
        remarks,
    }
}

type Lookup = fn(&str) -> Result<u32, String>;

fn user(name: &str) -> Result<u32, String> {
    let found = User::from_name(name).map(|user| user.map(|user| user.uid.as_raw()));
    number(name, "user", found)
}

fn group(name: &str) -> Result<u32, String> {
    let found = Group::from_name(name).map(|group| group.map(|group| group.gid.as_raw()));
    number(name, "group", found)
}

/// The number that `name` is or stands for. A number need not have a name on this machine.
fn number(name: &str, kind: &str, found: nix::Result<Option<u32>>) -> Result<u32, String> {
    match (name.parse(), found) {
        (Ok(NOBODY), _) | (_, Ok(Some(NOBODY))) => Err(format!(
            "the {kind} `{name}` ({NOBODY}) cannot be named: whoever has no number in a user namespace looks the same"
        )),
        (Ok(number), _) | (_, Ok(Some(number))) => Ok(number),
        (_, Ok(None)) => Err(format!("there is no {kind} `{name}`")),
        (_, Err(error)) => Err(format!("the {kind} `{name}` cannot be looked up: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The cap on running jobs of user 1000 in group 1000 with these other groups; `None`: the user
    /// may not ask.
    fn running(access: &Access, groups: &[u32]) -> Option<usize> {
        Some(access.of_user(1000, 1000, groups)?.max_running)
    }

    fn caps(max_running: usize) -> ShareOverride {
        ShareOverride {
            max_running: Some(max_running),
            max_queued: None,
        }
    }

    #[test]
    fn whoever_can_connect_may_ask_unless_there_is_a_list() {
        let open = Access::default();
        assert_eq!(open.of_user(1000, 1000, &[]), Some(Share::default()));
        assert_eq!(open.of_network(), Some(Share::default()));
        assert!(!open.knows_groups());
        let listed = |users: &[u32], groups: &[u32]| Access {
            allowed: Some(Allowed {
                users: users.iter().copied().collect(),
                groups: groups.iter().copied().collect(),
            }),
            ..Access::default()
        };
        assert_eq!(running(&listed(&[1000], &[]), &[]), Some(0));
        assert_eq!(running(&listed(&[1001], &[]), &[1001]), None);
        // The number of a user is not the number of a group.
        assert_eq!(running(&listed(&[50], &[]), &[50]), None);
        assert_eq!(running(&listed(&[], &[50]), &[]), None);
        assert_eq!(running(&listed(&[], &[50]), &[4, 50]), Some(0));
        assert_eq!(running(&listed(&[], &[1000]), &[]), Some(0));
        assert_eq!(running(&listed(&[1000], &[50]), &[]), Some(0));
        assert_eq!(listed(&[1000], &[]).of_network(), None);
        assert!(!listed(&[1000], &[]).knows_groups());
        assert!(listed(&[1000], &[50]).knows_groups());
    }

    #[test]
    fn own_caps_come_first_then_the_largest_of_the_groups_then_the_general_one() {
        let mut access = Access {
            general: Share {
                max_running: 2,
                max_queued: 7,
            },
            groups: BTreeMap::from([(10, caps(3)), (11, caps(5)), (12, caps(0)), (13, caps(1))]),
            ..Access::default()
        };
        assert_eq!(running(&access, &[]), Some(2));
        assert_eq!(running(&access, &[10]), Some(3));
        assert_eq!(running(&access, &[11, 10, 99]), Some(5));
        assert_eq!(running(&access, &[11, 12, 10]), Some(0));
        // The cap of a group, even if the general cap is larger.
        assert_eq!(running(&access, &[13]), Some(1));
        assert_eq!(access.of_network().unwrap().max_running, 2);
        access.users.insert(1000, caps(1));
        assert_eq!(running(&access, &[12]), Some(1));
        // The group does not set the other cap.
        assert_eq!(access.of_user(1000, 1000, &[12]).unwrap().max_queued, 7);
        assert!(access.knows_groups());
    }
    #[test]
    fn who_is_named_and_has_no_number_here_is_told() {
        let mut access = Access {
            allowed: Some(Allowed {
                users: BTreeSet::from([1000, 70_000]),
                groups: BTreeSet::from([50]),
            }),
            groups: BTreeMap::from([(80_000, caps(1))]),
            users: BTreeMap::from([(70_000, caps(1)), (90_000, caps(1))]),
            ..Access::default()
        };
        let all = Numbers::parse("0 0 4294967295");
        let some = Numbers::parse("0 0 65536");
        assert!(access.remarks(&all, &all).is_empty());
        let told = access.remarks(&some, &some);
        assert!(
            told[0].contains("these users when they come: 70000, 90000 ("),
            "{told:?}"
        );
        assert!(
            told[1].contains("these groups when they come: 80000 ("),
            "{told:?}"
        );
        access.groups.clear();
        assert_eq!(access.remarks(&some, &some).len(), 1);
        assert!(Access::default().remarks(&some, &some).is_empty());
    }
}
