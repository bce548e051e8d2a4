"""Attacks that create, change, move or delete what is forbidden."""
import ctypes
import os
import resource
import signal
import socket
import time

from core import Blocked, NotApplicable, exists, gone, has_token, probe, read, status, write, overwrite
from probes_read import from_root
from syscalls import AT_FDCWD, AT_REMOVEDIR, AT_SYMLINK_FOLLOW, RENAME_EXCHANGE, Compat, Uring, sc


def exchange(one, other):
    """Exchanges what two names stand for."""
    sc("renameat2", AT_FDCWD, one.encode(), AT_FDCWD, other.encode(), RENAME_EXCHANGE)


def source(x):
    """Makes a file in the probe's own directory and returns its path."""
    write(x.own + "/source", x.token)
    return x.own + "/source"


@probe("write", has_token("v_inhfd"), files=["v_inhfd"])
def fd_inherited_write(x):
    """through a descriptor of the file that the launcher left open"""
    os.pwrite(78, x.token.encode(), 0)


@probe("write", has_token("new"))
def fs_write_new(x):
    """create a file in the forbidden directory"""
    write(x.F + "/new", x.token)


@probe("write", has_token("v_over"), files=["v_over"])
def fs_write_existing(x):
    """overwrite a file"""
    overwrite(x.F + "/v_over", x.token)


@probe("write", has_token("v_sym"), files=["v_sym"])
def fs_write_symlink(x):
    """overwrite through a symbolic link in the work directory"""
    os.symlink(x.F + "/v_sym", x.own + "/link")
    overwrite(x.own + "/link", x.token)


@probe("write", has_token("v_hl"), files=["v_hl"])
def fs_write_hardlink_in(x):
    """hard-link the file into the work directory and write it there"""
    os.link(x.F + "/v_hl", x.own + "/hard")
    overwrite(x.own + "/hard", x.token)


@probe("write", has_token("ren_out"))
def fs_rename_out(x):
    """rename a file of the work directory into the forbidden one"""
    os.rename(source(x), x.F + "/ren_out")


@probe("write", exists("newdir"))
def fs_mkdir(x):
    """make a directory"""
    os.mkdir(x.F + "/newdir")


@probe("write", exists("newlink"))
def fs_symlink_create(x):
    """make a symbolic link"""
    os.symlink("/etc/passwd", x.F + "/newlink")


@probe("write", has_token("toctou/pwn"), folders=["toctou"])
def fs_toctou_swap(x):
    """race of 1 s: exchange a directory with a symbolic link to the forbidden one while creating a file below"""
    swap, link = x.own + "/swap", x.own + "/link"
    os.mkdir(swap)
    os.symlink(x.F + "/toctou", link)
    stop, last, opened = time.monotonic() + 1, None, 0
    child = os.fork()
    if child == 0:
        while time.monotonic() < stop:
            try:
                exchange(swap, link)
            except OSError:
                pass
        os._exit(0)
    while time.monotonic() < stop:
        try:
            write(swap + "/pwn", x.token)
            opened += 1
        except OSError as error:
            last = error
    os.waitpid(child, 0)
    if not opened:
        raise Blocked(str(last))
    return "%d opens succeeded inside" % opened


@probe("write", has_token("v_dangling_new"))
def fs_create_dangling(x):
    """create through a dangling symbolic link in the work directory"""
    os.symlink(x.F + "/v_dangling_new", x.own + "/link")
    write(x.own + "/link", x.token)


@probe("write", has_token("v_tmpfile_named"))
def fs_tmpfile_named(x):
    """O_TMPFILE in the work directory, then a name in the forbidden one"""
    fd = os.open(x.own, os.O_TMPFILE | os.O_RDWR, 0o644)
    os.write(fd, x.token.encode())
    sc("linkat", AT_FDCWD, b"/proc/self/fd/%d" % fd, AT_FDCWD, (x.F + "/v_tmpfile_named").encode(), AT_SYMLINK_FOLLOW)


@probe("write", has_token("v_tmpfile_inside"))
def fs_tmpfile_inside(x):
    """O_TMPFILE in the forbidden directory, then a name there"""
    fd = os.open(x.F, os.O_TMPFILE | os.O_RDWR, 0o644)
    os.write(fd, x.token.encode())
    sc("linkat", AT_FDCWD, b"/proc/self/fd/%d" % fd, AT_FDCWD, (x.F + "/v_tmpfile_inside").encode(), AT_SYMLINK_FOLLOW)


@probe("write", has_token("v_link_out"))
def fs_link_out(x):
    """hard-link a file of the work directory into the forbidden one"""
    os.link(source(x), x.F + "/v_link_out")


@probe("write", has_token("v_rename_over"), files=["v_rename_over"])
def fs_rename_over(x):
    """rename a file of the work directory over a forbidden one"""
    os.rename(source(x), x.F + "/v_rename_over")


@probe("write", has_token("v_exchange"), files=["v_exchange"])
def fs_exchange(x):
    """RENAME_EXCHANGE of a file of the work directory with a forbidden one"""
    exchange(source(x), x.F + "/v_exchange")


@probe("write", has_token("v_exchange_folder/source"), folders=["v_exchange_folder"])
def fs_exchange_folder(x):
    """RENAME_EXCHANGE of a directory of the work directory with a forbidden one"""
    source(x)
    exchange(x.own, x.F + "/v_exchange_folder")


@probe("write", gone("v_above"), files=["v_above/inner/file"])
def fs_rename_above(x):
    """move the directory above a forbidden file into the work directory and change the file there"""
    os.rename(x.F + "/v_above", x.own + "/above")
    overwrite(x.own + "/above/inner/file", x.token)


@probe("write", has_token("v_opath"), files=["v_opath"])
def fs_write_opath(x):
    """an O_PATH descriptor, opened again for writing through /proc/self/fd"""
    overwrite("/proc/self/fd/%d" % os.open(x.F + "/v_opath", os.O_PATH), x.token)


@probe("write", has_token("v_victim_fd"), files=["v_victim_fd"])
def fs_write_victim_fd(x):
    """a descriptor of a process outside, opened again for writing through /proc/PID/fd"""
    overwrite("/proc/%d/fd/%d" % (x.victim, x.victim_rw), x.token)


@probe("write", has_token("v_chdir_new"))
def fs_write_chdir(x):
    """chdir into the forbidden directory and create by a relative path"""
    os.chdir(x.F)
    write("v_chdir_new", x.token)


@probe("write", has_token("v_opath_new"))
def fs_create_below_opath(x):
    """create below an O_PATH descriptor of the forbidden directory"""
    fd = os.open("v_opath_new", os.O_CREAT | os.O_WRONLY, 0o644, dir_fd=os.open(x.F, os.O_PATH))
    os.write(fd, x.token.encode())


@probe("write", has_token("v_root_new"))
def fs_write_proc_root(x):
    """create through /proc/self/root"""
    write("/proc/self/root%s/v_root_new" % x.F, x.token)


@probe("write", status("v_trunc", lambda found: found.st_size == 0), files=["v_trunc"])
def fs_truncate(x):
    """truncate by path"""
    os.truncate(x.F + "/v_trunc", 0)


@probe("write", status("v_trunc_opath", lambda found: found.st_size == 0), files=["v_trunc_opath"])
def fs_truncate_opath(x):
    """truncate through /proc/self/fd of an O_PATH descriptor"""
    os.truncate("/proc/self/fd/%d" % os.open(x.F + "/v_trunc_opath", os.O_PATH), 0)


@probe("write", status("v_trunc_open", lambda found: found.st_size == 0), files=["v_trunc_open"])
def fs_truncate_read_only(x):
    """O_RDONLY with O_TRUNC through a symbolic link: a reader's open that empties the file"""
    os.symlink(x.F + "/v_trunc_open", x.own + "/link")
    os.open(x.own + "/link", os.O_RDONLY | os.O_TRUNC)


@probe("write", exists("v_fifo"))
def fs_mkfifo(x):
    """make a FIFO"""
    os.mkfifo(x.F + "/v_fifo")


@probe("write", exists("v_socket"))
def fs_bind_socket(x):
    """make a socket file by bind(2)"""
    socket.socket(socket.AF_UNIX).bind(x.F + "/v_socket")


@probe("write", has_token("v_link_folder_new/file"), folders=["v_link_folder_new"])
def fs_write_link_folder(x):
    """create below a symbolic link to a forbidden directory"""
    os.symlink(x.F + "/v_link_folder_new", x.own + "/folder")
    write(x.own + "/folder/file", x.token)


@probe("write", exists("v_link_folder_made"))
def fs_mkdir_dotdot(x):
    """make a directory by a path that begins in the work directory and leaves it by .."""
    os.chdir(x.own)
    os.mkdir(from_root(x.F + "/v_link_folder_made"))


@probe("write", lambda host, evidence: os.path.lexists(host.F.encode() + b"/v_\xff"))
def fs_write_bytes_name(x):
    """create a file whose name is not UTF-8"""
    write(x.F.encode() + b"/v_\xff", x.token)


@probe("delete", gone("v_unlink"), files=["v_unlink"])
def fs_unlink(x):
    """delete a file"""
    os.unlink(x.F + "/v_unlink")


@probe("delete", gone("v_rmdir"), folders=["v_rmdir"])
def fs_rmdir(x):
    """delete a directory"""
    os.rmdir(x.F + "/v_rmdir")


@probe("delete", gone("v_unlink_opath"), files=["v_unlink_opath"])
def fs_unlink_opath(x):
    """delete below an O_PATH descriptor of the forbidden directory"""
    os.unlink("v_unlink_opath", dir_fd=os.open(x.F, os.O_PATH))


@probe("delete", gone("v_rmdir_opath"), folders=["v_rmdir_opath"])
def fs_rmdir_opath(x):
    """delete a directory by unlinkat with AT_REMOVEDIR below an O_PATH descriptor"""
    sc(263, os.open(x.F, os.O_PATH), b"v_rmdir_opath", AT_REMOVEDIR)


@probe("delete", gone("v_unlink_dotdot"), files=["v_unlink_dotdot"])
def fs_unlink_dotdot(x):
    """delete by a path of .. from the work directory"""
    os.chdir(x.own)
    os.unlink(from_root(x.F + "/v_unlink_dotdot"))


@probe("delete", gone("v_unlink_chdir"), files=["v_unlink_chdir"])
def fs_unlink_chdir(x):
    """chdir into the forbidden directory and delete by name"""
    os.chdir(x.F)
    os.unlink("v_unlink_chdir")


@probe("delete", gone("v_unlink_link"), files=["v_unlink_link"])
def fs_unlink_link_folder(x):
    """delete below a symbolic link to the forbidden directory"""
    os.symlink(x.F, x.own + "/folder")
    os.unlink(x.own + "/folder/v_unlink_link")


@probe("delete", gone("v_unlink_root"), files=["v_unlink_root"])
def fs_unlink_proc_root(x):
    """delete through /proc/self/root"""
    os.unlink("/proc/self/root%s/v_unlink_root" % x.F)


@probe("delete", gone("v_unlink_inherited"), files=["v_unlink_inherited"])
def fs_unlink_inherited(x):
    """delete below a descriptor of the forbidden directory that the launcher left open"""
    os.unlink("v_unlink_inherited", dir_fd=79)


@probe("delete", gone("v_rename_in"), files=["v_rename_in"])
def fs_rename_in(x):
    """rename a forbidden file into the work directory"""
    os.rename(x.F + "/v_rename_in", x.own + "/in")


@probe("delete", gone("v_uring_unlink"), files=["v_uring_unlink"])
def fs_unlink_io_uring(x):
    """delete by io_uring"""
    ring = Uring()
    path = ctypes.create_string_buffer((x.F + "/v_uring_unlink").encode())
    ring.op(ring.UNLINKAT, fd=AT_FDCWD, addr=ctypes.addressof(path))


@probe("write", has_token("v_uring_rename"))
def fs_rename_io_uring(x):
    """rename into the forbidden directory by io_uring"""
    ring = Uring()
    old = ctypes.create_string_buffer(source(x).encode())
    new = ctypes.create_string_buffer((x.F + "/v_uring_rename").encode())
    ring.op(ring.RENAMEAT, fd=AT_FDCWD, addr=ctypes.addressof(old), length=AT_FDCWD & 0xffffffff,
            off=ctypes.addressof(new))


def _dumped(host, _):
    return any(name.startswith("core") for name in os.listdir(host.F + "/v_core"))


@probe("write", _dumped, folders=["v_core"])
def fs_core_dump(x):
    """let the kernel write a core dump into a forbidden directory"""
    if not read("/proc/sys/kernel/core_pattern").startswith("core"):
        raise NotApplicable("core dumps go elsewhere")
    child = os.fork()
    if child == 0:
        try:
            hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
            resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
            os.chdir(x.F + "/v_core")
            os.kill(os.getpid(), signal.SIGSEGV)
            time.sleep(1)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    if not os.WCOREDUMP(status):
        raise Blocked("no core was dumped")


@probe("compat", gone("v_compat_unlink"), files=["v_compat_unlink"])
def compat_unlink(x):
    """delete by int 0x80"""
    entry = Compat()
    entry.call(entry.UNLINK, entry.put((x.F + "/v_compat_unlink").encode()))
