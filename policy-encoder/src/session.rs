//! `process.terminal`, `process.umask`, `process.die_with_parent`.

use launcher_policy::session::{DieWithParent, Session, Terminal};

use crate::diagnostic::Diagnostics;
use crate::document::{self, Document};

/// Resolves what `[process]` says of session, terminal and caller.
pub(crate) fn resolve(document: &Document, diagnostics: &mut Diagnostics) -> Session {
    let process = &document.process;
    let umask = process.umask.as_ref().map(|written| {
        let umask = *written.get_ref();
        if umask & !0o777 != 0 {
            diagnostics
                .error(written.span(), format!("a umask is at most 0o777; this is {umask:#o}"))
                .help("a umask is written in octal, such as 0o022");
        }
        umask
    });
    Session {
        terminal: match process.terminal.as_ref().map(|written| *written.get_ref()) {
            None | Some(document::Terminal::Auto) => Terminal::Auto,
            // That it is safe is the filter's doing, and judged with it.
            Some(document::Terminal::Keep) => Terminal::Keep,
            Some(document::Terminal::None) => Terminal::None,
        },
        umask,
        die_with_parent: match process.die_with_parent.as_ref().map(|written| *written.get_ref()) {
            None => DieWithParent::Auto,
            Some(document::DieWithParent::Process) => DieWithParent::Process,
            Some(document::DieWithParent::Thread) => DieWithParent::Thread,
            Some(document::DieWithParent::Never) => DieWithParent::Never,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{document, messages};

    fn complaints(text: &str) -> Vec<String> {
        let mut diagnostics = Diagnostics::default();
        resolve(&document(text), &mut diagnostics);
        messages(&diagnostics)
    }

    #[test]
    fn the_defaults_are_left_to_the_launch() {
        let session = resolve(&document(""), &mut Diagnostics::default());
        assert_eq!(
            session,
            Session { terminal: Terminal::Auto, umask: None, die_with_parent: DieWithParent::Auto }
        );
    }

    #[test]
    fn a_umask_has_nine_bits() {
        assert_eq!(complaints("process.umask = 0o777").len(), 0);
        assert_eq!(
            complaints("process.umask = 1000"),
            ["a umask is at most 0o777; this is 0o1750"]
        );
    }
}
