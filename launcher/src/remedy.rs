//! What the reader of a failure can do about it.

use launcher_policy::{Call, Failure, Stage, words};
use linux_raw_sys::errno as uapi;

words! {
    /// A remedy, in a few words.
    pub enum Remedy {
        NoPolicy "the descriptor of --fd is closed, and standard input is no pipe"
        UserNamespaces "user namespaces are closed here: see the sysctls kernel.unprivileged_userns_clone and kernel.apparmor_restrict_unprivileged_userns"
        MaxNamespaces "see the sysctls user.max_*_namespaces"
        KernelNamespaces "this kernel lacks one of the namespaces"
        TemplateEnded "the process that holds the template has ended; make a new one"
        Prepared "who made it has another user id, or another user namespace"
        IdMaps "ids cannot be mapped here: id ranges need a privileged launcher, root needs CAP_SETFCAP; or see the sysctl kernel.apparmor_restrict_unprivileged_userns, or the sandbox around"
        Symlink "there is a symlink now: encode the policy again, or say follow = true"
        EntryFd "is the descriptor of the entry open?"
        Kernel511 "this needs Linux 5.11 or newer"
        Kernel512 "this needs Linux 5.12 or newer"
        Initramfs "an initramfs cannot be left by pivot_root"
        InsideSandbox "already inside a sandbox: in another Landlock domain for files nothing can be mounted"
        SecurityModule "a security module such as AppArmor forbids mounts here"
        MaskedProc "a container that masks parts of /proc does not allow a fresh one"
        MountMax "see the sysctls fs.mount-max and user.max_mnt_namespaces"
        OpenFiles "raise the limit on open files"
        HardLimit "a hard limit cannot be raised above the caller's own"
        OwnValue "only a privileged caller may go below its own value"
        NoFilters "this kernel or an outer filter refuses seccomp filters"
        Execute "is it listed under filesystem.execute?"
        Visible "it, its interpreter or its loader is not visible under the policy"
        Format "it is neither a program of this machine nor a #! script"
    }
}

/// Which failure has which remedy: its stage, its call where that matters, its
/// error number, or 0 for any.
const REMEDIES: [(Stage, Option<Call>, u8, Remedy); 32] = [
    (Stage::Input, Some(Call::Fstat), uapi::EBADF as u8, Remedy::NoPolicy),
    (Stage::Fds, Some(Call::CloseRange), uapi::EINVAL as u8, Remedy::Kernel511),
    (Stage::Namespaces, Some(Call::Unshare), uapi::EPERM as u8, Remedy::UserNamespaces),
    (Stage::Namespaces, Some(Call::Unshare), uapi::EACCES as u8, Remedy::UserNamespaces),
    (Stage::Namespaces, Some(Call::Clone3), uapi::EPERM as u8, Remedy::UserNamespaces),
    (Stage::Namespaces, Some(Call::Clone3), uapi::EACCES as u8, Remedy::UserNamespaces),
    (Stage::Namespaces, Some(Call::Unshare), uapi::ENOSPC as u8, Remedy::MaxNamespaces),
    (Stage::Namespaces, Some(Call::Unshare), uapi::EUSERS as u8, Remedy::MaxNamespaces),
    (Stage::Namespaces, Some(Call::Clone3), uapi::ENOSPC as u8, Remedy::MaxNamespaces),
    (Stage::Namespaces, Some(Call::Clone3), uapi::EUSERS as u8, Remedy::MaxNamespaces),
    (Stage::Namespaces, Some(Call::Unshare), uapi::EINVAL as u8, Remedy::KernelNamespaces),
    (Stage::Namespaces, Some(Call::Clone3), uapi::EINVAL as u8, Remedy::KernelNamespaces),
    (Stage::Namespaces, Some(Call::TemplateFd), uapi::ESRCH as u8, Remedy::TemplateEnded),
    (Stage::Namespaces, Some(Call::TemplateFd), uapi::EPERM as u8, Remedy::Prepared),
    (Stage::Namespaces, Some(Call::NetnsFd), uapi::EPERM as u8, Remedy::Prepared),
    (Stage::Namespaces, Some(Call::Write), 0, Remedy::IdMaps),
    (Stage::Namespaces, Some(Call::Open), 0, Remedy::IdMaps),
    (Stage::Mounts, Some(Call::MountSetattr), uapi::ENOSYS as u8, Remedy::Kernel512),
    (Stage::Mounts, Some(Call::Openat2), uapi::ELOOP as u8, Remedy::Symlink),
    (Stage::Mounts, Some(Call::Readlink), 0, Remedy::EntryFd),
    (Stage::Mounts, Some(Call::PivotRoot), uapi::EINVAL as u8, Remedy::Initramfs),
    (Stage::Mounts, Some(Call::Mount), uapi::EPERM as u8, Remedy::InsideSandbox),
    (Stage::Mounts, Some(Call::Mount), uapi::EACCES as u8, Remedy::SecurityModule),
    (Stage::Mounts, Some(Call::Fsmount), uapi::EPERM as u8, Remedy::MaskedProc),
    (Stage::Mounts, None, uapi::ENOSPC as u8, Remedy::MountMax),
    (Stage::Mounts, None, uapi::EMFILE as u8, Remedy::OpenFiles),
    (Stage::Limits, Some(Call::Prlimit), uapi::EPERM as u8, Remedy::HardLimit),
    (Stage::Limits, None, uapi::EACCES as u8, Remedy::OwnValue),
    (Stage::Seccomp, None, 0, Remedy::NoFilters),
    (Stage::Exec, None, uapi::EACCES as u8, Remedy::Execute),
    (Stage::Exec, None, uapi::ENOENT as u8, Remedy::Visible),
    (Stage::Exec, None, uapi::ENOEXEC as u8, Remedy::Format),
];

/// A remedy for a system call's error, where one is known.
pub(crate) fn of(failure: &Failure) -> Option<&'static str> {
    let (of_stage, of_call, of_error) = (failure.stage(), failure.call(), failure.error());
    let is_its = |&&(stage, call, error, _): &&(Stage, Option<Call>, u8, Remedy)| {
        stage == of_stage
            && call.is_none_or(|call| call == of_call)
            && (error == 0 || u16::from(error) == of_error)
    };
    if of_error == 0 {
        return None;
    }
    REMEDIES.iter().find(is_its).map(|(.., remedy)| remedy.name())
}
