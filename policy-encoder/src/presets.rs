//! Policies that are built in.

/// A policy that is built in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preset {
    /// The name it is asked for by.
    pub name: &'static str,
    /// Its document, in TOML.
    pub text: &'static str,
}

/// All of them, the strictest first.
pub const PRESETS: [Preset; 4] = [
    Preset { name: "strict", text: include_str!("../presets/strict.toml") },
    Preset { name: "readonly", text: include_str!("../presets/readonly.toml") },
    Preset { name: "build", text: include_str!("../presets/build.toml") },
    Preset { name: "shim", text: include_str!("../presets/shim.toml") },
];

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
            let (document, _) = crate::parse::toml(preset.text);
            for architecture in [Architecture::X86_64, Architecture::Aarch64] {
                let mut diagnostics = Diagnostics::default();
                let bytes = encode(&document, &place, architecture, &mut diagnostics);
                assert!(bytes.is_some(), "{}: {diagnostics:?}", preset.name);
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
