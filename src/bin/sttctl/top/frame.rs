//! The whole screen, for any size.

use super::bar::{bar, share};
use super::rates::per_second;
use super::table;
use super::view::{Order, View};
use crate::line::{Line, Style};
use crate::problems;
use crate::stats::Activity;
use crate::text::{count, known, size, time};

/// Largest number of problems above the jobs; `sttctl status` shows all.
const PROBLEMS: usize = 3;

/// Width of the memory budget's bar, in columns.
const BAR: usize = 30;

const HELP: [&str; 17] = [
    "Keys",
    "  m      sort by memory        c  sort by CPU        a  sort by age",
    "  h, ?   this help, and back   q, Esc, Ctrl-C  quit",
    "",
    "Columns, of each request that has a job",
    "  PID      the process that serves it, by itself",
    "  UID      who asked; over TCP the name of the key, or -",
    "  MODEL    what was asked for",
    "  STAGE    assigned, transcribing (audio was read) or ending",
    "  AGE      since it has the job",
    "  AUDIO    length of the audio read so far",
    "  %CPU     100 is one processor, since the last look",
    "  MEMORY   of the job's own, now; the bar shows it against the limit, and",
    "           by | the most that it was",
    "  LIMIT    of its memory: beyond it the job is killed",
    "  REQUEST  x-request-id of the answer, by which the journal knows it",
    "Columns for which there is no room are left out.",
];

/// Lines for a terminal of at most this width and height.
pub fn lines(view: &View, width: usize, height: usize) -> Vec<Line> {
    let mut lines = Vec::new();
    if view.help {
        lines.extend(HELP.map(Line::plain));
    } else {
        lines.extend(head(view));
        // The last line is for the keys.
        let room = height.saturating_sub(lines.len() + 1);
        lines.extend(table::lines(view, width, room));
    }
    lines.truncate(height.saturating_sub(1));
    while lines.len() + 1 < height {
        lines.push(Line::plain(""));
    }
    lines.push(keys(view));
    lines.truncate(height);
    lines.into_iter().map(|line| line.clipped(width)).collect()
}

/// Lines to print once: all jobs, without the help for keys.
pub fn once(view: &View, width: usize) -> Vec<Line> {
    let mut lines = head(view);
    lines.extend(table::lines(view, width, usize::MAX));
    lines.into_iter().map(|line| line.clipped(width)).collect()
}

fn head(view: &View) -> Vec<Line> {
    let stats = &view.latest;
    let mut lines = Vec::new();
    let mut alarm = |text: String| lines.push(Line::plain(text).styled(Style::Alarm));
    if let Some(trouble) = &view.trouble {
        alarm(format!("! {trouble}"));
        alarm("! trying again; below is what was seen last".into());
    }
    let problems = problems::of(stats);
    for problem in problems.iter().take(PROBLEMS) {
        alarm(format!("! {problem}"));
    }
    if let Some(more @ 1..) = problems.len().checked_sub(PROBLEMS) {
        alarm(format!("! and {more} more: see sttctl status"));
    }
    let title = format!(
        "stt-isolated {}, up {}, isolation {}, supervisor {}",
        stats.version,
        known(stats.uptime_seconds, time),
        stats.isolation.mode,
        known(stats.supervisor.rss_bytes, size),
    );
    lines.push(Line::plain(title).styled(Style::Strong));
    for line in [rates(view), jobs(view), memory(view)] {
        lines.push(Line::plain(line));
    }
    lines
}

fn rates(view: &View) -> String {
    let rate = |count: fn(&Activity) -> u64| {
        let rate = per_second(view.previous.as_ref(), &view.latest, count);
        known(rate, |rate| format!("{rate:.1}"))
    };
    format!(
        "requests {}/s, failures {}/s, refused {}/s",
        rate(Activity::accepted),
        rate(Activity::failed),
        rate(Activity::refused)
    )
}

fn jobs(view: &View) -> String {
    let (total, bounds) = (&view.latest.total, &view.latest.bounds);
    let most = |most: Option<u64>| known(most, |most| most.to_string());
    let sessions = match view.latest.supervisor.sessions.open {
        0 => String::new(),
        open => format!(", {}", count(open, "session")),
    };
    format!(
        "jobs     {} running of {}, {} queued of {}, {}{sessions}",
        total.running,
        most(bounds.max_running),
        total.queued,
        most(bounds.max_queued),
        count(total.spares, "spare")
    )
}

fn memory(view: &View) -> String {
    let committed = view.latest.total.memory_committed_bytes;
    let shown = known(committed, size);
    match view.latest.bounds.memory_budget_bytes {
        Some(budget) => {
            let bar = bar(share(committed, Some(budget)), None, BAR);
            format!("memory   {bar} {shown} committed of {}", size(budget))
        }
        None => format!("memory   {shown} committed, no budget"),
    }
}

fn keys(view: &View) -> Line {
    let order = match view.order {
        Order::Memory => "memory",
        Order::Cpu => "CPU",
        Order::Age => "age",
    };
    Line::plain(format!(
        "by {order}; sort: m memory, c CPU, a age; h help; q quit"
    ))
}
