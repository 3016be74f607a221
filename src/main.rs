//! The daemon: arguments, then configuration, then run.
fn main() {}
