//! Entries, files that replace others, and mistakes.

use super::*;

/// The file of the package.
const OWN: &str = include_str!("../../config/models.toml");

const SUM: &str = "60ed5bc3dd14eea856493d334349b405782ddcaf0028d4b5df4088345fba2efe";

fn of(text: &str) -> Catalogue {
    let mut catalogue = Catalogue::default();
    catalogue.add(Path::new("c.toml"), text);
    catalogue
}

/// An entry that is right, with `from` replaced by `to`.
fn changed(from: &str, to: &str) -> String {
    let text = format!(
        "[base]\n\
         engine = \"whisper\"\n\
         licence = \"MIT\"\n\
         languages = \"99 languages\"\n\
         memory = \"142M\"\n\
         hears = \"not measured\"\n\
         [[base.files]]\n\
         name = \"ggml-base.bin\"\n\
         url = \"https://models.example/ggml-base.bin\"\n\
         size = 147951465\n\
         sha256 = \"{SUM}\"\n"
    );
    assert!(text.contains(from), "{from}");
    text.replacen(from, to, 1)
}

fn right() -> String {
    changed("", "")
}

#[test]
fn the_packages_own_file_is_right() {
    let catalogue = of(OWN);
    assert_eq!(catalogue.remarks(), &[] as &[String]);
    let base = catalogue.entry("base").unwrap();
    assert_eq!((base.size(), base.engine), (147_951_465, Engine::Whisper));
    assert_eq!(catalogue.of_file(SUM), Some(base));
    let mut sums = BTreeMap::new();
    for entry in catalogue.entries() {
        for file in &entry.files {
            let url = file.url.as_str();
            assert!(
                url.starts_with("https://") && url.ends_with(file.name.as_str()),
                "{url}"
            );
            assert!(!url.contains("/resolve/main/"), "{url} may change");
            // The same bytes under one name only, so that a sum tells the model.
            if file.name.as_str() != "tokens.txt" {
                assert_eq!(
                    sums.insert(file.sha256.as_str(), &entry.name),
                    None,
                    "{}",
                    entry.name
                );
            }
        }
        let mib = entry.memory.bytes() >> 20;
        assert!(
            mib >= entry.size() >> 20,
            "{} needs its files in memory",
            entry.name
        );
    }
}

#[test]
fn each_wrong_line_has_its_message() {
    for (from, to, message) in [
        (
            "engine = \"whisper\"",
            "engine = \"julius\"",
            "c.toml:2: base.engine: unknown variant",
        ),
        (
            "licence = \"MIT\"\n",
            "",
            "c.toml:1: base.licence: missing: add this key",
        ),
        (
            "\"MIT\"",
            "\" \"",
            "c.toml:3: base.licence: write 1 to 300 characters",
        ),
        ("\"MIT\"", "\"M\\nIT\"", "c.toml:3: base.licence: line ends"),
        (
            "\"142M\"",
            "\"many\"",
            "c.toml:5: base.memory: `many` is no size",
        ),
        (
            "\"142M\"",
            "-1",
            "c.toml:5: base.memory: a size cannot be negative",
        ),
        (
            "hears =",
            "heard =",
            "c.toml:1: base.hears: missing|c.toml:6: base.heard: there is no such key",
        ),
        (
            "ggml-base.bin\"\nurl",
            "../x\"\nurl",
            "c.toml:8: base.files.name: write a file name",
        ),
        (
            "ggml-base.bin\"\nurl",
            "/etc/x\"\nurl",
            "c.toml:8: base.files.name: write a file name",
        ),
        (
            "https://m",
            "http://m",
            "c.toml:9: base.files.url: write a whole address",
        ),
        (
            "https://m",
            "ftp://m",
            "c.toml:9: base.files.url: write a whole address",
        ),
        (
            "https://m",
            "https://user@m",
            "c.toml:9: base.files.url: write a whole address",
        ),
        (
            "https://models.example",
            "models.example",
            "c.toml:9: base.files.url: write a whole",
        ),
        (
            "= 147951465",
            "= 0",
            "c.toml:10: base.files.size: the number of bytes",
        ),
        (
            "= 147951465",
            "= -5",
            "c.toml:10: base.files.size: invalid value: integer `-5`",
        ),
        (
            "= 147951465",
            "= \"142M\"",
            "c.toml:10: base.files.size: invalid type: string",
        ),
        (
            SUM,
            &SUM[..40],
            "c.toml:11: base.files.sha256: a SHA-256 has 64",
        ),
        (
            "[[base.files]]",
            "[base.files]",
            "c.toml:7: base.files: must be a list",
        ),
        (
            "[[base.files]]",
            "[[base.file]]",
            "c.toml:1: base.files: missing|c.toml:7: base.file: there is",
        ),
        ("\"MIT\"", "\"MIT", "c.toml:3: base: "),
        ("\"MIT\"", "", "c.toml:3: base: "),
    ] {
        let wrong = changed(from, to);
        let other = right().replace("base", "other");
        let catalogue = of(&format!("{wrong}\n{other}"));
        let expected: Vec<&str> = message.split('|').collect();
        let remarks = catalogue.remarks();
        assert_eq!(remarks.len(), expected.len(), "{to}: {remarks:?}");
        for (remark, expected) in remarks.iter().zip(expected) {
            assert!(remark.starts_with(expected), "{to}: {remark}");
        }
        // The other entry of the file is as it was.
        let names: Vec<&str> = catalogue.entries().map(|entry| &*entry.name).collect();
        assert_eq!(names, ["other"], "{to}");
    }
}

#[test]
fn several_mistakes_of_an_entry_are_all_named() {
    let text = changed("\"MIT\"", "7").replace("= 147951465", "= true");
    let catalogue = of(&text);
    let lines: Vec<&str> = catalogue.remarks().iter().map(|line| &line[..9]).collect();
    assert_eq!(lines, ["c.toml:3:", "c.toml:10"]);
}

#[test]
fn a_name_that_no_model_can_have_is_told_once() {
    let text = right().replace("[base", "[\"a/b\"");
    let catalogue = of(&text);
    assert_eq!(catalogue.remarks().len(), 1, "{:?}", catalogue.remarks());
    assert!(catalogue.remarks()[0].starts_with("c.toml:1: a/b: `a/b` is no model name"));
}

#[test]
fn a_table_that_is_no_model_is_named() {
    let catalogue = of(&format!("title = \"mine\"\n{}", right()));
    assert!(catalogue.remarks()[0].starts_with("c.toml:1: title: each model has a table"));
    assert!(catalogue.entry("base").is_some());
    // A dot without quotes makes a table in a table.
    let catalogue = of(&right().replace("base", "tiny.en"));
    assert!(catalogue.entries().next().is_none() && !catalogue.remarks().is_empty());
}

#[test]
fn a_folder_has_files_with_different_names() {
    let folder = |second: &str| {
        let text = changed("\"whisper\"", "\"sherpa\"");
        let (_, file) = text.split_once("[[base.files]]").unwrap();
        let file = file.replace("\"ggml-base.bin\"", &format!("{second:?}"));
        of(&format!("{text}[[base.files]]{file}"))
    };
    assert_eq!(folder("tokens.txt").entry("base").unwrap().files.len(), 2);
    assert_eq!(
        folder("lang/tokens.txt").entry("base").unwrap().size(),
        2 * 147_951_465
    );
    for clash in ["ggml-base.bin", "ggml-base.bin/x"] {
        let catalogue = folder(clash);
        assert!(
            catalogue.remarks()[0].contains("there is another file"),
            "{clash}"
        );
    }
    let two = folder("tokens.txt");
    assert_eq!(two.of_file(SUM), None);
    // A model for whisper.cpp is one file.
    let text = changed("", "");
    let (_, file) = text.split_once("[[base.files]]").unwrap();
    let catalogue = of(&format!("{text}[[base.files]]{file}"));
    assert!(catalogue.remarks()[0].contains("exactly one file"));
}

#[test]
fn later_files_replace_entries_and_bad_files_spoil_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("models.toml"), right()).unwrap();
    fs::create_dir(at("models.d")).unwrap();
    let drop_in = |name: &str, text: &[u8]| fs::write(at("models.d").join(name), text).unwrap();
    drop_in("10-mine.toml", right().replace("base", "mine").as_bytes());
    drop_in("20-base.toml", changed("\"MIT\"", "\"Own\"").as_bytes());
    drop_in("30-binary.toml", b"\xff\xfe");
    drop_in("40-long.toml", &vec![b'#'; 1 + (1 << 20)]);
    drop_in("README", b"no TOML");
    drop_in(".hidden.toml", b"no TOML");
    fs::create_dir(at("models.d/50-folder.toml")).unwrap();
    nix::unistd::mkfifo(&at("models.d/60-fifo.toml"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let catalogue = Catalogue::read(&[at("missing"), at("models.toml"), at("models.d")]);
    let entries: Vec<_> = catalogue
        .entries()
        .map(|entry| (entry.name.as_str(), entry.licence.as_str()))
        .collect();
    assert_eq!(entries, [("base", "Own"), ("mine", "MIT")]);
    let reasons = [
        "not UTF-8",
        "longer than 1 MiB",
        "not a regular file",
        "not a regular file",
    ];
    assert_eq!(
        catalogue.remarks().len(),
        reasons.len(),
        "{:?}",
        catalogue.remarks()
    );
    for (remark, reason) in catalogue.remarks().iter().zip(reasons) {
        assert!(
            remark.contains("cannot be read") && remark.contains(reason),
            "{remark}"
        );
    }
}

#[test]
fn words_about_a_wrong_file_have_their_bound() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.toml");
    for (text, words) in [
        ("no TOML\n".repeat(100_000), "it is not TOML"),
        (
            "[a]\nno TOML\n".to_owned() + &"[[".repeat(100_000),
            "expected",
        ),
    ] {
        fs::write(&file, text).unwrap();
        let remarks = Catalogue::read(std::slice::from_ref(&file)).remarks;
        assert!(
            remarks.len() <= 2 && remarks[0].contains(words),
            "{words}: {}",
            remarks[0]
        );
    }
    let text: String = (0..50_000)
        .map(|number| format!("a{number} = 1\n"))
        .collect();
    fs::write(&file, text).unwrap();
    let catalogue = Catalogue::read(&[file]);
    assert_eq!(catalogue.remarks().len(), MAX_REMARKS + 1);
    assert!(catalogue.remarks()[MAX_REMARKS].starts_with("more mistakes"));
}

#[test]
fn a_variable_names_other_places() {
    assert_eq!(places(None), PLACES.map(PathBuf::from));
    assert_eq!(places(Some("".as_ref())), PLACES.map(PathBuf::from));
    assert_eq!(
        places(Some("a:/b".as_ref())),
        ["a", "/b"].map(PathBuf::from)
    );
}

#[test]
fn this_machine_has_several_names() {
    for (host, is) in [
        ("localhost", true),
        ("127.0.0.1", true),
        ("127.9.9.9", true),
        ("[::1]", true),
        ("10.0.0.1", false),
        ("localhost.example", false),
        ("127.0.0.1.example", false),
    ] {
        assert_eq!(entry::is_loopback(host), is, "{host}");
    }
}
