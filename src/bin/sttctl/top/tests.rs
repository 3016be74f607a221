//! Screens made from recorded answers, in all sizes.

use console::measure_text_width;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::*;
use crate::line::{Line, Style};

const IDLE: &str = include_str!("../samples/idle.json");
const BUSY: &str = include_str!("../samples/busy.json");
const BROKEN: &str = include_str!("../samples/broken.json");

fn stats(sample: &str) -> Stats {
    Stats::parse(sample.as_bytes()).unwrap()
}

fn busy() -> View {
    let mut view = View::new(stats(IDLE));
    view.look(Ok(stats(BUSY)));
    view
}

/// A view with `count` jobs, each a little older and larger than the next.
fn crowd(count: u64) -> View {
    let mut view = busy();
    let job = view.latest.jobs[0].clone();
    view.latest.jobs = (0..count)
        .map(|number| stats::Job {
            id: number,
            pid: Some(5000 + number.cast_signed()),
            age_seconds: Some((count - number) as f64),
            memory_bytes: Some((count - number) << 20),
            ..job.clone()
        })
        .collect();
    view
}

fn text(lines: &[Line]) -> String {
    let lines: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
    lines.join("\n")
}

/// The screen as text, which must have its height and at most its width.
#[track_caller]
fn picture(view: &View, width: usize, height: usize) -> String {
    let lines = frame::lines(view, width, height);
    assert_eq!(lines.len(), height);
    for line in &lines {
        assert!(measure_text_width(&line.text) <= width, "{line:?}");
        assert!(!line.text.contains(char::is_control), "{line:?}");
    }
    text(&lines)
}

#[test]
fn a_quiet_service_has_a_heading_and_no_rows() {
    let picture = picture(&View::new(stats(IDLE)), 80, 24);
    let (top, keys) = picture.rsplit_once('\n').unwrap();
    assert_eq!(
        top.trim_end(),
        "\
stt-isolated 0.1.0, up 1d00h, isolation process, supervisor 11.0M
requests -/s, failures -/s, refused -/s
jobs     0 running of 4, 0 queued of 256, 1 spare
memory   [##                          ] 512M committed of 8.0G
    PID   UID MODEL   STAGE           AGE  AUDIO  %CPU MEMORY # now | peak LIMIT"
    );
    let expected = "by memory; sort: m memory, c CPU, a age; h help; q quit";
    assert_eq!(keys, expected);
}

#[test]
fn jobs_are_rows_with_their_memory_in_bars() {
    assert_eq!(
        picture(&busy(), 80, 24).trim_end(),
        "\
stt-isolated 0.1.0, up 1d00h, isolation process, supervisor 11.0M
requests 3.5/s, failures 0.5/s, refused 2.5/s
jobs     3 running of 4, 2 queued of 256, 1 spare, 2 sessions
memory   [##############              ] 4.0G committed of 8.0G
    PID   UID MODEL   STAGE           AGE  AUDIO  %CPU MEMORY # now | peak LIMIT
4194303 65534 default transcribing   1.5s   1.0s   400   512M [#########|]  512M
   4800  1000 default transcribing 12m34s  1m01s  50.0   256M [####|     ]  512M
   4802 phone default assigned       0.0s   0.0s   0.0     0B [          ]  512M"
            .to_owned()
            + &"\n".repeat(16)
            + "by memory; sort: m memory, c CPU, a age; h help; q quit"
    );
}

#[test]
fn a_job_that_nothing_limits_has_no_bar() {
    let mut view = busy();
    view.latest.jobs[0].memory_limit_bytes = None;
    let picture = picture(&view, 80, 24);
    assert!(
        picture.contains("  1m01s  50.0   256M no limit         -\n"),
        "{picture}"
    );
}

#[test]
fn jobs_that_find_no_room_are_counted() {
    let forty = picture(&crowd(40), 80, 24);
    let rows: Vec<&str> = forty.lines().collect();
    let pid = |row: usize| rows[row].split_whitespace().next().unwrap();
    assert_eq!((pid(5), pid(21)), ("5000", "5016"));
    assert_eq!(rows[22], "and 23 more");

    // One job more than the screen has room for.
    let full = picture(&crowd(18), 80, 24);
    assert!(full.contains("5017 ") && !full.contains("more"), "{full}");
    let one_more = picture(&crowd(19), 80, 24);
    assert!(one_more.contains("\nand 2 more\n"), "{one_more}");
}

#[test]
fn no_screen_is_too_small_or_too_large() {
    let mut troubled = crowd(40);
    troubled.look(Err(Error::Closed("without a complete answer")));
    let mut helpful = busy();
    helpful.help = true;
    let views = [
        View::new(stats(IDLE)),
        View::new(stats(BROKEN)),
        busy(),
        troubled,
        helpful,
    ];
    for view in views {
        for width in (0..90).chain([120, 200, 1000]) {
            for height in (0..30).chain([60, 200]) {
                picture(&view, width, height);
            }
        }
    }
}

#[test]
fn a_wide_screen_has_more_columns_and_a_narrow_one_less() {
    let heading = |width| {
        picture(&busy(), width, 24)
            .lines()
            .nth(4)
            .unwrap()
            .to_owned()
    };
    assert!(heading(117).trim_end().ends_with("LIMIT REQUEST"));
    assert!(picture(&busy(), 117, 24).contains(" 512M 6f1c0000-0000-4000-8000-000000000018\n"));
    assert!(heading(79).trim_end().ends_with("# now | peak"));
    assert_eq!(heading(40), "    PID    AGE  %CPU MEMORY # now | peak");
    assert_eq!(heading(10), "MEMORY");
}

#[test]
fn a_long_name_leaves_room_for_the_others() {
    let mut view = busy();
    view.latest.jobs[0].model = "a-model-with-a-long-name".to_owned().into();
    view.latest.jobs[1].model = "音声音声音声音声音声".to_owned().into();
    let picture = picture(&view, 100, 24);
    assert!(
        picture.contains(" 1000 a-model-with-a-l transcribing "),
        "{picture}"
    );
    assert!(
        picture.contains(" 65534 音声音声音声音声 transcribing "),
        "{picture}"
    );
}

#[test]
fn keys_choose_the_order() {
    let mut view = busy();
    let mut order = |key| {
        assert!(press(&mut view, KeyCode::Char(key).into()).is_continue());
        let picture = picture(&view, 80, 24);
        let rows = picture.lines().skip(5).take(3);
        let order = rows.map(|row| row.split_whitespace().next().unwrap().parse().unwrap());
        order.collect::<Vec<u32>>()
    };
    assert_eq!(order('a'), [4800, 4194303, 4802]);
    assert_eq!(order('c'), [4194303, 4800, 4802]);
    assert_eq!(order('m'), [4194303, 4800, 4802]);
    assert_eq!(order('x'), [4194303, 4800, 4802]);
}

#[test]
fn help_comes_and_goes() {
    let mut view = busy();
    for key in ['h', '?'] {
        let without = picture(&view, 80, 24);
        assert!(press(&mut view, KeyCode::Char(key).into()).is_continue());
        let with = picture(&view, 80, 24);
        assert!(
            with.starts_with("Keys\n") && with.contains("left out.\n"),
            "{with}"
        );
        assert!(press(&mut view, KeyCode::Char(key).into()).is_continue());
        assert_eq!(picture(&view, 80, 24), without);
    }
}

#[test]
fn three_keys_end_it() {
    let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    for key in [KeyCode::Char('q').into(), KeyCode::Esc.into(), control_c] {
        assert!(press(&mut busy(), key).is_break(), "{key:?}");
    }
}

#[test]
fn what_is_wrong_comes_first() {
    let view = View::new(stats(BROKEN));
    let lines = frame::lines(&view, 80, 24);
    assert_eq!(
        text(&lines[..5]),
        "\
! model large\u{fffd}[2J is not ready (tripped): 10 of its jobs crashed in a \u{fffd}minute
! model new is not ready (starting)
! the queue is full (2 wait): further requests are refused
! and 3 more: see sttctl status
stt-isolated 0.1.0, up 3.2s, isolation process, supervisor -"
    );
    assert!(lines[..4].iter().all(|line| line.style == Style::Alarm));
}

#[test]
fn a_service_that_is_gone_is_told_until_it_is_back() {
    let mut view = busy();
    view.look(Err(Error::Closed("without\u{1b} a complete answer")));
    let gone = picture(&view, 80, 24);
    let told = "\
! the server closed the connection without\u{fffd} a complete answer
! trying again; below is what was seen last
stt-isolated";
    assert!(gone.starts_with(told), "{gone}");
    assert!(gone.contains("\n4194303 "), "{gone}");
    // The service was restarted, so no rates can be computed.
    view.look(Ok(stats(&IDLE.replace("86400.5", "0.1"))));
    let back = picture(&view, 80, 24);
    assert!(back.starts_with("stt-isolated 0.1.0, up 0.1s"), "{back}");
    assert!(back.contains("\nrequests -/s"), "{back}");
}

#[test]
fn a_job_near_its_limit_stands_out() {
    let lines = frame::lines(&busy(), 80, 24);
    let alarms = lines.iter().filter(|line| line.style == Style::Alarm);
    let alarms: Vec<&str> = alarms.map(|line| &line.text[..7]).collect();
    assert_eq!(alarms, ["4194303"]);
}

#[test]
fn on_paper_all_jobs_find_room_and_no_keys_are_needed() {
    let lines = frame::once(&crowd(40), 80);
    assert_eq!(lines.len(), 5 + 40);
    assert!(
        lines
            .iter()
            .all(|line| measure_text_width(&line.text) <= 80)
    );
    assert!(lines[44].text.contains(" 5039 "), "{:?}", lines[44]);
}
