//! System calls that rustix lacks, each made safe.
//!
//! A wrapper carries the name of its manual page, takes references, and holds
//! one system call. Where a caller would have to promise something, the
//! promise is a type: [`CStrings`] for `argv` and `envp`, [`Stack`] for the
//! memory of a child.
#![allow(unsafe_code, reason = "raw system calls, one per wrapper")]

use core::cell::UnsafeCell;
use core::ffi::{CStr, c_char, c_void};
use core::marker::PhantomData;
use core::mem;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use launcher_policy::seccomp::INSTRUCTION_SIZE;
use linux_raw_sys::auxvec::{AT_EGID, AT_EUID, AT_NULL};
use linux_raw_sys::errno::{E2BIG, EFAULT, EINVAL, ENOSYS};
use linux_raw_sys::general as uapi;
use linux_raw_sys::landlock as landlock_uapi;
use linux_raw_sys::net;
use linux_raw_sys::ptrace as seccomp_uapi;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use rustix::io::Errno;
use syscalls::{Sysno, syscall};

type Result<T> = core::result::Result<T, Errno>;

/// The error of the `syscalls` crate as the one used everywhere else.
fn errno(error: syscalls::Errno) -> Errno {
    Errno::from_raw_os_error(error.into_raw())
}

/// Takes over a descriptor that a system call has just returned.
fn owned(fd: usize) -> OwnedFd {
    // SAFETY: every caller passes what a successful call returned as a new
    // descriptor, which nothing else in this process owns.
    unsafe { OwnedFd::from_raw_fd(fd as RawFd) }
}

/// Borrows a descriptor that the caller of the program, or of the library,
/// passed in by number. A number that is not open makes the calls that use it
/// fail with `EBADF`.
pub fn inherited(fd: RawFd) -> BorrowedFd<'static> {
    debug_assert!(fd >= 0);
    // SAFETY: nothing here closes a descriptor that it did not open, so a
    // number that was open at the start stays open until exec.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

/// Leaves a descriptor open until exec closes it, which saves a close(2).
pub fn until_exec(fd: OwnedFd) -> BorrowedFd<'static> {
    let raw = fd.as_raw_fd();
    mem::forget(fd);
    inherited(raw)
}

/// Descriptors that wait in memory of their own, by number: as many as there
/// may be are more than a stack holds.
pub struct Slots<const N: usize>([AtomicI32; N]);

impl<const N: usize> Slots<N> {
    /// None, all zeroes: no descriptor of ours has the number 0.
    pub const fn new() -> Self {
        Self([const { AtomicI32::new(0) }; N])
    }

    /// Leaves a descriptor, which closes the one that is there.
    pub fn put(&self, place: usize, fd: OwnedFd) {
        drop(self.take(place));
        if let Some(slot) = self.0.get(place) {
            slot.store(fd.into_raw_fd(), Ordering::Relaxed);
        }
    }

    /// Takes the descriptor that is there, if there is one.
    pub fn take(&self, place: usize) -> Option<OwnedFd> {
        match self.0.get(place)?.swap(0, Ordering::Relaxed) {
            0 => None,
            // SAFETY: `put` has given it up, and the swap gives it to nobody
            // else.
            fd => Some(unsafe { OwnedFd::from_raw_fd(fd) }),
        }
    }
}

impl<const N: usize> Default for Slots<N> {
    fn default() -> Self {
        Self::new()
    }
}

/// A NULL-terminated array of C strings: `argv` or `envp`.
#[derive(Clone, Copy)]
pub struct CStrings<'a> {
    array: *const *const c_char,
    strings: PhantomData<&'a [&'a CStr]>,
}

// SAFETY: the strings stay as they are for `'a`, whoever looks at them.
unsafe impl Sync for CStrings<'_> {}

impl<'a> CStrings<'a> {
    /// Wraps the array that the kernel put on the stack, or one like it.
    ///
    /// # Safety
    ///
    /// `array` points at pointers to C strings, the last of them null, all of
    /// which stay as they are for `'a`.
    pub const unsafe fn new(array: *const *const c_char) -> Self {
        Self { array, strings: PhantomData }
    }

    /// The strings from the `n`th on; empty behind the end.
    pub fn skip(self, n: usize) -> Self {
        let mut rest = self;
        for _ in 0..n {
            if rest.is_empty() {
                break;
            }
            rest.array = rest.array.wrapping_add(1);
        }
        rest
    }

    /// Where the null is.
    fn end(self) -> *const *const c_char {
        let mut rest = self;
        while !rest.is_empty() {
            rest = rest.skip(1);
        }
        rest.array
    }

    /// Whether there is no string. Making one of its pointer takes its length.
    fn is_empty(self) -> bool {
        // SAFETY: `new` was promised a readable array, and `skip` never moves
        // behind its null.
        unsafe { *self.array }.is_null()
    }

    /// The first string.
    pub fn first(self) -> Option<&'a CStr> {
        if self.is_empty() {
            return None;
        }
        // SAFETY: as `is_empty`.
        let string = unsafe { *self.array };
        // SAFETY: `new` was promised C strings that live for `'a`.
        Some(unsafe { CStr::from_ptr(string) })
    }

    /// The strings in order.
    pub fn iter(self) -> impl Iterator<Item = &'a CStr> {
        let mut rest = self;
        core::iter::from_fn(move || {
            let first = rest.first()?;
            rest = rest.skip(1);
            Some(first)
        })
    }
}

/// What the kernel has put on the stack of a program that it starts.
pub struct Initial {
    /// Its arguments.
    pub argv: CStrings<'static>,
    /// Its environment.
    pub envp: CStrings<'static>,
    /// Its effective user id; with the next one out of the auxiliary vector,
    /// getauxval(3), which saves the two calls that ask for them.
    pub uid: u32,
    /// Its effective group id.
    pub gid: u32,
}

/// Reads the stack that a program starts with: the number of arguments, those,
/// the environment, each with a null behind, and the auxiliary vector.
///
/// # Safety
///
/// `stack` is the stack pointer as it was at the program's first instruction,
/// and what lies there stays as it is.
pub unsafe fn initial(stack: *const usize) -> Initial {
    // SAFETY: behind the number lies an array of C strings.
    let argv = unsafe { CStrings::new(stack.wrapping_add(1).cast()) };
    // SAFETY: behind its null lies another one.
    let envp = unsafe { CStrings::new(argv.end().wrapping_add(1)) };
    let mut entry = envp.end().wrapping_add(1).cast::<[usize; 2]>();
    let (mut uid, mut gid) = (u32::MAX, u32::MAX);
    loop {
        // SAFETY: behind that null lies the auxiliary vector, and the loop
        // ends at its end.
        let [key, value] = unsafe { *entry };
        match key as u32 {
            AT_NULL => return Initial { argv, envp, uid, gid },
            AT_EUID => uid = value as u32,
            AT_EGID => gid = value as u32,
            _ => {}
        }
        entry = entry.wrapping_add(1);
    }
}

/// An array of C strings that is built here, with room for `N` and the null.
// The length comes first: behind the pointers it would take another page.
#[repr(C)]
pub struct StringArray<const N: usize> {
    length: usize,
    pointers: [*const c_char; N],
}

impl<const N: usize> StringArray<N> {
    /// The empty array, all zeroes.
    pub const EMPTY: Self = Self { pointers: [ptr::null(); N], length: 0 };

    /// A view for building and passing on, which starts out empty.
    pub fn builder<'a>(&'a mut self) -> StringArrayBuilder<'a, N> {
        self.length = 0;
        StringArrayBuilder { array: self }
    }
}

/// A [`StringArray`] whose strings live for `'a`.
pub struct StringArrayBuilder<'a, const N: usize> {
    array: &'a mut StringArray<N>,
}

impl<'a, const N: usize> StringArrayBuilder<'a, N> {
    /// Adds a string; `false` when the array is full.
    #[must_use]
    pub fn push(&mut self, string: &'a CStr) -> bool {
        // The last place is kept for the null.
        if self.array.length + 1 >= N {
            return false;
        }
        let Some(place) = self.array.pointers.get_mut(self.array.length) else {
            return false;
        };
        *place = string.as_ptr();
        self.array.length += 1;
        true
    }

    /// The finished array.
    pub fn finish(self) -> CStrings<'a> {
        if let Some(place) = self.array.pointers.get_mut(self.array.length) {
            *place = ptr::null();
        }
        // SAFETY: `push` only stores C strings that live for `'a`, and the
        // place behind the last one has just been set to null.
        unsafe { CStrings::new(self.array.pointers.as_ptr()) }
    }
}

/// Bytes of a child's stack: what is said of it stands behind, in the page that
/// the child touches first.
const STACK: usize = 128 * 1024 - 16;

/// Memory for the stack of a child that shares this address space.
#[repr(C, align(4096))]
pub struct Stack {
    bytes: UnsafeCell<StackBytes>,
    taken: AtomicBool,
    /// The process that runs on it, where the kernel tells.
    pid: AtomicI32,
}

#[repr(C, align(16))]
struct StackBytes([u8; STACK]);

// SAFETY: the bytes are touched by the one child for which `taken` was set.
unsafe impl Sync for Stack {}

impl Stack {
    /// A stack nobody has run on, all zeroes.
    pub const fn new() -> Self {
        Self {
            bytes: UnsafeCell::new(StackBytes([0; STACK])),
            taken: AtomicBool::new(false),
            pid: AtomicI32::new(0),
        }
    }

    /// The process that was started on it, by its number where it was; 0 where
    /// there is none, or an old clone(2) does not tell.
    pub fn pid(&self) -> i32 {
        self.pid.load(Ordering::Relaxed)
    }
}

impl Default for Stack {
    fn default() -> Self {
        Self::new()
    }
}

/// How [`clone`] makes a child.
pub struct Clone<'a> {
    /// `CLONE_*`, to which `CLONE_PIDFD` is added and, but for [`fork_on`],
    /// `CLONE_VM`.
    pub flags: u64,
    /// A cgroup v2 directory the child is born in.
    pub cgroup: Option<BorrowedFd<'a>>,
}

/// A child and a descriptor that refers to it.
#[derive(Debug)]
pub struct Child {
    /// Its process id in the caller's PID namespace.
    pub pid: i32,
    /// Its pidfd, which never refers to another process.
    pub pidfd: OwnedFd,
}

/// clone3(2), or clone(2) where a filter hides clone3: starts a child on
/// `stack` that shares this memory and runs `run(argument)`.
///
/// With `CLONE_VFORK` the caller stands still until the child has called exec
/// or ended; without it the two run at the same time, and `argument` must be
/// fit for that, which `Sync` says.
///
/// # Errors
///
/// clone3(2)
pub fn clone<T: Sync>(
    how: &Clone<'_>,
    stack: &'static Stack,
    run: extern "C" fn(&'static T) -> !,
    argument: &'static T,
) -> Result<Child> {
    let how = Clone { flags: how.flags | u64::from(uapi::CLONE_VM), cgroup: how.cgroup };
    let start = Start { run: run as *const c_void, argument: ptr::from_ref(argument).cast() };
    start_on(stack, &how, &start)
}

/// [`clone`] of a child that has a copy of this memory for its own, on its copy
/// of `stack`.
///
/// # Errors
///
/// clone3(2)
pub fn fork_on<T: Sync>(
    stack: &'static Stack,
    run: extern "C" fn(&'static T) -> !,
    argument: &'static T,
) -> Result<Child> {
    let start = Start { run: run as *const c_void, argument: ptr::from_ref(argument).cast() };
    start_on(stack, &Clone { flags: 0, cgroup: None }, &start)
}

/// [`clone`] with `CLONE_VFORK`, after which the child has called exec or
/// ended: what it was lent is free again.
///
/// # Errors
///
/// clone3(2)
pub fn vfork<T: Sync>(
    how: &Clone<'_>,
    stack: &Stack,
    run: extern "C" fn(&T) -> !,
    argument: &T,
) -> Result<Child> {
    let flags = how.flags | u64::from(uapi::CLONE_VM | uapi::CLONE_VFORK);
    let how = Clone { flags, cgroup: how.cgroup };
    let start = Start { run: run as *const c_void, argument: ptr::from_ref(argument).cast() };
    let child = start_on(stack, &how, &start)?;
    stack.taken.store(false, Ordering::Relaxed);
    Ok(child)
}

/// [`clone`], once for all types.
fn start_on(stack: &Stack, how: &Clone<'_>, start: &Start) -> Result<Child> {
    if stack.taken.swap(true, Ordering::Relaxed) {
        return Err(Errno::BUSY);
    }
    let mut pidfd: RawFd = -1;
    let flags = how.flags | u64::from(uapi::CLONE_PIDFD);
    let bottom = stack.bytes.get() as u64;
    let mut arguments = uapi::clone_args {
        // The number is there before the child runs.
        flags: flags | u64::from(uapi::CLONE_PARENT_SETTID),
        pidfd: (&raw mut pidfd) as u64,
        child_tid: 0,
        parent_tid: stack.pid.as_ptr() as u64,
        exit_signal: uapi::SIGCHLD.into(),
        stack: bottom,
        stack_size: STACK as u64,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: 0,
    };
    if let Some(cgroup) = how.cgroup {
        arguments.flags |= uapi::CLONE_INTO_CGROUP;
        arguments.cgroup = cgroup.as_raw_fd() as u64;
    }
    let clone3 = [
        Sysno::clone3 as usize,
        (&raw mut arguments) as usize,
        mem::size_of::<uapi::clone_args>(),
        0,
    ];
    // SAFETY: `arguments`, `pidfd` and `stack.pid` outlive the call. The child
    // gets `stack` for as long as `taken` keeps it from anybody else, and
    // enters `run`, which does not return, with an argument that lives for ever,
    // or is lent until the `CLONE_VFORK` of `vfork` lets its caller go on.
    let mut result = unsafe { trampoline(clone3, start) };
    // The low byte of clone(2)'s flags is the signal, where clone3(2) has a
    // namespace.
    let fits = how.cgroup.is_none() && flags & 0xff == 0;
    if result == -(ENOSYS as isize) && fits {
        let clone = [
            Sysno::clone as usize,
            (flags | u64::from(uapi::SIGCHLD)) as usize,
            bottom as usize + STACK,
            (&raw mut pidfd) as usize,
        ];
        // SAFETY: as above; clone(2) stores the pidfd where `parent_tid` points.
        result = unsafe { trampoline(clone, start) };
    }
    if how.flags & u64::from(uapi::CLONE_VFORK) != 0 {
        // The call returns once the child has let go of our memory.
        stack.taken.store(false, Ordering::Relaxed);
    }
    match i32::try_from(result) {
        Ok(pid) if pid > 0 => Ok(Child { pid, pidfd: owned(pidfd as usize) }),
        _ => {
            // No child was made, so nobody runs on it.
            stack.taken.store(false, Ordering::Relaxed);
            Err(Errno::from_raw_os_error(-(result as i32)))
        }
    }
}

/// fork(2) without what a libc does around it: the child's process id, or 0 in
/// the child.
///
/// # Safety
///
/// The child, which has one thread, makes async-signal-safe calls only,
/// signal-safety(7), and does not go on as if it were its parent.
///
/// # Errors
///
/// clone(2)
pub unsafe fn fork() -> Result<i32> {
    // SAFETY: without a stack and pointers the child goes on here, in a copy of
    // this memory; for the rest, see above.
    unsafe { syscall!(Sysno::clone, uapi::SIGCHLD, 0, 0, 0, 0) }
        .map(|pid| pid as i32)
        .map_err(errno)
}

/// fork(2) of a sibling, which has the same parent as this process, by
/// `CLONE_PARENT`. Whether this is the sibling. For the launcher's own program, which
/// has one thread: of another the sibling would have what its other threads hold
/// locked.
///
/// # Errors
///
/// clone(2): `EINVAL` for PID 1, which has no parent.
pub(crate) fn fork_sibling() -> Result<bool> {
    // SAFETY: without a stack and pointers the sibling goes on here, in a copy
    // of this memory; nothing of it is shared.
    unsafe { syscall!(Sysno::clone, uapi::CLONE_PARENT, 0, 0, 0, 0) }
        .map(|pid| pid == 0)
        .map_err(errno)
}

/// [`clone`] of a child that never calls exec, and waits for its end.
///
/// # Errors
///
/// clone3(2)
pub fn run<T: Sync>(
    flags: u64,
    stack: &'static Stack,
    main: extern "C" fn(&'static T) -> !,
    argument: &'static T,
) -> Result<()> {
    let flags = flags | u64::from(uapi::CLONE_VFORK);
    let child = clone(&Clone { flags, cgroup: None }, stack, main, argument)?;
    wait_for(child.pid);
    Ok(())
}

/// Waits for the end of a child that is about to end. Where the caller ignores
/// SIGCHLD, or it was waited for, there is nothing to wait for.
pub fn wait_for(pid: i32) {
    // SAFETY: the kernel is asked for neither status nor resource usage.
    while unsafe { syscall!(Sysno::wait4, pid, 0, 0, 0) } == Err(syscalls::Errno::EINTR) {}
}

/// Where a child begins: [`clone`] is given a function and its argument that
/// belong together.
struct Start {
    run: *const c_void,
    argument: *const c_void,
}

/// Makes the system call `[number, arguments...]`, which creates a process on
/// a stack of its own; there, calls `start.run(start.argument)`. Returns the
/// kernel's answer in the parent only.
///
/// # Safety
///
/// The call is clone or clone3 with a stack that is 16-byte aligned at its top
/// and used by nothing else, and `start.run` is an `extern "C" fn(&T) -> !` for the
/// argument beside it.
unsafe fn trampoline(call: [usize; 4], start: &Start) -> isize {
    let [number, first, second, third] = call;
    let result: isize;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: promised by the caller. The child's registers are those of the
    // parent but for the stack pointer; it takes what it needs from registers
    // and never comes back.
    unsafe {
        core::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r13",
            "call r12",
            "ud2",
            "2:",
            inlateout("rax") number as isize => result,
            in("rdi") first,
            in("rsi") second,
            in("rdx") third,
            in("r10") 0usize,
            in("r8") 0usize,
            in("r12") start.run,
            in("r13") start.argument,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above.
    unsafe {
        core::arch::asm!(
            "svc #0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x30, xzr",
            "mov x0, {argument}",
            "blr {run}",
            "brk #1",
            "2:",
            inlateout("x0") first as isize => result,
            in("x8") number,
            in("x1") second,
            in("x2") third,
            in("x3") 0usize,
            in("x4") 0usize,
            run = in(reg) start.run,
            argument = in(reg) start.argument,
        );
    }
    #[cfg(target_arch = "riscv64")]
    // SAFETY: as above.
    unsafe {
        core::arch::asm!(
            "ecall",
            "bnez a0, 2f",
            "mv a0, {argument}",
            "jalr {run}",
            "unimp",
            "2:",
            inlateout("a0") first as isize => result,
            in("a7") number,
            in("a1") second,
            in("a2") third,
            in("a3") 0usize,
            in("a4") 0usize,
            run = in(reg) start.run,
            argument = in(reg) start.argument,
        );
    }
    result
}

/// Mark close-on-exec instead of closing: linux/close_range.h.
pub const CLOSE_RANGE_CLOEXEC: u32 = 1 << 2;

/// close_range(2) from `first` to `last`: closes, or with
/// `CLOSE_RANGE_CLOEXEC` marks close-on-exec.
///
/// # Errors
///
/// close_range(2)
pub fn close_range(first: u32, last: u32, flags: u32) -> Result<()> {
    // SAFETY: the call takes numbers only. Descriptors that this program owns
    // lie in the range only where it is about to exec or has let go of them.
    unsafe { syscall!(Sysno::close_range, first, last, flags) }.map(drop).map_err(errno)
}

/// getdents64(2) without room for an answer, which tells what a descriptor is
/// without touching it.
///
/// # Errors
///
/// `ENOTDIR` for a file that is no directory, `EBADF` for a descriptor that is
/// closed or was opened with `O_PATH`, anything else for a directory.
pub fn getdents64_nothing(fd: RawFd) -> Result<()> {
    // SAFETY: a buffer of no bytes is never written.
    unsafe { syscall!(Sysno::getdents64, fd, 0, 0) }.map(drop).map_err(errno)
}

/// mount_setattr(2) on the mount that `fd` is the root of.
///
/// # Errors
///
/// mount_setattr(2)
pub fn mount_setattr(fd: impl AsFd, flags: u32, attributes: u64) -> Result<()> {
    let attr = mount_attr(attributes);
    // SAFETY: the kernel reads one empty string and one `mount_attr`, which
    // both outlive the call.
    unsafe {
        syscall!(
            Sysno::mount_setattr,
            fd.as_fd().as_raw_fd(),
            c"".as_ptr(),
            flags | uapi::AT_EMPTY_PATH,
            &raw const attr,
            mem::size_of::<uapi::mount_attr>()
        )
    }
    .map(drop)
    .map_err(errno)
}

/// open_tree_attr(2): clones the tree at `path` below `directory` and sets
/// attributes on the clone.
///
/// # Errors
///
/// `ENOSYS` before Linux 6.15; open_tree(2), mount_setattr(2)
pub fn open_tree_attr(
    directory: impl AsFd,
    path: &CStr,
    flags: u32,
    attributes: u64,
) -> Result<OwnedFd> {
    let attr = mount_attr(attributes);
    // SAFETY: the kernel reads one C string and one `mount_attr`, which both
    // outlive the call.
    unsafe {
        syscall!(
            Sysno::open_tree_attr,
            directory.as_fd().as_raw_fd(),
            path.as_ptr(),
            flags,
            &raw const attr,
            mem::size_of::<uapi::mount_attr>()
        )
    }
    .map(owned)
    .map_err(errno)
}

/// `struct mount_attr` that sets `attributes` and clears nothing.
const fn mount_attr(attributes: u64) -> uapi::mount_attr {
    uapi::mount_attr { attr_set: attributes, attr_clr: 0, propagation: 0, userns_fd: 0 }
}

/// The Landlock ABI of this kernel, landlock_create_ruleset(2).
///
/// # Errors
///
/// `ENOSYS` or `EOPNOTSUPP` where the kernel has or uses no Landlock.
pub fn landlock_abi() -> Result<u32> {
    landlock_asked(landlock_uapi::LANDLOCK_CREATE_RULESET_VERSION)
}

/// The errata of Landlock that are fixed in this kernel, bit n-1 for number n,
/// landlock_create_ruleset(2).
///
/// # Errors
///
/// `EINVAL` before Linux 6.15, and as [`landlock_abi`].
pub fn landlock_errata() -> Result<u32> {
    landlock_asked(landlock_uapi::LANDLOCK_CREATE_RULESET_ERRATA)
}

fn landlock_asked(what: u32) -> Result<u32> {
    // SAFETY: with one of these flags the kernel reads no attributes.
    unsafe { syscall!(Sysno::landlock_create_ruleset, 0, 0, what) }
        .map(|answer| answer as u32)
        .map_err(errno)
}

/// landlock_create_ruleset(2)
///
/// # Errors
///
/// landlock_create_ruleset(2)
pub fn landlock_create_ruleset(fs: u64, net: u64, scoped: u64) -> Result<OwnedFd> {
    let attr = landlock_uapi::landlock_ruleset_attr {
        handled_access_fs: fs,
        handled_access_net: net,
        scoped,
    };
    // A kernel that does not know the later fields accepts the longer
    // structure as long as they are zero.
    let size = mem::size_of::<landlock_uapi::landlock_ruleset_attr>();
    // SAFETY: the kernel reads `size` bytes of `attr`, which outlives the call.
    unsafe { syscall!(Sysno::landlock_create_ruleset, &raw const attr, size, 0) }
        .map(owned)
        .map_err(errno)
}

/// landlock_add_rule(2) for what lies at or beneath `parent`.
///
/// # Errors
///
/// landlock_add_rule(2)
pub fn landlock_add_path(ruleset: impl AsFd, parent: impl AsFd, access: u64) -> Result<()> {
    let attr = landlock_uapi::landlock_path_beneath_attr {
        allowed_access: access,
        parent_fd: parent.as_fd().as_raw_fd(),
    };
    add_rule(ruleset, landlock_uapi::landlock_rule_type::LANDLOCK_RULE_PATH_BENEATH, &attr)
}

/// landlock_add_rule(2) for a TCP port.
///
/// # Errors
///
/// landlock_add_rule(2)
pub fn landlock_add_port(ruleset: impl AsFd, port: u16, access: u64) -> Result<()> {
    let attr = landlock_uapi::landlock_net_port_attr { allowed_access: access, port: port.into() };
    add_rule(ruleset, landlock_uapi::landlock_rule_type::LANDLOCK_RULE_NET_PORT, &attr)
}

fn add_rule<T>(
    ruleset: impl AsFd,
    rule: landlock_uapi::landlock_rule_type,
    attr: &T,
) -> Result<()> {
    // SAFETY: the two callers above pass the structure that belongs to `rule`;
    // the kernel reads it and it outlives the call.
    unsafe {
        syscall!(
            Sysno::landlock_add_rule,
            ruleset.as_fd().as_raw_fd(),
            rule as u32,
            ptr::from_ref(attr),
            0
        )
    }
    .map(drop)
    .map_err(errno)
}

/// landlock_restrict_self(2)
///
/// # Errors
///
/// landlock_restrict_self(2)
pub fn landlock_restrict_self(ruleset: impl AsFd, flags: u32) -> Result<()> {
    // SAFETY: the call takes numbers only.
    unsafe { syscall!(Sysno::landlock_restrict_self, ruleset.as_fd().as_raw_fd(), flags) }
        .map(drop)
        .map_err(errno)
}

/// `SECCOMP_SET_MODE_FILTER` of seccomp(2), for a filter that
/// [`launcher_policy::seccomp::validate`] has accepted. Where the flags ask for
/// one, there is a listener.
///
/// # Errors
///
/// seccomp(2)
pub fn seccomp_set_mode_filter(filter: &[u8], flags: u32) -> Result<Option<OwnedFd>> {
    let program = seccomp_uapi::sock_fprog {
        len: (filter.len() / INSTRUCTION_SIZE) as u16,
        filter: filter.as_ptr().cast_mut().cast(),
    };
    // SAFETY: the kernel reads one `sock_fprog` and then `len` instructions
    // behind `filter`; both outlive the call and it writes to neither. It
    // copies bytes, so `filter` may be unaligned.
    let answer = unsafe {
        syscall!(Sysno::seccomp, seccomp_uapi::SECCOMP_SET_MODE_FILTER, flags, &raw const program)
    };
    let answer = answer.map_err(errno)?;
    Ok((flags & seccomp_uapi::SECCOMP_FILTER_FLAG_NEW_LISTENER != 0).then(|| owned(answer)))
}

/// A way to ask whether a system call, or something that it can do, is there.
pub struct Question {
    call: Sysno,
    /// The first two arguments; all others are [`WRONG`].
    first: i8,
    second: u8,
    /// What a kernel that has it complains about.
    complaint: u8,
}

impl Question {
    const fn new(call: Sysno, first: i8, second: u32, complaint: u32) -> Self {
        Self { call, first, second: second as u8, complaint: complaint as u8 }
    }
}

/// All that are asked, in the order of [`crate::probe::Fact`].
pub const QUESTIONS: [Question; 7] = {
    const FILTER: i8 = seccomp_uapi::SECCOMP_SET_MODE_FILTER as i8;
    const KILLABLE: u32 = seccomp_uapi::SECCOMP_FILTER_FLAG_NEW_LISTENER
        | seccomp_uapi::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    const ACTION: i8 = seccomp_uapi::SECCOMP_GET_ACTION_AVAIL as i8;
    [
        Question::new(Sysno::clone3, -1, 0, EINVAL),
        Question::new(Sysno::openat2, -1, 0, E2BIG),
        Question::new(Sysno::open_tree, -1, 0, EINVAL),
        Question::new(Sysno::mount_setattr, -1, 0, EINVAL),
        Question::new(Sysno::memfd_create, -1, uapi::MFD_NOEXEC_SEAL, EFAULT),
        Question::new(Sysno::seccomp, FILTER, KILLABLE, EFAULT),
        Question::new(Sysno::seccomp, ACTION, 0, 0),
    ]
};

/// Neither flags nor the size or the place of anything.
const WRONG: usize = usize::MAX;

/// Asks by a call that does nothing, because an argument is wrong.
///
/// # Errors
///
/// What came instead of the complaint about that, `ENOSYS` for instance.
pub fn ask(question: &Question) -> Result<()> {
    // The only pointer that is read: seccomp(2) is asked for this action.
    static ACTION: u32 = seccomp_uapi::SECCOMP_RET_KILL_PROCESS;
    let &Question { call, first, second, complaint } = question;
    let third = if complaint == 0 { (&raw const ACTION) as usize } else { WRONG };
    // SAFETY: the calls of the table look at flags and sizes first, do nothing
    // where those are wrong, and have no memory to write to; the action lives
    // for ever.
    match unsafe { syscall!(call, first as isize, second, third, WRONG, WRONG) } {
        Err(error) if error.into_raw() != complaint.into() => Err(errno(error)),
        _ => Ok(()),
    }
}

/// execve(2). Returns only when it failed.
pub fn execve(path: &CStr, argv: CStrings<'_>, envp: CStrings<'_>) -> Errno {
    // SAFETY: the kernel reads a C string and two NULL-terminated arrays of C
    // strings, which is what the types promise.
    let result = unsafe { syscall!(Sysno::execve, path.as_ptr(), argv.array, envp.array) };
    result.map_or_else(errno, |_| Errno::NOSYS)
}

/// execveat(2) of what a descriptor refers to. Returns only when it failed.
pub fn execveat(program: BorrowedFd<'_>, argv: CStrings<'_>, envp: CStrings<'_>) -> Errno {
    // SAFETY: the kernel reads an empty C string and two NULL-terminated
    // arrays of C strings, which is what the types promise.
    let result = unsafe {
        syscall!(
            Sysno::execveat,
            program.as_raw_fd(),
            c"".as_ptr(),
            argv.array,
            envp.array,
            uapi::AT_EMPTY_PATH
        )
    };
    result.map_or_else(errno, |_| Errno::NOSYS)
}

/// exit_group(2)
pub fn exit_group(status: i32) -> ! {
    loop {
        // SAFETY: the call takes a number and ends the process.
        let _ = unsafe { syscall!(Sysno::exit_group, status) };
    }
}

/// A set of signals as the kernel has it: bit n-1 is signal n.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SignalSet(pub u64);

impl SignalSet {
    /// No signal.
    pub const EMPTY: Self = Self(0);
    /// Every signal.
    pub const ALL: Self = Self(!0);

    /// One signal.
    pub const fn only(signal: u32) -> Self {
        Self(1 << (signal - 1))
    }
}

/// Size of the kernel's signal set.
const SIGNAL_SET: usize = mem::size_of::<u64>();

/// rt_sigprocmask(2): blocks these signals and no others.
///
/// # Errors
///
/// rt_sigprocmask(2)
pub fn set_signal_mask(blocked: SignalSet) -> Result<()> {
    let set = blocked.0;
    // SAFETY: the kernel reads eight bytes of `set`, which outlives the call,
    // and is not asked for the old mask.
    unsafe { syscall!(Sysno::rt_sigprocmask, uapi::SIG_SETMASK, &raw const set, 0, SIGNAL_SET) }
        .map(drop)
        .map_err(errno)
}

/// rt_sigprocmask(2): blocks every signal, and returns those that were blocked.
///
/// # Errors
///
/// rt_sigprocmask(2)
pub fn block_signals() -> Result<SignalSet> {
    let (all, mut before) = (SignalSet::ALL, SignalSet::EMPTY);
    let (set, old) = (&raw const all.0, &raw mut before.0);
    // SAFETY: the kernel reads eight bytes of `all` and writes as many into
    // `before`, which both outlive the call.
    unsafe { syscall!(Sysno::rt_sigprocmask, uapi::SIG_SETMASK, set, old, SIGNAL_SET) }
        .map(|_| before)
        .map_err(errno)
}

/// rt_sigaction(2): gives a signal its default action.
///
/// # Errors
///
/// rt_sigaction(2)
pub fn set_default_action(signal: u32) -> Result<()> {
    // Longer than the kernel's structure on every architecture; all zeroes is
    // SIG_DFL without flags.
    let action = [0_u64; 8];
    // SAFETY: the kernel reads one `kernel_sigaction` out of `action`, which
    // outlives the call; no handler is installed.
    unsafe { syscall!(Sysno::rt_sigaction, signal, &raw const action, 0, SIGNAL_SET) }
        .map(drop)
        .map_err(errno)
}

/// signalfd4(2), close-on-exec and non-blocking.
///
/// # Errors
///
/// signalfd(2)
pub fn signalfd(signals: SignalSet) -> Result<OwnedFd> {
    let set = signals.0;
    // The flags of signalfd4(2) are those of open(2).
    let flags = uapi::O_CLOEXEC | uapi::O_NONBLOCK;
    // SAFETY: the kernel reads eight bytes of `set`, which outlives the call.
    unsafe { syscall!(Sysno::signalfd4, -1_i32, &raw const set, SIGNAL_SET, flags) }
        .map(owned)
        .map_err(errno)
}

/// What the waiter needs of `struct signalfd_siginfo`.
#[derive(Clone, Copy)]
pub struct Signal {
    /// Its number.
    pub number: u32,
    /// `si_code`
    pub code: i32,
}

/// Reads one signal from a signalfd; `None` when there is none.
///
/// # Errors
///
/// read(2)
pub fn read_signal(signalfd: impl AsFd) -> Result<Option<Signal>> {
    let mut info = [0_u8; 128];
    match rustix::io::read(signalfd, &mut info) {
        Ok(128) => {}
        Ok(_) => return Err(Errno::IO),
        Err(Errno::AGAIN) => return Ok(None),
        Err(error) => return Err(error),
    }
    // ssi_signo, ssi_errno, ssi_code.
    let [n0, n1, n2, n3, _, _, _, _, c0, c1, c2, c3, ..] = info;
    Ok(Some(Signal {
        number: u32::from_ne_bytes([n0, n1, n2, n3]),
        code: i32::from_ne_bytes([c0, c1, c2, c3]),
    }))
}

/// kill(2) with numbers of any meaning it gives them.
///
/// # Errors
///
/// kill(2)
pub fn kill(pid: i32, signal: u32) -> Result<()> {
    // SAFETY: the call takes numbers only.
    unsafe { syscall!(Sysno::kill, pid, signal) }.map(drop).map_err(errno)
}

/// prctl(2) with one argument that is a number.
///
/// # Errors
///
/// prctl(2)
pub fn prctl(option: u32, argument: u64) -> Result<()> {
    // SAFETY: every caller names an option whose argument is a number.
    unsafe { syscall!(Sysno::prctl, option, argument, 0, 0, 0) }.map(drop).map_err(errno)
}

/// prctl(2) with an option that has a number for an answer, and no argument;
/// 0 where it cannot be asked.
pub fn prctl_answer(option: u32) -> i64 {
    // SAFETY: every caller names an option that writes to no memory.
    unsafe { syscall!(Sysno::prctl, option, 0, 0, 0, 0) }.unwrap_or(0) as i64
}

/// capget(2): the effective capabilities of this process; bit n is capability
/// n.
pub fn capabilities() -> i64 {
    let header =
        uapi::__user_cap_header_struct { version: uapi::_LINUX_CAPABILITY_VERSION_3, pid: 0 };
    let mut data = [0_u32; 6];
    // SAFETY: the kernel reads one header and writes the two structures of
    // three words that version 3 has; both outlive the call. It cannot fail
    // for the calling process.
    let _ = unsafe { syscall!(Sysno::capget, &raw const header, &raw mut data) };
    let [low, _, _, high, _, _] = data;
    i64::from(high) << 32 | i64::from(low)
}

/// capset(2): leaves only these capabilities permitted and effective, none
/// inheritable, which takes the ambient ones along. Bit n is capability n,
/// below 32.
///
/// # Errors
///
/// capset(2)
pub fn capset(capabilities: u32) -> Result<()> {
    let header =
        uapi::__user_cap_header_struct { version: uapi::_LINUX_CAPABILITY_VERSION_3, pid: 0 };
    let data = [capabilities, capabilities, 0, 0, 0, 0];
    // SAFETY: the kernel reads one header and the two structures of three
    // words that version 3 has; both outlive the call.
    unsafe { syscall!(Sysno::capset, &raw const header, &raw const data) }.map(drop).map_err(errno)
}

/// Brings the loopback interface of this network namespace up:
/// `SIOCSIFFLAGS` of netdevice(7).
///
/// # Errors
///
/// ioctl(2)
pub fn loopback_up(socket: impl AsFd) -> Result<()> {
    use linux_raw_sys::if_arp::net_device_flags::IFF_UP;
    /// `struct ifreq`
    #[repr(C)]
    struct Request {
        name: [u8; 16],
        flags: u16,
        rest: [u8; 22],
    }
    let name = *b"lo\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let request = Request { name, flags: IFF_UP as u16, rest: [0; 22] };
    // SAFETY: the kernel reads one `ifreq`, which is no longer than `request`.
    unsafe {
        syscall!(
            Sysno::ioctl,
            socket.as_fd().as_raw_fd(),
            linux_raw_sys::ioctl::SIOCSIFFLAGS,
            &raw const request
        )
    }
    .map(drop)
    .map_err(errno)
}

/// How many descriptors one message takes at most: all sockets of a proxy.
const MAX_SENT: usize = launcher_policy::namespaces::MAX_LISTENERS;

/// sendmsg(2) of bytes and up to `MAX_SENT` descriptors with them, unix(7).
///
/// # Errors
///
/// sendmsg(2)
pub fn send_with(socket: BorrowedFd<'_>, bytes: &[u8], passed: &[BorrowedFd<'_>]) -> Result<usize> {
    /// `struct cmsghdr` with its descriptors.
    #[repr(C)]
    struct Control {
        header: net::cmsghdr,
        fds: [RawFd; MAX_SENT],
    }
    let mut fds = [0; MAX_SENT];
    for (place, fd) in fds.iter_mut().zip(passed) {
        *place = fd.as_raw_fd();
    }
    let count = passed.len().min(MAX_SENT);
    let length = mem::size_of::<net::cmsghdr>() + count * mem::size_of::<RawFd>();
    let mut control = Control {
        header: net::cmsghdr {
            cmsg_len: length,
            cmsg_level: net::SOL_SOCKET as i32,
            cmsg_type: net::SCM_RIGHTS as i32,
        },
        fds,
    };
    let mut part = [bytes.as_ptr() as usize, bytes.len()];
    let message = net::msghdr {
        msg_name: ptr::null_mut(),
        msg_namelen: 0,
        msg_iov: (&raw mut part).cast(),
        msg_iovlen: 1,
        msg_control: (&raw mut control).cast(),
        msg_controllen: if count > 0 { length } else { 0 },
        msg_flags: 0,
    };
    // SAFETY: the kernel reads `message`, the `iovec` that `part` is, the bytes
    // it points at, and `control`, all of which outlive the call.
    unsafe { syscall!(Sysno::sendmsg, socket.as_raw_fd(), &raw const message, net::MSG_NOSIGNAL) }
        .map_err(errno)
}

/// What [`receive_with`] got of a message.
pub struct Received {
    /// How many bytes.
    pub bytes: usize,
    /// How many descriptors.
    pub fds: usize,
    /// Whether that is all of it.
    pub is_whole: bool,
}

/// recvmsg(2) of a message and the descriptors with it, close-on-exec. What the
/// message has beyond the room for it is lost.
///
/// # Errors
///
/// recvmsg(2)
pub fn receive_with<const N: usize>(
    socket: BorrowedFd<'_>,
    bytes: &mut [u8],
    fds: &mut [RawFd; N],
) -> Result<Received> {
    /// `struct cmsghdr` with room for descriptors.
    #[repr(C)]
    struct Control<const N: usize> {
        header: net::cmsghdr,
        fds: [RawFd; N],
    }
    let mut control =
        Control { header: net::cmsghdr { cmsg_len: 0, cmsg_level: 0, cmsg_type: 0 }, fds: [-1; N] };
    let mut part = [bytes.as_mut_ptr() as usize, bytes.len()];
    let mut message = net::msghdr {
        msg_name: ptr::null_mut(),
        msg_namelen: 0,
        msg_iov: (&raw mut part).cast(),
        msg_iovlen: 1,
        msg_control: (&raw mut control).cast(),
        msg_controllen: mem::size_of::<Control<N>>(),
        msg_flags: 0,
    };
    let flags = net::MSG_CMSG_CLOEXEC;
    // SAFETY: the kernel reads the `iovec` that `part` is, and writes to
    // `message`, to the bytes that `part` points at and to `control`, no more than
    // each is long; all of them outlive the call.
    let length = unsafe { syscall!(Sysno::recvmsg, socket.as_raw_fd(), &raw mut message, flags) }
        .map_err(errno)?;
    let header = control.header;
    let is_rights =
        (header.cmsg_level, header.cmsg_type) == (net::SOL_SOCKET as i32, net::SCM_RIGHTS as i32);
    let of_fds = header.cmsg_len.saturating_sub(mem::size_of::<net::cmsghdr>());
    *fds = control.fds;
    Ok(Received {
        bytes: length,
        fds: if is_rights { (of_fds / mem::size_of::<RawFd>()).min(N) } else { 0 },
        is_whole: message.msg_flags & (net::MSG_TRUNC | net::MSG_CTRUNC) == 0,
    })
}

/// `TIOCNOTTY` of ioctl_tty(2): gives up the controlling terminal.
///
/// # Errors
///
/// ioctl_tty(2)
pub fn tiocnotty(terminal: impl AsFd) -> Result<()> {
    // SAFETY: the request takes no argument.
    unsafe {
        syscall!(Sysno::ioctl, terminal.as_fd().as_raw_fd(), linux_raw_sys::ioctl::TIOCNOTTY, 0)
    }
    .map(drop)
    .map_err(errno)
}

/// sched_setaffinity(2) of the calling thread; bit n of byte n/8 is CPU n.
///
/// # Errors
///
/// sched_setaffinity(2)
pub fn sched_setaffinity(cpus: &[u8]) -> Result<()> {
    // SAFETY: the kernel reads `cpus.len()` bytes of `cpus`.
    unsafe { syscall!(Sysno::sched_setaffinity, 0, cpus.len(), cpus.as_ptr()) }
        .map(drop)
        .map_err(errno)
}

/// setgroups(2) with no group.
///
/// # Errors
///
/// setgroups(2)
pub fn setgroups_none() -> Result<()> {
    // SAFETY: a list of no groups is not read.
    unsafe { syscall!(Sysno::setgroups, 0, 0) }.map(drop).map_err(errno)
}

/// getcwd(2): the path of the working directory, NUL included. It does not
/// begin with a slash when the directory lies outside the root.
///
/// # Errors
///
/// getcwd(2)
pub fn getcwd(buffer: &mut [u8]) -> Result<&CStr> {
    // SAFETY: the kernel writes at most `buffer.len()` bytes into `buffer`.
    unsafe { syscall!(Sysno::getcwd, buffer.as_mut_ptr(), buffer.len()) }.map_err(errno)?;
    CStr::from_bytes_until_nul(buffer).map_err(|_| Errno::NAMETOOLONG)
}

/// The monotonic clock in milliseconds.
pub fn monotonic_milliseconds() -> u64 {
    monotonic_microseconds() / 1000
}

/// clock_gettime(2) of `CLOCK_MONOTONIC`, in microseconds.
pub fn monotonic_microseconds() -> u64 {
    let mut time = uapi::__kernel_timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one `timespec`, which outlives the call. It
    // cannot fail for this clock.
    let _ = unsafe { syscall!(Sysno::clock_gettime, uapi::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1000
}

/// prlimit(2) of the calling process.
///
/// # Errors
///
/// prlimit(2)
pub fn setrlimit(resource: u32, soft: u64, hard: u64) -> Result<()> {
    let limit = uapi::rlimit64 { rlim_cur: soft, rlim_max: hard };
    // SAFETY: the kernel reads one `rlimit64`, which outlives the call, and is
    // not asked for the old one.
    unsafe { syscall!(Sysno::prlimit64, 0, resource, &raw const limit, 0) }.map(drop).map_err(errno)
}

/// unshare(2) of namespaces, `CLONE_NEW*`.
///
/// # Errors
///
/// unshare(2)
pub fn unshare(flags: u32) -> Result<()> {
    // SAFETY: the call takes a number. Only namespaces are unshared, no memory
    // and no descriptor table.
    unsafe { syscall!(Sysno::unshare, flags) }.map(drop).map_err(errno)
}

/// setns(2): joins a namespace by its descriptor, or those of a process by its
/// pidfd.
///
/// # Errors
///
/// setns(2)
pub fn setns(fd: impl AsFd, flags: u32) -> Result<()> {
    // SAFETY: the call takes numbers only. Namespaces change, no memory and no
    // descriptor table.
    unsafe { syscall!(Sysno::setns, fd.as_fd().as_raw_fd(), flags) }.map(drop).map_err(errno)
}

/// `NS_GET_USERNS` of ioctl_ns(2): the user namespace that owns a namespace.
///
/// # Errors
///
/// ioctl_ns(2)
pub fn user_namespace_of(namespace: impl AsFd) -> Result<OwnedFd> {
    /// linux/nsfs.h
    const NS_GET_USERNS: usize = 0xb701;
    // SAFETY: the request takes no argument, and returns a new descriptor.
    unsafe { syscall!(Sysno::ioctl, namespace.as_fd().as_raw_fd(), NS_GET_USERNS) }
        .map(owned)
        .map_err(errno)
}

/// readlinkat(2)
///
/// # Errors
///
/// readlink(2); `ENAMETOOLONG` for a link that does not fit.
pub fn readlinkat<'b>(
    directory: BorrowedFd<'_>,
    path: &CStr,
    buffer: &'b mut [u8],
) -> Result<&'b [u8]> {
    let size = buffer.len();
    let directory = directory.as_raw_fd();
    // SAFETY: the kernel reads one C string and writes at most `size` bytes
    // into `buffer`.
    let length =
        unsafe { syscall!(Sysno::readlinkat, directory, path.as_ptr(), buffer.as_mut_ptr(), size) }
            .map_err(errno)?;
    if length == size {
        return Err(Errno::NAMETOOLONG);
    }
    buffer.get(..length).ok_or(Errno::NAMETOOLONG)
}

/// What wait4(2) tells of a child.
#[derive(Clone, Copy)]
pub enum Waited {
    /// It ended with this status.
    Exited(i32),
    /// It ended by this signal.
    Signaled(i32),
    /// It stopped.
    Stopped,
}

/// What a child and those it waited for have used, getrusage(2).
#[derive(Clone, Copy, Default)]
pub struct Usage {
    /// CPU time in microseconds, for itself and in the kernel.
    pub cpu: u64,
    /// The largest resident set of one of them, in KiB.
    pub max_rss: u64,
}

/// wait4(2) without waiting: the next child, or the given one, that has ended
/// or stopped. `None` when there is none.
///
/// # Errors
///
/// `ECHILD` when there is no child at all.
pub fn wait4(pid: i32, usage: Option<&mut Usage>) -> Result<Option<(i32, Waited)>> {
    let mut status = 0_i32;
    // `struct rusage` is two times of two words, then fourteen words.
    let mut rusage = [0_u64; 18];
    let into = if usage.is_some() { (&raw mut rusage) as usize } else { 0 };
    let options = uapi::WNOHANG | uapi::WUNTRACED;
    // SAFETY: the kernel writes one `int` into `status` and, where it is asked
    // for it, one `rusage` into the words of that; both outlive the call.
    let found = unsafe { syscall!(Sysno::wait4, pid, &raw mut status, options, into) };
    let pid = found.map_err(errno)? as i32;
    if let Some(usage) = usage {
        let [user, user_micro, kernel, kernel_micro, max_rss, ..] = rusage;
        *usage = Usage { cpu: (user + kernel) * 1_000_000 + user_micro + kernel_micro, max_rss };
    }
    let waited = match status & 0x7f {
        0 => Waited::Exited(status >> 8 & 0xff),
        0x7f => Waited::Stopped,
        signal => Waited::Signaled(signal),
    };
    Ok((pid != 0).then_some((pid, waited)))
}

/// pidfd_send_signal(2), of 0 to ask only.
///
/// # Errors
///
/// `EBADF` for what is no pidfd; pidfd_send_signal(2)
pub fn pidfd_send_signal(pidfd: impl AsFd, signal: u32) -> Result<()> {
    // SAFETY: no signal information is passed.
    unsafe { syscall!(Sysno::pidfd_send_signal, pidfd.as_fd().as_raw_fd(), signal, 0, 0) }
        .map(drop)
        .map_err(errno)
}

/// dup3(2) onto a number that the command inherits.
///
/// # Errors
///
/// dup(2)
pub fn dup_onto(fd: impl AsFd, number: RawFd) -> Result<()> {
    // SAFETY: the call takes numbers only; what stood at `number` was passed
    // in and is not used any more.
    unsafe { syscall!(Sysno::dup3, fd.as_fd().as_raw_fd(), number, 0) }.map(drop).map_err(errno)
}
