//! Makes a directory for the files of a job's program, and removes it with everything that the
//! program left.

use std::{
    fs, io,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::DirBuilderExt,
    },
    path::{Path, PathBuf},
    thread::sleep,
    time::{Duration, Instant},
};

use nix::{
    dir::Dir,
    errno::Errno,
    fcntl::{OFlag, renameat},
    sys::stat::{FchmodatFlags, Mode, fchmodat},
    unistd::{UnlinkatFlags, unlinkat},
};
use tempfile::TempDir;

/// Time in which a killed process may still finish making a file.
const PATIENCE: Duration = Duration::from_secs(2);

/// The folder of all scratch directories; only this user can enter it. Removed when dropped.
#[derive(Debug)]
pub(super) struct Root(TempDir);

/// The scratch directory of one job. [`Scratch::remove`] removes it once no process that could
/// write there lives.
#[derive(Debug)]
pub(super) struct Scratch(PathBuf);

impl Root {
    /// Make the folder in the one that systemd keeps in memory for the service
    /// (`RuntimeDirectory=`), else in the system's temporary folder.
    ///
    /// # Errors
    /// The error of the system call.
    pub(super) fn make() -> io::Result<Self> {
        // systemd.exec(5): several folders are separated by colons.
        let runtime = std::env::var_os("RUNTIME_DIRECTORY");
        let runtime = runtime.and_then(|value| std::env::split_paths(&value).next());
        let home = runtime.unwrap_or_else(std::env::temp_dir);
        let folder = tempfile::Builder::new()
            .prefix("stt-isolated-")
            .tempdir_in(&home);
        let folder = folder.map_err(|error| {
            let what = format!("cannot make a folder in {}: {error}", home.display());
            io::Error::new(error.kind(), what)
        })?;
        Ok(Self(folder))
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Make the directory of slot `index`, empty.
    ///
    /// # Errors
    /// The directory cannot be made, or an earlier one cannot be removed.
    pub(super) fn scratch(&self, index: usize) -> io::Result<Scratch> {
        let path = self.path().join(format!("job-{index}"));
        let mut builder = fs::DirBuilder::new();
        builder.mode(0o700);
        match builder.create(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                remove(&path)?;
                builder.create(&path)?;
            }
            result => result?,
        }
        Ok(Scratch(path))
    }
}

impl Scratch {
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Remove it with everything in it. This can take long: a program can make hundreds of
    /// thousands of files.
    ///
    /// # Errors
    /// The error of the system call; something is left then.
    pub(super) fn remove(self) -> io::Result<()> {
        let start = Instant::now();
        loop {
            match remove(&self.0) {
                Err(_) if start.elapsed() < PATIENCE => sleep(Duration::from_millis(5)),
                result => return result,
            }
        }
    }
}

/// Remove one of our folders with everything in it: names of any kind, folders of any depth and
/// with any mode.
///
/// Neither the stack nor the number of descriptors grows with the depth: the contents of an inner
/// folder are moved up into `path`. Links are removed and never followed.
fn remove(path: &Path) -> io::Result<()> {
    let mut top = open(path)?;
    let mut moved = 0_u64;
    loop {
        let names = names(&mut top)?;
        if names.is_empty() {
            break;
        }
        for name in names {
            if is_gone(top.as_fd(), &name)? {
                continue;
            }
            make_accessible(top.as_fd(), &name)?;
            let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let mut folder = Dir::openat(top.as_fd(), name.as_c_str(), flags, Mode::empty())?;
            loop {
                let inner = self::names(&mut folder)?;
                if inner.is_empty() {
                    break;
                }
                for inner in inner {
                    if !is_gone(folder.as_fd(), &inner)? {
                        make_accessible(folder.as_fd(), &inner)?;
                        move_up(folder.as_fd(), &inner, top.as_fd(), &mut moved)?;
                    }
                }
            }
            unlinkat(top.as_fd(), name.as_c_str(), UnlinkatFlags::RemoveDir)?;
        }
    }
    fs::remove_dir(path)
}

/// Move a folder into `top`. If the program took the new name, the next number is tried, so it can
/// never block the removal.
fn move_up(
    from: BorrowedFd<'_>,
    name: &std::ffi::CStr,
    top: BorrowedFd<'_>,
    moved: &mut u64,
) -> io::Result<()> {
    loop {
        *moved += 1;
        let target = format!(".moved-{moved}");
        match renameat(from, name, top, target.as_str()) {
            Err(Errno::ENOTEMPTY | Errno::EEXIST | Errno::ENOTDIR) => {}
            result => return Ok(result?),
        }
    }
}

fn open(path: &Path) -> io::Result<Dir> {
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    Ok(Dir::open(path, flags, Mode::empty())?)
}

/// Some of the names in a folder; none if it is empty.
fn names(folder: &mut Dir) -> io::Result<Vec<std::ffi::CString>> {
    const SOME: usize = 1024;
    let entries = folder.iter();
    let names = entries.map(|entry| entry.map(|entry| entry.file_name().to_owned()));
    let not_dots = |name: &Result<std::ffi::CString, Errno>| {
        !matches!(name.as_ref().map(|name| name.to_bytes()), Ok(b"." | b".."))
    };
    let names: Result<Vec<_>, _> = names.filter(not_dots).take(SOME).collect();
    Ok(names?)
}

/// Remove an entry that is not a folder; true if that was done.
fn is_gone(folder: BorrowedFd<'_>, name: &std::ffi::CStr) -> io::Result<bool> {
    match unlinkat(folder, name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => Ok(true),
        Err(Errno::EISDIR) => match unlinkat(folder, name, UnlinkatFlags::RemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(true),
            Err(Errno::ENOTEMPTY | Errno::EEXIST | Errno::EACCES) => Ok(false),
            Err(error) => Err(error.into()),
        },
        Err(error) => Err(error.into()),
    }
}

/// Give us access to a folder that is not a link.
fn make_accessible(folder: BorrowedFd<'_>, name: &std::ffi::CStr) -> io::Result<()> {
    let mode = Mode::S_IRWXU;
    Ok(fchmodat(folder, name, mode, FchmodatFlags::FollowSymlink)?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn scratch() -> (TempDir, Scratch) {
        // In memory if possible: a disk takes long for the deep folder.
        let home = TempDir::new_in("/dev/shm")
            .or_else(|_| TempDir::new())
            .unwrap();
        let path = home.path().join("scratch");
        fs::create_dir(&path).unwrap();
        (home, Scratch(path))
    }

    #[test]
    fn whatever_was_left_there_is_removed_and_nothing_else() {
        let (home, scratch) = scratch();
        let outside = home.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("kept"), "kept").unwrap();
        let path = scratch.path();
        symlink(&outside, path.join("link")).unwrap();
        for number in 0..3000 {
            fs::write(path.join(format!("file-{number}")), "").unwrap();
        }
        let locked = path.join("a/.moved-1/b");
        fs::create_dir_all(&locked).unwrap();
        fs::create_dir(path.join(".moved-1")).unwrap();
        fs::write(path.join(".moved-1/full"), "").unwrap();
        symlink(&outside, locked.join("link")).unwrap();
        for folder in [&locked, &path.join("a"), path] {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o0)).unwrap();
        }
        let path = path.to_owned();
        scratch.remove().unwrap();
        assert!(!path.exists());
        assert_eq!(fs::read(outside.join("kept")).unwrap(), b"kept");
    }

    #[test]
    fn depth_costs_neither_stack_nor_descriptors() {
        let (_home, scratch) = scratch();
        let path = scratch.path().to_owned();
        let deepest = {
            let mut folder = open(&path).unwrap();
            for _ in 0..5_000 {
                nix::sys::stat::mkdirat(folder.as_fd(), "d", Mode::S_IRWXU).unwrap();
                let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
                folder = Dir::openat(folder.as_fd(), "d", flags, Mode::empty()).unwrap();
            }
            folder
        };
        drop(deepest);
        scratch.remove().unwrap();
        assert!(!path.exists());
    }
}
