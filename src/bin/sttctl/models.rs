//! `sttctl models`: lists the models, their memory, and why one cannot serve.

use std::io::{self, IsTerminal, Write};

use crossterm::terminal;
use serde::Deserialize;

use crate::cli::Models;
use crate::client;
use crate::error::{Error, report};
use crate::line::{self, Line, Style, wrap};
use crate::problems;
use crate::stats::{self, Model as State, Stats};
use crate::text::{Text, known, size};

/// Headings of the columns.
const HEADING: [&str; 8] = [
    "NAME", "STATE", "ENGINE", "MODE", "ZYGOTE", "PSS", "JOB PEAK", "ALIASES",
];

#[derive(Deserialize)]
struct List {
    data: Vec<Model>,
}

#[derive(Deserialize)]
struct Model {
    id: String,
}

/// Prints the models; returns true on success.
pub async fn run(arguments: &Models) -> bool {
    let shown = if arguments.json || arguments.quiet {
        list(arguments).await
    } else {
        table(arguments).await
    };
    shown
        .map_err(|error| report(None, &error.to_string()))
        .is_ok()
}

async fn list(arguments: &Models) -> Result<(), Error> {
    let notice = |line: &str| report(None, line);
    let answer = client::get(&arguments.server, "/v1/models", notice).await?;
    let body = answer.into_body()?;
    let text = if arguments.json {
        let mut text = body.to_vec();
        if !text.ends_with(b"\n") {
            text.push(b'\n');
        }
        text
    } else {
        let list: List =
            serde_json::from_slice(&body).map_err(|error| Error::Nonsense(error.to_string()))?;
        let lines = list.data.into_iter().map(|model| model.id + "\n");
        lines.collect::<String>().into_bytes()
    };
    let mut out = io::stdout().lock();
    out.write_all(&text)
        .and_then(|()| out.flush())
        .map_err(Error::Write)
}

async fn table(arguments: &Models) -> Result<(), Error> {
    let body = stats::ask(&arguments.server, |line| report(None, line)).await?;
    let terminal = io::stdout().is_terminal();
    let width = match terminal::size() {
        Ok((columns @ 1.., _)) if terminal => columns.into(),
        _ => usize::MAX,
    };
    line::print(&lines(&Stats::parse(&body)?, width), terminal).map_err(Error::Write)
}

/// One row for each model, and below the reasons why some cannot serve; at most `width` columns.
fn lines(stats: &Stats, width: usize) -> Vec<Line> {
    let models = stats.models.iter().map(|(name, model)| row(name, model));
    let rows: Vec<[String; 8]> = [HEADING.map(str::to_owned)]
        .into_iter()
        .chain(models)
        .collect();
    let mut lines = line::columns(&rows, width);
    let problems: Vec<String> = problems::of_models(stats).collect();
    if !problems.is_empty() {
        lines.push(Line::plain(""));
    }
    for problem in problems {
        let alarm = |line: Line| line.styled(Style::Alarm);
        lines.extend(wrap("! ", &problem, width).into_iter().map(alarm));
    }
    lines
}

fn row(name: &Text, model: &State) -> [String; 8] {
    // The newest zygote; an older one is about to end.
    let zygote = model.zygotes.last();
    let memory = zygote.and_then(|zygote| zygote.rss_bytes.or(zygote.memory_bytes));
    let limit = known(model.memory_limit_bytes, size);
    let peak = match model.job_memory_peak_bytes {
        0 => "-".into(),
        peak => size(peak),
    };
    let aliases: Vec<&str> = model.aliases.iter().map(Text::as_ref).collect();
    [
        name.to_string(),
        model.health.to_string(),
        model.engine.to_string(),
        model.mode.to_string(),
        known(memory, size),
        known(zygote.and_then(|zygote| zygote.pss_bytes), size),
        format!("{peak} of {limit}"),
        aliases.join(", "),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_shown(sample: &str, expected: &str) {
        let stats = Stats::parse(sample.as_bytes()).unwrap();
        let lines = lines(&stats, 79);
        let lines: Vec<String> = lines.into_iter().map(|line| line.text + "\n").collect();
        assert_eq!(lines.concat(), expected);
    }

    #[test]
    fn each_model_has_a_row_and_what_is_wrong_comes_below() {
        assert_shown(
            include_str!("samples/busy.json"),
            "\
NAME     STATE  ENGINE        MODE     ZYGOTE  PSS    JOB PEAK       ALIASES
default  ready  pocketsphinx  process  70.0M   35.0M  59.3M of 512M  whisper-1
",
        );
        assert_shown(
            include_str!("samples/broken.json"),
            "\
NAME       STATE     ENGINE  MODE    ZYGOTE  PSS  JOB PEAK  ALIASES
large\u{fffd}[2J  tripped   fault   thread  -       -    - of -
new        starting  -       -       -       -    - of -
small      ready     -       -       -       -    - of -

! model large\u{fffd}[2J is not ready (tripped): 10 of its jobs crashed in a \u{fffd}minute
! model new is not ready (starting)
",
        );
    }
}
