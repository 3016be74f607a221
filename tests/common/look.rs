//! Things that a daemon has while it does nothing, none of which may grow with the number of
//! requests.

use procfs::process::Process;

use super::{daemon::Daemon, process::private_memory};

/// The sizes that must not grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Heap and stacks of the supervisor, in bytes.
    pub memory: u64,
    pub descriptors: usize,
    pub threads: usize,
    pub children: usize,
}

impl Look {
    /// Once the daemon is idle, with this many zygotes and spares.
    pub fn at(daemon: &Daemon, zygotes: usize, spares: usize) -> Look {
        let descriptors = daemon.idle_descriptors_of(zygotes, spares);
        Look {
            descriptors,
            memory: private_memory(daemon.pid()),
            threads: Process::new(daemon.pid()).unwrap().tasks().unwrap().count(),
            children: daemon.wait_idle_of(zygotes, spares).len() + zygotes,
        }
    }

    /// By how many bytes the memory has grown since `first`; nothing else may have.
    #[track_caller]
    pub fn growth_since(&self, first: &Look) -> u64 {
        assert_eq!(self.descriptors, first.descriptors);
        assert_eq!(self.threads, first.threads);
        assert_eq!(self.children, first.children);
        self.memory.saturating_sub(first.memory)
    }
}
