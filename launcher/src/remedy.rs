//! What the reader of a failure can do about it.

use launcher_policy::{Call, Failure, Stage};
use linux_raw_sys::errno as uapi;

/// A remedy for a system call's error, where one is known.
pub(crate) fn of(failure: &Failure) -> Option<&'static str> {
    Some(match (failure.stage(), failure.call(), u32::from(failure.error())) {
        (.., 0) => return None,
        (Stage::Input, Call::Fcntl, uapi::EBADF) => {
            "the descriptor of --fd is closed, and standard input is no pipe"
        }
        (Stage::Namespaces, Call::Unshare | Call::Clone3, uapi::EPERM | uapi::EACCES) => {
            "user namespaces are closed here: see the sysctls kernel.unprivileged_userns_clone and \
             kernel.apparmor_restrict_unprivileged_userns"
        }
        (Stage::Namespaces, Call::Unshare | Call::Clone3, uapi::ENOSPC | uapi::EUSERS) => {
            "see the sysctls user.max_*_namespaces"
        }
        (Stage::Namespaces, Call::Unshare | Call::Clone3, uapi::EINVAL) => {
            "this kernel lacks one of the namespaces"
        }
        (Stage::Namespaces, Call::Write, uapi::EPERM | uapi::EACCES) => {
            "id ranges need a privileged launcher; for other maps see the sysctl \
             kernel.apparmor_restrict_unprivileged_userns"
        }
        (Stage::Mounts, Call::Openat2, uapi::ELOOP) => {
            "there is a symlink now: encode the policy again, or say follow = true"
        }
        (Stage::Mounts, Call::Readlink, _) => "is the descriptor of the entry open?",
        (Stage::Mounts, Call::PivotRoot, uapi::EINVAL) => {
            "an initramfs cannot be left by pivot_root"
        }
        (Stage::Mounts, Call::Fsmount, uapi::EPERM) => {
            "a container that masks parts of /proc does not allow a fresh one"
        }
        (Stage::Mounts, _, uapi::ENOSPC) => "see the sysctl fs.mount-max",
        (Stage::Mounts, _, uapi::EMFILE) => "raise the limit on open files",
        (Stage::Limits, Call::Prlimit, uapi::EPERM) => {
            "a hard limit cannot be raised above the caller's own"
        }
        (Stage::Limits, _, uapi::EACCES) => "only a privileged caller may go below its own value",
        (Stage::Seccomp, ..) => "this kernel or an outer filter refuses seccomp filters",
        (Stage::Exec, _, uapi::EACCES) => "is it listed under filesystem.execute?",
        (Stage::Exec, _, uapi::ENOENT) => {
            "it, its interpreter or its loader is not visible under the policy"
        }
        (Stage::Exec, _, uapi::ENOEXEC) => {
            "it is neither a program of this machine nor a #! script"
        }
        _ => return None,
    })
}
