//! Generates `stt-isolated.toml(5)` from the file that shows every key with its default and reason.

use crate::Edition;

/// A line of the file, by its meaning. A commented-out line is a key or a table like any other.
enum Line<'a> {
    Empty,
    Words(&'a str),
    Table(&'a str),
    Key(&'a str, &'a str),
}

fn read(line: &str) -> Line<'_> {
    if line == "#" || line.is_empty() {
        return Line::Empty;
    }
    if let Some(words) = line.strip_prefix("# ") {
        return Line::Words(words);
    }
    let code = line.strip_prefix('#').unwrap_or(line);
    match code.split_once(" = ") {
        Some((key, value)) => Line::Key(key, value),
        None => Line::Table(code),
    }
}

/// The page. Comments before a table or a key belong to it. Keys without comments between them
/// share the comment before the first one.
pub fn page(file: &str, edition: &Edition) -> String {
    let mut page = format!(
        ".TH STT-ISOLATED.TOML 5 \"{}\" \"stt-isolated {}\" stt-isolated\n\
         .SH NAME\nstt-isolated.toml \\- settings of the speech-to-text service stt-isolated\n\
         .SH SYNOPSIS\n/etc/stt-isolated/stt-isolated.toml\n.SH DESCRIPTION\n",
        edition.date, edition.version
    );
    let mut words: Vec<String> = Vec::new();
    let mut keys: Vec<String> = Vec::new();
    let mut options = false;
    // Each paragraph at the head of the file becomes one of the description.
    let mut lines = file.lines().peekable();
    lines.next_if(|line| line.starts_with("# stt-isolated:"));
    for line in lines {
        let line = read(line);
        if !keys.is_empty() && !matches!(line, Line::Key(..)) {
            entry(&mut page, &mut keys, &mut words);
        }
        match line {
            Line::Empty => paragraph(&mut page, &mut words),
            Line::Words(text) => words.push(text.into()),
            Line::Table(name) => {
                open(&mut page, &mut options);
                page += &format!(".SS \"{}\"\n", escaped(name));
                paragraph(&mut page, &mut words);
            }
            Line::Key(key, value) => {
                if keys.is_empty() && !options {
                    open(&mut page, &mut options);
                }
                keys.push(format!("\\fB{}\\fR = {}", escaped(key), escaped(value)));
            }
        }
    }
    entry(&mut page, &mut keys, &mut words);
    paragraph(&mut page, &mut words);
    page += ".SH SEE ALSO\n\\fBstt-isolated\\fR(8), \\fBsttctl\\fR(1)\n";
    page
}

fn open(page: &mut String, options: &mut bool) {
    if !*options {
        *page += ".SH OPTIONS\nShown with their defaults.\n";
        *options = true;
    }
}

fn paragraph(page: &mut String, words: &mut Vec<String>) {
    if !words.is_empty() {
        let heading = page
            .lines()
            .next_back()
            .is_some_and(|line| line.starts_with(".S"));
        *page += if heading { "" } else { ".PP\n" };
        running(page, words);
    }
}

fn entry(page: &mut String, keys: &mut Vec<String>, words: &mut Vec<String>) {
    for (number, key) in keys.drain(..).enumerate() {
        *page += if number == 0 { ".TP\n" } else { ".TQ\n" };
        *page += &key;
        page.push('\n');
    }
    running(page, words);
}

fn running(page: &mut String, words: &mut Vec<String>) {
    for line in words.drain(..) {
        *page += &escaped(&line);
        page.push('\n');
    }
}

/// Text that roff takes literally, also at the beginning of a line.
pub fn escaped(text: &str) -> String {
    let text = text
        .replace('\\', "\\e")
        .replace('-', "\\-")
        .replace('"', "\\(dq");
    match text.starts_with(['.', '\'']) {
        true => format!("\\&{text}"),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = include_str!("../../../config/stt-isolated.toml");

    const EDITION: Edition = Edition {
        version: "1",
        date: "2026-01-01",
    };

    #[test]
    fn every_key_and_table_of_the_file_is_on_the_page_once_each_time_it_is_in_the_file() {
        let page = page(FILE, &EDITION);
        let (mut keys, mut tables) = (0, 0);
        for line in FILE.lines() {
            match read(line) {
                Line::Key(key, value) => {
                    keys += 1;
                    let shown = format!("\n\\fB{}\\fR = {}\n", escaped(key), escaped(value));
                    assert!(page.contains(&shown), "{line}");
                }
                Line::Table(name) => {
                    tables += 1;
                    assert!(
                        page.contains(&format!(".SS \"{}\"\n", escaped(name))),
                        "{line}"
                    );
                }
                Line::Words(words) => {
                    assert!(
                        page.contains(&escaped(words)) || words.starts_with("stt-isolated:"),
                        "{line}"
                    );
                }
                Line::Empty => {}
            }
        }
        assert!(keys > 50 && tables > 15, "{keys} keys, {tables} tables");
        assert_eq!(page.matches("\\fR = ").count(), keys);
    }

    #[test]
    fn keys_share_words_and_words_stay_in_their_table() {
        let file = "# f\n\n# head\n\n# of a\na = 1\n\n# of t\n[t]\n# of b\nb = 2\nc = 3\n# late\n#d = \"x\"\n";
        let page = page(file, &EDITION);
        let at = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text}: {page}"));
        let order = [
            ".PP\nhead\n",
            ".SH OPTIONS",
            ".TP\n\\fBa\\fR = 1\nof a\n",
            ".SS \"[t]\"\nof t\n.TP\n\\fBb\\fR = 2\n.TQ\n\\fBc\\fR = 3\nof b\n",
            ".TP\n\\fBd\\fR = \\(dqx\\(dq\nlate\n",
        ];
        let places: Vec<usize> = order.iter().map(|text| at(text)).collect();
        assert!(places.is_sorted(), "{page}");
    }
}
