//! What is generated for others to read: the schema for editors, completions
//! for shells, manual pages for people. All of it follows from the definitions
//! of the document and of the arguments.

use std::fs;
use std::io;
use std::path::Path;

use clap::Command;
use clap_complete::Shell;
use clap_mangen::roff::{Roff, bold, roman};

/// The JSON Schema of the policy document.
pub(crate) fn schema() -> Vec<u8> {
    format!("{:#}\n", policy_encoder::schema()).into_bytes()
}

/// The completions for one shell.
pub(crate) fn completions(command: &mut Command, shell: Shell) -> Vec<u8> {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, command, name, &mut script);
    script
}

/// Writes a page for the program and one for each of its commands, and one
/// for the launcher where its help is given.
pub(crate) fn write_pages(
    command: Command,
    launcher_help: Option<&Path>,
    directory: &Path,
) -> io::Result<()> {
    clap_mangen::generate_to(command.disable_help_subcommand(true), directory)?;
    let Some(help) = launcher_help else { return Ok(()) };
    fs::write(directory.join("launcher.1"), launcher_page(&fs::read_to_string(help)?))
}

/// The launcher's page, out of what it prints for `--help`: a sentence, the
/// usage with examples, then headings that end in a colon, with options or
/// text below them. The launcher has a parser of its own, and no more to say.
fn launcher_page(help: &str) -> String {
    let mut page = Roff::new();
    page.control("TH", ["LAUNCHER", "1"]);
    page.control("SH", ["NAME"]);
    let mut lines = help.lines();
    let about = lines.next().unwrap_or_default().trim_end_matches('.');
    page.text([roman(format!("launcher - {about}"))]);
    let mut in_example = false;
    for line in lines.filter(|line| !line.is_empty()) {
        let text = line.trim_start();
        let indent = line.len() - text.len();
        if in_example && indent != 4 {
            page.control("EE", []);
        }
        match (indent, text.split_once(": "), text.strip_suffix(':')) {
            (0, Some(("Usage", usage)), _) => {
                page.control("SH", ["SYNOPSIS"]);
                page.text([roman(usage)]);
            }
            (0, Some((heading, rest)), _) => {
                page.control("SH", [heading.to_uppercase().as_str()]);
                page.text([roman(rest)]);
            }
            (0, None, Some(heading)) => {
                page.control("SH", [heading.to_uppercase().as_str()]);
            }
            (4, ..) => {
                if !in_example {
                    page.control("EX", []);
                }
                page.text([roman(text)]);
            }
            // An option, and what it means behind at least two spaces.
            (2, ..) => {
                let (option, meaning) = text.split_once("  ").unwrap_or((text, ""));
                page.control("TP", []);
                page.text([bold(option)]);
                page.text([roman(meaning.trim_start())]);
            }
            _ => {
                page.text([roman(text)]);
            }
        }
        in_example = indent == 4;
    }
    page.render()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_launchers_page_has_its_options_and_examples() {
        let page = launcher_page(
            "Run it.\n\nUsage: launcher -- COMMAND\n\n    launcher -- true\n\n\
             Options:\n  --fd N   a descriptor,\n           open\n\nExit status: that\nof it.\n",
        );
        for part in [
            "launcher \\- Run it",
            ".SH SYNOPSIS\nlauncher \\-\\- COMMAND",
            ".EX\nlauncher \\-\\- true\n.EE\n.SH OPTIONS\n.TP\n",
            "\\fB\\-\\-fd N\\fR\na descriptor,\nopen",
            ".SH \"EXIT STATUS\"\nthat\nof it.",
        ] {
            assert!(page.contains(part), "{part} is not in\n{page}");
        }
    }
}
