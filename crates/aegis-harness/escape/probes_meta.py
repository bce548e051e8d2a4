"""Attacks on metadata: modes, owners, times and attributes of forbidden files, and set-id bits and devices in W."""
import array
import ctypes
import fcntl
import os
import shutil
import stat
import struct

from core import mode, own_has, probe, status, write
from syscalls import AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_FOLLOW, sc

FS_IOC_GETFLAGS, FS_NODUMP = 0x80086601, 0x40
LONG_AGO = 1000


def has_xattr(name, attribute, wanted=True):
    """The forbidden file has, or no longer has, the attribute."""
    return lambda host, evidence: (attribute in os.listxattr(host.F + "/" + name, follow_symlinks=False)) == wanted


def flagged(name):
    """The forbidden file has the flag FS_NODUMP."""
    def check(host, evidence):
        with open(host.F + "/" + name) as file:
            flags = array.array("l", [0])
            fcntl.ioctl(file, FS_IOC_GETFLAGS, flags)
            return bool(flags[0] & FS_NODUMP)
    return check


def no_suid(name):
    """The set-uid bit, with which the file began, is gone: a change of owner clears it."""
    return status(name, lambda found: not found.st_mode & stat.S_ISUID)


def old(name):
    """The file's time is the one that the probe set."""
    return lambda host, evidence: os.lstat(host.F + "/" + name).st_mtime == LONG_AGO


def opath(x, name):
    """Returns an O_PATH descriptor of a forbidden file."""
    return os.open(x.F + "/" + name, os.O_PATH)


@probe("meta", mode("v_chmod", 0o777), files=["v_chmod"])
def fs_chmod(x):
    """chmod a forbidden file (Landlock does not govern this)"""
    os.chmod(x.F + "/v_chmod", 0o777)


@probe("meta", mode("v_chmod_proc", 0o777), files=["v_chmod_proc"])
def meta_chmod_opath_proc(x):
    """chmod through /proc/self/fd of an O_PATH descriptor"""
    os.chmod("/proc/self/fd/%d" % opath(x, "v_chmod_proc"), 0o777)


@probe("meta", mode("v_chmod_empty", 0o777), files=["v_chmod_empty"])
def meta_fchmodat2_empty(x):
    """fchmodat2 with AT_EMPTY_PATH (Linux 6.6)"""
    sc("fchmodat2", opath(x, "v_chmod_empty"), b"", 0o777, AT_EMPTY_PATH)


@probe("meta", mode("v_chmod_link", 0o777), files=["v_chmod_link"])
def meta_chmod_link(x):
    """chmod through a symbolic link in the work directory"""
    os.symlink(x.F + "/v_chmod_link", x.own + "/link")
    os.chmod(x.own + "/link", 0o777)


@probe("meta", mode("v_chmod_at", 0o777), files=["v_chmod_at"])
def meta_fchmodat_below(x):
    """fchmodat below an O_PATH descriptor of the forbidden directory"""
    os.chmod("v_chmod_at", 0o777, dir_fd=os.open(x.F, os.O_PATH))


@probe("meta", mode("v_chmod_inherited", 0o777), files=["v_chmod_inherited"])
def meta_fchmodat_inherited(x):
    """fchmodat below a descriptor of the forbidden directory that the launcher left open"""
    os.chmod("v_chmod_inherited", 0o777, dir_fd=79)


@probe("meta", mode("v_chmod_folder", 0o777), folders=["v_chmod_folder"])
def meta_chmod_folder(x):
    """chmod a forbidden directory"""
    os.chmod(x.F + "/v_chmod_folder", 0o777)


@probe("meta", no_suid("v_chown.suid"), files=["v_chown.suid"])
def meta_chown(x):
    """chown a forbidden file, to the same owner"""
    os.chown(x.F + "/v_chown.suid", os.geteuid(), os.getegid())


@probe("meta", no_suid("v_lchown.suid"), files=["v_lchown.suid"])
def meta_lchown(x):
    """lchown a forbidden file, to the same owner"""
    os.lchown(x.F + "/v_lchown.suid", os.geteuid(), os.getegid())


@probe("meta", no_suid("v_chown_empty.suid"), files=["v_chown_empty.suid"])
def meta_fchownat_empty(x):
    """fchownat with AT_EMPTY_PATH on an O_PATH descriptor"""
    sc(260, opath(x, "v_chown_empty.suid"), b"", os.geteuid(), os.getegid(), AT_EMPTY_PATH)


@probe("meta", old("v_utime"), files=["v_utime"])
def meta_utime(x):
    """set the time of a forbidden file"""
    os.utime(x.F + "/v_utime", (LONG_AGO, LONG_AGO))


@probe("meta", old("v_link_time"))
def meta_utime_link(x):
    """set the time of a forbidden symbolic link itself"""
    os.utime(x.F + "/v_link_time", (LONG_AGO, LONG_AGO), follow_symlinks=False)


@probe("meta", old("v_futimesat"), files=["v_futimesat"])
def meta_futimesat(x):
    """futimesat, the obsolete call, below an O_PATH descriptor of the forbidden directory"""
    sc("futimesat", os.open(x.F, os.O_PATH), b"v_futimesat", struct.pack("<4q", LONG_AGO, 0, LONG_AGO, 0))


@probe("meta", old("v_old_utime"), files=["v_old_utime"])
def meta_old_utime(x):
    """utime, the oldest call"""
    sc(132, (x.F + "/v_old_utime").encode(), struct.pack("<2q", LONG_AGO, LONG_AGO))


@probe("meta", old("v_old_utimes"), files=["v_old_utimes"])
def meta_old_utimes(x):
    """utimes, the second oldest call"""
    sc(235, (x.F + "/v_old_utimes").encode(), struct.pack("<4q", LONG_AGO, 0, LONG_AGO, 0))


@probe("meta", old("v_utime_empty"), files=["v_utime_empty"])
def meta_utimensat_empty(x):
    """utimensat with AT_EMPTY_PATH on an O_PATH descriptor"""
    sc(280, opath(x, "v_utime_empty"), b"", struct.pack("<4q", LONG_AGO, 0, LONG_AGO, 0), AT_EMPTY_PATH)


@probe("meta", has_xattr("v_setxattr", "user.a"), files=["v_setxattr"])
def meta_setxattr(x):
    """set an extended attribute of a forbidden file"""
    os.setxattr(x.F + "/v_setxattr", "user.a", b"1")


@probe("meta", has_xattr("v_lsetxattr", "user.a"), files=["v_lsetxattr"])
def meta_lsetxattr(x):
    """the same by lsetxattr"""
    os.setxattr(x.F + "/v_lsetxattr", "user.a", b"1", follow_symlinks=False)


@probe("meta", has_xattr("v_setxattr_proc", "user.a"), files=["v_setxattr_proc"])
def meta_setxattr_opath(x):
    """the same through /proc/self/fd of an O_PATH descriptor"""
    os.setxattr("/proc/self/fd/%d" % opath(x, "v_setxattr_proc"), "user.a", b"1")


@probe("meta", has_xattr("v_setxattrat", "user.a"), files=["v_setxattrat"])
def meta_setxattrat(x):
    """the same by setxattrat (Linux 6.13), which old filters do not know"""
    value = ctypes.create_string_buffer(b"1", 1)
    arguments = struct.pack("<QII", ctypes.addressof(value), 1, 0)
    sc("setxattrat", AT_FDCWD, (x.F + "/v_setxattrat").encode(), 0, b"user.a", arguments, len(arguments))


@probe("meta", has_xattr("v_removexattr.xattr", "user.mark", False), files=["v_removexattr.xattr"])
def meta_removexattr(x):
    """remove an extended attribute of a forbidden file"""
    os.removexattr(x.F + "/v_removexattr.xattr", "user.mark")


@probe("meta", has_xattr("v_lremovexattr.xattr", "user.mark", False), files=["v_lremovexattr.xattr"])
def meta_lremovexattr(x):
    """the same by lremovexattr"""
    os.removexattr(x.F + "/v_lremovexattr.xattr", "user.mark", follow_symlinks=False)


@probe("meta", flagged("v_file_setattr"), files=["v_file_setattr"])
def meta_file_setattr(x):
    """set a flag of a forbidden file by file_setattr (Linux 6.17), which takes a path"""
    arguments = struct.pack("<QIIII", 0x80, 0, 0, 0, 0)  # FS_XFLAG_NODUMP
    sc("file_setattr", AT_FDCWD, (x.F + "/v_file_setattr").encode(), arguments, len(arguments), 0)


@probe("meta", lambda host, evidence: os.stat(host.W + "/suidme").st_mode & stat.S_ISUID)
def fs_chmod_suid_work(x):
    """chmod u+s a program in the work directory, which stays there for others to run"""
    shutil.copy("/bin/true", x.W + "/suidme")
    os.chmod(x.W + "/suidme", 0o4755)


@probe("meta", own_has("file", stat.S_ISUID))
def meta_suid_fchmod(x):
    """the same by fchmod"""
    with open(x.own + "/file", "w") as file:
        os.fchmod(file.fileno(), 0o4755)


@probe("meta", own_has("file", stat.S_ISUID))
def meta_suid_create(x):
    """create a file with the set-uid bit"""
    os.close(os.open(x.own + "/file", os.O_CREAT | os.O_WRONLY, 0o4755))


@probe("meta", own_has("file", stat.S_ISUID))
def meta_suid_mknod(x):
    """make a regular file with the set-uid bit by mknod"""
    os.mknod(x.own + "/file", stat.S_IFREG | 0o4755)


@probe("meta", own_has("file", stat.S_ISUID))
def meta_suid_openat2(x):
    """create a file with the set-uid bit by openat2"""
    how = struct.pack("<QQQ", os.O_CREAT | os.O_WRONLY, 0o4755, 0)
    sc("openat2", AT_FDCWD, (x.own + "/file").encode(), how, len(how))


@probe("meta", own_has("file", stat.S_ISUID))
def meta_suid_tmpfile(x):
    """an unnamed file with the set-uid bit, which gets a name afterwards"""
    fd = os.open(x.own, os.O_TMPFILE | os.O_WRONLY, 0o4755)
    sc("linkat", AT_FDCWD, b"/proc/self/fd/%d" % fd, AT_FDCWD, (x.own + "/file").encode(), AT_SYMLINK_FOLLOW)


@probe("meta", own_has("file", stat.S_ISGID))
def meta_sgid_chmod(x):
    """chmod g+s a program in the work directory"""
    write(x.own + "/file", "")
    os.chmod(x.own + "/file", 0o2755)


@probe("meta", lambda host, evidence: "security.capability" in os.listxattr(host.own + "/file"), root=True)
def meta_file_capability(x):
    """give a program in the work directory a file capability"""
    write(x.own + "/file", "")
    os.setxattr(x.own + "/file", "security.capability", struct.pack("<5I", 0x02000001, 1 << 21, 0, 0, 0))


@probe("meta", lambda host, evidence: stat.S_ISCHR(os.stat(host.own + "/device").st_mode), root=True)
def meta_mknod_device(x):
    """make a device node in the work directory (that of /dev/null)"""
    os.mknod(x.own + "/device", stat.S_IFCHR | 0o600, os.makedev(1, 3))
