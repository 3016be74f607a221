//! Entry points for the fuzzers in `fuzz/`, one for each kind of hostile bytes. A test here replays
//! their corpora.
//!
//! Each takes any bytes and returns. It panics if a rule is broken that must always hold.

pub use crate::{
    api::{http::fuzzing::multipart, http::realtime::fuzzing::realtime, wyoming::fuzzing::wyoming},
    audio::fuzzing::{decode, raw},
    catalogue::fuzzing::catalogue,
    config::fuzzing::config,
    dispatch::fuzzing::job_messages,
    engine::{exec::fuzzing::program, sherpa::onnx::fuzzing::onnx},
};

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, File},
        io::Read,
        path::Path,
        time::Instant,
    };

    use tar::Archive;

    /// Most seconds for one of these small files, in a build without optimisation and in parallel
    /// with other tests.
    const SOON: u64 = 20;

    /// Most memory for all of them together, in bytes.
    const MEMORY: u64 = 256 << 20;

    fn peak() -> u64 {
        let process = procfs::process::Process::myself().unwrap();
        process.status().unwrap().vmhwm.unwrap() << 10
    }

    /// Names and bytes of a target's inputs. Seeds with a name are files. An archive holds the
    /// rest, most of which fuzzers found.
    fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
        let mut inputs = Vec::new();
        for file in fs::read_dir(folder.join(target)).unwrap() {
            let path = file.unwrap().path();
            inputs.push((path.display().to_string(), fs::read(&path).unwrap()));
        }
        assert!(!inputs.is_empty(), "{target} has no seeds");
        let archive = folder.join(target).with_extension("tar");
        if archive.exists() {
            let mut found = Archive::new(File::open(&archive).unwrap());
            for entry in found.entries().unwrap() {
                let mut entry = entry.unwrap();
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes).unwrap();
                let name = entry.path().unwrap().display().to_string();
                inputs.push((format!("{name} in {}", archive.display()), bytes));
            }
        }
        inputs
    }

    fn replay(target: &str, entry: fn(&[u8])) {
        let inputs = corpus(target);
        let before = peak();
        for (name, bytes) in &inputs {
            println!("{name}");
            let start = Instant::now();
            entry(bytes);
            let seconds = start.elapsed().as_secs();
            assert!(seconds < SOON, "{name} took {seconds} s");
        }
        let grown = peak() - before;
        println!("{} inputs, {} KiB", inputs.len(), grown >> 10);
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

    replay! { catalogue config decode job_messages multipart onnx program raw realtime wyoming }
}
