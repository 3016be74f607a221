//! Entry points for the fuzzers in `fuzz/`, one for each kind of hostile bytes. A test here replays
//! their corpora.
//!
//! Each takes any bytes and returns. It panics if a rule is broken that must always hold.

pub use crate::{
    api::{http::fuzzing::multipart, wyoming::fuzzing::wyoming},
    audio::fuzzing::{decode, raw},
    config::fuzzing::config,
    dispatch::fuzzing::job_messages,
    engine::exec::fuzzing::program,
};

#[cfg(test)]
mod tests {
    use std::{fs, path::Path, time::Instant};

    /// Most seconds for one of these small files, in a build without optimisation and in parallel
    /// with other tests.
    const SOON: u64 = 20;

    /// Most memory for all of them together, in bytes.
    const MEMORY: u64 = 256 << 20;

    fn peak() -> u64 {
        let process = procfs::process::Process::myself().unwrap();
        process.status().unwrap().vmhwm.unwrap() << 10
    }

    fn replay(target: &str, entry: fn(&[u8])) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("fuzz/corpus")
            .join(target);
        let mut files = 0;
        let before = peak();
        for file in fs::read_dir(&folder).unwrap() {
            let path = file.unwrap().path();
            println!("{}", path.display());
            let start = Instant::now();
            entry(&fs::read(&path).unwrap());
            let seconds = start.elapsed().as_secs();
            assert!(seconds < SOON, "{} took {seconds} s", path.display());
            files += 1;
        }
        assert!(files > 0, "{} is empty", folder.display());
        let grown = peak() - before;
        println!("{files} files, {} KiB", grown >> 10);
        assert!(grown < MEMORY, "{grown} bytes of memory");
    }

    /// One test for each target.
    macro_rules! replay {
        ($($target:ident)*) => {
            $(#[test] fn $target() { replay(stringify!($target), super::$target); })*

            #[test]
            fn every_target_is_replayed() {
                let targets = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/fuzz_targets");
                let targets = fs::read_dir(targets).unwrap();
                let mut names: Vec<String> = targets
                    .map(|target| target.unwrap().path().file_stem().unwrap().to_str().unwrap().into())
                    .collect();
                names.sort();
                assert_eq!(names, [$(stringify!($target)),*]);
            }
        };
    }

    replay! { config decode job_messages multipart program raw wyoming }
}
