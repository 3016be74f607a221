//! The words of a request: how it is asked, how it can end, and what is told of it. No I/O.

mod ask;
mod code;
mod figures;
mod key;
mod outcome;
mod refusal;

pub use ask::{Ask, FindSpeakers, Speakers};
pub use code::{Again, Code, Group, Source};
pub use figures::Figures;
pub use key::{Digest, KeyLine, KeyName};
pub use outcome::{Failure, Outcome, TimeLimit};
pub use refusal::Refusal;
