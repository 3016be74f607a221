//! The client: the same public API as anybody's.
fn main() {}
