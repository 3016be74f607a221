//! The table of jobs, fitted to the width: bars take the remaining room, and the least important
//! columns are dropped first.

use console::{Alignment, measure_text_width, pad_str};

use super::bar::{bar, share};
use super::rates::processors;
use super::view::{Order, View};
use crate::line::{Line, Style};
use crate::stats::Job;
use crate::text::{known, percent, size, time};

/// Share of the limit above which a job is in danger.
const DANGER: f64 = 0.9;

/// A row: a job, and the number of processors that it keeps busy.
struct Row<'a> {
    job: &'a Job,
    busy: Option<f64>,
}

/// Content of a column.
enum Cell {
    Words(fn(&Row<'_>) -> String),
    Number(fn(&Row<'_>) -> String),
    Bar,
}

struct Column {
    title: &'static str,
    cell: Cell,
    /// Smallest and largest width. Usual contents fit into the first, so that columns rarely move;
    /// longer ones than the second are cut.
    width: (usize, usize),
    /// Importance: the columns with the lowest numbers stay the longest.
    rank: u8,
}

static COLUMNS: [Column; 11] = [
    Column {
        title: "PID",
        cell: Cell::Number(|row| known(row.job.pid, |pid| pid.to_string())),
        width: (7, 10),
        rank: 1,
    },
    Column {
        title: "UID",
        cell: Cell::Number(|row| client(row.job)),
        width: (5, 12),
        rank: 6,
    },
    Column {
        title: "MODEL",
        cell: Cell::Words(|row| row.job.model.to_string()),
        width: (7, 16),
        rank: 5,
    },
    Column {
        title: "STAGE",
        cell: Cell::Words(|row| row.job.stage.to_string()),
        width: (12, 12),
        rank: 7,
    },
    Column {
        title: "AGE",
        cell: Cell::Number(|row| known(row.job.age_seconds, time)),
        width: (6, 8),
        rank: 3,
    },
    Column {
        title: "AUDIO",
        cell: Cell::Number(|row| known(row.job.audio_seconds, time)),
        width: (6, 8),
        rank: 8,
    },
    Column {
        title: "%CPU",
        cell: Cell::Number(|row| known(row.busy, percent)),
        width: (5, 8),
        rank: 2,
    },
    Column {
        title: "MEMORY",
        cell: Cell::Number(|row| known(row.job.memory_bytes, size)),
        width: (6, 8),
        rank: 0,
    },
    Column {
        title: "# now | peak",
        cell: Cell::Bar,
        width: (12, 42),
        rank: 4,
    },
    Column {
        title: "LIMIT",
        cell: Cell::Number(|row| known(row.job.memory_limit_bytes, size)),
        width: (5, 8),
        rank: 9,
    },
    Column {
        title: "REQUEST",
        cell: Cell::Words(|row| row.job.request_id.to_string()),
        width: (36, 36),
        rank: 10,
    },
];

/// The client of a job: its user, or the name of its key.
fn client(job: &Job) -> String {
    let uid = job.uid.map(|uid| uid.to_string());
    let key = || job.key.as_ref().map(ToString::to_string);
    known(uid.or_else(key), |client| client)
}

/// A column with its width and its text for each row.
struct Filled {
    column: &'static Column,
    width: usize,
    cells: Vec<String>,
}

/// The heading, and as many jobs as fit.
pub fn lines(view: &View, width: usize, height: usize) -> Vec<Line> {
    let mut rows = sorted(view);
    let room = height.saturating_sub(1);
    let mut hidden = 0;
    if rows.len() > room {
        hidden = rows.len() - room.saturating_sub(1);
        rows.truncate(room.saturating_sub(1));
    }
    let columns = fit(&rows, width);
    let title = |filled: &Filled| filled.pad(filled.column.title);
    let mut lines = vec![Line::plain(join(columns.iter().map(title))).styled(Style::Heading)];
    for (number, row) in rows.iter().enumerate() {
        let cells = columns.iter().map(|filled| filled.show(row, number));
        let used = share(row.job.memory_bytes, row.job.memory_limit_bytes);
        let style = match used {
            Some(used) if used > DANGER => Style::Alarm,
            _ => Style::Plain,
        };
        lines.push(Line::plain(join(cells).trim_end()).styled(style));
    }
    if hidden > 0 {
        lines.push(Line::plain(format!("and {hidden} more")));
    }
    lines
}

fn sorted(view: &View) -> Vec<Row<'_>> {
    let (previous, latest) = (view.previous.as_ref(), &view.latest);
    let mut rows: Vec<Row<'_>> = latest
        .jobs
        .iter()
        .map(|job| Row {
            job,
            busy: processors(previous, latest, job),
        })
        .collect();
    // Unknown values come last. The sort is stable, so equal rows keep their order, the oldest
    // first.
    rows.sort_by(|one, other| {
        let key = |row: &Row<'_>| match view.order {
            Order::Memory => row.job.memory_bytes.map(|bytes| bytes as f64),
            Order::Cpu => row.busy,
            Order::Age => row.job.age_seconds,
        };
        let [one, other] = [one, other].map(|row| key(row).unwrap_or(-1.0));
        other.total_cmp(&one)
    });
    rows
}

/// The columns that fit, with their widths.
fn fit(rows: &[Row<'_>], width: usize) -> Vec<Filled> {
    let mut fitting: Vec<Filled> = COLUMNS
        .iter()
        .map(|column| Filled::new(column, rows))
        .collect();
    let needed = |columns: &[Filled]| {
        let widths: usize = columns.iter().map(|filled| filled.width).sum();
        widths + columns.len().saturating_sub(1)
    };
    while fitting.len() > 1 && needed(&fitting) > width {
        let ranks = fitting.iter().map(|filled| filled.column.rank);
        let least = ranks.max();
        fitting.retain(|filled| Some(filled.column.rank) != least);
    }
    let left = width.saturating_sub(needed(&fitting));
    for filled in &mut fitting {
        if matches!(filled.column.cell, Cell::Bar) {
            filled.width = (filled.width + left).min(filled.column.width.1);
        }
    }
    fitting
}

impl Filled {
    fn new(column: &'static Column, rows: &[Row<'_>]) -> Filled {
        let cells: Vec<String> = match column.cell {
            Cell::Words(show) | Cell::Number(show) => rows.iter().map(show).collect(),
            Cell::Bar => Vec::new(),
        };
        let (usual, widest) = column.width;
        let widths = cells.iter().map(|cell| measure_text_width(cell));
        let width = widths.fold(usual, usize::max).min(widest);
        Filled {
            column,
            width,
            cells,
        }
    }

    fn show(&self, row: &Row<'_>, number: usize) -> String {
        let Some(cell) = self.cells.get(number) else {
            if row.job.memory_limit_bytes.is_none() {
                return self.pad("no limit");
            }
            let of_limit = |bytes| share(bytes, row.job.memory_limit_bytes);
            let (now, peak) = (row.job.memory_bytes, row.job.memory_peak_bytes);
            return bar(of_limit(now), of_limit(peak), self.width);
        };
        self.pad(cell)
    }

    fn pad(&self, text: &str) -> String {
        let side = match self.column.cell {
            Cell::Number(_) => Alignment::Right,
            Cell::Words(_) | Cell::Bar => Alignment::Left,
        };
        pad_str(text, self.width, side, Some("")).into_owned()
    }
}

fn join(cells: impl Iterator<Item = String>) -> String {
    cells.collect::<Vec<String>>().join(" ")
}
