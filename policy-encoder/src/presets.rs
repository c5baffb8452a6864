//! Policies that are built in.

/// A policy that is built in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preset {
    /// The name it is asked for by.
    pub name: &'static str,
    /// What it is meant to be used as.
    pub kind: Kind,
    /// Its document, in TOML.
    pub text: &'static str,
}

/// What a preset is meant to be used as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A whole policy.
    Whole,
    /// Something to extend; it also runs alone.
    Part,
}

/// All of them: whole policies, the strictest first, then parts.
pub const PRESETS: [Preset; 11] = [
    whole("strict", include_str!("../presets/strict.toml")),
    whole("readonly", include_str!("../presets/readonly.toml")),
    whole("build", include_str!("../presets/build.toml")),
    whole("agent", include_str!("../presets/agent.toml")),
    whole("shell", include_str!("../presets/shell.toml")),
    whole("shim", include_str!("../presets/shim.toml")),
    part("python", include_str!("../presets/python.toml")),
    part("node", include_str!("../presets/node.toml")),
    part("rust", include_str!("../presets/rust.toml")),
    part("git", include_str!("../presets/git.toml")),
    part("network", include_str!("../presets/network.toml")),
];

const fn whole(name: &'static str, text: &'static str) -> Preset {
    Preset { name, kind: Kind::Whole, text }
}

const fn part(name: &'static str, text: &'static str) -> Preset {
    Preset { name, kind: Kind::Part, text }
}

impl Kind {
    /// Its word in the list of presets.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Whole => "preset",
            Self::Part => "part",
        }
    }
}

/// The preset of this name.
pub fn find(name: &str) -> Option<&'static Preset> {
    PRESETS.iter().find(|preset| preset.name == name)
}

/// The name of a preset that was probably meant.
pub fn nearest(name: &str) -> Option<&'static str> {
    crate::parse::nearest(name, PRESETS.iter().map(|preset| preset.name))
}

impl Preset {
    /// What it is for, in a sentence.
    pub fn description(&self) -> String {
        let (document, _) = crate::parse::toml(self.text);
        document.description.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compose::{self, Input};
    use crate::diagnostic::Diagnostics;
    use crate::{Architecture, Place, encode};

    #[test]
    fn every_preset_says_what_it_is_for_first() {
        for preset in PRESETS {
            assert!(preset.text.starts_with("description = "), "{}", preset.name);
            assert!(preset.description().ends_with('.'), "{}", preset.name);
        }
    }

    #[test]
    fn every_preset_encodes_here() {
        let place = Place::here().expect("there is a working directory");
        for preset in PRESETS {
            let read =
                compose::read(Input::of_preset(find(preset.name).expect("it is there")), &place);
            assert_eq!(read.diagnostics.iter().next(), None, "{}", preset.name);
            for architecture in [Architecture::X86_64, Architecture::Aarch64] {
                let mut diagnostics = Diagnostics::default();
                let bytes = encode(&read.document, &place, architecture, &mut diagnostics);
                assert!(bytes.is_some(), "{}: {diagnostics:?}", preset.name);
            }
        }
    }

    #[test]
    fn every_part_can_be_put_into_every_whole_policy() {
        let place = Place::here().expect("there is a working directory");
        let names = |kind| PRESETS.iter().filter(move |preset| preset.kind == kind);
        for part in names(Kind::Part) {
            for whole in names(Kind::Whole) {
                let text = format!("extends = [{:?}, {:?}]", part.name, whole.name);
                let mut read = compose::read(Input::of_text("both", text.as_str()), &place);
                let architecture = Architecture::NATIVE;
                let bytes = encode(&read.document, &place, architecture, &mut read.diagnostics);
                assert!(bytes.is_some(), "{text}: {:?}", read.diagnostics);
            }
        }
    }

    #[test]
    fn a_preset_is_found_by_its_name_or_nearly() {
        assert_eq!(find("strict").map(|preset| preset.name), Some("strict"));
        assert_eq!(find("strct"), None);
        assert_eq!(nearest("strct"), Some("strict"));
    }
}
