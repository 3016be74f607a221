//! The kinds of things that statistics count, each with its word, and tables of values by kind.

use serde::{Serialize, Serializer, ser::SerializeMap};

use crate::request::Code;

/// A set of kinds, each of which is counted separately.
pub trait Kind: Copy + PartialEq + 'static {
    /// All kinds of the set.
    const ALL: &'static [Self];

    /// The word for it in `/v1/stats`, `/metrics` and the journal.
    fn word(self) -> &'static str;
}

impl Kind for Code {
    const ALL: &'static [Self] = Self::ALL;

    fn word(self) -> &'static str {
        Self::word(self)
    }
}

macro_rules! kinds {
    ($(#[$doc:meta])* $name:ident { $($(#[$what:meta])* $kind:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[$what])* $kind,)*
        }

        impl Kind for $name {
            const ALL: &'static [Self] = &[$(Self::$kind),*];

            fn word(self) -> &'static str {
                match self {
                    $(Self::$kind => $word,)*
                }
            }
        }

    };
}

kinds! {
    /// Events in the life of a model's processes.
    Lifecycle {
        /// A zygote was started. Later it counts as lost, recycled or failed as well.
        ZygotesStarted = "zygotes_started",
        /// A zygote that was ready ended, or did not answer any more.
        ZygotesLost = "zygotes_lost",
        /// A zygote that was ready was let go: a fresh one took its place, or its model was
        /// removed.
        ZygotesRecycled = "zygotes_recycled",
        /// A zygote did not become ready: its model cannot be loaded, or the self-test failed.
        ZygotesFailed = "zygotes_failed",
        /// A job was forked, for a request or for a self-test.
        JobsForked = "jobs_forked",
        /// A job was forked for a request that was waiting already. It counts as forked, too.
        ForksOnDemand = "forks_on_demand",
        /// A spare was let go because it had waited long enough.
        SparesExpired = "spares_expired",
        /// A spare was let go because its place or its memory was needed elsewhere.
        SparesDropped = "spares_dropped",
        /// A spare died before it had a request.
        SparesDied = "spares_died",
        /// A job of mode `hybrid` was replaced after `recycle.max_requests` requests.
        JobsRecycledRequests = "jobs_recycled_requests",
        /// A job of mode `hybrid` was replaced because it had grown by `recycle.max_growth`.
        JobsRecycledGrowth = "jobs_recycled_growth",
        /// A job of mode `hybrid` was replaced at the age of `recycle.max_age`.
        JobsRecycledAge = "jobs_recycled_age",
        /// A canary was answered as it should be.
        CanariesOk = "canaries_ok",
        /// A canary failed, or was not answered in time.
        CanariesFailed = "canaries_failed",
        /// The model's breaker opened.
        BreakerTrips = "breaker_trips",
    }
}

kinds! {
    /// The times that are measured.
    Latency {
        /// From a request's head until all of its recording is there. Recordings over Wyoming do
        /// not count: they come while their job runs.
        Upload = "upload",
        /// How long a request waited for its job.
        Queue = "queue",
        /// From asking for a job until it is ready.
        Start = "start",
        /// Decoding of a recording, as the job reports it, if its request ended well.
        Decode = "decode",
        /// Work of the engine, as the job reports it, if its request ended well.
        Transcribe = "transcribe",
        /// The rest of a job's time for a request that ended well: the way to the job and back.
        HandOver = "hand_over",
        /// From the answer, or from the kill of the job, until its slot is free.
        Exit = "exit",
    }
}

/// A value for each kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Each<K, T> {
    values: Vec<(K, T)>,
}

impl<K: Kind, T: Default> Default for Each<K, T> {
    fn default() -> Self {
        Self::among(|_| true)
    }
}

impl<K: Kind, T: Default> Each<K, T> {
    /// A default value for each kind that is `wanted`, and nothing for the others.
    pub fn among(wanted: impl Fn(K) -> bool) -> Self {
        let kinds = K::ALL.iter().copied().filter(|kind| wanted(*kind));
        Self {
            values: kinds.map(|kind| (kind, T::default())).collect(),
        }
    }
}

impl<K: Kind, T> Each<K, T> {
    /// Change the value for `kind`, if there is one.
    pub fn change(&mut self, kind: K, how: impl FnOnce(&mut T)) {
        if let Some((_, value)) = self.values.iter_mut().find(|(known, _)| *known == kind) {
            how(value);
        }
    }

    /// The value for `kind`, if there is one.
    pub fn get(&self, kind: K) -> Option<&T> {
        let mut values = self.values.iter();
        values
            .find(|(known, _)| *known == kind)
            .map(|(_, value)| value)
    }

    /// All values in the order of the kinds, each with its kind's word.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &T)> {
        self.values.iter().map(|(kind, value)| (kind.word(), value))
    }
}

impl<K: Kind> Each<K, u64> {
    /// Count one more of `kind`.
    pub fn count(&mut self, kind: K) {
        self.change(kind, |count| *count += 1);
    }
}

impl<K: Kind, T: Serialize> Serialize for Each<K, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.values.len()))?;
        for (kind, value) in &self.values {
            map.serialize_entry(kind.word(), value)?;
        }
        map.end()
    }
}
