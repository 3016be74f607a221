//! Imports between the files of `src/` go down from floor to floor, and never in a circle.
//!
//! A text scan finds every `use` and every path such as `crate::a::b` or `super::c`, and resolves
//! it to the file that defines the name. Re-exports are followed. `mod x;` is not an import, and a
//! re-export from a file's own children counts only if the file itself uses the name. No circle is
//! seen in a part of a module that imports the module's own file. Modules behind `cfg(test)` or
//! `cfg(fuzzing)` are left out. `STT_HOUSE=path` looks at another checkout.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque},
    env, fs,
    path::{Path, PathBuf},
};

/// The floors, the lowest first. Modules of one floor do not import each other; the files of one
/// module may.
const FLOORS: &[&[&str]] = &[
    &[
        "units",
        "language",
        "names",
        "problems",
        "transcript",
        "events",
    ],
    &["isolation", "audio", "catalogue"],
    &["request"],
    &["engine"],
    &["config"],
    &["job", "detector"],
    &["dispatch/request"],
    &["dispatch/statistics"],
    &["dispatch/state"],
    &["dispatch/serving"],
    &["dispatch/model"],
    &["dispatch/snapshot"],
    &["dispatch"],
    &["api"],
    &["service"],
    &["arguments", "bin/sttctl"],
    &["main"],
];

/// Modules that may import these others, and nothing else but their own files.
const ONLY: &[(&str, &[&str])] = &[("bin/sttctl", &["catalogue", "events", "request"])];

#[test]
fn imports_go_down() {
    let wrong = House::read(&tree()).upward(FLOORS, ONLY);
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn no_circle_is_left() {
    let circles = House::read(&tree()).circles();
    assert!(circles.is_empty(), "\n{}\n", circles.join("\n"));
}

#[test]
fn a_planted_upward_import_is_named() {
    let house = planted(&[
        ("lib.rs", "mod high;\nmod low;"),
        ("high.rs", "pub struct Top;"),
        (
            "low.rs",
            "\n/* use crate::low; */\nfn f() { let _: crate::high::Top; }",
        ),
    ]);
    assert_eq!(
        house.upward(&[&["low"], &["high"]], &[]),
        ["src/low.rs:3 imports src/high.rs, which is not below it"]
    );
}

#[test]
fn an_import_by_a_re_export_counts_for_the_file_that_defines_the_name() {
    let house = planted(&[
        ("lib.rs", "mod high;\nmod low;"),
        (
            "high/mod.rs",
            "mod inner;\npub(crate) use inner::{Top as Roof, self};",
        ),
        ("high/inner.rs", "pub enum Top { A }"),
        (
            "low.rs",
            "use std::{fs, io};\nuse crate::{\n    high::Roof::{self, A},\n};",
        ),
    ]);
    assert_eq!(
        house.upward(&[&["low"], &["high"]], &[]),
        ["src/low.rs:3 imports src/high/inner.rs, which is not below it"]
    );
    assert!(house.circles().is_empty());
}

#[test]
fn an_import_beyond_what_a_module_may_know_is_named() {
    let house = planted(&[
        ("lib.rs", "pub mod events;\npub mod request;"),
        ("events.rs", "pub const A: u8 = 1;"),
        ("request.rs", "pub const B: u8 = 2;"),
        ("bin/sttctl/main.rs", "mod x;\nuse stt_isolated::events::A;"),
        ("bin/sttctl/x.rs", "const C: u8 = stt_isolated::request::B;"),
    ]);
    assert_eq!(
        house.upward(
            &[&["request", "events"], &["bin/sttctl"]],
            &[("bin/sttctl", &["events"])]
        ),
        ["src/bin/sttctl/x.rs:1 imports src/request.rs, which bin/sttctl may not know"]
    );
}

#[test]
fn a_file_on_no_floor_is_named() {
    let house = planted(&[("lib.rs", "mod new;"), ("new.rs", "")]);
    assert_eq!(house.upward(&[], &[]), ["src/new.rs is on no floor"]);
}

#[test]
fn a_planted_circle_is_named() {
    let house = planted(&[
        ("lib.rs", "mod a;\nmod b;\nmod c;"),
        ("a.rs", "use crate::b::B;\npub struct A;"),
        ("b.rs", "\nuse super::c;\npub struct B;\nfn f() { c::g() }"),
        ("c.rs", "pub fn g() { use crate::a::A; }"),
    ]);
    assert_eq!(
        house.circles(),
        ["src/a.rs:1 → src/b.rs:2 → src/c.rs:1 → src/a.rs"]
    );
}

#[test]
fn a_part_may_import_the_module_that_it_belongs_to() {
    let house = planted(&[
        ("lib.rs", "mod a;"),
        (
            "a/mod.rs",
            "mod b;\nmod c;\npub struct A;\nfn f() { b::g(); c::g() }",
        ),
        (
            "a/b.rs",
            "use super::A;\npub(in crate::a) fn g() { super::c::g() }",
        ),
        ("a/c.rs", "pub fn g() {}"),
    ]);
    assert!(house.circles().is_empty());
}

#[test]
fn tests_and_fuzzers_may_import_what_they_like() {
    let house = planted(&[
        (
            "lib.rs",
            "mod a;\nmod b;\n#[cfg(any(test, fuzzing))]\npub mod fuzzing;",
        ),
        ("fuzzing.rs", "pub use crate::{a::A, b::B};"),
        ("a.rs", "use crate::b::B;\npub struct A;"),
        (
            "b.rs",
            "pub struct B;\n#[cfg(test)]\nmod tests { use crate::a::A; }\n#[cfg(test)]\nuse crate::a::A;",
        ),
    ]);
    assert!(house.circles().is_empty());
    assert!(house.upward(&[&["b"], &["a"]], &[]).is_empty());
}

fn tree() -> PathBuf {
    env::var_os("STT_HOUSE").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from)
}

fn planted(files: &[(&str, &str)]) -> House {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join("src").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    House::read(folder.path())
}

/// Every module that is compiled into the daemon and `sttctl`, and which file imports which.
struct House {
    modules: HashMap<String, Module>,
    /// Files where each exported macro is defined.
    macros: HashMap<String, String>,
    /// From each file to each that it imports, with the line of the first import.
    imports: BTreeMap<String, BTreeMap<String, usize>>,
}

/// A module, by the names that it binds.
#[derive(Default)]
struct Module {
    file: String,
    defined: HashSet<String>,
    uses: Vec<Use>,
    paths: Vec<(usize, Vec<String>)>,
    /// Every identifier outside `use`.
    words: HashSet<String>,
}

/// One leaf of a `use` declaration.
#[derive(Clone)]
struct Use {
    line: usize,
    path: Vec<String>,
    /// The name that it binds; `*` for everything of a module.
    name: String,
    public: bool,
}

impl House {
    /// The house below `root`/src.
    fn read(root: &Path) -> Self {
        let mut house = Self {
            modules: HashMap::new(),
            macros: HashMap::new(),
            imports: BTreeMap::new(),
        };
        for (name, file) in [
            ("lib", "src/lib.rs"),
            ("main", "src/main.rs"),
            ("sttctl", "src/bin/sttctl/main.rs"),
        ] {
            if root.join(file).exists() {
                house.read_module(root, name, file);
            }
        }
        house.connect();
        house
    }

    /// Reads one file, and the files of its child modules.
    fn read_module(&mut self, root: &Path, name: &str, file: &str) {
        let text = fs::read_to_string(root.join(file)).unwrap();
        let mut reader = Reader {
            tokens: tokens(&text),
            at: 0,
            file,
            house: self,
            children: Vec::new(),
        };
        reader.module(name);
        let children = reader.children;
        self.imports.entry(file.into()).or_default();
        let stem = file.strip_suffix(".rs").unwrap();
        let folder = match stem.rsplit_once('/') {
            Some((folder, "mod" | "lib" | "main")) => folder,
            _ => stem,
        };
        for child in children {
            let path = child.rsplit("::").next().unwrap();
            // A module in a file's own text has a folder of that name.
            let inner = child.strip_prefix(name).unwrap().trim_start_matches("::");
            let below = format!("{folder}/{}", inner.replace("::", "/"));
            let candidates = [format!("{below}.rs"), format!("{below}/mod.rs")];
            let found = candidates.iter().find(|file| root.join(file).exists());
            let found = found.unwrap_or_else(|| panic!("{file}: no file of module {path}"));
            self.read_module(root, &child, found);
        }
    }

    /// Resolves every import to a file.
    fn connect(&mut self) {
        let mut found = Vec::new();
        for (name, module) in &self.modules {
            for used in &module.uses {
                let Some(file) = self.resolve(name, &used.path, 0) else {
                    continue;
                };
                let own = self.modules.iter().any(|(child, module)| {
                    module.file == file && child.starts_with(&format!("{name}::"))
                });
                if used.public && own && !module.words.contains(&used.name) {
                    continue;
                }
                found.push((module.file.clone(), file, used.line));
            }
            for (line, path) in &module.paths {
                if let Some(file) = self.resolve(name, path, 0) {
                    found.push((module.file.clone(), file, *line));
                }
            }
        }
        for (from, to, line) in found {
            if from != to {
                let line = line.min(*self.imports[&from].get(&to).unwrap_or(&line));
                self.imports.entry(from).or_default().insert(to, line);
            }
        }
    }

    /// The file that defines what `path` names in the module `name`; none for another crate's.
    fn resolve(&self, name: &str, path: &[String], depth: usize) -> Option<String> {
        if depth > 16 {
            return None;
        }
        let mut at = name.to_owned();
        let mut rest = path;
        let mut ours = false;
        while let Some((first, others)) = rest.split_first() {
            at = match first.as_str() {
                "crate" => at.split("::").next()?.to_owned(),
                "stt_isolated" => "lib".to_owned(),
                "self" => at,
                "super" => at.rsplit_once("::")?.0.to_owned(),
                _ => break,
            };
            ours = true;
            rest = others;
        }
        self.look(&at, rest, ours, depth)
    }

    /// The same for a path that begins in the module `at`, which `ours` is certain to bind.
    fn look(&self, at: &str, path: &[String], ours: bool, depth: usize) -> Option<String> {
        let module = self.modules.get(at)?;
        let Some((name, rest)) = path.split_first() else {
            return Some(module.file.clone());
        };
        let child = format!("{at}::{name}");
        if self.modules.contains_key(&child) {
            return self.look(&child, rest, true, depth);
        }
        if module.defined.contains(name) || name == "*" {
            return Some(module.file.clone());
        }
        for used in module.uses.iter().filter(|used| used.name == *name) {
            // `use x::y as y` in the module `y` itself, and names of other crates.
            if used.path.first() != Some(name) || used.path.len() > 1 {
                let path: Vec<_> = used.path.iter().chain(rest).cloned().collect();
                if let Some(file) = self.resolve(at, &path, depth + 1) {
                    return Some(file);
                }
            }
        }
        for used in module.uses.iter().filter(|used| used.name == "*") {
            let (_, whole) = used.path.split_last()?;
            let path: Vec<_> = whole.iter().chain(path).cloned().collect();
            if let Some(file) = self.resolve_exactly(at, &path, depth + 1) {
                return Some(file);
            }
        }
        match self.macros.get(name) {
            Some(file) if ours && !at.contains("::") => Some(file.clone()),
            _ if ours => Some(module.file.clone()),
            _ => None,
        }
    }

    /// `resolve` for a name that may not be there, as behind a `*`.
    fn resolve_exactly(&self, at: &str, path: &[String], depth: usize) -> Option<String> {
        let file = self.resolve(at, path, depth)?;
        let name = path.last()?;
        let mut modules = self.modules.values().filter(|module| module.file == file);
        modules
            .any(|module| module.defined.contains(name))
            .then_some(file)
    }

    /// A line for each import that does not go down, and for each file that is on no floor.
    fn upward(&self, floors: &[&[&str]], only: &[(&str, &[&str])]) -> Vec<String> {
        let place = |file: &str| {
            let path = file.strip_prefix("src/").unwrap();
            let path = path.strip_suffix(".rs").unwrap();
            let whole = path.strip_suffix("/mod").unwrap_or(path);
            let modules = floors
                .iter()
                .enumerate()
                .flat_map(|(floor, modules)| modules.iter().map(move |module| (floor, *module)));
            modules
                .filter(|(_, module)| whole == *module || path.starts_with(&format!("{module}/")))
                .max_by_key(|(_, module)| module.len())
        };
        let mut wrong = Vec::new();
        for (from, imports) in self
            .imports
            .iter()
            .filter(|(from, _)| *from != "src/lib.rs")
        {
            let Some((floor, module)) = place(from) else {
                wrong.push(format!("{from} is on no floor"));
                continue;
            };
            for (to, line) in imports {
                let Some((below, other)) = place(to).filter(|(_, other)| *other != module) else {
                    continue;
                };
                if below >= floor {
                    wrong.push(format!("{from}:{line} imports {to}, which is not below it"));
                }
                for (_, known) in only.iter().filter(|(name, _)| *name == module) {
                    if !known.contains(&other) {
                        wrong.push(format!(
                            "{from}:{line} imports {to}, which {module} may not know"
                        ));
                    }
                }
            }
        }
        wrong
    }

    /// Each circle of imports between files, the shortest through each import.
    fn circles(&self) -> Vec<String> {
        let mut circles = BTreeSet::new();
        for (from, imports) in &self.imports {
            for to in imports.keys().filter(|to| !is_part(from, to)) {
                if let Some(mut circle) = self.way(to, from) {
                    let first = circle.iter().enumerate().min_by_key(|(_, file)| *file);
                    let first = first.map_or(0, |(index, _)| index);
                    circle.rotate_left(first);
                    circles.insert(circle);
                }
            }
        }
        let told = circles.into_iter().map(|circle| {
            let ends = circle.iter().cycle().skip(1);
            let mut steps: Vec<_> = circle
                .iter()
                .zip(ends)
                .map(|(from, to)| format!("{from}:{}", self.imports[*from][*to]))
                .collect();
            steps.push(circle[0].to_string());
            steps.join(" → ")
        });
        told.collect()
    }

    /// The files on the shortest way of imports between two files, both included.
    fn way<'a>(&'a self, from: &'a str, to: &'a str) -> Option<Vec<&'a str>> {
        let mut before = HashMap::from([(from, from)]);
        let mut queue = VecDeque::from([from]);
        while let Some(file) = queue.pop_front() {
            if file == to {
                let mut way = vec![to];
                while *way.last()? != from {
                    way.push(before[way.last()?]);
                }
                way.reverse();
                return Some(way);
            }
            for next in self.imports[file].keys().filter(|to| !is_part(file, to)) {
                before.entry(next).or_insert_with(|| {
                    queue.push_back(next);
                    file
                });
            }
        }
        None
    }
}

/// True if `file` belongs to the module whose own file is `module`. A module and its parts are one
/// thing, so a part may use the names of the whole.
fn is_part(file: &str, module: &str) -> bool {
    let folder = module
        .strip_suffix("/mod.rs")
        .or_else(|| module.strip_suffix(".rs"));
    folder.is_some_and(|folder| file.starts_with(&format!("{folder}/")))
}

/// A token of Rust: an identifier, a punctuation mark (`::` is one), or a literal, which is `""`.
struct Token {
    text: String,
    line: usize,
}

/// Tokens of a file without comments.
fn tokens(text: &str) -> Vec<Token> {
    let bytes = text.as_bytes();
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 128;
    let mut tokens = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < bytes.len() {
        let rest = &text[at..];
        let (length, kept) = if rest.starts_with("//") {
            (rest.find('\n').unwrap_or(rest.len()), None)
        } else if rest.starts_with("/*") {
            (comment(rest), None)
        } else if let Some(length) = raw_string(rest) {
            (length, Some("\"\""))
        } else if bytes[at] == b'"' {
            (string(rest), Some("\"\""))
        } else if bytes[at] == b'\'' {
            (quoted(rest), Some("\"\""))
        } else if is_word(bytes[at]) {
            let length = rest.bytes().position(|byte| !is_word(byte));
            let length = length.unwrap_or(rest.len());
            (length, Some(&rest[..length]))
        } else if rest.starts_with("::") {
            (2, Some("::"))
        } else if bytes[at].is_ascii_whitespace() {
            (1, None)
        } else {
            (1, Some(&rest[..1]))
        };
        if let Some(kept) = kept {
            let text = kept.to_owned();
            tokens.push(Token { text, line });
        }
        line += rest[..length].matches('\n').count();
        at += length;
    }
    tokens
}

/// Length of the block comment that `text` begins with; they nest.
fn comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        match text.as_bytes().get(at..at + 2) {
            Some(b"/*") => (depth, at) = (depth + 1, at + 2),
            Some(b"*/") => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// Length of the raw string that `text` begins with.
fn raw_string(text: &str) -> Option<usize> {
    let hashes = text.trim_start_matches(['b', 'c']).strip_prefix('r')?;
    let opened = hashes.trim_start_matches('#');
    let inside = opened.strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes.len() - opened.len()));
    Some(text.len() - inside.len() + inside.find(&end)? + end.len())
}

/// Length of the string that `text` begins with.
fn string(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Length of the character or the lifetime that `text` begins with.
fn quoted(text: &str) -> usize {
    let mut inside = text[1..].chars();
    match (inside.next(), inside.next()) {
        (Some('\\'), Some(escaped)) => {
            let after = 2 + escaped.len_utf8();
            text[after..]
                .find('\'')
                .map_or(text.len(), |end| after + end + 1)
        }
        (Some(one), Some('\'')) => 2 + one.len_utf8(),
        _ => {
            let word = text[1..].find(|one: char| !one.is_alphanumeric() && one != '_');
            word.map_or(text.len(), |length| 1 + length)
        }
    }
}

/// Goes through the tokens of one file, and fills in its modules.
struct Reader<'a> {
    tokens: Vec<Token>,
    at: usize,
    file: &'a str,
    house: &'a mut House,
    /// Modules that are in files of their own.
    children: Vec<String>,
}

impl Reader<'_> {
    fn text(&self, at: usize) -> &str {
        self.tokens.get(at).map_or("", |token| &token.text)
    }

    /// Reads a module up to the bracket that closes it, or to the end of the file.
    fn module(&mut self, name: &str) {
        let mut module = Module {
            file: self.file.into(),
            ..Module::default()
        };
        let (mut depth, mut public) = (0, false);
        while self.at < self.tokens.len() {
            let word = self.text(self.at).to_owned();
            match word.as_str() {
                "pub" => {
                    public = true;
                    self.skip_visibility();
                    continue;
                }
                "{" => depth += 1,
                "}" if depth == 0 => break,
                "}" => depth -= 1,
                "#" if self.skips_tests() => continue,
                "mod" if self.is_name(self.at + 1) => {
                    let child = format!("{name}::{}", self.text(self.at + 1));
                    self.at += 2;
                    match self.text(self.at) {
                        "{" => {
                            self.at += 1;
                            self.module(&child);
                        }
                        _ => self.children.push(child),
                    }
                }
                "use" if self.text(self.at + 1) != "<" => {
                    self.at += 1;
                    self.tree(&[], public, &mut module.uses);
                }
                "macro_rules" => {
                    let name = self.text(self.at + 2).to_owned();
                    self.house.macros.insert(name.clone(), self.file.into());
                    module.defined.insert(name);
                }
                "fn" | "struct" | "enum" | "union" | "trait" | "type" | "const" | "static" => {
                    let after = usize::from(self.text(self.at + 1) == "mut");
                    module
                        .defined
                        .insert(self.text(self.at + 1 + after).to_owned());
                }
                _ if self.is_name(self.at) => {
                    module.words.insert(word.clone());
                    self.path(&mut module);
                }
                _ => {}
            }
            public = false;
            self.at += 1;
        }
        self.house.modules.insert(name.into(), module);
    }

    /// Goes past `pub` or `pub(…)`, whose path is not an import.
    fn skip_visibility(&mut self) {
        self.at += 1;
        if self.text(self.at) == "("
            && matches!(self.text(self.at + 1), "crate" | "super" | "self" | "in")
        {
            while !matches!(self.text(self.at), ")" | "") {
                self.at += 1;
            }
            self.at += 1;
        }
    }

    fn is_name(&self, at: usize) -> bool {
        let first = self.text(at).chars().next();
        first.is_some_and(|first| first.is_alphabetic() || first == '_')
    }

    /// Notes the path that begins here, and stands at its last name.
    fn path(&mut self, module: &mut Module) {
        let line = self.tokens[self.at].line;
        let mut path = vec![self.text(self.at).to_owned()];
        while self.text(self.at + 1) == "::" && self.is_name(self.at + 2) {
            self.at += 2;
            path.push(self.text(self.at).to_owned());
        }
        if path.len() > 1 {
            module.paths.push((line, path));
        }
    }

    /// Reads a tree of `use`, and stands at the mark behind it.
    fn tree(&mut self, before: &[String], public: bool, uses: &mut Vec<Use>) {
        let mut path = before.to_vec();
        let line = self.tokens[self.at].line;
        loop {
            match self.text(self.at) {
                "::" => self.at += 1,
                "{" => {
                    self.at += 1;
                    while self.text(self.at) != "}" && self.at < self.tokens.len() {
                        self.tree(&path, public, uses);
                        if self.text(self.at) == "," {
                            self.at += 1;
                        }
                    }
                    self.at += 1;
                    return;
                }
                "self" if !path.is_empty() => self.at += 1,
                text @ ("," | "}" | ";" | "as" | "") => {
                    let mut name = path.last().cloned().unwrap_or_default();
                    if text == "as" {
                        name = self.text(self.at + 1).to_owned();
                        self.at += 2;
                    }
                    let used = Use {
                        line,
                        path,
                        name,
                        public,
                    };
                    uses.push(used);
                    return;
                }
                text => {
                    path.push(text.to_owned());
                    self.at += 1;
                }
            }
        }
    }

    /// True if an attribute for tests or fuzzers stands here. Its item is skipped, too.
    fn skips_tests(&mut self) -> bool {
        let (mut at, mut depth, mut words) = (self.at + 1, 0, Vec::new());
        while at < self.tokens.len() {
            match self.text(at) {
                "[" => depth += 1,
                "]" if depth == 1 => break,
                "]" => depth -= 1,
                word => words.push(word),
            }
            at += 1;
        }
        let only = |word| words.first() == Some(&"cfg") && words.contains(&word);
        if !(only("test") || only("fuzzing")) || words.contains(&"not") {
            return false;
        }
        // Other attributes of the item, then the item itself.
        let mut depth = 0;
        loop {
            at += 1;
            match self.text(at) {
                "{" | "(" | "[" => depth += 1,
                ")" | "]" => depth -= 1,
                "}" => {
                    depth -= 1;
                    if depth == 0 && self.text(at + 1) != ";" {
                        break;
                    }
                }
                ";" if depth == 0 => break,
                "" => break,
                _ => {}
            }
        }
        self.at = at + 1;
        true
    }
}
