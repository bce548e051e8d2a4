"""Makes calls that end in all ways that they can end, and prints how each did: with and without Aegis alike.

The working directory is empty at first and is filled here."""
import ctypes
import errno
import fcntl
import json
import os
import socket
import stat
import struct
import sys

libc = ctypes.CDLL(None, use_errno=True)
ends = {}


def name_of(number):
    return errno.errorcode.get(number, str(number))


def end(label, call, *arguments, **named):
    assert label not in ends, label
    try:
        result = call(*arguments, **named)
    except OSError as error:
        ends[label] = name_of(error.errno)
        return None
    ends[label] = "ok"
    return result


def opened(label, path, flags, mode=0o644, **named):
    """Opens, and closes again; says what the descriptor is like."""
    fd = end(label, os.open, path, flags, mode, **named)
    if fd is not None:
        # That a link was not followed is kept by the kernel alone, and tells nothing.
        state = fcntl.fcntl(fd, fcntl.F_GETFL) & ~os.O_NOFOLLOW
        shown = os.fstat(fd)
        ends[label] += " %o %o %d %d" % (state, shown.st_mode, os.get_inheritable(fd), shown.st_size)
        os.close(fd)


def raw(label, number, *arguments):
    """A system call by its number."""
    words = [ctypes.c_char_p(word) if isinstance(word, bytes) else ctypes.c_long(word) if isinstance(word, int) else word
             for word in arguments]
    result = libc.syscall(ctypes.c_long(number), *words)
    ends[label] = name_of(ctypes.get_errno()) if result < 0 else "ok"
    return result


def put(path, text="text"):
    with open(path, "w") as file:
        file.write(text)


os.umask(0o027)
put("file"), put("other", "other"), os.mkdir("dir"), put("dir/in"), os.mkdir("empty"), os.mkdir("full"), put("full/x")
os.symlink("file", "link"), os.symlink("dir", "dirlink"), os.symlink("nowhere", "dangling"), os.symlink("loop", "loop")
os.symlink("missing-dir/x", "deep"), os.mkfifo("fifo"), os.link("file", "hard")
R, W, RW, C, X, T = os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_CREAT, os.O_EXCL, os.O_TRUNC
D, N, P, A = os.O_DIRECTORY, os.O_NOFOLLOW, os.O_PATH, os.O_APPEND
TMP, B = os.O_TMPFILE, os.O_NONBLOCK

# Opening.
for label, flags in (("r", R), ("w", W), ("rw", RW), ("c", W | C), ("cx", W | C | X), ("wt", W | T), ("d", R | D),
                     ("n", R | N), ("wn", W | N), ("cn", W | C | N), ("a", W | A), ("p", P), ("pn", P | N), ("pd", P | D),
                     ("cd", W | C | D), ("3", 3), ("rc", R | C), ("rt", R | T), ("rb", R | B), ("rwb", RW | B),
                     ("s", W | os.O_SYNC), ("noatime", R | os.O_NOATIME), ("tmp", TMP | RW), ("tmpr", TMP | R),
                     ("async", R | os.O_ASYNC), ("direct", R | os.O_DIRECT), ("cxt", RW | C | X | T)):
    for path in ("file", "file/", "file/x", "dir", "dir/", "dir/.", "dir/..", ".", "./file", "dir/../file", "link", "link/",
                 "dirlink", "dirlink/", "dirlink/in", "dangling", "dangling/", "loop", "loop/x", "deep", "missing",
                 "missing/", "missing/x", "/", "/dev/null", "", "n" * 255, "n" * 256, "x/" * 2047 + "y", "/proc/self/cwd",
                 "/proc/self/cwd/file", "/proc/self/exe", "//", "dir//in", ".//dir///in"):
        if flags & C and path in ("missing", "dangling", "n" * 255):
            for made in ("missing", "nowhere", "n" * 255):
                try:
                    os.unlink(made)
                except OSError:
                    pass
        if path == "/" and flags & (W | RW | C | TMP):
            continue
        opened("open %s %s" % (label, path if len(path) < 99 else path[:3] + str(len(path))), path, flags)
    put("file")
for made in ("missing", "nowhere", "n" * 255):
    try:
        os.unlink(made)
    except OSError:
        pass
opened("open fifo to write at once", "fifo", W | B)
opened("open fifo to read at once", "fifo", R | B)
opened("open fifo for both", "fifo", RW)
opened("open mode", "mode", W | C, 0o7777)
ends["mode"] = "%o" % os.stat("mode").st_mode
opened("open bad descriptor", "file", R, dir_fd=77)
opened("open below a file", "x", R, dir_fd=os.open("file", R))
folder = os.open("dir", R)
opened("open below", "in", R, dir_fd=folder)
opened("open above", "../file", R, dir_fd=folder)
opened("open below path", "in", R, dir_fd=os.open("dir", P))
raw("open null", 257, -100, 0, 0)
raw("open wild", 257, -100, 8, 0)
raw("creat", 85, b"created", 0o666)
ends["creat mode"] = "%o" % os.stat("created").st_mode
raw("creat dir", 85, b"dir", 0o666)

# openat2(2).
def open2(label, path, flags, mode=0, resolve=0, size=24, extra=b""):
    how = struct.pack("QQQ", flags, mode, resolve) + extra
    result = raw("openat2 " + label, 437, -100, path, ctypes.create_string_buffer(how, max(len(how), size)), size)
    if result >= 0:
        os.close(result)


open2("plain", b"file", R)
open2("short", b"file", R, size=16)
open2("long", b"file", R, size=32, extra=b"\0" * 8)
open2("long and set", b"file", R, size=32, extra=b"\1" * 8)
open2("mode without", b"file", R, mode=0o644)
open2("wrong flags", b"file", 1 << 30)
open2("wrong how", b"file", R, resolve=1 << 20)
for word, how in (("xdev", 1), ("magic", 2), ("symlinks", 4), ("beneath", 8), ("root", 16)):
    for path in (b"file", b"link", b"dir/../../" + os.path.basename(os.getcwd()).encode() + b"/file", b"dir/../file", b"missing",
                 b"/etc/passwd", b"dir/in", b"dirlink/in", b"/proc/self/cwd/file", b"/proc/self/exe", b"deep", b"loop"):
        open2("%s %s" % (word, path.decode()), path, R, resolve=how)
    open2("%s new" % word, b"new-" + word.encode(), W | C, mode=0o600, resolve=how)
    open2("%s new through a link" % word, b"dirlink/new-" + word.encode(), W | C, mode=0o600, resolve=how)

# Directories.
for label, path in (("new", "d1"), ("slash", "d2/"), ("there", "dir"), ("there slash", "dir/"), ("file", "file"),
                    ("file slash", "file/"), ("below file", "file/x"), ("link", "link"), ("dangling", "dangling"),
                    ("dangling slash", "dangling/"), ("missing", "missing/x"), (".", "."), ("..", ".."), ("/", "/"),
                    ("dot", "d3/."), ("empty", ""), ("long", "n" * 256), ("loop", "loop/x")):
    end("mkdir " + label, os.mkdir, path, 0o777)
ends["mkdir mode"] = "%o" % os.stat("d1").st_mode
end("mkdir sticky", os.mkdir, "sticky", 0o1777)
ends["mkdir sticky mode"] = "%o" % os.stat("sticky").st_mode

# Names.
for label, path in (("dir", "dir"), ("dir slash", "dir/"), ("missing", "missing"), ("slash", "file/"), ("below", "file/x"),
                    (".", "."), ("..", ".."), ("empty", ""), ("long", "n" * 256)):
    end("unlink " + label, os.unlink, path)
for label, path in (("full", "full"), ("file", "file"), ("missing", "missing"), ("link", "dirlink"),
                    ("link slash", "dirlink/"), (".", "."), ("dot", "empty/."), ("..", "empty/.."), ("empty", "")):
    end("rmdir " + label, os.rmdir, path)
end("rmdir slash", os.rmdir, "d2/")
end("unlink link", os.unlink, "dangling")
os.symlink("nowhere", "dangling")
for label, a, b in (("same", "file", "file"), ("hard", "file", "hard"), ("over", "other", "over"), ("missing", "missing", "m"),
                    ("to missing", "file", "missing/m"), ("dir over file", "d1", "file"), ("file over dir", "file", "dir"),
                    ("dir over full", "d1", "full"), ("dir over empty", "d1", "empty"), ("into itself", "dir", "dir/in2"),
                    ("file slash", "file/", "f2"), ("to slash", "file", "f3/"), ("dir to slash", "empty", "e2/"),
                    ("dot", "dir/.", "d9"), ("dotdot", "dir/..", "d9"), ("to dot", "file", "."), ("below file", "file/x", "y"), ("empty", "", "y"), ("to empty", "file", ""),
                    ("link", "dangling", "dangling2"), ("link slash", "dirlink/", "dl2"), ("long", "file", "n" * 256)):
    end("rename " + label, os.rename, a, b)
for label, a, b, flags in (("noreplace there", b"file", b"hard", 1), ("noreplace", b"over", b"over2", 1),
                           ("exchange", b"file", b"dir", 2), ("exchange back", b"file", b"dir", 2),
                           ("exchange missing", b"file", b"missing", 2), ("both", b"file", b"hard", 3),
                           ("wrong", b"file", b"hard", 64), ("noreplace dir", b"dir", b"e2", 1)):
    raw("renameat2 " + label, 316, -100, a, -100, b, flags)
for label, a, b in (("new", "file", "l1"), ("there", "file", "hard"), ("dir", "dir", "l2"), ("missing", "missing", "l3"),
                    ("slash", "file/", "l4"), ("to slash", "file", "l5/"), ("to missing", "file", "missing/l"),
                    ("to dir", "file", "dir"), ("empty", "", "l6")):
    end("link " + label, os.link, a, b)
end("link of link", os.link, "link", "l7", follow_symlinks=False)
ends["link of link"] += str(stat.S_ISLNK(os.lstat("l7").st_mode))
end("link through link", os.link, "link", "l8", follow_symlinks=True)
ends["link through link"] += str(stat.S_ISLNK(os.lstat("l8").st_mode))
end("link dangling", os.link, "dangling2", "l9", follow_symlinks=True)
raw("linkat wrong", 265, -100, b"file", -100, b"l10", 1 << 20)
for label, a, b in (("new", "x", "s1"), ("there", "x", "file"), ("slash", "x", "s2/"), ("missing", "x", "missing/s"),
                    ("empty", "", "s3"), ("to empty", "x", ""), ("long", "n" * 4096, "s4"), ("on link", "x", "dangling2"),
                    ("on dir", "x", "dir/"), ("dot", "x", ".")):
    end("symlink " + label, os.symlink, a, b)
for label, path, mode in (("fifo", "m1", 0o10666), ("plain", "m2", 0o100666), ("none", "m3", 0o666), ("there", "file", 0o10666),
                          ("dir", "m4", 0o40777), ("link", "m5", 0o120777), ("slash", "m6/", 0o10666),
                          ("missing", "missing/m", 0o10666), ("socket", "m7", 0o140666)):
    end("mknod " + label, os.mknod, path, mode)
ends["mknod mode"] = "%o %o" % (os.stat("m1").st_mode, os.stat("m2").st_mode)

# Metadata.
for label, path in (("file", "file"), ("slash", "file/"), ("dir", "dir"), ("link", "link"), ("dangling", "dangling2"),
                    ("loop", "loop"), ("missing", "missing"), ("below", "file/x"), ("empty", ""), ("long", "n" * 256)):
    end("chmod " + label, os.chmod, path, 0o700)
    end("chown " + label, os.chown, path, -1, -1)
    end("lchown " + label, os.lchown, path, os.getuid(), os.getgid())
    end("chown other " + label, os.chown, path, 1, 1)
    # In a namespace of users, others are none.
    ends["chown other " + label] = ends["chown other " + label].replace("EINVAL", "EPERM")
    end("lchown back " + label, os.lchown, path, os.getuid(), os.getgid())
    end("utime " + label, os.utime, path, (5, 6))
    end("lutime " + label, os.utime, path, (7, 8), follow_symlinks=False)
    end("truncate " + label, os.truncate, path, 3)
    end("setxattr " + label, os.setxattr, path, "user.a", b"b")
    end("setxattr again " + label, os.setxattr, path, "user.a", b"b", os.XATTR_CREATE)
    end("setxattr not there " + label, os.setxattr, path, "user.z", b"b", os.XATTR_REPLACE)
    end("setxattr kind " + label, os.setxattr, path, "nokind", b"b")
    end("removexattr " + label, os.removexattr, path, "user.a")
    end("removexattr again " + label, os.removexattr, path, "user.a")
    end("access " + label, os.stat, path)
end("setxattr long name", os.setxattr, "file", "user." + "n" * 251, b"")
end("setxattr large", os.setxattr, "file", "user.b", b"x" * 65537)
end("lsetxattr", os.setxattr, "link", "user.a", b"b", follow_symlinks=False)
end("truncate below 0", os.truncate, "file", -1)
end("truncate fifo", os.truncate, "fifo", 1)
raw("utimensat null", 280, os.open("file", W), 0, 0, 0)
raw("utimensat cwd null", 280, -100, 0, 0, 0)
raw("utimensat wrong", 280, -100, b"file", ctypes.create_string_buffer(struct.pack("qqqq", 1, 10**10, 1, 0)), 0)
raw("utimensat flags", 280, -100, b"file", 0, 1 << 20)
raw("utimensat omit", 280, -100, b"file",
    ctypes.create_string_buffer(struct.pack("qqqq", 1, (1 << 30) - 2, 1, (1 << 30) - 2)), 0)
raw("fchmodat2 link", 452, -100, b"link", 0o600, 0x100)
raw("fchmodat2 file", 452, -100, b"file", 0o600, 0x100)
raw("fchmodat2 empty", 452, os.open("file", R), b"", 0o640, 0x1000)
raw("fchmodat2 flags", 452, -100, b"file", 0o600, 1 << 20)
raw("fchownat empty", 260, os.open("file", R), b"", -1, -1, 0x1000)
raw("fchownat flags", 260, -100, b"file", -1, -1, 1 << 20)
for label, fd in (("file", os.open("file", RW)), ("read only", os.open("file", R)), ("path", os.open("file", P)),
                  ("dir", os.open("dir", R)), ("bad", 77), ("pipe", os.pipe()[1]), ("link", os.open("link", P | N))):
    end("fchmod " + label, os.fchmod, fd, 0o755)
    end("fchown " + label, os.fchown, fd, -1, -1)
    end("futimes " + label, os.utime, fd, (1, 2))
    end("ftruncate " + label, os.ftruncate, fd, 5)
    end("fsetxattr " + label, os.setxattr, fd, "user.f", b"b")
    end("fremovexattr " + label, os.removexattr, fd, "user.f")
    end("fchdir " + label, os.fchdir, fd) if label == "bad" else None
ends["modes"] = " ".join("%s %o" % (n, os.lstat(n).st_mode) for n in sorted(os.listdir(".")))

# Unix sockets.
def unix():
    return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)


server = unix()
end("bind", server.bind, "sock")
ends["bind mode"] = "%o" % os.stat("sock").st_mode
end("bind again", server.bind, "sock2")
end("bind there", unix().bind, "file")
end("bind missing", unix().bind, "missing/s")
end("bind below", unix().bind, "file/s")
end("connect early", unix().connect, "sock")
end("listen", server.listen)
end("connect", unix().connect, "sock")
end("connect missing", unix().connect, "missing")
end("connect file", unix().connect, "file")
end("connect dir", unix().connect, "dir")
end("connect kind", socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET).connect, "sock")
end("connect below", unix().connect, "file/s")
os.symlink("sock", "socklink")
end("connect link", unix().connect, "socklink")
opened("open socket", "sock", R)
end("getsockname", lambda: ends.__setitem__("sockname", server.getsockname()))
peer = unix()
peer.connect("sock")
ends["peername"] = peer.getpeername()

# Files in memory, watches, programs, directories that are gone.
fd = end("memfd", os.memfd_create, "name")
ends["memfd"] += str(os.write(fd, b"text")) + os.readlink("/proc/self/fd/%d" % fd)
end("memfd long", os.memfd_create, "n" * 250)
watcher = libc.inotify_init1(0)
raw("watch file", 254, watcher, b"file", 2)
raw("watch dir", 254, watcher, b"dir", 0x100)
raw("watch missing", 254, watcher, b"missing", 2)
raw("watch only dir", 254, watcher, b"file", 0x01000002)
raw("watch nothing", 254, watcher, b"file", 0)
raw("watch bad", 254, 77, b"file", 2)
raw("watch other", 254, 0, b"file", 2)
for label, path in (("missing", "missing"), ("dir", "dir"), ("not executable", "s1"), ("below", "file/x"), ("empty", ""),
                    ("fifo", "fifo")):
    end("exec " + label, os.execv, path, ["x"])
put("script", "#!/nonexistent/interpreter\n"), os.chmod("script", 0o755)
end("exec without interpreter", os.execv, "script", ["x"])
put("garbage", "\x7fELF but no more"), os.chmod("garbage", 0o755)
end("exec garbage", os.execv, "garbage", ["x"])
os.mkdir("gone")
pid = os.fork()
if pid == 0:
    os.chdir("gone")
    os.rmdir("../gone")
    ends.clear()
    opened("gone .", ".", R)
    opened("gone new", "new", W | C)
    end("gone mkdir", os.mkdir, "x")
    opened("gone up", "../file", R)
    end("gone list", os.listdir, ".")
    with open(os.environ["OUT"], "w") as out:
        json.dump(ends, out)
    os._exit(0)
os.waitpid(pid, 0)
with open(os.environ["OUT"]) as file:
    ends.update(json.load(file))

# As another finds it: what the mode of a file says.
os.chmod("other" if os.path.exists("other") else "over2", 0)
opened("open closed", "over2", R)
os.mkdir("closed", 0)
opened("open in closed", "closed/x", W | C)
end("mkdir in closed", os.mkdir, "closed/d")
os.chmod("closed", 0o755)

json.dump(ends, sys.stdout)
