//! The help for operators in docs/OPERATIONS.md and packaging/, compared with the service:
//! dashboard, alerts, events, fields.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
};

use crate::common::{clips::wav, daemon::Setup, http::Form};
use serde_json::Value;
use stt_isolated::events;
use tempfile::TempDir;

const PAGE: &str = include_str!("../../docs/OPERATIONS.md");
const RULES: &str = include_str!("../../packaging/prometheus/stt-isolated.rules.yml");
const RULES_TEST: &str = include_str!("../../packaging/prometheus/stt-isolated.test.yml");
const DASHBOARD: &str = include_str!("../../packaging/grafana/stt-isolated.json");

#[track_caller]
fn promtool(arguments: &[&str]) {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/prometheus");
    let mut command = Command::new("promtool");
    let output = command.args(arguments).current_dir(folder).output();
    let output = output.expect("install prometheus");
    assert!(output.status.success(), "{output:?}");
}

/// Every query of the dashboard, its variables included.
fn queries() -> Vec<String> {
    fn collect(value: &Value, into: &mut Vec<String>) {
        match value {
            Value::Object(object) => {
                for (key, value) in object {
                    match value {
                        Value::String(text) if ["expr", "definition"].contains(&key.as_str()) => {
                            into.push(text.clone());
                        }
                        value => collect(value, into),
                    }
                }
            }
            Value::Array(values) => values.iter().for_each(|value| collect(value, into)),
            _ => {}
        }
    }
    let mut queries = Vec::new();
    collect(&serde_json::from_str(DASHBOARD).unwrap(), &mut queries);
    queries
}

/// The names of our metrics in a query.
fn metrics(query: &str) -> BTreeSet<&str> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = query.split(|c| !is_name(c));
    words
        .filter(|word| word.starts_with("stt_isolated_"))
        .collect()
}

/// The values that a query compares labels with; those of variables aside.
fn labels(query: &str) -> Vec<(&str, &str)> {
    let mut all = Vec::new();
    for (label, _) in query
        .match_indices("=\"")
        .chain(query.match_indices("=~\""))
    {
        let name = query[..label].trim_end_matches('!');
        let name = name.rsplit(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let (_, values) = query[label..].split_once('"').unwrap();
        let (values, _) = values.split_once('"').unwrap();
        if let Some(name) = name.into_iter().next()
            && !values.starts_with('$')
        {
            all.extend(values.split('|').map(|value| (name, value)));
        }
    }
    all
}

#[test]
fn dashboard_and_alerts_use_real_metrics() {
    let config = "[memory]\nbudget = \"1G\"\n[models.default]\nengine = \"fault\"";
    let daemon = Setup::new(config).start();
    let form = Form::of("a.wav", &wav(&[0; 32_000]));
    assert_eq!(daemon.post(&form).status, 200);
    let served = String::from_utf8(daemon.get("/metrics").body.to_vec()).unwrap();
    let mut names = BTreeSet::new();
    let mut known = BTreeMap::<&str, BTreeSet<&str>>::new();
    for sample in served.lines().filter(|line| !line.starts_with('#')) {
        let (series, _) = sample.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        names.insert(name);
        for label in labels
            .trim_end_matches('}')
            .split(',')
            .filter(|l| !l.is_empty())
        {
            let (label, value) = label.split_once('=').unwrap();
            known
                .entry(label)
                .or_default()
                .insert(value.trim_matches('"'));
        }
    }
    assert!(names.len() > 40, "{served}");
    let rules = RULES
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'));
    let rules = rules.collect::<Vec<_>>().join("\n");
    let queries = queries();
    assert!(queries.len() > 25, "{queries:?}");
    let mut asked = BTreeSet::new();
    for query in queries.iter().chain([&rules]) {
        for metric in metrics(query) {
            assert!(
                names.contains(metric),
                "{metric} is not in /metrics: {query}"
            );
            asked.insert(metric);
        }
        for (label, value) in labels(query) {
            if !["job", "instance", "model"].contains(&label) {
                assert!(known[label].contains(value), "{label}={value}: {query}");
            }
        }
    }
    assert!(asked.len() > 20, "{asked:?}");
}

#[test]
fn prometheus_parses_every_query() {
    let queries = queries();
    let expressions = queries
        .iter()
        .filter(|query| !query.starts_with("label_values("));
    let rules = expressions.enumerate().map(|(n, query)| {
        let query = query.replace("$__rate_interval", "5m");
        let query = query.replace("$instance", ".*").replace("$model", ".*");
        assert!(!query.contains('$'), "{query}");
        format!("- {{record: \"q{n}\", expr: {}}}\n", Value::from(query))
    });
    let rules: String = rules.collect();
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("queries.yml");
    fs::write(
        &path,
        format!("groups:\n- name: q\n  rules:\n{}", indented(&rules)),
    )
    .unwrap();
    promtool(&["check", "rules", path.to_str().unwrap()]);
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

#[test]
fn panels_do_not_overlap() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let mut taken = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        assert!(at("x") + at("w") <= 24, "{panel}");
        for x in at("x")..at("x") + at("w") {
            for y in at("y")..at("y") + at("h") {
                assert!(taken.insert((x, y)), "{panel}");
            }
        }
    }
}

#[test]
fn alerts_fire_when_they_should() {
    promtool(&["check", "rules", "stt-isolated.rules.yml"]);
    promtool(&["test", "rules", "stt-isolated.test.yml"]);
    for line in RULES.lines() {
        let Some(name) = line.trim().strip_prefix("- alert: ") else {
            continue;
        };
        // Once that it fires, once that it does not; and what is to be done then.
        let tested = RULES_TEST.matches(&format!("alertname: {name}")).count();
        assert!(tested >= 2, "{name} is tested {tested} times");
        assert!(
            PAGE.contains(&format!("| `{name}` | ")),
            "{name} is not explained"
        );
    }
}

#[test]
fn the_page_has_every_kind_of_event() {
    let mut rows = BTreeMap::new();
    for line in PAGE.lines() {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        if let [id, name, meaning] = cells[..]
            && let Some(id) = id.strip_prefix('`').and_then(|id| id.strip_suffix('`'))
            && id.len() == 32
        {
            assert!(!meaning.is_empty(), "{line}");
            assert!(rows.insert(id, name.trim_matches('`')).is_none(), "{line}");
        }
    }
    let known: BTreeMap<&str, &str> = events::ALL.iter().map(|(name, id)| (*id, *name)).collect();
    assert_eq!(rows, known);
}

#[test]
fn fields_and_keys_on_the_page_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let record = fs::read_to_string(root.join("src/dispatch/statistics/record.rs")).unwrap();
    let is_name = |c: char| c.is_ascii_uppercase() || c == '_';
    let mut fields = BTreeSet::new();
    for (at, _) in PAGE.match_indices("STT_") {
        let rest = &PAGE[at..];
        fields.insert(&rest[..rest.find(|c| !is_name(c)).unwrap()]);
    }
    assert!(fields.len() > 10, "{fields:?}");
    for field in fields {
        let name = field.strip_prefix("STT_").unwrap().to_lowercase();
        let is_told = [format!(" {name} = "), format!(" {name},\n")];
        assert!(is_told.iter().any(|told| record.contains(told)), "{field}");
    }
    // Files that it sends its reader to.
    for (at, _) in PAGE.match_indices("packaging/") {
        let path = PAGE[at..].split(['`', ')', ' ', '\n']).next().unwrap();
        assert!(root.join(path).exists(), "{path}");
    }
}
