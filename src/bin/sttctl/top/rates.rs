//! Rates: changes between two answers of the service.

use crate::stats::{Activity, Job, Stats};

/// Seconds between two answers; `None` if the service was restarted in between.
fn seconds(previous: &Stats, latest: &Stats) -> Option<f64> {
    let same = previous.supervisor.pid == latest.supervisor.pid;
    let seconds = latest.uptime_seconds? - previous.uptime_seconds?;
    (same && seconds > 0.0).then_some(seconds)
}

/// Increase of a counter per second.
pub fn per_second(
    previous: Option<&Stats>,
    latest: &Stats,
    count: impl Fn(&Activity) -> u64,
) -> Option<f64> {
    let previous = previous?;
    let more = count(&latest.total).checked_sub(count(&previous.total))?;
    Some(more as f64 / seconds(previous, latest)?)
}

/// Number of processors that a job keeps busy, since the last answer or since its begin if that was
/// later.
pub fn processors(previous: Option<&Stats>, latest: &Stats, job: &Job) -> Option<f64> {
    let since = previous.and_then(|previous| {
        let before = previous.jobs.iter().find(|before| before.id == job.id)?;
        let used = job.cpu_seconds? - before.cpu_seconds?;
        Some(used / seconds(previous, latest)?)
    });
    let busy = since.or_else(|| {
        let age = job.age_seconds.filter(|age| *age > 0.0)?;
        Some(job.cpu_seconds? / age)
    })?;
    Some(busy.max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(uptime: f64, pid: i64, accepted: u64, cpu: f64) -> Stats {
        let answer = format!(
            r#"{{"schema": 2, "uptime_seconds": {uptime}, "supervisor": {{"pid": {pid}}},
                "total": {{"requests": {{"accepted": {accepted}}}}},
                "jobs": [{{"id": 1, "age_seconds": 4.0, "cpu_seconds": {cpu}}}]}}"#
        );
        Stats::parse(answer.as_bytes()).unwrap()
    }

    fn rates(previous: Option<&Stats>, latest: &Stats) -> (Option<f64>, Option<f64>) {
        (
            per_second(previous, latest, Activity::accepted),
            processors(previous, latest, &latest.jobs[0]),
        )
    }

    #[test]
    fn rates_are_of_the_time_between_two_looks() {
        let (first, second) = (look(100.0, 1, 10, 1.0), look(102.0, 1, 13, 2.0));
        assert_eq!(rates(Some(&first), &second), (Some(1.5), Some(0.5)));
    }

    #[test]
    fn there_are_none_where_nothing_can_be_compared() {
        let first = look(100.0, 1, 10, 1.0);
        // A job's own age is still known.
        let (none, average) = (None, Some(0.25));
        assert_eq!(rates(None, &first), (none, average));
        assert_eq!(rates(Some(&first), &first), (none, average));
        assert_eq!(
            rates(Some(&look(200.0, 1, 5, 9.0)), &first),
            (none, average)
        );
        assert_eq!(rates(Some(&look(99.0, 2, 5, 9.0)), &first), (none, average));
        let unknown = Stats::parse(br#"{"schema": 2, "jobs": [{}]}"#).unwrap();
        assert_eq!(rates(Some(&unknown), &unknown), (none, None));
    }
}
