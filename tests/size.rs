//! How large the programs are and how they are laid out. `make size` shows
//! what is measured.

use harness::{Sandbox, TempDir, dist};
use object::elf::{
    ET_EXEC, FileHeader64, PF_R, PF_W, PF_X, PT_DYNAMIC, PT_GNU_STACK, PT_INTERP, PT_LOAD,
    ProgramHeader64, ProgramType,
};
use object::read::elf::{FileHeader, ProgramHeader};
use object::{FileKind, LittleEndian as Endian};

/// The launcher of each architecture.
const LAUNCHERS: [&str; 2] = ["launcher", "aarch64/launcher"];

/// The encoder of each architecture.
const ENCODERS: [&str; 2] = ["encode-policy", "aarch64/encode-policy"];

/// The most bytes a launcher may have.
const MAX_LAUNCHER: usize = 96 * 1024;

/// One of the programs, read.
struct Program {
    name: &'static str,
    bytes: Vec<u8>,
}

impl Program {
    fn read(name: &'static str) -> Self {
        let bytes = std::fs::read(dist().join(name))
            .unwrap_or_else(|error| panic!("{name}: {error}; run `make build-all`"));
        Self { name, bytes }
    }

    fn header(&self) -> &FileHeader64<Endian> {
        assert_eq!(FileKind::parse(&*self.bytes), Ok(FileKind::Elf64), "{}", self.name);
        FileHeader64::parse(&*self.bytes).expect("an ELF file")
    }

    fn segments(&self) -> &[ProgramHeader64<Endian>] {
        self.header().program_headers(Endian, &*self.bytes).expect("its program headers")
    }

    fn has_segment(&self, kind: ProgramType) -> bool {
        self.segments().iter().any(|segment| segment.p_type(Endian) == kind)
    }
}

#[test]
fn a_launcher_is_small() {
    LAUNCHERS.into_iter().chain(ENCODERS).map(Program::read).for_each(|each| show(&each));
    for name in LAUNCHERS {
        let program = Program::read(name);
        let size = program.bytes.len();
        assert!(size <= MAX_LAUNCHER, "{name}: {size} bytes, {} too many", size - MAX_LAUNCHER);
    }
}

/// Prints the size of a program and of its segments.
fn show(program: &Program) {
    println!("{}: {} bytes", program.name, program.bytes.len());
    for segment in program.segments().iter().filter(|each| each.p_type(Endian) == PT_LOAD) {
        let flags: String = [(PF_R, 'r'), (PF_W, 'w'), (PF_X, 'x')]
            .map(|(flag, letter)| if segment.p_flags(Endian).contains(flag) { letter } else { '-' })
            .into_iter()
            .collect();
        let (file, memory) = (segment.p_filesz(Endian), segment.p_memsz(Endian));
        println!("    {flags} {file:>8} bytes of the file {memory:>8} bytes of memory");
    }
}

#[test]
fn every_program_is_static_and_at_a_fixed_address() {
    for name in LAUNCHERS.into_iter().chain(ENCODERS) {
        let program = Program::read(name);
        assert!(!program.has_segment(PT_INTERP), "{name} has an interpreter");
        assert!(!program.has_segment(PT_DYNAMIC), "{name} is linked dynamically");
        assert_eq!(program.header().e_type(Endian), ET_EXEC, "{name}");
    }
}

#[test]
fn no_segment_is_writable_and_executable() {
    for name in LAUNCHERS.into_iter().chain(ENCODERS) {
        let program = Program::read(name);
        // Without this header the kernel makes the stack executable.
        assert!(program.has_segment(PT_GNU_STACK), "{name} does not say what its stack is");
        for segment in program.segments() {
            assert!(!segment.p_flags(Endian).contains(PF_W | PF_X), "{name}: {segment:?}");
        }
    }
}

/// What a panic of the standard library says. A call that could be made would
/// have its words in the file, unless the compiler has found that it cannot.
#[test]
fn the_launcher_has_no_word_of_a_panic() {
    let words = [
        "out of bounds",
        "out of range for slice",
        "attempt to ",
        "called `Option::unwrap()`",
        "called `Result::unwrap()`",
        "assertion failed",
        "panicked at",
        "already borrowed",
    ];
    let has = |name: &'static str, word: &str| {
        Program::read(name).bytes.windows(word.len()).any(|window| window == word.as_bytes())
    };
    for name in LAUNCHERS {
        for word in words {
            assert!(!has(name, word), "{name}: {word}");
        }
    }
    // The control: the encoder may panic, and would say so.
    assert!(
        has("encode-policy", "panicked at") && has("encode-policy", "called `Option::unwrap()`")
    );
}

#[test]
fn a_launcher_is_one_segment_and_nothing_is_relocated_or_copied() {
    for name in LAUNCHERS {
        let program = Program::read(name);
        let segments = program.segments().iter().filter(|each| each.p_type(Endian) == PT_LOAD);
        let (code, data): (Vec<&ProgramHeader64<Endian>>, Vec<_>) =
            segments.partition(|each| each.p_flags(Endian).contains(PF_X));
        assert_eq!(code.len(), 1, "{name}: {code:?}");
        // What a segment takes from the file and writes to is copied, page by page.
        assert!(data.iter().all(|each| each.p_filesz(Endian) == 0), "{name}: {data:?}");
        // Relocations at the start would write to what was read from the file.
        assert!(code.iter().all(|each| !each.p_flags(Endian).contains(PF_W)), "{name}: {code:?}");
    }
}

#[test]
fn the_launcher_has_no_heap() {
    let trace = TempDir::with_file("trace", "");
    let output = trace.join("trace").to_string_lossy().into_owned();
    let calls = "brk,mmap,mremap,execve,clone3";
    let strace = ["strace", "-f", "-qq", "-e", calls, "-e", "signal=none", "-o", &output, "--"];
    let sandbox = Sandbox::new("").wrap(strace);
    let probe = sandbox.probe_path();

    let outcome = sandbox.run([probe.as_str(), "pid"]);

    assert!(outcome.stdout_text().starts_with("ok "), "{outcome:?}");
    let trace = trace.read("trace");
    let calls: Vec<_> = trace.lines().filter_map(|line| line.split_once(' ')).collect();
    let is_call = |name: &str, call: &str| call.trim_start().starts_with(name);
    let launcher = calls.iter().position(|(_, call)| is_call("execve", call)).expect("it starts");
    let command = calls.iter().rposition(|(_, call)| is_call("execve", call)).expect("it runs");
    assert!(launcher < command, "{trace}");
    // The command is another program, with a heap; its process is its own.
    let (process, _) = calls[command];
    for (place, (each, call)) in calls.iter().enumerate().skip(launcher + 1) {
        let is_launchers = place < command || *each != process;
        let is_allocation = ["brk", "mmap", "mremap"].iter().any(|name| is_call(name, call));
        assert!(!(is_launchers && is_allocation), "{call}");
    }
}
