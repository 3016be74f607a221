//! The core: processes are made, confined, talked to, killed and told apart. Knows nothing of
//! audio, engines or clients.

pub mod cgroup;
pub mod channel;
mod child;
mod clone;
mod delay;
pub mod environment;
mod exec;
mod exit;
mod footprint;
mod gauge;
pub mod heap;
mod kernel_file;
mod message;
mod needs;
pub mod orphans;
mod peer;
mod pidfd;
mod pressure;
mod probe;
mod process;
mod program;
pub mod sandbox;
mod scratch;
pub mod sealed;
pub mod secret;
pub mod servant;
#[cfg(test)]
pub mod simulated;
mod slot;
mod standby;
mod zeros;
pub mod zygote;

pub use clone::{Forked, Parentage, SingleThreaded, exit_now, fork};
pub use delay::Delay;
pub use exit::{Exit, How};
pub use footprint::{Footprint, descriptors, proportional};
pub use gauge::{Gauge, Reading};
pub use message::{FromZygote, Load, ToZygote};
pub use needs::{Company, Launch, Needs, Preload, Profile, Reach, StandbyProgram};
pub use peer::peer_groups;
pub use pidfd::PidFd;
pub use pressure::PressureFile;
pub use probe::Probe;
pub use process::{JobProcess, ProcessError, ZygoteProcess};
pub use program::{Program, die_as};
pub use servant::Servant;
pub use slot::{Slot, Slots, Usage};
pub use standby::{Running, Standby};
