//! Several users at once: each has his turn and his share, some are not let in, and a crowd is
//! turned away in good order.

use std::{
    net::{SocketAddr, TcpListener},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use crate::common::{
    LONG,
    clips::wav,
    daemon::{Daemon, Setup},
    http::{Form, Raw, TRANSCRIPTIONS, post_head},
    process::private_memory,
    user::{self, User},
    wait_for, wait_until,
};
use serde_json::Value;

const FAULT: &str = "[health]\ninterval = \"0s\"\n[models.default]\nengine = \"fault\"\n";

/// A short recording for the fault engine, to be transcribed in this `mode`.
fn form(mode: &str) -> Form {
    Form::of("a.wav", &wav(&[0; 3200])).field("model", format!("default{mode}"))
}

/// Send `count` requests without waiting for an answer, each on its own connection.
fn send(daemon: &Daemon, who: &User, count: usize, mode: &str) -> Vec<Raw> {
    let request = form(mode).request();
    who.run(|| {
        let one = || {
            let mut connection = daemon.connect();
            connection.send(&request);
            connection
        };
        std::iter::repeat_with(one).take(count).collect()
    })
}

fn stats(daemon: &Daemon) -> Value {
    daemon.get("/v1/stats").json()
}

/// Requests of this user that run and that wait.
fn counts(stats: &Value, who: &User) -> (u64, u64) {
    let clients = stats["clients"].as_array().unwrap();
    let own = clients.iter().find(|client| client["uid"] == who.uid);
    let number = |key: &str| own.map_or(0, |client| client[key].as_u64().unwrap());
    (number("running"), number("queued"))
}

#[track_caller]
fn wait_for_counts(daemon: &Daemon, who: &User, running: u64, queued: u64) {
    wait_until("so many of his requests run and wait", LONG, || {
        counts(&stats(daemon), who) == (running, queued)
    });
}

#[test]
fn one_passes_fifty_of_another_user() {
    if !user::are_possible() {
        return;
    }
    let daemon = Daemon::start(&format!("[jobs]\nmax_running = 1\n{FAULT}"));
    user::let_in(&daemon);
    let (much, little) = (User::new(61001), User::new(61002));
    let fifty = send(&daemon, &much, 50, ":sleep=1s");
    // Some may have been served meanwhile.
    wait_until("a crowd of his requests waits", LONG, || {
        counts(&stats(&daemon), &much).1 >= 30
    });
    let mut one = send(&daemon, &little, 1, "");
    wait_for_counts(&daemon, &little, 0, 1);
    let finished = || {
        let stats = stats(&daemon);
        stats["total"]["requests"]["ok"].as_u64().unwrap() as usize
    };
    // One may have ended between the two looks.
    let before = finished();
    let answer = one[0].answer();
    assert_eq!(answer.status, 200, "{answer:?}");
    drop(fifty);
    // One job at a time: they ended in the order in which they began.
    let uid = format!("uid={}", little.uid);
    let position = wait_for("its line is in the log", LONG, || {
        let log = daemon.log();
        let mut order = log.lines().filter(|line| line.contains("request ok"));
        order.position(|line| line.contains(&uid))
    });
    println!("{before} had ended when it came, {position} when it began");
    assert!(position <= before + 1);
}

#[test]
fn a_cap_leaves_the_rest_to_others() {
    if !user::are_possible() {
        return;
    }
    let (capped, member, other) = (
        User::new(61001),
        User {
            groups: vec![61100],
            ..User::new(61002)
        },
        User::new(61003),
    );
    let config = "[jobs]\nmax_running = 6\n[clients.users]\n61001 = { max_running = 2 }\n\
                  [clients.groups]\n61100 = { max_running = 1 }\n61101 = { max_running = 3 }\n";
    let daemon = Daemon::start(&format!("{config}{FAULT}"));
    user::let_in(&daemon);
    let mut slow = send(&daemon, &capped, 12, ":sleep=1s");
    slow.extend(send(&daemon, &member, 6, ":sleep=1s"));
    let most = [AtomicUsize::new(0), AtomicUsize::new(0)];
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let stats = stats(&daemon);
                for (most, who) in most.iter().zip([&capped, &member]) {
                    let (running, _) = counts(&stats, who);
                    most.fetch_max(running as usize, Ordering::Relaxed);
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        // Half of the jobs are left to a user without a cap.
        for _ in 0..3 {
            let begin = Instant::now();
            let answer = other.run(|| daemon.post(&form("")));
            assert_eq!(answer.status, 200, "{answer:?}");
            println!("answered beside them after {:?}", begin.elapsed());
        }
        let (_, queued) = counts(&stats(&daemon), &capped);
        assert!(queued > 0, "he had to wait until they were through");
        for connection in &mut slow {
            let answer = connection.answer();
            assert_eq!(answer.status, 200, "{answer:?}");
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(most.map(AtomicUsize::into_inner), [2, 1]);
}

#[test]
fn strangers_are_refused_at_once() {
    if !user::are_possible() {
        return;
    }
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let tcp: SocketAddr = free.local_addr().unwrap();
    drop(free);
    let config = "[clients]\nallow_users = [\"root\", \"61001\"]\nallow_groups = [\"61100\"]\n";
    let setup = Setup::new(&format!("{config}{FAULT}"));
    let daemon = setup.listen(&tcp.to_string()).start();
    user::let_in(&daemon);
    let listed = User::new(61001);
    let member = User {
        groups: vec![61101, 61100],
        ..User::new(61002)
    };
    let of_primary = User {
        gid: 61100,
        ..User::new(61003)
    };
    for who in [&listed, &member, &of_primary] {
        let answer = who.run(|| daemon.post(&form("")));
        assert_eq!(answer.status, 200, "{who:?}: {answer:?}");
        assert_eq!(who.run(|| daemon.get("/v1/models")).status, 200);
    }
    // Numbers of users and groups are not mixed up.
    let strangers = [
        User::new(61004),
        User {
            gid: 61001,
            groups: vec![61001],
            ..User::new(61100)
        },
    ];
    for who in &strangers {
        for page in ["/v1/models", "/v1/stats", "/readyz", "/no/such/page"] {
            let answer = who.run(|| daemon.get(page));
            let message = answer.assert_refusal(403, "forbidden", None);
            assert!(message.contains(&who.uid.to_string()), "{message}");
            assert!(message.contains("clients.allow_users"), "{message}");
            assert_eq!(answer.header("connection"), "close");
        }
        // Everybody may know whether the daemon lives.
        assert_eq!(who.run(|| daemon.get("/healthz")).status, 200);
    }
    // Not a byte of the body has to be sent.
    let head = post_head("Content-Length: 1000000000\r\n");
    let mut connection = strangers[0].run(|| daemon.connect());
    let answer = connection.send(&head).answer();
    answer.assert_refusal(403, "forbidden", None);
    assert!(connection.rest().is_empty());
    // Over TCP nobody vouches for who one is.
    let url = format!("http://{tcp}{TRANSCRIPTIONS}");
    let mut curl = std::process::Command::new("curl");
    curl.args(["-sS", "-w", "%{http_code}", "-F", "file=x", &url]);
    let output = String::from_utf8(curl.output().unwrap().stdout).unwrap();
    assert!(output.contains("\"forbidden\""), "{output}");
    assert!(output.ends_with("403"), "{output}");
}

#[test]
fn a_user_with_too_many_waits_is_refused() {
    if !user::are_possible() {
        return;
    }
    let config = "[jobs]\nmax_running = 1\n[clients]\nmax_queued = 2\n";
    let daemon = Daemon::start(&format!("{config}{FAULT}"));
    user::let_in(&daemon);
    let (greedy, other) = (User::new(61001), User::new(61002));
    let mut running = send(&daemon, &greedy, 1, ":sleep=5s");
    wait_for_counts(&daemon, &greedy, 1, 0);
    running.extend(send(&daemon, &greedy, 2, ""));
    wait_for_counts(&daemon, &greedy, 1, 2);
    let answer = greedy.run(|| daemon.post(&form("")));
    answer.assert_come_back(429, "user_limit");
    // Two wait and one runs, and no time of service is known but the second that is assumed.
    assert_eq!(answer.number("retry-after"), 3);
    // It is told before it has sent a recording, too.
    let mut connection = greedy.run(|| daemon.connect());
    let head = post_head("Content-Length: 1000000000\r\n");
    let answer = connection.send(&head).answer();
    answer.assert_come_back(429, "user_limit");
    assert_eq!(answer.header("connection"), "close");
    // Somebody else waits, and is served before the second of those two.
    let mut others = send(&daemon, &other, 1, "");
    wait_for_counts(&daemon, &other, 0, 1);
    let answer = others[0].answer();
    assert_eq!(answer.status, 200, "{answer:?}");
    for connection in &mut running {
        assert_eq!(connection.answer().status, 200);
    }
    let answer = greedy.run(|| daemon.post(&form("")));
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(stats(&daemon)["total"]["refused"]["user_limit"], 2);
}

/// The fate of one client's requests.
#[derive(Debug, Default)]
struct Tally {
    answered: usize,
    sent_away: usize,
    slept: Duration,
}

/// Send requests one after the other, and come back when told to.
fn persist(daemon: &Daemon, requests: usize) -> Tally {
    let form = form("");
    let mut tally = Tally::default();
    while tally.answered < requests {
        let answer = daemon.post(&form);
        if answer.status == 200 {
            assert_eq!(answer.text(), "");
            tally.answered += 1;
            continue;
        }
        answer.assert_come_back(429, "queue_full");
        let pause = Duration::from_secs(answer.number("retry-after"));
        tally.sent_away += 1;
        tally.slept += pause;
        std::thread::sleep(pause);
    }
    tally
}

const CROWD: usize = 64;

/// A crowd of clients that send this many requests each, of four users if there can be `several`.
/// Returns their fates, and the most requests that were seen waiting and running.
fn crowd(daemon: &Daemon, requests: usize, several: bool) -> (Vec<Tally>, [u64; 2]) {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut most = [0, 0];
            while !done.load(Ordering::Relaxed) {
                // By the queue's own count. The total's follows a moment later, when a job's task
                // has taken its request.
                let stats = stats(daemon);
                let clients = stats["clients"].as_array().unwrap();
                for (most, key) in most.iter_mut().zip(["queued", "running"]) {
                    let now = clients.iter().map(|client| client[key].as_u64().unwrap());
                    *most = now.sum::<u64>().max(*most);
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            most
        });
        let one = |n: usize| {
            scope.spawn(move || {
                if several {
                    User::new(61000 + n as u32 % 4).take_over_thread();
                }
                persist(daemon, requests)
            })
        };
        let clients: Vec<_> = (0..CROWD).map(one).collect();
        let tallies = clients.into_iter().map(|client| client.join().unwrap());
        let tallies = tallies.collect();
        done.store(true, Ordering::Relaxed);
        (tallies, watch.join().unwrap())
    })
}

/// Requests before the memory is measured.
struct WarmUp {
    /// Crowds, with 5 requests from each client.
    rounds: usize,
    refused: usize,
}

fn sent_away(tallies: &[Tally]) -> usize {
    tallies.iter().map(|tally| tally.sent_away).sum()
}

/// Send crowds until one of them needs no more memory than the one before. On busy CPUs the first
/// crowd is spread out, so a later one needs buffers for more requests at once.
fn warm_up(daemon: &Daemon, several: bool) -> WarmUp {
    let mut done = WarmUp {
        rounds: 0,
        refused: 0,
    };
    let mut memory = 0;
    loop {
        let (tallies, _) = crowd(daemon, 5, several);
        done.rounds += 1;
        done.refused += sent_away(&tallies);
        let now = private_memory(daemon.pid());
        if now <= memory || done.rounds == 10 {
            return done;
        }
        memory = now;
    }
}

#[test]
fn a_crowd_is_served_or_told_when() {
    const BOUND: u64 = 16;
    // STT_CROWD says how many requests each of them sends.
    let requests = std::env::var("STT_CROWD").map_or(20, |n| n.parse().unwrap());
    let config = format!(
        "[service]\nlog_level = \"error\"\n[jobs]\nmax_running = 4\nmax_queued = {BOUND}\n\
         [health]\ninterval = \"0s\"\n[models.default]\nengine = \"null\"\n"
    );
    let daemon = Daemon::start(&config);
    let several = user::are_possible();
    if several {
        user::let_in(&daemon);
    }
    let WarmUp { rounds, refused } = warm_up(&daemon, several);
    let memory = private_memory(daemon.pid());
    let begin = Instant::now();
    let (tallies, most) = crowd(&daemon, requests, several);
    let elapsed = begin.elapsed();
    let grown = private_memory(daemon.pid()).saturating_sub(memory);
    println!(
        "{CROWD} clients with {requests} requests each: {elapsed:?}; {} times sent away, the most patient one for {:?}; \
         at most {most:?} waiting and running; the supervisor grew by {} KiB to {} KiB",
        sent_away(&tallies),
        tallies.iter().map(|tally| tally.slept).max().unwrap(),
        grown >> 10,
        (memory + grown) >> 10,
    );
    assert!(most[0] <= BOUND, "{most:?} waiting and running");
    assert!(most[1] <= 4, "{most:?} waiting and running");
    assert!(sent_away(&tallies) > 0, "it was no crowd");
    let total = &stats(&daemon)["total"];
    assert_eq!(
        total["refused"]["queue_full"],
        refused + sent_away(&tallies)
    );
    assert_eq!(total["requests"]["ok"], CROWD * (5 * rounds + requests));
    assert!(grown <= 512 << 10, "the supervisor grew by {grown} bytes");
}

#[test]
fn balancers_learn_that_it_is_full() {
    let config = format!("[jobs]\nmax_running = 1\nmax_queued = 1\n{FAULT}");
    let daemon = Daemon::start(&config);
    let room = || {
        let answer = daemon.get("/readyz?room");
        (answer.status, answer.json()["status"].clone())
    };
    assert_eq!(room(), (200, "ready".into()));
    let hangs = form(":hang").request();
    let mut endless = Vec::new();
    for (running, queued) in [(1, 0), (1, 1)] {
        let mut connection = daemon.connect();
        connection.send(&hangs);
        endless.push(connection);
        wait_until("it has come", LONG, || {
            let total = stats(&daemon)["total"].clone();
            (&total["running"], &total["queued"]) == (&running.into(), &queued.into())
        });
    }
    assert_eq!(room(), (503, "full".into()));
    // It serves all the same, and a question does not count as a refusal.
    assert_eq!(daemon.get("/readyz").status, 200);
    let refused = stats(&daemon)["total"]["refused"]["queue_full"].clone();
    assert_eq!(refused, 0);
    let ask = |head: &str| {
        let body = form("").body();
        let mut request = post_head(&format!("{head}Content-Length: {}\r\n", body.len()));
        request.extend(body);
        let mut connection = daemon.connect();
        connection.send(&request);
        connection.answer()
    };
    ask("").assert_come_back(429, "queue_full");
    ask("x-stt-full: 1\r\n").assert_come_back(429, "queue_full");
    let answer = ask("x-stt-full: 503\r\n");
    assert_eq!((answer.status, answer.header("x-stt-full")), (503, "429"));
    assert!(answer.headers.contains_key("retry-after"));
    drop(endless);
    wait_until("there is room again", LONG, || room().0 == 200);
    // Other answers are as always.
    let answer = ask("x-stt-full: 503\r\n");
    assert_eq!(answer.status, 200);
    assert!(!answer.headers.contains_key("x-stt-full"));
}
