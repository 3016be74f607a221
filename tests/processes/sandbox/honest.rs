//! Calls that libraries make in good faith: none of them may end a job.

use std::{
    collections::HashMap,
    fs::File,
    io::Read as _,
    mem::ManuallyDrop,
    os::fd::FromRawFd as _,
    ptr,
    sync::{Arc, Barrier, Mutex, mpsc},
    thread,
    time::{Duration, Instant, SystemTime},
};

use super::{
    Attempt,
    Expect::{self, Fine, Signal},
    Surroundings,
};

const fn honest(
    name: &'static str,
    expect: Expect,
    run: fn(&Surroundings) -> Result<(), String>,
) -> Attempt {
    Attempt { name, expect, run }
}

pub(super) const ALL: &[Attempt] = &[
    honest("honest::nothing", Fine, |_| Ok(())),
    honest("honest::memory_of_every_size", Fine, |_| {
        memory();
        Ok(())
    }),
    honest("honest::threads", Fine, |_| threads()),
    honest("honest::pthreads", Fine, |_| pthreads()),
    honest("honest::arenas_that_shrink", Fine, |_| arenas()),
    honest("honest::locks", Fine, |_| locks()),
    honest("honest::time", Fine, |_| time()),
    honest("honest::output", Fine, |_| output()),
    honest("honest::facts", Fine, |_| facts()),
    honest("honest::the_recording", Fine, recording),
    honest("honest::random", Fine, |_| {
        let map: HashMap<u32, u32> = (0..100).map(|n| (n, n)).collect();
        (map.len() == 100).then_some(()).ok_or("lost".into())
    }),
    honest("honest::sorting", Fine, |_| sorting()),
    honest(
        "honest::abort_is_an_abort",
        Signal(libc::SIGABRT),
        |_| unsafe { libc::abort() },
    ),
    honest("honest::abort_in_a_thread", Signal(libc::SIGABRT), |_| {
        let _ = thread::spawn(|| unsafe { libc::abort() }).join();
        Ok(())
    }),
    honest("honest::panic_is_an_abort", Signal(libc::SIGABRT), |_| {
        panic!("on purpose")
    }),
    honest(
        "honest::heap_corruption_is_an_abort",
        Signal(libc::SIGABRT),
        |_| {
            unsafe {
                let block = libc::malloc(2000);
                libc::free(block);
                libc::malloc(5000);
                libc::free(block);
                libc::free(block);
            }
            Ok(())
        },
    ),
    honest("honest::null_is_a_segfault", Signal(libc::SIGSEGV), |_| {
        unsafe { ptr::null_mut::<u8>().write_volatile(1) };
        Ok(())
    }),
    honest(
        "honest::stack_overflow_is_a_segfault",
        Signal(libc::SIGSEGV),
        |_| {
            deep(0);
            Ok(())
        },
    ),
    honest(
        "honest::stack_overflow_in_a_thread",
        Signal(libc::SIGSEGV),
        |_| {
            let _ = thread::spawn(|| deep(0)).join();
            Ok(())
        },
    ),
];

#[allow(unconditional_recursion)]
fn deep(n: u64) -> u64 {
    let room = std::hint::black_box([n; 512]);
    deep(room[7] + 1) + room[9]
}

fn memory() {
    let mut kept = Vec::new();
    for bits in 0..27 {
        for extra in [0, 1, 17] {
            let mut block = vec![0u8; (1 << bits) + extra];
            block[(1 << bits) - 1] = 1;
            if bits < 20 {
                kept.push(block);
            } else {
                // Grown and shrunk: mremap.
                block.reserve_exact(block.len() * 2);
                block.truncate(100);
                block.shrink_to_fit();
            }
        }
    }
    drop(kept);
    unsafe { libc::malloc_trim(0) };
}

fn threads() -> Result<(), String> {
    let barrier = Arc::new(Barrier::new(8));
    let threads: Vec<_> = (0..8u64)
        .map(|n| {
            let barrier = barrier.clone();
            let name = format!("worker {n}");
            let body = move || {
                barrier.wait();
                thread::yield_now();
                (0..1000).sum::<u64>() + n
            };
            thread::Builder::new().name(name).spawn(body).unwrap()
        })
        .collect();
    let sum: u64 = threads.into_iter().map(|t| t.join().unwrap()).sum();
    let (sender, receiver) = mpsc::channel();
    thread::scope(|scope| {
        for n in 0..4 {
            let sender = sender.clone();
            scope.spawn(move || sender.send(n).unwrap());
        }
    });
    drop(sender);
    let received: u64 = receiver.iter().sum();
    (sum == 8 * 499_500 + 28 && received == 6)
        .then_some(())
        .ok_or(format!("{sum}, {received}"))
}

fn pthreads() -> Result<(), String> {
    extern "C" fn body(argument: *mut libc::c_void) -> *mut libc::c_void {
        unsafe {
            let mut attributes: libc::pthread_attr_t = std::mem::zeroed();
            libc::pthread_getattr_np(libc::pthread_self(), &raw mut attributes);
            libc::pthread_attr_destroy(&raw mut attributes);
        }
        argument
    }
    for round in 1..20usize {
        unsafe {
            let mut attributes: libc::pthread_attr_t = std::mem::zeroed();
            libc::pthread_attr_init(&raw mut attributes);
            libc::pthread_attr_setstacksize(&raw mut attributes, 64 << 10);
            let mut thread = 0;
            let error = libc::pthread_create(
                &raw mut thread,
                &raw const attributes,
                body,
                round as *mut libc::c_void,
            );
            if error != 0 {
                return Err(format!("pthread_create: {error}"));
            }
            let mut result = ptr::null_mut();
            libc::pthread_join(thread, &raw mut result);
            if result as usize != round {
                return Err("a thread's result is lost".into());
            }
        }
    }
    Ok(())
}

/// A thread's arena that is given back makes glibc read /proc/sys/vm/overcommit_memory.
fn arenas() -> Result<(), String> {
    for _ in 0..2 {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                thread::spawn(|| {
                    let blocks: Vec<_> = (0..2000).map(|_| vec![1u8; 50_000]).collect();
                    let sum: usize = blocks.iter().map(Vec::len).sum();
                    drop(blocks);
                    unsafe { libc::malloc_trim(0) };
                    sum
                })
            })
            .collect();
        for thread in threads {
            if thread.join().unwrap() != 100_000_000 {
                return Err("lost".into());
            }
        }
    }
    Ok(())
}

fn locks() -> Result<(), String> {
    let count = Mutex::new(0);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..10_000 {
                    *count.lock().unwrap() += 1;
                }
            });
        }
    });
    let count = count.into_inner().unwrap();
    (count == 80_000).then_some(()).ok_or(format!("{count}"))
}

fn time() -> Result<(), String> {
    let start = Instant::now();
    thread::sleep(Duration::from_millis(2));
    if start.elapsed() < Duration::from_millis(2) {
        return Err("sleep returned early".into());
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let seconds = now.unwrap().as_secs().cast_signed();
    unsafe {
        // Reads /etc/localtime, if it can.
        let mut broken_down: libc::tm = std::mem::zeroed();
        if libc::localtime_r(&raw const seconds, &raw mut broken_down).is_null() {
            return Err("no local time".into());
        }
        libc::time(ptr::null_mut());
        libc::usleep(10);
        let mut clock: libc::timespec = std::mem::zeroed();
        for id in [0, 1, 2, 3, 4, 5, 6, 7] {
            libc::clock_gettime(id, &raw mut clock);
            libc::clock_getres(id, &raw mut clock);
            // Without the vDSO.
            libc::syscall(libc::SYS_clock_gettime, id, &raw mut clock);
        }
        let mut of_day: libc::timeval = std::mem::zeroed();
        libc::gettimeofday(&raw mut of_day, ptr::null_mut());
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
    }
    Ok(())
}

fn output() -> Result<(), String> {
    println!("to stdout");
    eprintln!("to stderr");
    unsafe {
        libc::printf(c"%s\n".as_ptr(), c"by stdio".as_ptr());
        libc::fflush(ptr::null_mut());
        libc::perror(c"by perror".as_ptr());
        libc::puts(c"by puts".as_ptr());
        libc::isatty(0);
        libc::isatty(2);
    }
    Ok(())
}

fn facts() -> Result<(), String> {
    unsafe {
        let cpus = libc::sysconf(libc::_SC_NPROCESSORS_ONLN);
        let configured = libc::sysconf(libc::_SC_NPROCESSORS_CONF);
        let pages = libc::sysconf(libc::_SC_PHYS_PAGES);
        let free = libc::sysconf(libc::_SC_AVPHYS_PAGES);
        if cpus < 1 || configured < 1 || pages < 1 || free < 1 {
            return Err(format!("{cpus} {configured} {pages} {free}"));
        }
        let mut name: libc::utsname = std::mem::zeroed();
        libc::uname(&raw mut name);
        let mut limit: libc::rlimit = std::mem::zeroed();
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        // 16 was the last of the descriptors' soft limits that anything here was known to need.
        if limit.rlim_max > 64 {
            return Err(format!("{} descriptors", limit.rlim_max));
        }
        libc::getrlimit(libc::RLIMIT_FSIZE, &raw mut limit);
        if limit.rlim_max != 0 {
            return Err("files can be written".into());
        }
        libc::sched_getcpu();
        libc::prctl(libc::PR_SET_NAME, c"renamed".as_ptr());
        let mut stack: libc::stack_t = std::mem::zeroed();
        libc::sigaltstack(ptr::null(), &raw mut stack);
    }
    Ok(())
}

fn recording(surroundings: &Surroundings) -> Result<(), String> {
    let file = unsafe { File::from_raw_fd(surroundings.recording) };
    // It belongs to the caller.
    let mut file = ManuallyDrop::new(file);
    let text = |e: std::io::Error| e.to_string();
    let about = file.metadata().map_err(text)?;
    let mut old: libc::stat = unsafe { std::mem::zeroed() };
    if unsafe { libc::fstat(surroundings.recording, &raw mut old) } != 0 {
        return Err("fstat".into());
    }
    if about.len() != 4 || old.st_size != 4 || !about.is_file() {
        return Err(format!("{about:?}, {} bytes", old.st_size));
    }
    about.modified().map_err(text)?;
    std::io::Seek::rewind(&mut *file).map_err(text)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(text)?;
    if bytes != b"RIFF" {
        return Err(format!("{bytes:?}"));
    }
    // Descriptors that are not there are told, not punished.
    let result = unsafe { libc::fstat(999, &raw mut old) };
    let error = std::io::Error::last_os_error();
    if result != -1 || error.raw_os_error() != Some(libc::EBADF) {
        return Err(format!("{result}, {error}"));
    }
    Ok(())
}

/// glibc before 2.37 asks for the size of the memory before it sorts much.
fn sorting() -> Result<(), String> {
    unsafe extern "C" fn compare(a: *const libc::c_void, b: *const libc::c_void) -> libc::c_int {
        unsafe { *a.cast::<i32>() - *b.cast::<i32>() }
    }
    let mut numbers: Vec<i32> = (0..100_000).map(|n| (n * 7919) % 100_003).collect();
    unsafe { libc::qsort(numbers.as_mut_ptr().cast(), numbers.len(), 4, Some(compare)) };
    numbers.is_sorted().then_some(()).ok_or("not sorted".into())
}
