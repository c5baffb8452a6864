//! A document written as a person would write it: what is absent is left
//! out, tables have their headings, and long lists a line for each item.

use toml::{Table, Value};

use super::Document;

/// The longest list that stands on one line, in bytes.
const LONG: usize = 80;

impl Document {
    /// The document in TOML, which reads back as the same document.
    ///
    /// # Errors
    ///
    /// If it holds a number that TOML does not have.
    pub fn to_toml(&self) -> Result<String, String> {
        let table = Table::try_from(self)
            .map_err(|error| format!("the policy cannot be written in TOML: {error}"))?;
        let mut text = String::new();
        write(&mut text, "", &table);
        Ok(text)
    }
}

/// Writes a table below its heading, then those in it.
fn write(text: &mut String, path: &str, table: &Table) {
    for (key, value) in table {
        if !matches!(value, Value::Table(_)) && tables(key, value).is_none() {
            text.push_str(&format!("{} = {}\n", self::key(key), self::value(key, value)));
        }
    }
    for (key, value) in table {
        let path = match path {
            "" => self::key(key),
            path => format!("{path}.{}", self::key(key)),
        };
        if let Value::Table(inner) = value {
            // A table that only holds others needs no heading.
            if inner.values().any(|value| !matches!(value, Value::Table(_))) {
                heading(text, &format!("[{path}]"));
            }
            write(text, &path, inner);
        }
        for inner in tables(key, value).into_iter().flatten() {
            heading(text, &format!("[[{path}]]"));
            write(text, &path, inner);
        }
    }
}

/// The exact mounts, which have headings of their own; other lists of tables
/// are short.
fn tables<'v>(key: &str, value: &'v Value) -> Option<impl Iterator<Item = &'v Table>> {
    let mounts = value.as_array().filter(|_| key == "mount")?;
    Some(mounts.iter().filter_map(Value::as_table))
}

fn heading(text: &mut String, heading: &str) {
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str(heading);
    text.push('\n');
}

/// A key, in quotes if it needs them.
fn key(key: &str) -> String {
    let line = Table::from_iter([(key.to_owned(), Value::Boolean(true))]).to_string();
    line.trim_end().strip_suffix(" = true").unwrap_or(key).to_owned()
}

fn value(key: &str, value: &Value) -> String {
    let line = value.to_string();
    match value {
        Value::Integer(bits) if matches!(key, "mode" | "umask") => format!("{bits:#o}"),
        Value::Array(items) if line.len() > LONG => {
            let items: String = items.iter().map(|item| format!("    {item},\n")).collect();
            format!("[\n{items}]")
        }
        _ => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::document;

    #[test]
    fn nothing_is_written_of_what_is_absent() {
        assert_eq!(Document::default().to_toml().as_deref(), Ok(""));
    }

    #[test]
    fn a_document_is_written_for_people() {
        let text = "\
description = 'all \"of\" it'

[filesystem]
root = \"host\"
read = [{ path = \"/usr\", missing = \"skip\" }]
write = [
    \"/a/rather/long/path/that/takes/much/of/the/line\",
    \"/another/path/that/takes/more\",
    { fd = 5, at = \"/x\" },
]
tmp_size = \"1536M\"

[[filesystem.mount]]
type = \"proc\"
target = \"/p\"

[[filesystem.mount]]
type = \"tmpfs\"
target = \"/t\"
size = \"1000\"
mode = 0o755

[network]
connect_tcp = []

[process]
keep_fds = [5, { fd = 6, directory = true }]

[process.env]
keep = [\"LC_*\"]

[process.env.set]
A = \"1\"
\"a b\" = \"2\"

[limits.rlimit]
as = [\"1G\", \"unlimited\"]
nofile = 1024
";
        assert_eq!(document(text).to_toml().as_deref(), Ok(text));
    }

    #[test]
    fn what_is_written_reads_back_as_the_same() {
        let text = r#"
            extends = ["strict"]
            merge = "strictest"
            process = { umask = 0o22, die_with_parent = false, env = { set = { "\n" = "a\nb" } } }
            limits.memory = "18446744073709551615"
            limits.cpu_time = "1m 30s"
            limits.cpu_affinity = [0]
            limits.rlimit = { core = "unlimited", as = 9223372036854775807, cpu = [1, 2] }
            seccomp = { profile = "unconfined", allow = ["bpf"], errno = "ENOSYS" }
            namespaces = { uid_map = [{ inside = 0, outside = 1, count = 2 }], time = true }
            enforce = { landlock = "require", landlock_log = "quiet" }
            [filesystem]
            deny = ["/x\ny", "$HOME/z"]
            dev = []
            proc = false
            tmp = "none"
            [[filesystem.mount]]
            type = "file"
            target = "/f"
            data = "two\nlines\n"
            [[filesystem.mount]]
            type = "bind"
            source = "/a"
            target = "/b"
            access = ["write"]
            [network]
            unix = []
            bind_tcp = [1]
            udp = false
            access = "host"
            allow = ["a:1"]
            deny = ["*.b"]
            proxy = { http = 1, upstream = "environment", transparent = true }
            without_namespace = "supervise"
        "#;
        let document = document(text);
        let written = document.to_toml().expect("it is written");
        assert_eq!(crate::tests::document(&written), document, "{written}");
    }
}
