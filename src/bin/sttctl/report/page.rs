//! The report as one self-contained HTML page: it needs no other file and no network, and is
//! readable without scripts.

use std::{
    fmt::{self, Write},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::{
    chart::{Chart, Scale, moment},
    escaped::Escaped,
    tally::{Model, NEAR, Point, Tally},
    thinned::Thinned,
};
use stt_isolated::request::Group;

use crate::{
    histogram::Histogram,
    journal::Entry,
    text::{known, size, time},
};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// The whole page. `skipped` is the number of lines that were not entries.
///
/// # Errors
///
/// None in practice, because writing to a string cannot fail.
pub fn write(tally: &Tally, skipped: u64) -> Result<String, fmt::Error> {
    let mut page = String::new();
    let hosts: Vec<&str> = tally.hosts.iter().map(AsRef::as_ref).collect();
    let hosts = hosts.join(", ");
    let hosts = Escaped(&hosts);
    write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>stt-isolated: report of {hosts}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n"
    )?;
    match tally.period {
        Some(period) => {
            let (from, to) = (period.0 / 1_000_000, period.1 / 1_000_000);
            let [first, last] = [from, to].map(moment);
            write!(
                page,
                "<header><h1>Transcriptions on {hosts}</h1><p>{first} to {last}, all times in UTC</p>"
            )?;
            tiles(&mut page, &tally.total)?;
            models_nav(&mut page, tally)?;
            page.push_str("</header>\n<main>\n");
            // Even a single request gets a chart.
            let period = match to - from {
                0..60 => (from.saturating_sub(30), to + 30),
                _ => (from, to + 1),
            };
            requests(&mut page, tally, period)?;
            peaks(&mut page, tally, period)?;
            times(&mut page, tally, period)?;
            leaks(&mut page, tally, period)?;
            models(&mut page, tally)?;
            failures(&mut page, tally)?;
            page.push_str("</main>\n");
        }
        None => page.push_str(
            "<header><h1>Transcriptions</h1><p>The journal has no entry about any request of that time.</p></header>\n",
        ),
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = moment(now.map_or(0, |now| now.as_secs()));
    write!(
        page,
        "<footer>sttctl {}, made {now} UTC from {} entries of the journal",
        env!("CARGO_PKG_VERSION"),
        tally.total.requests()
    )?;
    if skipped > 0 {
        write!(page, "; {skipped} lines were no entries")?;
    }
    write!(
        page,
        ".</footer>\n<script>\n{SCRIPT}</script>\n</body>\n</html>\n"
    )?;
    Ok(page)
}

fn class(outcome: Group) -> &'static str {
    match outcome {
        Group::Ok => "transcribed",
        Group::Recording => "recording",
        Group::Memory => "memory",
        Group::Failed => "failed",
        Group::GivenUp => "given-up",
        Group::Refused => "refused",
    }
}

fn milliseconds(value: u64) -> String {
    match value {
        0..1000 => format!("{value} ms"),
        1000..60_000 => format!("{:.1} s", value as f64 / 1000.0),
        _ => time(value as f64 / 1000.0),
    }
}

fn percentile(of: &Histogram, share: f64, show: fn(u64) -> String) -> String {
    known(of.percentile(share), show)
}

/// 1234567 as "1 234 567", with non-breaking spaces.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

fn percent(part: u64, whole: u64) -> String {
    match whole {
        0 => "-".into(),
        // Only the whole is shown as 100 %, never a rounded part.
        _ if part == whole => "100 %".into(),
        _ => format!(
            "{:.1} %",
            (part as f64 * 1000.0 / whole as f64).floor() / 10.0
        ),
    }
}

fn tiles(page: &mut String, total: &Model) -> fmt::Result {
    let tile = |page: &mut String, is_bad: bool, value: &str, what: &str| {
        let bad = if is_bad { " bad" } else { "" };
        write!(
            page,
            "<div class=\"tile{bad}\"><b>{value}</b><span>{what}</span></div>"
        )
    };
    page.push_str("<div class=\"tiles\">");
    let ok = total.ended(Group::Ok);
    let served = total.requests() - total.ended(Group::Refused) - total.ended(Group::GivenUp);
    let refused = grouped(total.ended(Group::Refused));
    tile(
        page,
        false,
        &grouped(total.requests()),
        &format!("requests, {refused} turned away"),
    )?;
    tile(
        page,
        false,
        &percent(ok, served),
        "of those with a job transcribed",
    )?;
    let speed = match total.work {
        0 => "-".into(),
        work => format!("{:.1}×", total.audio as f64 / work as f64),
    };
    let audio = time(total.audio as f64 / 1000.0);
    tile(
        page,
        false,
        &speed,
        &format!("as fast as speech; {audio} of audio"),
    )?;
    let half = percentile(&total.queue, 0.5, milliseconds);
    let most = percentile(&total.queue, 0.99, milliseconds);
    tile(
        page,
        false,
        &most,
        &format!("in the queue at most for 99 %; half of them {half}"),
    )?;
    let half = percentile(&total.service, 0.5, milliseconds);
    let most = percentile(&total.service, 0.99, milliseconds);
    tile(
        page,
        false,
        &most,
        &format!("at work at most for 99 %; half of them {half}"),
    )?;
    let over = total.ended(Group::Memory);
    let near = grouped(total.near);
    tile(
        page,
        over > 0,
        &grouped(over),
        &format!("over their memory limit, {near} more near it"),
    )?;
    tile(
        page,
        false,
        &size(total.leaked),
        "left behind by requests, and gone with their jobs",
    )?;
    page.push_str("</div>");
    Ok(())
}

fn models_nav(page: &mut String, tally: &Tally) -> fmt::Result {
    if tally.models.len() < 2 {
        return Ok(());
    }
    page.push_str("<nav aria-label=\"Model\"><button aria-pressed=\"true\">all models</button>");
    for (n, (name, _)) in tally.models.iter().enumerate() {
        let name = Escaped(name.as_ref());
        write!(
            page,
            "<button aria-pressed=\"false\" data-model=\"{n}\">{name}</button>"
        )?;
    }
    page.push_str("</nav>");
    Ok(())
}

fn legend(page: &mut String, total: &Model, which: impl Fn(Group) -> bool) -> fmt::Result {
    page.push_str("<ul class=\"legend\">");
    for outcome in Group::ALL {
        let count = total.ended(outcome);
        if count > 0 && which(outcome) {
            let (class, name) = (class(outcome), outcome.name());
            let count = grouped(count);
            write!(page, "<li><i class=\"{class}\"></i>{name} {count}</li>")?;
        }
    }
    page.push_str("</ul>");
    Ok(())
}

fn requests(page: &mut String, tally: &Tally, period: (u64, u64)) -> fmt::Result {
    let timeline = &tally.timeline;
    let length = timeline.step();
    // The columns at both ends have their full width.
    let (from, to) = period;
    let period = (from / length * length, to.div_ceil(length) * length);
    let most = timeline.steps().map(|(_, step)| step.ended.iter().sum());
    let most: u64 = most.max().unwrap_or(0);
    let scale = Scale::linear((most as f64).max(4.0));
    let mut chart = Chart::new(
        "Requests over time, by how they ended",
        period,
        scale,
        |value| format!("{value:.0}"),
    );
    for (begin, step) in timeline.steps() {
        let mut below = 0;
        for outcome in Group::ALL {
            let count = step.ended[outcome as usize];
            if count > 0 {
                let title = format!("{}\n{} {}", moment(begin), grouped(count), outcome.name());
                let times = (begin as f64, (begin + length) as f64);
                let values = (below as f64, (below + count) as f64);
                chart.column(class(outcome), times, values, &title);
                below += count;
            }
        }
    }
    let each = humantime::format_duration(Duration::from_secs(length));
    write!(
        page,
        "<section id=\"requests\"><h2>Requests</h2><p>By how they ended, each column {each}.</p>"
    )?;
    page.push_str(&chart.finish());
    legend(page, &tally.total, |_| true)?;
    page.push_str(
        "<details><summary>As a table</summary><div class=\"scroll\"><table><thead><tr><th>outcome</th>\
         <th class=\"text\">in the journal</th><th>requests</th><th>share</th></tr></thead><tbody>",
    );
    for ((outcome, word), count) in &tally.words {
        let share = percent(*count, tally.total.requests());
        let (name, word, count) = (outcome.name(), Escaped(word.as_ref()), grouped(*count));
        write!(
            page,
            "<tr><td>{name}</td><td class=\"text\"><code>STT_OUTCOME={word}</code></td><td>{count}</td><td>{share}</td></tr>"
        )?;
    }
    page.push_str("</tbody></table></div></details></section>\n");
    Ok(())
}

/// Description of a point.
fn about(entry: &Entry, count: u64) -> String {
    let seconds = entry.time / 1_000_000;
    let mut text = format!("{}, {}, {}", moment(seconds), entry.model, entry.word);
    if let Some(peak) = entry.peak {
        let _ = write!(text, "\npeak {}", size(peak));
        if let Some(limit) = entry.limit {
            let _ = write!(text, " of {}", size(limit));
        }
    }
    if let Some(leak) = entry.leak {
        let _ = write!(text, ", {} left behind", size(leak));
    }
    if let Some(audio) = entry.audio {
        let _ = write!(text, "\n{} of audio", milliseconds(audio));
    }
    if let Some(wall) = entry.wall {
        let _ = write!(text, " in {}", milliseconds(wall));
    }
    if count > 1 {
        let _ = write!(text, "\nand {} beside it", grouped(count - 1));
    }
    let _ = write!(text, "\n{}", entry.request);
    text
}

/// Draws the points, in a group for each model and outcome. Bad outcomes come last, on top of the
/// others.
fn scatter(chart: &mut Chart, points: &Thinned<Point>, value: fn(u64) -> f64) {
    let mut cells: Vec<_> = points.iter().collect();
    // Fewer points are drawn larger, so that they can be seen.
    let radius = if cells.len() < 300 { 4.0 } else { 2.6 };
    cells.sort_by_key(|(group, cell)| (cell.what.entry.outcome, *group));
    for group in cells.chunk_by(|one, other| one.0 == other.0) {
        let Some((_, first)) = group.first() else {
            continue;
        };
        let (class, model) = (class(first.what.entry.outcome), first.what.model);
        chart.put(format_args!("<g class=\"{class}\" data-of=\"{model}\">"));
        for (_, cell) in group {
            let title = about(&cell.what.entry, cell.count);
            chart.point(
                cell.time as f64 / 1e6,
                value(cell.value),
                (radius, cell.count),
                &title,
            );
        }
        chart.put(format_args!("</g>"));
    }
}

fn highest(points: &Thinned<Point>) -> f64 {
    let highest = points.iter().map(|(_, cell)| cell.value).max();
    highest.unwrap_or(0) as f64
}

fn shown(points: &Thinned<Point>) -> String {
    let total = points.iter().map(|(_, cell)| cell.count).sum();
    let shown = points.iter().count() as u64;
    if shown == total {
        return "Each point is a request.".into();
    }
    format!(
        "{} points stand for {} requests: a larger one for several that lie together, at the highest of them.",
        grouped(shown),
        grouped(total)
    )
}

fn peaks(page: &mut String, tally: &Tally, period: (u64, u64)) -> fmt::Result {
    if tally.peaks.iter().next().is_some() {
        let scale = Scale::linear(highest(&tally.peaks).max(10_000.0) / 100.0);
        let label = "Highest use of memory of each request, in percent of its limit, over time";
        let mut chart = Chart::new(label, period, scale, |value| format!("{value:.0} %"));
        scatter(&mut chart, &tally.peaks, |value| value as f64 / 100.0);
        chart.limit(100.0, "limit");
        write!(
            page,
            "<section id=\"peaks\"><h2>Memory peak against limit</h2><p>The most that each job used of what it may. {}</p>",
            shown(&tally.peaks)
        )?;
        page.push_str(&chart.finish());
        legend(page, &tally.total, |outcome| outcome != Group::Refused)?;
        list(page, "The highest as a table", tally.highest.iter())?;
        page.push_str("</section>\n");
    }
    if tally.unlimited.iter().next().is_some() {
        let scale = Scale::bytes(highest(&tally.unlimited));
        let label = "Highest use of memory of each request without a limit, in bytes, over time";
        let mut chart = Chart::new(label, period, scale, |value| size(value as u64));
        scatter(&mut chart, &tally.unlimited, |value| value as f64);
        write!(
            page,
            "<section id=\"unlimited\"><h2>Memory peak without a limit</h2><p>These jobs had no cgroup; their figures \
             include pages that they share with their zygote. {}</p>",
            shown(&tally.unlimited)
        )?;
        page.push_str(&chart.finish());
        legend(page, &tally.total, |outcome| outcome != Group::Refused)?;
        page.push_str("</section>\n");
    }
    Ok(())
}

fn times(page: &mut String, tally: &Tally, period: (u64, u64)) -> fmt::Result {
    let timeline = &tally.timeline;
    let most = |of: &Histogram| of.max().unwrap_or(0);
    let most = most(&tally.total.queue).max(most(&tally.total.service));
    if tally.total.service.count() == 0 {
        return Ok(());
    }
    let scale = Scale::logarithmic(1.0, (most as f64).max(10.0));
    let label = "Time in the queue and time of service, half of the requests and 99 %, over time";
    let mut chart = Chart::new(label, period, scale, |value| match value {
        1000.0.. => format!("{:.0} s", value / 1000.0),
        _ => format!("{value:.0} ms"),
    });
    let length = timeline.step();
    type Times = fn(&super::timeline::Step) -> &Histogram;
    let times: [(&str, Times); 2] = [
        ("service", |step| &step.service),
        ("queue", |step| &step.queue),
    ];
    for (class, of) in times {
        for (more, share) in [("most", 0.99), ("half", 0.5)] {
            let mut line = Vec::new();
            let mut end = None;
            for (begin, step) in timeline.steps() {
                if end.is_some_and(|end| end != begin) {
                    line.push(None);
                }
                end = Some(begin + length);
                let middle = begin as f64 + length as f64 / 2.0;
                let value = of(step).percentile(share);
                line.push(value.map(|value| (middle, value as f64)));
            }
            chart.line(&format!("{class} {more}"), &line);
        }
    }
    page.push_str(
        "<section id=\"times\"><h2>Waiting and service</h2><p>From the whole request to its job, and from then to the \
         answer.</p>",
    );
    page.push_str(&chart.finish());
    page.push_str(
        "<ul class=\"legend\"><li><i class=\"dash queue-key\"></i>in the queue, half of the requests at most</li>\
         <li><i class=\"dash service-key\"></i>service, half of the requests at most</li>\
         <li><i class=\"dash most-key\"></i>99 % at most</li></ul>\
         <details><summary>As a table</summary><div class=\"scroll\"><table><thead><tr><th>from</th><th>requests</th>\
         <th>queue, half</th><th>queue, 99 %</th><th>service, half</th><th>service, 99 %</th></tr></thead><tbody>",
    );
    for (begin, step) in timeline.steps() {
        let count: u64 = step.ended.iter().sum();
        write!(
            page,
            "<tr><td>{}</td><td>{}</td>",
            moment(begin),
            grouped(count)
        )?;
        for (of, share) in [
            (&step.queue, 0.5),
            (&step.queue, 0.99),
            (&step.service, 0.5),
            (&step.service, 0.99),
        ] {
            write!(page, "<td>{}</td>", percentile(of, share, milliseconds))?;
        }
        page.push_str("</tr>");
    }
    page.push_str("</tbody></table></div></details></section>\n");
    Ok(())
}

fn leaks(page: &mut String, tally: &Tally, period: (u64, u64)) -> fmt::Result {
    if tally.leaks.iter().next().is_none() {
        return Ok(());
    }
    let scale = Scale::bytes(highest(&tally.leaks));
    let label = "Memory that each request left behind, in bytes, over time";
    let mut chart = Chart::new(label, period, scale, |value| size(value as u64));
    scatter(&mut chart, &tally.leaks, |value| value as f64);
    write!(
        page,
        "<section id=\"leaks\"><h2>Leak per request</h2><p>What each job had more of its own memory at its end than at \
         its start: one process for all of them would have kept {}. {}</p>",
        size(tally.total.leaked),
        shown(&tally.leaks)
    )?;
    page.push_str(&chart.finish());
    legend(page, &tally.total, |outcome| {
        matches!(outcome, Group::Ok | Group::Recording)
    })?;
    list(page, "The largest as a table", tally.leakiest.iter())?;
    page.push_str("</section>\n");
    Ok(())
}

/// A table of single requests.
fn list<'a>(
    page: &mut String,
    summary: &str,
    entries: impl Iterator<Item = &'a Entry>,
) -> fmt::Result {
    write!(
        page,
        "<details><summary>{summary}</summary><div class=\"scroll\"><table><thead><tr><th>time</th><th class=\"text\">\
         model</th><th class=\"text\">outcome</th><th>peak</th><th>limit</th><th>left behind</th><th>audio</th>\
         <th class=\"text\">request</th></tr></thead><tbody>"
    )?;
    for entry in entries {
        let when = moment(entry.time / 1_000_000);
        let [peak, limit, leak] = [entry.peak, entry.limit, entry.leak].map(|of| known(of, size));
        let audio = known(entry.audio, milliseconds);
        let [model, word, request] = [&entry.model, &entry.word, &entry.request].map(AsRef::as_ref);
        let (model, word, request) = (Escaped(model), Escaped(word), Escaped(request));
        write!(
            page,
            "<tr><td>{when}</td><td class=\"text\">{model}</td><td class=\"text\">{word}</td><td>{peak}</td>\
             <td>{limit}</td><td>{leak}</td><td>{audio}</td><td class=\"text\"><code>{request}</code></td></tr>"
        )?;
    }
    page.push_str("</tbody></table></div></details>");
    Ok(())
}

fn models(page: &mut String, tally: &Tally) -> fmt::Result {
    write!(
        page,
        "<section id=\"models\"><h2>Models</h2><p>Near the limit is from {NEAR} % on. \
         <code>sttctl advise</code> proposes limits.</p><div class=\"scroll\"><table><thead><tr><th>model</th>\
         <th>requests</th><th>transcribed</th><th>audio</th><th>speed</th><th>peak, half</th><th>99 %</th>\
         <th>highest</th><th>limit</th><th>near</th><th>over</th><th>leak, half</th><th>largest</th>\
         <th>service, half</th><th>99 %</th></tr></thead><tbody>"
    )?;
    for (n, (name, model)) in tally.models.iter().enumerate() {
        let name = Escaped(name.as_ref());
        let cells = [
            grouped(model.requests()),
            percent(model.ended(Group::Ok), model.requests()),
            time(model.audio as f64 / 1000.0),
            match model.work {
                0 => "-".into(),
                work => format!("{:.1}×", model.audio as f64 / work as f64),
            },
            percentile(&model.peaks, 0.5, size),
            percentile(&model.peaks, 0.99, size),
            known(model.peaks.max(), size),
            known(model.limit, size),
            grouped(model.near),
            grouped(model.ended(Group::Memory)),
            percentile(&model.leaks, 0.5, size),
            known(model.leaks.max(), size),
            percentile(&model.service, 0.5, milliseconds),
            percentile(&model.service, 0.99, milliseconds),
        ];
        let cells = cells.map(|cell| format!("<td>{cell}</td>")).concat();
        write!(page, "<tr data-of=\"{n}\"><td>{name}</td>{cells}</tr>")?;
    }
    page.push_str("</tbody></table></div></section>\n");
    Ok(())
}

fn failures(page: &mut String, tally: &Tally) -> fmt::Result {
    if tally.failures.is_empty() {
        return Ok(());
    }
    page.push_str(
        "<section id=\"failures\"><h2>The last failures</h2><p>More about each: <code>journalctl -x \
         STT_REQUEST_ID=…</code></p><div class=\"scroll\"><table><thead><tr><th>time</th><th class=\"text\">model</th>\
         <th class=\"text\">what happened</th><th class=\"text\">request</th></tr></thead><tbody>",
    );
    for entry in tally.failures.iter().rev() {
        let when = moment(entry.time / 1_000_000);
        let [model, message, request] =
            [&entry.model, &entry.message, &entry.request].map(AsRef::as_ref);
        let (model, message, request) = (Escaped(model), Escaped(message), Escaped(request));
        write!(
            page,
            "<tr><td>{when}</td><td class=\"text\">{model}</td><td class=\"wide\">{message}</td>\
             <td class=\"text\"><code>{request}</code></td></tr>"
        )?;
    }
    page.push_str("</tbody></table></div></section>\n");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_shares_never_rounded_up_to_all() {
        assert_eq!(grouped(7), "7");
        assert_eq!(grouped(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(percent(9_999, 10_000), "99.9 %");
        assert_eq!(percent(3, 3), "100 %");
        assert_eq!(percent(0, 0), "-");
    }
}
