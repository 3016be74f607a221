//! Requests in the books: each accepted one ends once.

use std::time::Duration;

use super::{
    account::Account,
    open::{JobStage, Worker},
    *,
};
use crate::{
    dispatch::request::events::Report,
    isolation::{How, Usage},
    request::{Failure, Figures, Outcome, TimeLimit},
};

fn report(outcome: Outcome) -> Report {
    Report {
        outcome,
        usage: Usage {
            cpu: Duration::from_secs(2),
            ..Usage::default()
        },
        figures: Figures {
            audio: Duration::from_secs(3),
            ..Figures::default()
        },
        pid: 1,
        queued: Duration::ZERO,
        wall: Duration::ZERO,
    }
}

/// Books after the `life` of one request.
fn after(life: impl FnOnce(Account)) -> Statistics {
    let statistics = Statistics::new();
    life(Account::new(
        &statistics.model("m"),
        7,
        "r",
        Client::User(1000),
    ));
    statistics
}

fn ended(ledger: &Ledger) -> Vec<&'static str> {
    let mut all = Vec::new();
    for (word, count) in ledger.ended.iter() {
        all.extend(std::iter::repeat_n(word, usize::try_from(*count).unwrap()));
    }
    all
}

#[test]
fn every_accepted_request_ends_exactly_once() {
    type Life = fn(Account);
    let lives: [(Life, &str); 8] = [
        (|account| account.waits(), "cancelled"),
        (|account| account.begin(Worker::thread()), "shutting_down"),
        (
            |account| {
                account.begin(Worker::thread());
                // A job died before it had read it; another one serves it.
                account.waits();
                account.begin(Worker::thread());
                account.finish(&report(Outcome::Ok));
                account.finish(&report(Outcome::Cancelled));
            },
            "ok",
        ),
        (
            |account| {
                account.begin(Worker::thread());
                account.waits();
            },
            "cancelled",
        ),
        (
            |account| {
                account.waits();
                account.refuse(&Refusal::QueueTimeout {
                    waited: Duration::ZERO,
                    retry_after: Duration::ZERO,
                });
            },
            "queue_timeout",
        ),
        (
            |account| {
                account.waits();
                account.refuse(&Refusal::EngineUnavailable {
                    model: "m".into(),
                    reason: String::new(),
                    retry_after: Duration::ZERO,
                });
            },
            "engine_unavailable",
        ),
        (
            |account| {
                account.waits();
                account.refuse(&Refusal::ShuttingDown);
            },
            "shutting_down",
        ),
        (
            |account| {
                account.waits();
                account.waits();
                account.begin(Worker::thread());
                account.finish(&report(Outcome::Failed(Failure::new(
                    Code::EngineFailed,
                    "",
                ))));
            },
            "engine_failed",
        ),
    ];
    for (life, ending) in lives {
        let statistics = after(life);
        let ledger = statistics.total();
        assert_eq!((ledger.accepted, ended(&ledger)), (1, vec![ending]));
        assert!(statistics.open().is_empty(), "{ending}");
        assert_eq!(statistics.model("m").ledger(), ledger);
    }
}

#[test]
fn a_request_that_never_waited_and_a_self_test_count_nowhere() {
    let statistics = after(drop);
    let self_test = Account::of_self_test();
    self_test.begin(Worker::thread());
    self_test.finish(&report(Outcome::Ok));
    drop(self_test);
    assert_eq!(statistics.total(), Ledger::default());
}

#[test]
fn an_open_request_shows_how_far_it_is() {
    let statistics = Statistics::new();
    let account = Account::new(&statistics.model("m"), 7, "r", Client::User(1000));
    account.waits();
    let open = statistics.open().remove(0);
    assert_eq!(
        (open.id(), open.client(), open.model()),
        (7, &Client::User(1000), "m")
    );
    assert!(open.job().is_none() && open.waits_for().is_some());
    let stage = || open.job().map(|job| (job.stage, job.audio.as_secs()));
    account.begin(Worker::thread());
    assert_eq!(stage(), Some((JobStage::Assigned, 0)));
    account.progress().read(Duration::from_secs(5));
    assert_eq!(stage(), Some((JobStage::Transcribing, 5)));
    assert_eq!(open.waits_for(), None);
    let heard = || open.job().map(|job| (job.heard.as_secs(), job.total));
    account.progress().heard(Duration::from_secs(3), None);
    assert_eq!(heard(), Some((3, None)));
    let total = Duration::from_secs(9);
    account
        .progress()
        .heard(Duration::from_secs(4), Some(total));
    assert_eq!(heard(), Some((4, Some(total))));
    account.progress().ending();
    assert_eq!(stage(), Some((JobStage::Ending, 5)));
    // Another job begins anew, and the wait for it does not count a second time.
    account.waits();
    account.begin(Worker::thread());
    assert_eq!(stage(), Some((JobStage::Assigned, 0)));
    assert_eq!(heard(), Some((0, None)));
    let latency = statistics.total().latency;
    let queue = latency.iter().find(|(word, _)| *word == "queue").unwrap();
    assert_eq!(queue.1.count(), 1);
}

#[test]
fn only_what_ended_well_counts_as_audio_and_whatever_ran_as_cpu() {
    let ok = after(|account| {
        account.begin(Worker::thread());
        account.finish(&report(Outcome::Ok));
    });
    let failed = after(|account| {
        account.begin(Worker::thread());
        account.finish(&report(Outcome::Crashed(How::Signal(11))));
    });
    let sums = |statistics: &Statistics| {
        let ledger = statistics.total();
        (ledger.audio.as_secs(), ledger.cpu.as_secs())
    };
    assert_eq!((sums(&ok), sums(&failed)), ((3, 2), (0, 2)));
}

#[test]
fn a_model_that_is_gone_stays_in_the_total() {
    let statistics = Statistics::new();
    let account = Account::new(&statistics.model("m"), 1, "r", Client::Network);
    account.begin(Worker::thread());
    statistics.keep_only(["other"].into_iter());
    account.finish(&report(Outcome::Ok));
    assert_eq!(statistics.total().accepted, 1);
    assert_eq!(ended(&statistics.total()), ["ok"]);
    assert_eq!(statistics.model("m").ledger(), Ledger::default());
}

/// All endings that can be made of plain values.
fn outcomes() -> Vec<Outcome> {
    let audio = Duration::ZERO;
    let mut outcomes = vec![
        Outcome::Ok,
        Outcome::MemoryLimit {
            limit: 0,
            peak: 0,
            audio,
        },
        Outcome::Crashed(How::Status(1)),
        Outcome::Misbehaved(String::new()),
        Outcome::Violation { call: None },
        Outcome::Timeout {
            limit: TimeLimit::Wall,
            after: audio,
            audio,
        },
        Outcome::Cancelled,
        Outcome::Stopped,
    ];
    let codes = Code::ALL.iter().filter(|code| code.is_for_jobs());
    outcomes.extend(codes.map(|code| Outcome::Failed(Failure::new(*code, ""))));
    outcomes
}

#[test]
fn outcomes_are_counted_under_their_codes() {
    for outcome in outcomes() {
        let mut ledger = Ledger::default();
        ledger.ended.count(outcome.code());
        let counted = ledger.ended.iter().filter(|(_, count)| **count == 1);
        let words: Vec<_> = counted.map(|(word, _)| word).collect();
        assert_eq!(words, [outcome.code().word()]);
    }
}
