//! What lies outside of a sandbox, and what would break a guarantee about it.

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use harness::{Caller, Errno, Outcome, Running, Sandbox, TempDir};
use launcher_policy::enforce::Guarantee;
use policy_encoder::mounts::Rights;

/// A tree of files, and servers and a process of the caller's.
pub(super) struct World {
    caller: Caller,
    dir: TempDir,
    tcp: TcpListener,
    udp: UdpSocket,
    _unix: UnixListener,
    _abstract_unix: UnixListener,
    name: String,
    process: Running,
    queue: Queue,
}

/// A System V message queue that everybody may use.
struct Queue {
    key: u32,
    id: String,
}

impl Queue {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let key = std::process::id() << 8 | NEXT.fetch_add(1, Ordering::Relaxed) & 0xff;
        // IPC_CREAT and mode 0666.
        let made = Sandbox::outside().probe(&format!("syscall msgget {key} 0x3b6"));
        Self { key, id: made.value() }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // IPC_RMID
        let removed = Sandbox::outside().probe(&format!("syscall msgctl {} 0 0", self.id));
        if !std::thread::panicking() {
            assert!(removed.is_ok(), "{removed:?}");
        }
    }
}

/// Files of the tree, readable, writable and executable by everybody.
const FILES: [&str; 6] = [
    "read/file",
    "write/file",
    "write/sub/file",
    "write/.git/config",
    "write/secret",
    "apart/file",
];

/// The directories of the tree.
const DIRECTORIES: [&str; 5] = ["read", "write", "write/sub", "write/.git", "apart"];

/// A name in each of them that no policy speaks of.
const UNNAMED: &str = "unnamed";

/// Where a socket lies that somebody listens at.
const SOCKET: &str = "apart/socket";

impl World {
    pub(super) fn new(caller: Caller) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("launcher-e2e-guarantees-{}-{number}", std::process::id());
        let dir = FILES.iter().fold(TempDir::new(), |dir, file| dir.file(file, "text"));
        let unnamed = DIRECTORIES.map(|directory| format!("{directory}/{UNNAMED}"));
        let dir = unnamed.iter().fold(dir, |dir, file| dir.file(file, "text"));
        for file in FILES {
            open_to_all(&dir.join(file));
            // What changes metadata needs an owner.
            std::os::unix::fs::lchown(dir.join(file), Some(caller.uid()), Some(caller.uid()))
                .expect("an owner is set");
        }
        let unix = UnixListener::bind(dir.join(SOCKET)).expect("it is bound");
        open_to_all(&dir.join(SOCKET));
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        Self {
            caller,
            tcp: TcpListener::bind("127.0.0.1:0").expect("it is bound"),
            udp: udp(),
            _unix: unix,
            _abstract_unix: UnixListener::bind_addr(&address).expect("it is bound"),
            name,
            process: Sandbox::outside().caller(caller).start(["sleep", "600"]),
            queue: Queue::new(),
            dir,
        }
    }

    pub(super) fn caller(&self) -> Caller {
        self.caller
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// A port that nobody is told of in a policy.
    fn tcp_port(&self) -> u16 {
        self.tcp.local_addr().expect("it is bound").port()
    }

    /// What would break a guarantee, as lines for the probe, where `rights` is
    /// what the policy grants on a path.
    pub(super) fn attacks(
        &self,
        guarantee: Guarantee,
        rights: &dyn Fn(&Path) -> Rights,
    ) -> Vec<String> {
        let files = || FILES.map(|file| self.path(file)).into_iter();
        let read_only = |path: &PathBuf| !rights(path).write;
        match guarantee {
            Guarantee::Files => self.on_files(rights),
            Guarantee::Truncate => {
                files().filter(read_only).map(|path| line("truncate", &path)).collect()
            }
            // A terminal or a disk would do; the null device takes no request,
            // and says so to whoever may ask.
            Guarantee::IoctlDev if rights(Path::new("/dev/null")) == Rights::NONE => {
                vec!["ioctl-dev /dev/null".to_owned()]
            }
            Guarantee::IoctlDev => Vec::new(),
            Guarantee::Execute => {
                let is_data = |path: &PathBuf| rights(path).read && !rights(path).execute;
                let all = files().filter(|path| is_data(path) || rights(path) == Rights::NONE);
                all.map(|path| line("map-exec", &path)).collect()
            }
            Guarantee::Metadata => {
                let verbs = ["set-times", "set-xattr"];
                let all = files().filter(read_only).flat_map(|path| {
                    let chmod = format!("chmod {} 777", path.display());
                    verbs.map(|verb| line(verb, &path)).into_iter().chain([chmod])
                });
                all.collect()
            }
            Guarantee::UnixPath => vec![line("unix-connect", &self.path(SOCKET))],
            Guarantee::AbstractUnixSocket => vec![format!("unix-abstract-connect {}", self.name)],
            Guarantee::SignalScope => vec![format!("kill {} 0", self.process.pid())],
            Guarantee::Processes => {
                vec![format!("set-rlimit-of {} nofile 64 64", self.process.pid())]
            }
            Guarantee::Ipc => vec![format!("syscall msgget {} 0", self.queue.key)],
            Guarantee::Network => {
                let udp = self.udp.local_addr().expect("it is bound").port();
                let tcp = format!("connect-tcp 127.0.0.1 {}", self.tcp_port());
                vec![tcp, format!("send-udp 127.0.0.1 {udp}")]
            }
            Guarantee::Tcp => vec![format!("connect-tcp 127.0.0.1 {}", self.tcp_port())],
            Guarantee::Udp => {
                let udp = self.udp.local_addr().expect("it is bound").port();
                vec![format!("send-udp 127.0.0.1 {udp}")]
            }
            // What the ids are is the launcher's to say: nothing inside could
            // have made them others.
            Guarantee::Ids => Vec::new(),
        }
    }

    fn on_files(&self, rights: &dyn Fn(&Path) -> Rights) -> Vec<String> {
        let mut lines = Vec::new();
        for path in FILES.map(|file| self.path(file)) {
            let rights = rights(&path);
            for (granted, verb) in [
                (rights.read, "open-for-read"),
                (rights.write, "open-for-write"),
                (rights.execute, "exec"),
            ] {
                if !granted {
                    lines.push(line(verb, &path));
                }
            }
        }
        for directory in DIRECTORIES {
            let path = self.path(directory);
            if !rights(&path).read {
                lines.push(line("list", &path));
            }
            if !rights(&path.join("new")).write {
                lines.push(line("create", &path.join("new")));
            }
        }
        lines
    }

    /// Whether an attack went through.
    pub(super) fn is_broken(&self, line: &str, outcome: &Outcome) -> bool {
        match (line.split(' ').next(), outcome) {
            // What the launcher makes on the way to what is granted, or in
            // place of what is denied, shows nothing else.
            (Some("list"), Outcome::Ok(names)) => names.contains(UNNAMED),
            // A network of its own has somebody else at this address.
            (Some("send-udp"), Outcome::Ok(_)) => self.udp.recv(&mut [0]).is_ok(),
            // Text that may be run is no program.
            (Some("exec"), outcome) => *outcome == Outcome::Errno(Errno::NOEXEC),
            // Before Linux 6.6 a tmpfs has no attributes, and says so to
            // whoever may set them.
            (Some("set-xattr"), Outcome::Errno(Errno::OPNOTSUPP)) => true,
            // A device that may be asked has no answer.
            (Some("ioctl-dev"), outcome) => *outcome == Outcome::Errno(Errno::NOTTY),
            (_, outcome) => outcome.is_ok(),
        }
    }

    /// Takes back what succeeded.
    pub(super) fn restore(&self) {
        for directory in DIRECTORIES {
            let _ = fs::remove_file(self.path(directory).join("new"));
        }
    }
}

fn line(verb: &str, path: &Path) -> String {
    format!("{verb} {}", path.display())
}

fn open_to_all(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o777)).expect("permissions are set");
}

/// A socket that is asked whether something has come, and not waited for.
fn udp() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("it is bound");
    socket.set_nonblocking(true).expect("it does not block");
    socket
}
