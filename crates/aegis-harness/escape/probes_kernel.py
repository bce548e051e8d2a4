"""Attacks on the kernel's other doors: namespaces and mounts, privileged calls, devices.

Calls that would harm a real system are made with arguments that fail after the check of permission; then the error
that comes after the check counts as ALLOWED.
"""
import ctypes
import errno
import os
import signal
import stat
import struct

from core import Blocked, NotApplicable, probe, read, read_fd, secret
from syscalls import (AT_FDCWD, CLONE_NEWNS, CLONE_NEWUSER, MS_BIND, MS_PRIVATE, MS_REC, Uring, mount, sc)

OPEN_TREE_CLONE, AT_RECURSIVE = 1, 0x8000


def after_check(errors, call, *arguments):
    """Makes a call that must fail, with one of the errors that come after the check of permission."""
    try:
        sc(call, *arguments)
    except OSError as error:
        if error.errno == errno.ENOSYS and not filtered():
            raise NotApplicable("the kernel has no such call")
        if error.errno not in errors:
            raise


def filtered():
    """Returns whether a seccomp filter is at work, which may say ENOSYS, too."""
    try:
        with open("/proc/self/status") as file:
            return "Seccomp:\t0\n" not in file.read()
    except OSError:
        return True


def own_namespaces():
    """Enters a user and a mount namespace of one's own."""
    sc("unshare", CLONE_NEWUSER | CLONE_NEWNS)
    mount("none", "/", None, MS_REC | MS_PRIVATE)


def folder(x, name="mount"):
    """Makes a directory in the probe's own one."""
    os.mkdir(x.own + "/" + name)
    return x.own + "/" + name


# Namespaces and mounts: as a fake root, in namespaces that only the probe sees.

@probe("mount")
def sys_userns(x):
    """create a user namespace"""
    sc("unshare", CLONE_NEWUSER)


@probe("mount")
def ns_clone(x):
    """create a user namespace by clone"""
    in_child(sc("clone", CLONE_NEWUSER | signal.SIGCHLD, 0, 0, 0, 0))


@probe("mount")
def ns_clone3(x):
    """create a user namespace by clone3, whose flags a filter cannot see"""
    arguments = struct.pack("<8Q", CLONE_NEWUSER, 0, 0, 0, signal.SIGCHLD, 0, 0, 0)
    in_child(sc("clone3", arguments, len(arguments)))


HOST_NAMESPACE = None if not os.path.exists("/proc/self/ns/user") else os.readlink("/proc/self/ns/user")


def in_child(pid):
    """Has the child tell whether it is in another user namespace."""
    if pid == 0:
        try:
            os._exit(7 if os.readlink("/proc/self/ns/user") != HOST_NAMESPACE else 8)
        finally:
            os._exit(9)
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 7:
        raise Blocked("the child is in the same namespace")


@probe("mount", secret("secret"))
def ns_bind_mount(x):
    """bind-mount the forbidden directory into the work directory"""
    place = folder(x)
    own_namespaces()
    mount(x.F, place, None, MS_BIND)
    return read(place + "/secret")


@probe("mount", secret("secret"))
def ns_bind_root(x):
    """bind-mount the whole tree into the work directory and go down from there"""
    place = folder(x)
    own_namespaces()
    mount("/", place, None, MS_BIND | MS_REC)
    return read(place + x.F + "/secret")


@probe("mount", secret("secret"))
def ns_overlay(x):
    """see the forbidden directory as the lower layer of an overlay"""
    place = folder(x)
    own_namespaces()
    try:
        mount("overlay", place, "overlay", 0, "lowerdir=%s:%s" % (x.F, folder(x, "lower")))
    except OSError as error:
        if error.errno == errno.ENODEV:
            raise NotApplicable("the kernel has no overlay")
        raise
    return read(place + "/secret")


@probe("mount", secret("secret"))
def ns_open_tree(x):
    """clone the forbidden directory's mount by open_tree and open below it"""
    own_namespaces()
    fd = sc("open_tree", AT_FDCWD, x.F.encode(), OPEN_TREE_CLONE)
    return read_fd(os.open("secret", os.O_RDONLY, dir_fd=fd))


@probe("mount", secret("secret"))
def ns_chroot(x):
    """chroot into the forbidden directory, where its path is /secret"""
    if os.geteuid():
        sc("unshare", CLONE_NEWUSER)
    os.chroot(x.F)
    return read("/secret")


@probe("mount", secret("secret"))
def ns_chroot_names(x):
    """chroot to where the path of the work directory stands for the forbidden one"""
    jail = folder(x)
    os.makedirs(jail + x.W)
    own_namespaces()
    mount(x.F, jail + x.W, None, MS_BIND)
    os.chroot(jail)
    return read(x.W + "/secret")


@probe("mount", secret("secret"))
def ns_mount_over_work(x):
    """mount the forbidden directory over the work directory, so that a permitted path stands for it"""
    own_namespaces()
    mount(x.F, x.W, None, MS_BIND)
    return read(x.W + "/secret")


@probe("mount", secret("secret"))
def ns_pivot_root(x):
    """pivot_root to the forbidden directory"""
    place = folder(x)
    own_namespaces()
    mount(x.F, place, None, MS_BIND)
    os.chdir(place)
    sc("pivot_root", b".", b".")
    return read("/secret")


@probe("mount", secret("secret"))
def ns_mount_over(x):
    """mount the forbidden directory over a permitted system directory"""
    own_namespaces()
    mount(x.F, "/usr/share", None, MS_BIND)
    return read("/usr/share/secret")


@probe("mount", secret("secret"))
def ns_enter_child(x):
    """enter by setns the namespaces of a child that mounted the forbidden directory"""
    place = folder(x)
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            own_namespaces()
            mount(x.F, place, None, MS_BIND)
            os.write(send, b"1")
            signal.alarm(10)
            signal.pause()
        finally:
            os._exit(0)
    os.close(send)
    try:
        if os.read(receive, 1) != b"1":
            raise Blocked("the child could not mount")
        sc("setns", sc("pidfd_open", child, 0), CLONE_NEWUSER | CLONE_NEWNS)
        return read(place + "/secret")
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


# Calls that need privilege or are nothing for an agent.

@probe("kernel")
def sys_io_uring(x):
    """create an io_uring"""
    Uring()


@probe("kernel")
def sys_bpf(x):
    """create a BPF map"""
    attributes = ctypes.create_string_buffer(struct.pack("<IIIII", 2, 4, 4, 1, 0), 120)
    try:
        os.close(sc("bpf", 0, attributes, 72))
    except OSError as error:
        kept = os.geteuid() != 0 and setting("kernel/unprivileged_bpf_disabled") not in (None, "0")
        if error.errno == errno.EPERM and kept:
            raise NotApplicable("this host keeps BPF from users")
        raise


def setting(name):
    """Returns a value of /proc/sys, or None."""
    try:
        return read("/proc/sys/" + name).strip()
    except OSError:
        return None


def locked_down():
    """Returns whether the kernel keeps its memory and ports even from root."""
    try:
        return "[none]" not in read("/sys/kernel/security/lockdown")
    except OSError:
        return False


@probe("kernel")
def sys_perf_event(x):
    """open a performance counter on oneself"""
    attributes = ctypes.create_string_buffer(128)
    struct.pack_into("<IIQ", attributes, 0, 1, 128, 0)
    struct.pack_into("<Q", attributes, 40, 1 | 1 << 5 | 1 << 6)
    os.close(sc("perf_event_open", attributes, 0, -1, -1, 0))


@probe("kernel")
def sys_ptrace_child(x):
    """be traced by the own parent (TRACEME)"""
    child = os.fork()
    if child == 0:
        try:
            sc("ptrace", 0, 0, 0, 0)
            os._exit(0)
        except OSError as error:
            os._exit(error.errno)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code > 0:
        raise OSError(code, os.strerror(code))
    if code:
        raise Blocked("killed by signal %d" % -code)


@probe("kernel")
def sys_userfaultfd(x):
    """create a userfaultfd, which stops the kernel at a copy for as long as one likes"""
    os.close(sc("userfaultfd", 1))


@probe("kernel")
def sys_key_permission(x):
    """create a session keyring by keyctl"""
    sc("keyctl", 1, 0)


@probe("kernel")
def sys_quotactl(x):
    """quotactl: write quotas out (Q_SYNC of all, which changes nothing)"""
    after_check((), "quotactl", 0x800001 << 8, 0, 0, 0)


@probe("kernel", root=True)
def sys_swapon(x):
    """swapon of a file that is not there: ENOENT comes after the check"""
    after_check([errno.ENOENT], "swapon", (x.own + "/none").encode(), 0)


@probe("kernel", root=True)
def sys_acct(x):
    """acct with a file that is not there: ENOENT comes after the check"""
    after_check([errno.ENOENT], "acct", (x.own + "/none").encode())


@probe("kernel", root=True)
def sys_reboot(x):
    """reboot with wrong magic numbers: EINVAL comes after the check"""
    after_check([errno.EINVAL], "reboot", 0, 0, 0, 0)


@probe("kernel", root=True)
def sys_hostname(x):
    """sethostname with a length below zero: EINVAL comes after the check"""
    after_check([errno.EINVAL], "sethostname", b"x", -1)


@probe("kernel", root=True)
def sys_settime(x):
    """settimeofday without a time, which succeeds after the check and sets nothing"""
    sc("settimeofday", 0, 0)


@probe("kernel", root=True)
def sys_module(x):
    """finit_module with descriptor -1: EBADF comes after the check"""
    after_check([errno.EBADF], "finit_module", -1, b"", 0)


@probe("kernel", root=True)
def sys_kexec(x):
    """kexec_load with unknown flags: EINVAL comes after the check"""
    after_check([errno.EINVAL], "kexec_load", 0, 0, 0, 0xff)


@probe("kernel", root=True)
def sys_ioperm(x):
    """ioperm: get at an input and output port; nothing is sent"""
    try:
        after_check((), "ioperm", 0x80, 1, 1)
    except OSError as error:
        if error.errno == errno.EPERM and locked_down():
            raise NotApplicable("this host is locked down")
        raise


@probe("kernel", root=True)
def sys_fanotify_permission(x):
    """create a fanotify group of the kind that can hold up others' opens; nothing is marked"""
    os.close(sc("fanotify_init", 0x4, 0))


# Devices and kernel settings. They are opened; nothing is written.

def opens(path, flags):
    """Opens a path and closes it again."""
    try:
        os.close(os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY))
    except FileNotFoundError:
        if os.path.exists(os.path.dirname(path) + "/null" if path.startswith("/dev/") else "/proc/self"):
            raise NotApplicable("this host has no " + path)
        raise


@probe("device", root=True)
def dev_block(x):
    """open a block device for reading"""
    last = NotApplicable("this host has no block device")
    for name in sorted(os.listdir("/dev")):
        if stat.S_ISBLK(os.stat("/dev/" + name, follow_symlinks=False).st_mode):
            try:
                os.close(os.open("/dev/" + name, os.O_RDONLY | os.O_NONBLOCK))
                return name
            except OSError as error:
                last = error
    raise last


@probe("device", root=True)
def dev_mem(x):
    """open /dev/mem for reading"""
    try:
        opens("/dev/mem", os.O_RDONLY)
    except PermissionError:
        if locked_down():
            raise NotApplicable("this host is locked down")
        raise


@probe("device", root=True)
def dev_kvm(x):
    """open /dev/kvm"""
    opens("/dev/kvm", os.O_RDWR)


@probe("device", root=True)
def dev_fuse(x):
    """open /dev/fuse"""
    opens("/dev/fuse", os.O_RDWR)


@probe("device", root=True)
def dev_loop_control(x):
    """open /dev/loop-control"""
    opens("/dev/loop-control", os.O_RDWR)


@probe("device", root=True)
def dev_console(x):
    """open the first virtual console for writing"""
    opens("/dev/tty1", os.O_WRONLY)


@probe("device")
def dev_kmsg(x):
    """open /dev/kmsg, the kernel's log, for reading"""
    if os.geteuid() and setting("kernel/dmesg_restrict") == "1":
        raise NotApplicable("this host keeps the log from users")
    opens("/dev/kmsg", os.O_RDONLY)


@probe("device", root=True)
def dev_kmsg_write(x):
    """open /dev/kmsg for writing"""
    opens("/dev/kmsg", os.O_WRONLY)


@probe("device", root=True)
def kern_sysrq(x):
    """open /proc/sysrq-trigger for writing"""
    opens("/proc/sysrq-trigger", os.O_WRONLY)


@probe("device", root=True)
def kern_core_pattern(x):
    """open /proc/sys/kernel/core_pattern for writing: it names a program that the kernel runs as root"""
    opens("/proc/sys/kernel/core_pattern", os.O_WRONLY)


@probe("device", root=True)
def kern_core_pattern_link(x):
    """the same through a symbolic link and /proc/self/root"""
    os.symlink("/proc/self/root/proc/sys/kernel", x.own + "/kernel")
    opens(x.own + "/kernel/core_pattern", os.O_WRONLY)


@probe("device", root=True)
def kern_sysctl(x):
    """open /proc/sys/net/ipv4/ip_forward for writing"""
    opens("/proc/sys/net/ipv4/ip_forward", os.O_WRONLY)


@probe("device", root=True)
def kern_sysfs(x):
    """open /sys/kernel/uevent_helper or /sys/power/state for writing"""
    path = "/sys/kernel/uevent_helper"
    opens(path if os.path.exists(path) else "/sys/power/state", os.O_WRONLY)


@probe("device", root=True)
def kern_cgroup(x):
    """move oneself to the cgroup where one is, by its cgroup.procs"""
    with open("/proc/self/cgroup") as file:
        rows = [line.strip().split(":") for line in file]
    for number, names, path in rows:
        for top in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/" + names):
            procs = top + path.rstrip("/") + "/cgroup.procs"
            if os.path.exists(procs):
                with open(procs, "w") as file:
                    file.write("0")
                return procs
    raise NotApplicable("no cgroup is mounted")
