//! What the model says is what the kernel does: random policies over random
//! trees, every path, every operation.
//!
//! `SOAK_CASES=n` runs so many cases instead of [`CASES`], `MODEL_SEED=n` the
//! one case of this number.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use fastrand::Rng;
use harness::{Caller, Errno, Outcome, Running, Sandbox, with_probe};
use policy_encoder::diagnostic::Diagnostics;
use policy_encoder::document::Document;
use policy_encoder::explain::{Answer, Model, Operation, Reason};
use policy_encoder::{Architecture, Place, explain, parse};

mod document;
mod tree;

use document::Rung;
use tree::{Item, Tree};

/// How many cases a normal run makes, over all tests of this file.
const CASES: u64 = 500;

/// How many tests share them, so that they run beside each other.
const PARTS: u64 = 4;

/// What the model says of listing a file.
const NO_DIRECTORY: &str = "not a directory";

/// The Landlock ABI of this kernel.
static ABI: LazyLock<u8> = LazyLock::new(|| harness::landlock_abi().try_into().unwrap_or(0));

#[test]
fn the_model_is_what_the_kernel_does_1() {
    cases(0);
}

#[test]
fn the_model_is_what_the_kernel_does_2() {
    cases(1);
}

#[test]
fn the_model_is_what_the_kernel_does_3() {
    cases(2);
}

#[test]
fn the_model_is_what_the_kernel_does_4() {
    cases(3);
}

/// A difference that was found once: a document over a tree, in which `DIR` is
/// the tree, and the moves that showed it.
fn regression(document: &str, files: &[&str], links: &[(&str, &str)], moves: &[(&str, &str)]) {
    for caller in Caller::both() {
        let tree = Tree::new(files, links, caller);
        let directory = tree.path().to_string_lossy().into_owned();
        let text = document.replace("DIR", &directory);
        let moves: Vec<Question> = moves
            .iter()
            .map(|(from, to)| {
                (tree.path().join(from), Operation::Rename, Some(tree.path().join(to)))
            })
            .collect();
        let mut counts = Counts::default();
        let found = compare(&text, &tree, caller, Rung::Namespaces, &moves, &mut counts);
        assert_eq!(counts.compared, 1, "{caller}");
        assert!(found.is_empty(), "{caller}\n{}", found.join("\n"));
    }
}

#[test]
fn a_file_has_no_parent_directory_of_its_own() {
    let document = "filesystem = { write = ['DIR/d'], dev = 'none', proc = false }";
    regression(document, &["d/keep", "d/a"], &[], &[]);
}

#[test]
fn a_name_that_is_moved_to_itself_stays_although_something_is_mounted_on_it() {
    let document = "filesystem = { write = ['DIR/d', 'DIR/keep'], dev = 'none', proc = false }";
    regression(document, &["keep", "d/keep"], &[], &[("d", "d"), ("keep", "keep"), ("d", "keep")]);
}

#[test]
fn two_names_on_which_one_file_is_mounted_are_two_files() {
    let document = "filesystem = { read = [{ path = 'DIR/keep', at = 'DIR/d' }], \
                    write = ['DIR/keep'], dev = 'none', proc = false }";
    regression(document, &["keep", "d/keep"], &[], &[("d", "keep"), ("keep", "d")]);
}

#[test]
fn two_names_of_one_file_are_renamed_to_nothing_whatever_is_mounted_there() {
    let document = "filesystem = { write = ['DIR/d'], deny = ['DIR/d/keep'], dev = 'none', \
                    proc = false }";
    let same = &[("d/same", "d/keep"), ("d/keep", "d/same")];
    regression(document, &["keep", "d/keep", "d/same=d/keep"], &[], same);
}

#[test]
fn a_symlink_in_a_private_directory_can_be_moved_and_removed() {
    let document = "filesystem = { read = ['DIR/link/a'], dev = 'none', proc = false }";
    regression(document, &["keep", "d/keep", "d/a"], &[("link", "d")], &[("link", "moved")]);
}

/// Two random documents over one tree: where nothing is found that the first
/// grants and the second does not, there is no path on which it does.
#[test]
fn what_compare_finds_at_least_as_strict_grants_nothing_more() {
    let mut strict = 0;
    for seed in 0..150 {
        let mut rng = Rng::with_seed(seed);
        let tree = Tree::random(&mut rng, Caller::Nobody);
        // What appears at a second path is compared by what it is.
        let other = document::in_place(&document::random(&mut rng, &tree, Rung::Namespaces));
        // Two that have nothing to do with each other are seldom comparable.
        let own = document::in_place(&document::narrowed(&mut rng, &tree, &other));
        let (Some(own), Some(other)) = (encoded(&own), encoded(&other)) else { continue };
        let decode = |bytes| launcher_policy::wire::decode(bytes).expect("it was encoded");
        let (own, other) = (decode(&own), decode(&other));
        if !policy_encoder::compare::excess(&own, &other, Architecture::NATIVE).is_empty() {
            continue;
        }
        let rung = explain::Rung::Namespaces { abi: *ABI };
        let model = |policy| Model::new(policy, Path::new("/"), rung);
        let (Ok(own), Ok(other)) = (model(&own), model(&other)) else { continue };
        strict += 1;
        for (path, operation, to) in questions(&tree, &own) {
            // What the launcher makes is nobody's to grant: only the host's
            // objects are compared.
            if own.outside(&path).is_none() {
                continue;
            }
            let granted = own.ask(&path, operation, to.as_deref());
            let refused = other.ask(&path, operation, to.as_deref());
            // A name that the other has is not free there; what it shows as
            // one mount can be moved within, or is busy.
            let is_of_policy = !matches!(
                refused.because,
                Reason::Exists | Reason::CrossesMounts | Reason::MountPoint | Reason::WrongKind(_)
            );
            assert!(
                !granted.allowed || refused.allowed || !is_of_policy,
                "seed {seed}: {operation:?} {path:?} {to:?}: {refused:?}"
            );
        }
    }
    assert!(strict > 15, "{strict} pairs were comparable");
}

fn encoded(text: &str) -> Option<Vec<u8>> {
    let (document, mut diagnostics) = parse::toml(text);
    let place = Place::in_directory(Path::new("/")).expect("the root directory is there");
    policy_encoder::encode(&document, &place, Architecture::NATIVE, &mut diagnostics)
}

/// How often something happened.
#[derive(Debug, Default)]
struct Counts {
    /// Launches whose every answer was compared.
    compared: u64,
    /// Documents that the encoder refused.
    refused: u64,
    /// Questions.
    questions: u64,
}

/// Every case whose number leaves this remainder.
fn cases(part: u64) {
    let number = |name| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    let one: Option<u64> = number("MODEL_SEED");
    let all = number("SOAK_CASES").unwrap_or(CASES);
    let seeds = (0..all).filter(|seed| seed % PARTS == part);
    let seeds: Vec<u64> = match one {
        Some(seed) => [seed].into_iter().filter(|seed| seed % PARTS == part).collect(),
        None => seeds.collect(),
    };
    let mut counts = [Counts::default(), Counts::default()];
    let mut found = Vec::new();
    for seed in &seeds {
        let [with, without] = &mut counts;
        found.extend(case(*seed, Rung::Namespaces, with));
        found.extend(case(*seed, Rung::Landlock, without));
    }
    println!("{counts:?}");
    assert!(
        found.is_empty(),
        "{} differences\n{}",
        found.len(),
        found[..found.len().min(20)].join("\n")
    );
    let [with, without] = counts;
    if one.is_none() {
        // Else the documents are too wild to test anything.
        assert!(with.compared * 3 > seeds.len() as u64, "{with:?}");
        assert!(without.compared * 10 > seeds.len() as u64, "{without:?}");
    }
}

/// One random policy over one random tree. The differences found.
fn case(seed: u64, rung: Rung, counts: &mut Counts) -> Vec<String> {
    let mut rng = Rng::with_seed(seed);
    let callers = Caller::both();
    let caller = callers[rng.usize(..callers.len())];
    let tree = Tree::random(&mut rng, caller);
    let text = document::random(&mut rng, &tree, rung);
    let moves = random_moves(&mut rng, &tree);
    let differences = compare(&text, &tree, caller, rung, &moves, counts);
    let about = |difference| {
        format!("{difference}\n  MODEL_SEED={seed}, {rung:?}, {caller}\n{text}\n{:#?}", tree.items)
    };
    differences.into_iter().take(1).map(about).collect()
}

fn compare(
    text: &str,
    tree: &Tree,
    caller: Caller,
    rung: Rung,
    moves: &[Question],
    counts: &mut Counts,
) -> Vec<String> {
    let sandbox = Sandbox::outside();
    let probe = sandbox.binaries().probe();
    let (document, mut diagnostics) = parse::toml(&with_probe(text, &probe));
    let place = Place::in_directory(Path::new("/")).expect("the root directory is there");
    let bytes = policy_encoder::encode(&document, &place, Architecture::NATIVE, &mut diagnostics);
    let Some(bytes) = bytes else {
        counts.refused += 1;
        return Vec::new();
    };
    let policy = launcher_policy::wire::decode(&bytes).expect("what was encoded decodes");
    let model_rung = match rung {
        Rung::Namespaces => explain::Rung::Namespaces { abi: *ABI },
        Rung::Landlock => explain::Rung::Landlock { abi: *ABI },
    };
    let model = Model::new(&policy, Path::new("/"), model_rung);
    let mut kernel = Kernel::launch(&bytes, &probe, caller);
    let model = match (model, kernel.is_up()) {
        (Ok(model), true) => model,
        (Err(_), false) => return Vec::new(),
        (Ok(_), false) => return vec![format!("the launch was refused: {}", kernel.end())],
        (Err(why), true) => return vec![format!("the launch was not refused, although {why}")],
    };
    counts.compared += 1;
    let mut differences = against_document(&document, &place, &model, tree, rung);
    for (path, operation, to) in questions(tree, &model).into_iter().chain(moves.iter().cloned()) {
        let foretold = model.ask(&path, operation, to.as_deref());
        if matches!(foretold.because, Reason::Unknown(_)) {
            continue;
        }
        counts.questions += 1;
        let other = to.clone().unwrap_or_else(|| beside(&path));
        let names = [real(&model, &path), real(&model, &other)];
        let lost = match operation {
            Operation::Remove => kernel.remaking(&names[0]),
            Operation::Rename if to.is_some() => kernel.remaking(&names[1]),
            _ => None,
        };
        let answer = kernel.ask(&path, operation, &other);
        // A directory that is not empty says nothing of the policy.
        let is_open = operation == Operation::Rename && answer == Outcome::Errno(Errno::NOTEMPTY);
        if is_allowed(&answer) != foretold.allowed && !is_open {
            differences.push(difference(&path, operation, to.as_deref(), &foretold, &answer));
        }
        if is_allowed(&answer) {
            kernel.undo(operation, &names);
            tree.restore(caller);
            // What the launcher made is in no tree.
            if let Some(line) = lost {
                kernel.say(&line);
            }
        }
    }
    differences
}

/// What the document says of each file, and what the model makes of the bytes.
fn against_document(
    document: &Document,
    place: &Place,
    model: &Model,
    tree: &Tree,
    rung: Rung,
) -> Vec<String> {
    let view = policy_encoder::mounts::resolve(document, place, &mut Diagnostics::default());
    let mut differences = Vec::new();
    for (path, item) in &tree.items {
        if !matches!(item, Item::File { .. }) || model.real(path).as_ref() != Some(path) {
            continue;
        }
        let rights = view.rights(path);
        for (operation, granted) in [
            (Operation::Read, rights.read),
            (Operation::Write, rights.write),
            (Operation::Execute, rights.execute),
        ] {
            let foretold = model.ask(path, operation, None);
            if model.ask(path, Operation::List, None).because != Reason::WrongKind(NO_DIRECTORY) {
                // Something else appears there.
                continue;
            }
            // Landlock knows a file by its inode: all its names have the rights
            // of each.
            let is_more = rung == Rung::Landlock && foretold.allowed;
            if foretold.allowed != granted && !is_more {
                differences.push(format!(
                    "{} {}: the document says {granted}, the model {foretold:?}",
                    operation.word(),
                    path.display(),
                ));
            }
        }
    }
    differences
}

fn difference(
    path: &Path,
    operation: Operation,
    to: Option<&Path>,
    foretold: &Answer,
    answer: &Outcome,
) -> String {
    let to = to.map_or(String::new(), |to| format!(" to {}", to.display()));
    format!(
        "{} {}{to}: the kernel says {answer:?}, the model {:?} because {} ({})",
        operation.word(),
        path.display(),
        foretold.allowed,
        foretold.because,
        foretold.by,
    )
}

/// A path, what is done with it, and the other path of a move.
type Question = (PathBuf, Operation, Option<PathBuf>);

/// Every path with every operation.
fn questions(tree: &Tree, model: &Model) -> Vec<Question> {
    let mut paths: BTreeSet<PathBuf> = tree.items.keys().cloned().collect();
    paths.extend(model.paths().filter(|path| *path != Path::new("/")).map(Path::to_owned));
    for path in paths.clone() {
        // The tree as it is seen through symlinks and at other places.
        let below: &[&str] = match tree.items.get(&path) {
            Some(Item::Directory { .. }) => &["none"],
            Some(Item::File { .. }) => &["../keep"],
            _ => &["none", "keep", "a", "d", "d/keep", "d/none", "../keep"],
        };
        paths.extend(below.iter().map(|name| path.join(name)));
    }
    let paths = paths.into_iter().filter(|path| is_within(path, tree));
    paths.flat_map(|path| Operation::ALL.map(|operation| (path.clone(), operation, None))).collect()
}

/// Moves and links to other directories, and onto what is there.
fn random_moves(rng: &mut Rng, tree: &Tree) -> Vec<Question> {
    let paths: Vec<&PathBuf> = tree.items.keys().filter(|path| *path != tree.path()).collect();
    let directories = tree.directories();
    let mut moves = Vec::new();
    for _ in 0..30 {
        let from = paths[rng.usize(..paths.len())].clone();
        let to = match rng.u8(0..6) {
            0 | 1 => paths[rng.usize(..paths.len())].clone(),
            2 => "/at/one/moved".into(),
            _ => directories[rng.usize(..directories.len())].join("moved"),
        };
        let operation = if rng.bool() { Operation::Rename } else { Operation::Link };
        moves.push((from, operation, Some(to)));
    }
    moves
}

/// What the tree's own restoring cannot put back is not touched.
fn is_within(path: &Path, tree: &Tree) -> bool {
    path.starts_with(tree.path()) && path != tree.path() || path.starts_with("/at")
}

/// Whether an answer says that the policy does not forbid it.
fn is_allowed(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Ok(_) | Outcome::Errno(Errno::NOTEMPTY | Errno::NOEXEC))
}

/// A launch that is asked one question after the other.
struct Kernel {
    running: Running,
    first: Option<Outcome>,
}

impl Kernel {
    fn launch(bytes: &[u8], probe: &Path, caller: Caller) -> Self {
        let mut running =
            Sandbox::of_bytes(bytes).caller(caller).start([probe.as_os_str(), "batch".as_ref()]);
        // The probe says that it is there, or nobody does.
        let first = Outcome::parse(&running.line());
        Self { running, first }
    }

    fn is_up(&self) -> bool {
        self.first.is_some()
    }

    fn end(self) -> String {
        format!("{:?}", self.running.wait())
    }

    fn ask(&mut self, path: &Path, operation: Operation, to: &Path) -> Outcome {
        let (path, to) = (path.display(), to.display());
        self.say(&match operation {
            Operation::List => format!("list {path}"),
            Operation::Read => format!("open-for-read {path}"),
            Operation::Write => format!("open-for-write {path}"),
            Operation::Truncate => format!("truncate {path}"),
            Operation::Create => format!("create {path}"),
            Operation::Remove => format!("remove {path}"),
            Operation::Rename => format!("rename {path} {to}"),
            Operation::Link => format!("link {path} {to}"),
            Operation::Execute => format!("exec {path}"),
        })
    }

    /// What makes again what has this name, if it is the launcher's: what is the
    /// tree's comes back by itself, and this fails.
    fn remaking(&mut self, path: &Path) -> Option<String> {
        let path = path.display();
        let Outcome::Ok(kind) = self.say(&format!("stat {path}")) else { return None };
        Some(match kind.split(' ').next() {
            Some("Directory") => format!("mkdir {path}"),
            Some("Symlink") => {
                let content = self.say(&format!("readlink {path}")).value();
                format!("symlink {content} {path}")
            }
            _ => format!("create {path}"),
        })
    }

    /// Takes back what was done inside: names that are made there, and moves of
    /// what the launcher made, are in no tree.
    fn undo(&mut self, operation: Operation, [path, to]: &[PathBuf; 2]) {
        let (path, to) = (path.display(), to.display());
        match operation {
            Operation::Create => drop(self.say(&format!("unlink {path}"))),
            Operation::Rename => drop(self.say(&format!("rename {to} {path}"))),
            Operation::Link => drop(self.say(&format!("unlink {to}"))),
            _ => {}
        }
    }

    fn say(&mut self, line: &str) -> Outcome {
        self.running.write(&format!("{line}\n"));
        let answer = Outcome::parse(&self.running.line());
        answer.unwrap_or_else(|| panic!("no answer to {line:?}"))
    }
}

/// The same name without the symlinks on the way, which may move with it.
fn real(model: &Model, path: &Path) -> PathBuf {
    let parent = path.parent().and_then(|parent| model.real(parent));
    match (parent, path.file_name()) {
        (Some(parent), Some(name)) => parent.join(name),
        _ => path.to_owned(),
    }
}

/// A new name in the same directory.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push("~new");
    path.with_file_name(name)
}
