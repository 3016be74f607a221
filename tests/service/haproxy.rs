//! packaging/haproxy/haproxy.cfg in front of real hosts: one is lost, full, draining, and no client
//! hears of it.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::{
        fd::{AsFd, AsRawFd},
        unix::{fs::PermissionsExt, net::UnixStream, process::CommandExt},
    },
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::common::{
    LONG,
    clips::wav,
    daemon::{BINARY, serve_arguments},
    http::{BOUNDARY, Form, TRANSCRIPTIONS},
    wait_for, wait_until,
};
use nix::{
    fcntl::{FcntlArg, FdFlag, fcntl},
    sys::signal::{Signal, kill, killpg},
    unistd::Pid,
};
use serde_json::Value;
use tempfile::TempDir;

const PACKAGED: &str = include_str!("../../packaging/haproxy/haproxy.cfg");

const CONFIG: &str = r#"
default_model = "fault"
[jobs]
max_running = 4
queue_timeout = "1h"
[limits]
memory = "64M"
deadline = "1h"
stall = "1h"
[spares]
max = 4
[models.fault]
engine = "fault"
"#;

/// The key that all requests show, and the line by which the hosts know it (`printf stt_test |
/// sha256sum`).
const KEY: &str = "Authorization: Bearer stt_test\r\n";
const KEYS: &str = "test sha256:2faa66e7a2acbd49f07fc8e16710c1bfcd3a8779074630d19ecdc82c6901ef02\n";

/// One host: a daemon with a listening socket that outlives it, as systemd's does.
struct Host {
    listener: TcpListener,
    folder: TempDir,
    child: Option<Child>,
    /// The network that it alone is in.
    network: Option<Network>,
}

/// A network namespace with one cable to this machine's own, and an address of this machine's and
/// one of the host's.
struct Network {
    name: String,
    number: u8,
}

impl Network {
    /// `None`, said loudly, where there can be none.
    fn new(number: u8) -> Option<Network> {
        let network = Network {
            name: format!("stt-{}-{number}", std::process::id()),
            number,
        };
        let made = Command::new("ip")
            .args(["netns", "add", &network.name])
            .output();
        if !made.is_ok_and(|output| output.status.success()) {
            // Not through the macro, whose words a test that passes keeps to itself.
            let _ = writeln!(
                std::io::stderr(),
                "SKIPPED: only root can have networks of its own"
            );
            return None;
        }
        let (name, [ours, theirs]) = (&network.name, network.ends());
        let [here, there] = [1, 2].map(|end| format!("{}/24", network.place(end)));
        for command in [
            format!("link add {ours} type veth peer name {theirs} netns {name}"),
            format!("addr add {here} dev {ours}"),
            format!("link set {ours} up"),
            format!("-n {name} addr add {there} dev {theirs}"),
            format!("-n {name} link set {theirs} up"),
        ] {
            ip(&command);
        }
        Some(network)
    }

    /// Names of the cable's ends; the kernel takes no more than 15 letters.
    fn ends(&self) -> [String; 2] {
        let id = std::process::id() % 1_000_000;
        ["a", "b"].map(|end| format!("stt{id}{}{end}", self.number))
    }

    /// Addresses that are nobody's (RFC 2544).
    fn place(&self, end: u8) -> String {
        format!("198.18.{}.{end}", self.number)
    }

    /// A socket listens in the network in which it was made, even if another process has it now.
    fn listen(&self) -> TcpListener {
        let path = format!("/run/netns/{}", self.name);
        let there = (self.place(2), 8088);
        let bind = || {
            let namespace = fs::File::open(path).unwrap();
            rustix::thread::move_into_link_name_space(
                namespace.as_fd(),
                Some(rustix::thread::LinkNameSpaceType::Network),
            )
            .unwrap();
            TcpListener::bind(there).unwrap()
        };
        thread::scope(|scope| scope.spawn(bind).join().unwrap())
    }

    /// From now on nothing comes out of the host any more, not even that something is closed; or
    /// everything again.
    fn silence(&self, is_silent: bool) {
        let action = if is_silent { "add" } else { "del" };
        ip(&format!(
            "-n {} rule {action} blackhole priority 1",
            self.name
        ));
    }

    fn remove(&self) {
        for arguments in [
            ["link", "del", &self.ends()[0]],
            ["netns", "del", &self.name],
        ] {
            let _ = Command::new("ip").args(arguments).status();
        }
    }
}

#[track_caller]
fn ip(arguments: &str) {
    let output = Command::new("ip")
        .args(arguments.split(' '))
        .output()
        .unwrap();
    assert!(output.status.success(), "ip {arguments}: {output:?}");
}

impl Host {
    fn new(listener: TcpListener, config: &str, network: Option<Network>) -> Host {
        let folder = TempDir::new().unwrap();
        let keys = folder.path().join("keys");
        let of_keys = format!("[clients.keys]\nfile = {keys:?}\n");
        fs::write(
            folder.path().join("config.toml"),
            format!("{config}\n{of_keys}"),
        )
        .unwrap();
        fs::write(&keys, KEYS).unwrap();
        fs::set_permissions(&keys, fs::Permissions::from_mode(0o600)).unwrap();
        // The daemon inherits it.
        fcntl(&listener, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
        let mut host = Host {
            listener,
            folder,
            child: None,
            network,
        };
        host.start();
        host.wait_ready();
        host
    }

    fn wait_ready(&self) {
        wait_until("the host is ready", LONG, || {
            let request = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
            ask(self.address(), request).is_ok_and(|answer| answer.status == 200)
        });
    }

    /// A host with an address of its own on this machine.
    fn local(number: u8, config: &str) -> Host {
        let listener = TcpListener::bind((format!("127.0.0.{number}"), 0)).unwrap();
        Host::new(listener, config, None)
    }

    /// A host in a network of its own.
    fn remote(number: u8, config: &str) -> Option<Host> {
        let network = Network::new(number)?;
        Some(Host::new(network.listen(), config, Some(network)))
    }

    fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    fn start(&mut self) {
        // Not `sh`: Debian's takes only descriptors of one digit.
        let script =
            "exec 3<&$1; export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=http; shift; exec \"$@\"";
        let log = fs::File::create(self.folder.path().join("log")).unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "bash", "-c", script, "bash"]);
        command.arg(self.listener.as_raw_fd().to_string());
        command.arg(BINARY).args(serve_arguments()).arg("--config");
        command.arg(self.folder.path().join("config.toml"));
        command.env("STT_ISOLATED_ISOLATION__REQUIRE_CGROUP", "false");
        let command = command.process_group(0).stdin(Stdio::null()).stderr(log);
        self.child = Some(command.spawn().unwrap());
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.as_ref().unwrap().id().cast_signed())
    }

    /// Ends the service as systemd does, and waits until it has ended in good order.
    fn stop(&mut self) {
        kill(self.pid(), Signal::SIGTERM).unwrap();
        let mut child = self.child.take().unwrap();
        let status = wait_for("the host drains", LONG, || child.try_wait().unwrap());
        assert!(status.success(), "{status}");
    }

    /// Ends all its processes at once.
    fn kill(&mut self) {
        killpg(self.pid(), Signal::SIGKILL).unwrap();
        self.child.take().unwrap().wait().unwrap();
    }

    fn stats(&self) -> Value {
        let request =
            format!("GET /v1/stats HTTP/1.1\r\nHost: localhost\r\n{KEY}Connection: close\r\n\r\n");
        let answer = ask(self.address(), request.as_bytes());
        serde_json::from_str(&answer.unwrap().body).unwrap()
    }

    fn accepted(&self) -> u64 {
        self.stats()["total"]["requests"]["accepted"]
            .as_u64()
            .unwrap()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if thread::panicking() {
            let log = fs::read_to_string(self.folder.path().join("log"));
            eprintln!("a host's log:\n{}", log.unwrap_or_default());
        }
        if self.child.is_some() {
            self.kill();
        }
        if let Some(network) = &self.network {
            network.remove();
        }
    }
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

/// One request over a connection of its own. An error is a connection that broke before the answer
/// was complete.
fn ask(to: SocketAddr, request: &[u8]) -> Result<Answer, String> {
    let work = || {
        let mut stream = TcpStream::connect(to)?;
        stream.set_read_timeout(Some(2 * LONG))?;
        stream.set_write_timeout(Some(LONG))?;
        // A server that refuses at the head does not read the rest; its answer is there all the
        // same.
        let sent = stream.write_all(request);
        let mut answer = Vec::new();
        match stream.read_to_end(&mut answer) {
            Ok(_) => {}
            Err(_) if !answer.is_empty() => {}
            Err(error) => return Err(sent.err().unwrap_or(error)),
        }
        Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    let answer = work().map_err(|error: std::io::Error| error.to_string())?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("no answer")?;
    let status = head.get(9..12).and_then(|status| status.parse().ok());
    Ok(Answer {
        status: status.ok_or("no status")?,
        head: head.to_lowercase(),
        body: body.to_owned(),
    })
}

/// A recording of this many seconds for this model.
fn request(model: &str, seconds: usize) -> Vec<u8> {
    let form = Form::of("a.wav", &wav(&vec![0; 32_000 * seconds])).field("model", model);
    let body = form.body();
    let mut request = format!(
        "POST {TRANSCRIPTIONS} HTTP/1.1\r\nHost: localhost\r\n{KEY}Connection: close\r\n\
         Content-Type: multipart/form-data; boundary={BOUNDARY}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend(body);
    request
}

/// The packaged HAProxy in front of these hosts.
struct Balancer {
    child: Child,
    folder: TempDir,
    address: SocketAddr,
    names: Vec<String>,
    log: Log,
}

/// The log of HAProxy. By UDP, as on its own output it leaves out a line while another of its
/// threads writes one.
struct Log {
    address: SocketAddr,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Log {
    fn new() -> Log {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let lines = Arc::<Mutex<Vec<String>>>::default();
        let log = lines.clone();
        thread::spawn(move || {
            let mut line = [0; 2048];
            while let Ok(length) = socket.recv(&mut line) {
                let line = String::from_utf8_lossy(&line[..length]);
                log.lock().unwrap().push(line.into_owned());
            }
        });
        Log { address, lines }
    }

    /// Requests that it gave to a host at last, with the status of the answer.
    fn requests(&self) -> Vec<(String, u16)> {
        let lines = self.lines.lock().unwrap();
        let lines = lines.iter().filter(|line| line.contains("POST "));
        let parse = |line: &String| {
            let mut words = line
                .split_whitespace()
                .skip_while(|word| !word.starts_with("stt/"));
            let host = words.next()?.strip_prefix("stt/")?.to_owned();
            let status = words.nth(1)?.parse().ok()?;
            Some((host, status))
        };
        lines.filter_map(parse).collect()
    }
}

impl Balancer {
    fn before(hosts: &[&Host]) -> Balancer {
        let folder = TempDir::new().unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let log = Log::new();
        let mut config = String::new();
        let mut names = Vec::new();
        let mut hosts = hosts.iter();
        // Nothing but places is changed.
        for line in PACKAGED.lines() {
            let line = match line.trim() {
                "bind :8080" => format!("bind {address}"),
                "log /dev/log local0" => format!("log {} format raw local0", log.address),
                text if text.starts_with("stats socket") => {
                    text.replace("/run/haproxy", folder.path().to_str().unwrap())
                }
                text if text.starts_with("server host") => match hosts.next() {
                    Some(host) => {
                        let mut words = text.split(' ');
                        let (name, place) = (words.nth(1).unwrap(), words.next().unwrap());
                        names.push(name.to_owned());
                        text.replace(place, &host.address().to_string())
                    }
                    None => continue,
                },
                text => text.to_owned(),
            };
            config += &line;
            config.push('\n');
        }
        assert!(
            hosts.next().is_none() && config.contains(&log.address.to_string()),
            "{config}"
        );
        let path = folder.path().join("haproxy.cfg");
        fs::write(&path, config).unwrap();
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "/usr/sbin/haproxy", "-db", "-f"])
            .arg(path)
            .stdin(Stdio::null())
            .spawn()
            .expect("install haproxy");
        let balancer = Balancer {
            child,
            folder,
            address,
            names,
            log,
        };
        // It takes them for up until it has looked.
        wait_until("it has looked at all hosts", LONG, || {
            let looked = |name: &String| balancer.column(name, "check_status");
            let is_well = |name: &String| looked(name).as_deref() == Some("L7OK");
            balancer.names.iter().all(is_well)
        });
        balancer
    }

    /// HAProxy's answer to a command of its administrator.
    fn command(&self, command: &str) -> Option<String> {
        let mut socket = UnixStream::connect(self.folder.path().join("admin.sock")).ok()?;
        socket.write_all(format!("{command}\n").as_bytes()).ok()?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    /// A column of a host's row of `show stat`.
    fn column(&self, host: &str, name: &str) -> Option<String> {
        let table = self.command("show stat")?;
        let mut lines = table.lines();
        let at = lines
            .next()?
            .trim_start_matches("# ")
            .split(',')
            .position(|column| column == name)?;
        let row = lines.find(|line| line.starts_with(&format!("stt,{host},")))?;
        row.split(',').nth(at).map(str::to_owned)
    }

    fn try_state(&self, host: &str) -> Option<String> {
        self.column(host, "status")
    }

    #[track_caller]
    fn wait_state(&self, host: &str, state: &str) {
        wait_until(&format!("{host} is {state}"), LONG, || {
            self.try_state(host)
                .is_some_and(|now| now.starts_with(state))
        });
    }

    /// Requests that it gave to a host at last, with the status of the answer, when it has told of
    /// all these. It does so after the client has its answer.
    #[track_caller]
    fn log_of(&self, heard: &Heard) -> Vec<(String, u16)> {
        let all = heard.good + heard.bad.len() as u64;
        wait_until("HAProxy has told of all requests", LONG, || {
            self.log.requests().len() as u64 >= all
        });
        let log = self.log.requests();
        assert_eq!(log.len() as u64, all, "{log:?}");
        log
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let log = self.log.lines.lock().unwrap();
            eprintln!("HAProxy's log:\n{}", log.join("\n"));
        }
    }
}

/// The fates of the requests of some clients.
#[derive(Debug, Default)]
struct Heard {
    good: u64,
    bad: Vec<String>,
}

/// This many clients, which send one request after the other until `during` is over; each client's
/// last request is complete.
fn load(address: SocketAddr, clients: usize, request: &[u8], during: impl FnOnce()) -> Heard {
    let heard = Mutex::new(Heard::default());
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let answer = ask(address, request);
                    let mut heard = heard.lock().unwrap();
                    match answer {
                        Ok(answer) if answer.status == 200 => heard.good += 1,
                        Ok(answer) => heard.bad.push(format!("{} {}", answer.status, answer.body)),
                        Err(error) => heard.bad.push(error),
                    }
                }
            });
        }
        // Also if it fails: or nothing would ever end.
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(during));
        is_over.store(true, Ordering::Relaxed);
        if let Err(panic) = result {
            std::panic::resume_unwind(panic);
        }
    });
    heard.into_inner().unwrap()
}

/// Waits until each of these hosts has served this many more requests.
#[track_caller]
fn wait_served(hosts: &[&Host], more: u64) {
    let before: Vec<u64> = hosts.iter().map(|host| host.accepted()).collect();
    wait_until("requests come to each host", LONG, || {
        let mut now = hosts.iter().zip(&before);
        now.all(|(host, before)| host.accepted() >= before + more)
    });
}

#[test]
fn a_dead_host_costs_only_its_requests() {
    let [a, mut b, c] = [2, 3, 4].map(|number| Host::local(number, CONFIG));
    let balancer = Balancer::before(&[&a, &b, &c]);
    let request = request("fault:sleep=100ms", 2);
    let mut at_hand = 0;
    let heard = load(balancer.address, 12, &request, || {
        wait_served(&[&a, &b, &c], 10);
        let total = b.stats()["total"].clone();
        at_hand = total["running"].as_u64().unwrap() + total["queued"].as_u64().unwrap();
        b.kill();
        // The kernel goes on listening for it, as a host does whose service hangs.
        balancer.wait_state("host2", "DOWN");
        wait_served(&[&a, &c], 20);
        b.start();
        balancer.wait_state("host2", "UP");
        wait_served(&[&b], 10);
    });
    println!(
        "{} good, at hand on the lost host {at_hand}, {:?}",
        heard.good, heard.bad
    );
    assert!(heard.good > 60, "{heard:?}");
    // HAProxy is the witness: whatever failed was given to the lost host.
    let log = balancer.log_of(&heard);
    let failed = |host: &str| {
        log.iter()
            .filter(|(other, status)| other == host && *status != 200)
            .count()
    };
    assert_eq!((failed("host1"), failed("host3")), (0, 0), "{log:?}");
    assert_eq!(failed("host2"), heard.bad.len(), "{heard:?}");
    // As many as a host has of twelve clients, and those who came until it was found out.
    assert!(heard.bad.len() <= 12, "{heard:?}");
    // And nothing was given to two hosts.
    let given = |host: &str| log.iter().filter(|(other, _)| other == host).count() as u64;
    assert_eq!(
        (a.accepted(), c.accepted()),
        (given("host1"), given("host3"))
    );
}

#[test]
fn a_vanished_host_is_given_up() {
    let hosts: Option<Vec<Host>> = (2..=4).map(|number| Host::remote(number, CONFIG)).collect();
    let Some(hosts) = hosts else { return };
    let [a, b, c] = &hosts[..] else { panic!() };
    let balancer = Balancer::before(&[a, b, c]);
    let network = b.network.as_ref().unwrap();
    let request = request("fault:sleep=100ms", 2);
    let heard = load(balancer.address, 12, &request, || {
        wait_served(&[a, b, c], 10);
        network.silence(true);
        balancer.wait_state("host2", "DOWN");
        wait_served(&[a, c], 20);
        let begin = Instant::now();
        wait_until("what the host had is given up", 2 * LONG, || {
            balancer.column("host2", "scur").as_deref() == Some("0")
        });
        println!("given up {:?} after it was found out", begin.elapsed());
        network.silence(false);
        balancer.wait_state("host2", "UP");
        wait_served(&[b], 10);
    });
    println!("{} good, {:?}", heard.good, heard.bad);
    assert!(heard.good > 60, "{heard:?}");
    assert!(heard.bad.len() <= 12, "{heard:?}");
    let log = balancer.log_of(&heard);
    let failed = |host: &str| {
        log.iter()
            .filter(|(other, status)| other == host && *status != 200)
            .count()
    };
    assert_eq!((failed("host1"), failed("host3")), (0, 0), "{log:?}");
    assert_eq!(failed("host2"), heard.bad.len(), "{heard:?}");
    // Nothing twice: the two that nobody lost had just what they were given.
    let given = |host: &str| log.iter().filter(|(other, _)| other == host).count() as u64;
    assert_eq!(
        (a.accepted(), c.accepted()),
        (given("host1"), given("host3"))
    );
}

#[test]
fn uploads_to_a_vanished_host_fail() {
    let hosts: Option<Vec<Host>> = (5..=7).map(|number| Host::remote(number, CONFIG)).collect();
    let Some(hosts) = hosts else { return };
    let [a, b, c] = &hosts[..] else { panic!() };
    let balancer = Balancer::before(&[a, b, c]);
    // More than the kernel and HAProxy take in advance, and slow: some of it is always on its way.
    let request = request("fault", 1000);
    let is_silent = AtomicBool::new(false);
    let (good, bad): (Vec<_>, Vec<_>) = thread::scope(|scope| {
        let send = || {
            let mut stream = TcpStream::connect(balancer.address).unwrap();
            stream.set_read_timeout(Some(2 * LONG)).unwrap();
            stream.set_write_timeout(Some(2 * LONG)).unwrap();
            for part in request.chunks(64 << 10) {
                // A client that is told something meanwhile need not send the rest.
                if stream.write_all(part).is_err() {
                    break;
                }
                if !is_silent.load(Ordering::Relaxed) {
                    thread::sleep(Duration::from_millis(100));
                }
            }
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer);
            String::from_utf8_lossy(&answer).into_owned()
        };
        let uploads: Vec<_> = (0..6).map(|_| scope.spawn(send)).collect();
        wait_until("each host has two of them", LONG, || {
            let two = |name: &String| balancer.column(name, "scur").as_deref() == Some("2");
            balancer.names.iter().all(two)
        });
        b.network.as_ref().unwrap().silence(true);
        is_silent.store(true, Ordering::Relaxed);
        balancer.wait_state("host2", "DOWN");
        let begin = Instant::now();
        wait_until("what the host had is given up", 2 * LONG, || {
            balancer.column("host2", "scur").as_deref() == Some("0")
        });
        println!("given up {:?} after it was found out", begin.elapsed());
        let answers = uploads.into_iter().map(|upload| upload.join().unwrap());
        answers.partition(|answer| answer.starts_with("HTTP/1.1 200"))
    });
    b.network.as_ref().unwrap().silence(false);
    assert_eq!((good.len(), bad.len()), (4, 2), "{bad:?}");
    assert_eq!((a.accepted(), b.accepted(), c.accepted()), (2, 0, 2));
}

#[test]
fn rolling_restarts_lose_nothing() {
    let mut hosts = [2, 3, 4].map(|number| Host::local(number, CONFIG));
    let balancer = Balancer::before(&hosts.each_ref());
    let request = request("fault:sleep=50ms", 2);
    let names = balancer.names.clone();
    let heard = load(balancer.address, 12, &request, || {
        for (n, name) in names.iter().enumerate() {
            wait_served(&hosts.each_ref(), 5);
            // As `systemctl restart`: the socket stays.
            hosts[n].stop();
            hosts[n].start();
            balancer.wait_state(name, "UP");
        }
        for (n, name) in names.iter().enumerate() {
            wait_served(&hosts.each_ref(), 5);
            // For good, after the balancer was told.
            balancer
                .command(&format!("set server stt/{name} state drain"))
                .unwrap();
            wait_until("nothing is left there", LONG, || {
                balancer.column(name, "scur").as_deref() == Some("0")
            });
            let accepted = hosts[n].accepted();
            thread::sleep(Duration::from_millis(300));
            assert_eq!(hosts[n].accepted(), accepted, "{name} still gets requests");
            hosts[n].stop();
            hosts[n].start();
            balancer
                .command(&format!("set server stt/{name} state ready"))
                .unwrap();
            balancer.wait_state(name, "UP");
        }
    });
    println!("{} requests", heard.good);
    assert_eq!(heard.bad, [""; 0]);
    assert!(heard.good > 60, "{heard:?}");
}

#[test]
fn excess_requests_wait_in_front() {
    let hosts = [2, 3].map(|number| Host::local(number, CONFIG));
    let balancer = Balancer::before(&hosts.each_ref());
    // Sixty at once for two hosts that get sixteen each.
    let request = request("fault:sleep=100ms", 30);
    let heard = load(balancer.address, 60, &request, || {
        wait_until("many wait in front of the hosts", LONG, || {
            let waiting = balancer.column("BACKEND", "qcur");
            waiting.is_some_and(|waiting| waiting.parse::<u32>().unwrap() > 10)
        });
        for host in &hosts {
            let total = host.stats()["total"].clone();
            let here = ["running", "queued"].map(|state| total[state].as_u64().unwrap());
            assert!(here.iter().sum::<u64>() <= 16, "{total}");
        }
    });
    for host in &hosts {
        let refused = host.stats()["total"]["refused"].clone();
        let mut counts = refused.as_object().unwrap().values();
        assert!(counts.all(|count| *count == 0), "{refused}");
    }
    assert_eq!(heard.bad, [""; 0]);
    assert!(heard.good > 32 + 10, "{heard:?}");
}

#[test]
fn a_full_host_gets_no_more() {
    let full = format!("{CONFIG}\n[clients]\nmax_queued = 2").replace(
        "[jobs]\nmax_running = 4",
        "[jobs]\nmax_running = 1\nmax_queued = 2",
    );
    let [a, b] = [Host::local(2, &full), Host::local(3, CONFIG)];
    let balancer = Balancer::before(&[&a, &b]);
    // Clients of its own: one runs, two wait.
    let endless: Vec<TcpStream> = (0..3)
        .map(|_| {
            let mut stream = TcpStream::connect(a.address()).unwrap();
            stream.write_all(&request("fault:hang", 1)).unwrap();
            stream
        })
        .collect();
    wait_until("the host is full", LONG, || {
        let total = a.stats()["total"].clone();
        total["running"] == 1 && total["queued"] == 2
    });
    // Before HAProxy has looked: what it holds as a whole goes to the other host at once.
    let small = request("fault", 25);
    for _ in 0..6 {
        let answer = ask(balancer.address, &small).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert!(!answer.head.contains("x-stt-full"), "{}", answer.head);
    }
    // A client that sends more than that is told when to come again, and is served then.
    let large = request("fault", 60);
    let mut refused = 0;
    for _ in 0..4 {
        wait_for("a large one is served", LONG, || {
            let answer = ask(balancer.address, &large).unwrap();
            if answer.status == 200 {
                return Some(());
            }
            assert_eq!(answer.status, 429, "{}", answer.body);
            let codes = ["\"queue_full\"", "\"user_limit\""];
            assert!(
                codes.iter().any(|code| answer.body.contains(code)),
                "{}",
                answer.body
            );
            let (_, after) = answer.head.split_once("retry-after: ").unwrap();
            let seconds: u64 = after.lines().next().unwrap().trim().parse().unwrap();
            refused += 1;
            thread::sleep(Duration::from_secs(seconds.clamp(1, 3)));
            None
        });
    }
    println!("{refused} were sent away before HAProxy knew");
    assert!(refused <= 5, "{refused}");
    balancer.wait_state("host1", "DOWN");
    let heard = load(balancer.address, 4, &large, || wait_served(&[&b], 20));
    assert_eq!(heard.bad, [""; 0]);
    drop(endless);
    balancer.wait_state("host1", "UP");
    let heard = load(balancer.address, 2, &large, || wait_served(&[&a, &b], 3));
    assert_eq!(heard.bad, [""; 0]);
}

#[test]
fn without_hosts_errors_look_the_same() {
    let mut host = Host::local(2, CONFIG);
    let balancer = Balancer::before(&[&host]);
    let page = |path: &str| {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: stt.example\r\n{KEY}Connection: close\r\n\r\n");
        ask(balancer.address, request.as_bytes()).unwrap()
    };
    assert_eq!(page("/readyz").status, 200);
    assert_eq!(page("/v1/models").status, 200);
    for path in ["/v1/stats", "/metrics", "/x"] {
        let answer = page(path);
        let error: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(
            (answer.status, &error["error"]["code"]),
            (404, &"not_found".into())
        );
    }
    host.kill();
    balancer.wait_state("host1", "DOWN");
    assert_eq!(page("/readyz").status, 503);
    let answer = ask(balancer.address, &request("fault", 1)).unwrap();
    let error: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(
        (answer.status, &error["error"]["code"]),
        (503, &"engine_unavailable".into())
    );
    assert!(answer.head.contains("retry-after: 2"), "{}", answer.head);
}
