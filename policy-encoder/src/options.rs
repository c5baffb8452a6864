//! What the options of `run` say over a policy, in the words of the document.
//!
//! They become a document of their own, which extends the policy: complaints
//! point into its text.

use std::fmt::Write;

use clap::Args;
use policy_encoder::compose::Input;
use toml::Value;

/// The options that say something of the policy.
#[derive(Args)]
#[command(next_help_heading = "Over the policy")]
pub(crate) struct Options {
    /// Show PATH to read: an entry of filesystem.read
    #[arg(long, value_name = "PATH")]
    read: Vec<String>,
    /// Show PATH to change: an entry of filesystem.write
    #[arg(long, value_name = "PATH")]
    write: Vec<String>,
    /// Show PATH to read and run: an entry of filesystem.execute
    #[arg(long, value_name = "PATH")]
    execute: Vec<String>,
    /// Hide PATH: an entry of filesystem.deny
    #[arg(long, value_name = "PATH")]
    deny: Vec<String>,
    /// network.access: none, loopback, proxy or host
    #[arg(long, value_name = "ACCESS")]
    network: Option<String>,
    /// Any key of the document, such as limits.memory=1G; what is no value of
    /// TOML is text
    #[arg(long, value_name = "KEY=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
}

impl Options {
    /// What they say as a document; `None` if that is nothing.
    pub(crate) fn input(&self) -> Option<Input> {
        let mut text = String::new();
        let lists = [
            ("read", &self.read),
            ("write", &self.write),
            ("execute", &self.execute),
            ("deny", &self.deny),
        ];
        for (key, paths) in lists.into_iter().filter(|(_, paths)| !paths.is_empty()) {
            let paths = Value::Array(paths.iter().cloned().map(Value::String).collect());
            line(&mut text, &format!("filesystem.{key}"), &paths.to_string());
        }
        if let Some(access) = &self.network {
            line(&mut text, "network.access", &Value::from(access.as_str()).to_string());
        }
        for (key, value) in &self.set {
            line(&mut text, key, value);
        }
        (!text.is_empty()).then(|| Input::of_text("the command line", text))
    }
}

fn line(text: &mut String, key: &str, value: &str) {
    // Writing to memory does not fail.
    let _ = writeln!(text, "{key} = {value}");
}

/// `KEY=VALUE`, of which the value is one of TOML or becomes text.
fn assignment(argument: &str) -> Result<(String, String), String> {
    let (key, value) = argument.split_once('=').ok_or("there is no = in it")?;
    if key.trim().is_empty() || key.contains(['\n', '\r']) {
        return Err("there is no key before the =".to_owned());
    }
    let is_value =
        format!("x = {value}").parse::<toml::Table>().is_ok_and(|table| table.len() == 1);
    let value = if is_value { value.to_owned() } else { Value::from(value).to_string() };
    Ok((key.trim().to_owned(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(argument: &str) -> String {
        assignment(argument).expect("it is an assignment").1
    }

    #[test]
    fn what_is_no_value_is_text() {
        assert_eq!(value("limits.memory=1G"), "\"1G\"");
        assert_eq!(value("limits.processes=5"), "5");
        assert_eq!(value("network.connect_tcp=[443]"), "[443]");
        assert_eq!(value("process.env.set.A=a = b"), "\"a = b\"");
        assert_eq!(value("process.hostname=\"box\""), "\"box\"");
        assert_eq!(value("process.hostname=x\ny = 1"), "\"\"\"\nx\ny = 1\"\"\"");
        assert_eq!(value("process.umask=1\ny = 1"), "\"\"\"\n1\ny = 1\"\"\"");
        assert_eq!(value("process.env.set.A="), "\"\"");
    }

    #[test]
    fn an_assignment_has_a_key_and_a_value() {
        assert!(assignment("limits.memory").is_err());
        assert!(assignment("=1").is_err());
        assert!(assignment("x\n[y]=1").is_err());
    }
}
