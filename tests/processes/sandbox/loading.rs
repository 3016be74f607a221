//! Calls that a zygote may make while it loads its model, and those that a hostile model's code may
//! not.

use std::{fs, path::Path};

use super::Expect::{self, Fine, Stopped, Violation};

type Try = fn() -> Result<(), String>;

/// Must be refused by Landlock, without the end of the process: libraries look for files that they
/// may not see.
fn denied(path: &str) -> Result<(), String> {
    match fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => Err(format!("{path}: {other:?}")),
    }
}

pub(super) const ALL: &[(&str, Expect, Try)] = &[
    ("load::fine", Fine, || Ok(())),
    ("load::libraries_and_the_model_are_readable", Fine, || {
        let library = Path::new("/usr/lib/os-release");
        fs::read(library).map_err(|e| format!("{}: {e}", library.display()))?;
        let model = Path::new("/usr/share/pocketsphinx/model/en-us/cmudict-en-us.dict");
        match fs::read(model) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(format!("{}: {error}", model.display()))
            }
            _ => Ok(()),
        }
    }),
    ("load::a_readable_folder_can_be_listed", Fine, || {
        let mut entries = fs::read_dir("/usr/lib").map_err(|e| e.to_string())?;
        let first = entries.next().ok_or("no entry")?;
        first.map(drop).map_err(|e| e.to_string())
    }),
    (
        "load::no_other_folder_can_be_listed",
        Fine,
        || match fs::read_dir("/var/tmp") {
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Ok(()),
            other => Err(format!("{other:?}")),
        },
    ),
    ("load::a_library_can_be_opened", Fine, || {
        let handle = unsafe { libc::dlopen(c"libpthread.so.0".as_ptr(), libc::RTLD_NOW) };
        let other = unsafe { libc::dlopen(c"libresolv.so.2".as_ptr(), libc::RTLD_NOW) };
        if handle.is_null() || other.is_null() {
            return Err("dlopen".into());
        }
        Ok(())
    }),
    ("load::nothing_else_is_readable", Fine, || {
        for path in [
            "/etc/passwd",
            "/etc/hostname",
            "/proc/self/environ",
            "/proc/self/maps",
            "/proc/1/cmdline",
            "/sys/fs/cgroup/cgroup.procs",
            "/usr/share/common-licenses/GPL-3",
            "/dev/null",
            "/tmp",
        ] {
            denied(path)?;
        }
        Ok(())
    }),
    ("load::nothing_can_be_written", Violation("openat"), || {
        Err(format!("{:?}", fs::write("/tmp/escaped", "x")))
    }),
    (
        "load::the_model_cannot_be_written",
        Violation("openat"),
        || {
            let path = "/usr/share/pocketsphinx/model/en-us/en-us.lm.bin";
            Err(format!("{:?}", fs::File::options().append(true).open(path)))
        },
    ),
    ("load::no_other_program", Violation("execve"), || {
        let path = c"/bin/true".as_ptr();
        let argv = [path, std::ptr::null()];
        Err(format!("{}", unsafe { libc::execv(path, argv.as_ptr()) }))
    }),
    ("load::no_fork_by_libc", Stopped("clone"), || {
        Err(format!("{}", unsafe { libc::fork() }))
    }),
    ("load::no_socket", Violation("socket"), || {
        Err(format!("{:?}", std::net::TcpStream::connect("127.0.0.1:1")))
    }),
    ("load::no_signal", Violation("kill"), || {
        Err(format!("{}", unsafe { libc::kill(-1, libc::SIGKILL) }))
    }),
    (
        "load::no_memory_both_writable_and_executable",
        Violation("mmap"),
        || {
            let (all, flags) = (7, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
            let page = unsafe { libc::mmap(std::ptr::null_mut(), 4096, all, flags, -1, 0) };
            Err(format!("{page:?}"))
        },
    ),
    (
        "load::no_memory_of_its_own_executable",
        Violation("mmap"),
        || {
            let (code, flags) = (5, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
            let page = unsafe { libc::mmap(std::ptr::null_mut(), 4096, code, flags, -1, 0) };
            Err(format!("{page:?}"))
        },
    ),
];

/// The work of the zygote that is to load `what`.
pub(super) fn run(what: &str) -> Result<(), String> {
    ALL.iter()
        .find(|(name, ..)| *name == what)
        .map_or(Ok(()), |(_, _, run)| run())
}
