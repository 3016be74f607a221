//! The manual pages: clap's knowledge of each command, and the texts in `packaging/man`.

use clap::Command;
use clap_mangen::Man;

use crate::{Edition, settings, settings::escaped};

const DAEMON: &str = include_str!("../../man/stt-isolated.8");
const CLIENT: &str = include_str!("../../man/sttctl.1");
const CONFIGURATION: &str = include_str!("../../../config/stt-isolated.toml");

/// Every page as file name and text.
pub fn all(daemon: &Command, client: &Command, edition: &Edition) -> Vec<(String, String)> {
    let mut pages = vec![(
        "stt-isolated.toml.5".into(),
        settings::page(CONFIGURATION, edition),
    )];
    for (command, section, more) in [(daemon, "8", DAEMON), (client, "1", CLIENT)] {
        pages.push((
            format!("{}.{section}", command.get_name()),
            page(command, section, edition, more),
        ));
        // Building adds the names, synopses and flags that come from the whole command
        // (`sttctl-top`, `sttctl top`, --help).
        let mut built = command.clone();
        built.build();
        for part in built.get_subcommands() {
            let name = format!("{}-{}", command.get_name(), part.get_name());
            let part = part.clone().display_name(&name);
            let more = format!(".SH SEE ALSO\n\\fB{}\\fR({section})\n", command.get_name());
            pages.push((
                format!("{name}.{section}"),
                page(&part, section, edition, &more),
            ));
        }
    }
    pages
}

fn page(command: &Command, section: &str, edition: &Edition, more: &str) -> String {
    let name = command.get_display_name().unwrap_or(command.get_name());
    let man = Man::new(command.clone())
        .title(name.to_uppercase())
        .section(section)
        .date(edition.date)
        .source(format!("stt-isolated {}", edition.version))
        .manual("stt-isolated");
    let mut text = Vec::new();
    let has_options = command
        .get_arguments()
        .any(|argument| !argument.is_hide_set());
    let written = man
        .render_title(&mut text)
        .and_then(|()| man.render_name_section(&mut text))
        .and_then(|()| man.render_synopsis_section(&mut text))
        .and_then(|()| man.render_description_section(&mut text))
        .and_then(|()| {
            if has_options {
                man.render_options_section(&mut text)
            } else {
                Ok(())
            }
        })
        .and_then(|()| {
            if command.has_subcommands() {
                man.render_subcommands_section(&mut text)
            } else {
                Ok(())
            }
        });
    debug_assert!(written.is_ok(), "memory takes everything");
    let mut text = String::from_utf8_lossy(&text).into_owned();
    if let Some(help) = command.get_after_help() {
        text += &notes(&help.to_string());
    }
    text + more
}

/// The text below the options in --help. clap_mangen would merge it into one paragraph.
fn notes(help: &str) -> String {
    let mut section = String::from(".SH NOTES\n");
    for (number, paragraph) in help.split("\n\n").enumerate() {
        section += if number == 0 { "" } else { ".PP\n" };
        section += &escaped(paragraph).replace('\n', "\n.br\n");
        section.push('\n');
    }
    section
}
