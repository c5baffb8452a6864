//! `process.uid` and `process.gid`.

use launcher_policy::credentials::Credentials;

use crate::Spanned;
use crate::document::Document;
use crate::namespaces::wants_user;

/// Resolves the ids to take.
///
/// In a user namespace without a map of ranges the id is what the caller's own
/// is mapped to, so there is nothing left to take.
pub(crate) fn resolve(document: &Document) -> Credentials {
    let (process, namespaces) = (&document.process, &document.namespaces);
    let takes = |has_map: bool| has_map || !wants_user(document);
    let id = |written: &Option<Spanned<u32>>| written.as_ref().map(|id| *id.get_ref());
    Credentials {
        uid: id(&process.uid).filter(|_| takes(namespaces.uid_map.is_some())),
        gid: id(&process.gid).filter(|_| takes(namespaces.gid_map.is_some())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::document;

    #[test]
    fn an_id_is_taken_only_where_it_is_not_mapped() {
        for (text, uid) in [
            ("", None),
            ("namespaces.uid_map = [{ inside = 0, outside = 9, count = 99 }]\n", Some(7)),
            ("namespaces.user = false\n", Some(7)),
            ("enforce.namespaces = 'off'\n", Some(7)),
        ] {
            let document = document(&format!("{text}process = {{ uid = 7 }}"));
            assert_eq!(resolve(&document), Credentials { uid, gid: None }, "{text}");
        }
    }
}
