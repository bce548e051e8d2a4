"""Honest work in the work directory, which a sandbox must not break."""
import ctypes
import fcntl
import mmap
import os
import pty
import resource
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time

from core import Blocked, NotApplicable, probe, read, work_has_token, write
from syscalls import AT_FDCWD, AT_SYMLINK_FOLLOW, CLONE_FS, libc, sc


def expect(condition, text):
    """Ends the probe when something is not as it must be."""
    if not condition:
        raise Blocked(text)


def shell(command, cwd=None):
    """Runs a command of the shell and returns its output."""
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, cwd=cwd)
    expect(done.returncode == 0, "rc %d %s" % (done.returncode, done.stderr.strip()[-70:]))
    return done.stdout


@probe("sanity", work_has_token("ok_file"))
def ok_work_write(x):
    """create, write, rename and read a file in the work directory"""
    write(x.W + "/ok_tmp", x.token)
    os.rename(x.W + "/ok_tmp", x.W + "/ok_file")
    read(x.W + "/ok_file")


@probe("sanity")
def ok_exec(x):
    """run /bin/sh with a pipe"""
    expect(shell("ls /usr/bin | head -1 | wc -l").strip() == "1", "wrong output")


@probe("sanity")
def ok_dev(x):
    """use /dev/null, /dev/urandom and a new pseudoterminal"""
    write("/dev/null", "x")
    with open("/dev/urandom", "rb") as file:
        file.read(4)
    for fd in pty.openpty():
        os.close(fd)


@probe("sanity")
def ok_tmpfile(x):
    """make a temporary file in $TMPDIR or /tmp"""
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"x")


@probe("sanity")
def ok_git(x):
    """git init, add, commit in the work directory"""
    if not shutil.which("git"):
        raise NotApplicable("no git")
    folder = x.W + "/ok_repo"
    os.mkdir(folder)
    shell("git init -q . && echo a >a && git add a && git -c user.name=a -c user.email=a@a commit -qm a && git status",
          folder)


@probe("sanity")
def ok_socketpair(x):
    """socketpair and a thread"""
    one, other = socket.socketpair()
    one.send(b"x")
    other.recv(1)
    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join()


@probe("sanity")
def ok_folders(x):
    """make, list and remove directories; getcwd in one; remove a tree"""
    os.makedirs(x.own + "/a/b/c")
    os.chdir(x.own + "/a/b")
    expect(os.getcwd() == x.own + "/a/b", "getcwd is " + os.getcwd())
    expect(os.listdir(".") == ["c"], "wrong listing")
    os.rmdir("c")
    os.chdir(x.own)
    shutil.rmtree("a")


@probe("sanity")
def ok_links(x):
    """absolute, relative and dangling symbolic links and a hard link in the work directory"""
    write(x.own + "/file", "one")
    os.symlink(x.own + "/file", x.own + "/absolute")
    os.symlink("file", x.own + "/relative")
    os.symlink("made", x.own + "/dangling")
    os.link(x.own + "/file", x.own + "/hard")
    expect(os.readlink(x.own + "/relative") == "file", "wrong readlink")
    expect({read(x.own + "/" + n) for n in ("absolute", "relative", "hard")} == {"one"}, "wrong content")
    write(x.own + "/dangling", "two")
    expect(read(x.own + "/made") == "two", "creation through a dangling link went elsewhere")


@probe("sanity")
def ok_metadata(x):
    """chmod, utime and chown to oneself in the work directory"""
    path = x.own + "/file"
    write(path, "")
    os.chmod(path, 0o640)
    os.utime(path, (1, 2))
    os.chown(path, os.geteuid(), os.getegid())
    found = os.stat(path)
    expect((stat.S_IMODE(found.st_mode), found.st_mtime) == (0o640, 2), "nothing has changed")


@probe("sanity")
def ok_xattr(x):
    """set, list, read and remove an extended attribute in the work directory"""
    path = x.own + "/file"
    write(path, "")
    try:
        os.setxattr(path, "user.a", b"1")
    except OSError as error:
        if error.errno == 95:
            raise NotApplicable("this file system has no extended attributes")
        raise
    expect(os.listxattr(path) == ["user.a"] and os.getxattr(path, "user.a") == b"1", "not there")
    os.removexattr(path, "user.a")


@probe("sanity")
def ok_truncate(x):
    """truncate by path and by descriptor, append, write in place"""
    path = x.own + "/file"
    write(path, "0123456789")
    os.truncate(path, 8)
    with open(path, "r+") as file:
        file.truncate(4)
    with open(path, "a") as file:
        file.write("x")
    expect(read(path) == "0123x", "wrong content")


@probe("sanity")
def ok_rename(x):
    """rename over a file, exchange two names, move a directory"""
    for name in ("a", "b"):
        os.mkdir(x.own + "/d" + name)
        write("%s/d%s/f" % (x.own, name), name)
    os.rename(x.own + "/da/f", x.own + "/db/f")
    write(x.own + "/da/f", "c")
    sc("renameat2", AT_FDCWD, (x.own + "/da").encode(), AT_FDCWD, (x.own + "/db").encode(), 2)
    os.rename(x.own + "/da", x.own + "/dc")
    expect(read(x.own + "/dc/f") + read(x.own + "/db/f") == "ac", "wrong content")


@probe("sanity")
def ok_unnamed_file(x):
    """O_TMPFILE, then a name by linkat from /proc/self/fd"""
    fd = os.open(x.own, os.O_TMPFILE | os.O_RDWR, 0o600)
    os.write(fd, b"t")
    sc("linkat", AT_FDCWD, b"/proc/self/fd/%d" % fd, AT_FDCWD, (x.own + "/named").encode(), AT_SYMLINK_FOLLOW)
    expect(read(x.own + "/named") == "t", "wrong content")


@probe("sanity")
def ok_fifo(x):
    """a FIFO whose reader and writer wait for each other in open"""
    path = x.own + "/fifo"
    os.mkfifo(path)
    writer = threading.Thread(target=lambda: (time.sleep(0.1), write(path, "met")), daemon=True)
    writer.start()
    expect(read(path) == "met", "wrong content")


@probe("sanity")
def ok_fifo_many(x):
    """a FIFO for whose one reader many writers wait, each of which has gone at once"""
    path, got = x.own + "/fifo", []
    os.mkfifo(path)

    def work():
        fd = os.open(path, os.O_WRONLY)
        got.append(fd)
        os.close(fd)
    threads = [threading.Thread(target=work, daemon=True) for _ in range(60)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    expect(not got, "a writer was let in before there was a reader")
    reader = os.open(path, os.O_RDONLY)
    for thread in threads:
        thread.join(5)
    os.close(reader)
    expect(len(got) == 60 and min(got) > 2, "descriptors: %s" % sorted(got))


@probe("sanity")
def ok_locks(x):
    """flock and fcntl locks between processes"""
    write(x.own + "/lock", "")
    with open(x.own + "/lock", "r+") as one, open(x.own + "/lock", "r+") as other:
        fcntl.flock(one, fcntl.LOCK_EX)
        try:
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        else:
            raise Blocked("two have the lock")
        fcntl.lockf(one, fcntl.LOCK_EX)


@probe("sanity")
def ok_mmap(x):
    """write a file through a shared mapping"""
    with open(x.own + "/map", "wb+") as file:
        file.truncate(4096)
        with mmap.mmap(file.fileno(), 4096) as memory:
            memory[:3] = b"map"
    expect(read(x.own + "/map").startswith("map"), "wrong content")


@probe("sanity")
def ok_thread_cwd(x):
    """a thread with a working directory of its own makes a file there, while main has another"""
    os.makedirs(x.own + "/main")
    os.makedirs(x.own + "/thread")
    os.chdir(x.own + "/main")
    failed = []

    def work():
        try:
            sc("unshare", CLONE_FS)
            os.chdir(x.own + "/thread")
            write("here", "t")
        except OSError as error:
            failed.append(error)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    expect(os.path.exists(x.own + "/thread/here") and os.getcwd() == x.own + "/main", "the wrong directory")


@probe("sanity")
def ok_script(x):
    """run a script that was made in the work directory"""
    write(x.own + "/script", "#!/bin/sh\necho ran $1\n")
    os.chmod(x.own + "/script", 0o755)
    expect(subprocess.run([x.own + "/script", "it"], capture_output=True).stdout == b"ran it\n", "wrong output")


@probe("sanity")
def ok_pipeline(x):
    """a pipeline of five programs, a here-document, redirections and a background job"""
    text = shell("""(sleep 0.05; echo late >late) &
cat <<E | tr a-z A-Z | sort -r | head -1 | tee out
b
a
E
wait
cat late""", x.own)
    expect(text == "B\nlate\n", "wrong output: %r" % text)


@probe("sanity")
def ok_proc_self(x):
    """read /proc/self/status, maps, the own descriptors and the own executable's name"""
    expect("\nPid:\t%d\n" % os.getpid() in read("/proc/self/status"), "the status is another's")
    expect("python" in os.readlink("/proc/self/exe"), "the executable is another's")
    read("/proc/self/maps")
    read("/proc/thread-self/stat")
    with open(x.own + "/file", "w") as file:
        expect(os.readlink("/proc/self/fd/%d" % file.fileno()) == x.own + "/file", "the descriptor is another's")
        expect(os.path.samefile("/dev/fd/%d" % file.fileno(), x.own + "/file"), "/dev/fd is another's")


@probe("sanity")
def ok_tty(x):
    """write to the terminal by /dev/tty and ask for its size"""
    fd = os.open("/dev/tty", os.O_RDWR)
    os.write(fd, b" ")
    expect(os.get_terminal_size(fd).columns == 200, "another terminal")


@probe("sanity")
def ok_system_link(x):
    """read a system file through a symbolic link in the work directory"""
    os.symlink("/usr/bin", x.own + "/bin")
    with open(x.own + "/bin/env", "rb") as file:
        expect(file.read(4) in (b"\x7fELF", b"#!/b"), "wrong content")


@probe("sanity")
def ok_signals(x):
    """stop, continue and end a child; send a signal to oneself and to a thread of one's own"""
    heard = []
    signal.signal(signal.SIGUSR1, lambda *_: heard.append(1))
    os.kill(os.getpid(), signal.SIGUSR1)
    sc("tgkill", os.getpid(), threading.get_native_id(), signal.SIGUSR1)
    child = subprocess.Popen(["sleep", "20"])
    for number in (signal.SIGSTOP, signal.SIGCONT, signal.SIGTERM):
        child.send_signal(number)
    expect(child.wait(5) == -signal.SIGTERM and len(heard) == 2, "a signal is lost")


@probe("sanity")
def ok_memfd(x):
    """keep data in a memfd, seal it and read it through /proc/self/fd"""
    fd = os.memfd_create("data", os.MFD_ALLOW_SEALING)
    os.write(fd, b"data")
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
    expect(read("/proc/self/fd/%d" % fd) == "data", "wrong content")


@probe("sanity")
def ok_many_children(x):
    """32 children at once, each of which opens, writes and renames"""
    children = []
    for number in range(32):
        pid = os.fork()
        if pid == 0:
            try:
                write("%s/%d.tmp" % (x.own, number), "x")
                os.rename("%s/%d.tmp" % (x.own, number), "%s/%d" % (x.own, number))
                os._exit(0)
            finally:
                os._exit(1)
        children.append(pid)
    expect(not any(os.waitpid(pid, 0)[1] for pid in children), "a child failed")
    expect(sorted(os.listdir(x.own)) == sorted(map(str, range(32))), "a file is missing")


@probe("sanity")
def ok_dirfd(x):
    """open, stat, rename and unlink below a descriptor of a directory"""
    fd = os.open(x.own, os.O_PATH | os.O_DIRECTORY)
    os.close(os.open("a", os.O_CREAT | os.O_WRONLY, 0o600, dir_fd=fd))
    os.rename("a", "b", src_dir_fd=fd, dst_dir_fd=fd)
    os.stat("b", dir_fd=fd)
    os.unlink("b", dir_fd=fd)
    expect(os.listdir(x.own) == [], "not empty")


@probe("sanity")
def ok_errors(x):
    """ENOENT, EEXIST, ENOTDIR, ELOOP, EISDIR, ENAMETOOLONG and EFAULT are told as they are"""
    write(x.own + "/file", "")
    os.symlink("loop", x.own + "/loop")
    seen = []
    for path, flags in (("none", 0), ("n" * 300, 0), ("file", os.O_CREAT | os.O_EXCL), ("file/x", 0), ("loop", 0),
                        (".", os.O_WRONLY)):
        try:
            os.open(x.own + "/" + path, flags)
        except OSError as error:
            seen.append(error.errno)
    for address in (8, b""):
        try:
            sc(2, address, 0, 0)
        except OSError as error:
            seen.append(error.errno)
    expect(seen == [2, 36, 17, 20, 40, 21, 14, 2], "errors are %s" % seen)


@probe("sanity")
def ok_umask(x):
    """the umask and the mode of created files are the caller's"""
    os.umask(0o027)
    os.close(os.open(x.own + "/file", os.O_CREAT | os.O_WRONLY, 0o666))
    os.mkdir(x.own + "/folder", 0o777)
    found = [stat.S_IMODE(os.stat(x.own + "/" + name).st_mode) for name in ("file", "folder")]
    expect(found == [0o640, 0o750], "modes are %s" % [oct(value) for value in found])
    expect(os.stat(x.own + "/file").st_uid == os.geteuid(), "another owner")


@probe("sanity")
def ok_posix_spawn(x):
    """posix_spawn with file actions (vfork underneath), in a directory without the program"""
    os.chdir(x.own)
    actions = [(os.POSIX_SPAWN_OPEN, 1, "out", os.O_CREAT | os.O_WRONLY, 0o600)]
    pid = os.posix_spawnp("echo", ["echo", "spawned"], os.environ, file_actions=actions)
    os.waitpid(pid, 0)
    expect(read("out") == "spawned\n", "wrong output")


@probe("sanity")
def ok_library(x):
    """load a system library"""
    ctypes.CDLL("libm.so.6")
    expect(libc.getpid() == os.getpid(), "another process")


@probe("sanity")
def ok_odd_names(x):
    """names with blanks, quotes, a line end, stars and letters beyond ASCII"""
    odd = {"a b", "'", '"', "line\nend", "*", "[x]", "\u00e9\u2713\U0001f600", "-n", "\\", "%s", "x" * 255}
    for name in odd:
        write(x.own + "/" + name, name)
        expect(read(x.own + "/" + name).encode("latin1").decode() == name, "wrong content")
    expect(set(os.listdir(x.own)) == odd, "wrong listing")


@probe("sanity")
def ok_bytes_name(x):
    """a name that is not UTF-8"""
    path = x.own.encode() + b"/\xff\xfe"
    write(path, "x")
    os.rename(path, path + b"\x80")
    expect(os.listdir(x.own.encode()) == [b"\xff\xfe\x80"], "wrong listing")


@probe("sanity")
def ok_coreutils(x):
    """cp -a, mv, ln -sf, touch -d, install, sed -i, tar, find -delete, dd and rm -r"""
    shell("""mkdir -p a/b && echo one >a/b/f && cp -a a c && mv c d && ln -sf f d/b/l && ln -sf f d/b/l &&
             touch -d 2001-01-01 d/b/f && install -m 750 d/b/f g && sed -i s/one/two/ g && tar cf t.tar d &&
             mkdir e && tar xf t.tar -C e && find e -name f -delete &&
             dd if=g of=h bs=1 count=2 conv=notrunc status=none &&
             test "$(cat g h | tr '\\n' .)" = two.tw && test ! -e e/d/b/f && test -L e/d/b/l && rm -r a d e""", x.own)


@probe("sanity")
def ok_python(x):
    """import a module of one's own, whose compiled form is written beside it, and an event loop with a program"""
    write(x.own + "/module.py", "value = 42\n")
    write(x.own + "/main.py", """
import asyncio, module
async def main():
    process = await asyncio.create_subprocess_exec("echo", str(module.value), stdout=-1)
    print((await process.communicate())[0].decode(), end="")
asyncio.run(main())
""")
    expect(shell("%s main.py" % sys.executable, x.own) == "42\n", "wrong output")


@probe("sanity")
def ok_own_limits(x):
    """set limits, priority and processors of oneself"""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 512), hard))
    os.nice(1)
    os.setpriority(os.PRIO_PROCESS, 0, 2)
    os.sched_setaffinity(0, os.sched_getaffinity(0))


@probe("sanity")
def ok_groups(x):
    """a session and a process group of one's own, ended by one signal"""
    child = subprocess.Popen(["sh", "-c", "sleep 20 & sleep 20"], start_new_session=True)
    while os.getpgid(child.pid) != child.pid:
        time.sleep(0.01)
    os.killpg(child.pid, signal.SIGKILL)
    expect(child.wait(5) == -signal.SIGKILL, "still alive")


@probe("sanity")
def ok_fifo_signal(x):
    """a signal interrupts an open that waits for the other end of a FIFO"""
    class Rung(Exception):
        pass

    def ring(*_):
        raise Rung
    os.mkfifo(x.own + "/fifo")
    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    began = time.monotonic()
    try:
        os.open(x.own + "/fifo", os.O_RDONLY)
    except Rung:
        expect(time.monotonic() - began < 2, "it took %.1f s" % (time.monotonic() - began))
        return
    raise Blocked("the open came back")


@probe("sanity")
def ok_parked_opens(x):
    """64 processes wait in open of a FIFO each; another opens files meanwhile, and all end when killed"""
    children = []
    for number in range(64):
        os.mkfifo("%s/%d" % (x.own, number))
        child = os.fork()
        if child == 0:
            try:
                os.open("%s/%d" % (x.own, number), os.O_RDONLY)
            finally:
                os._exit(0)
        children.append(child)
    time.sleep(0.2)
    began = time.monotonic()
    for number in range(20):
        write(x.own + "/file", "x")
    lasted = time.monotonic() - began
    for child in children:
        os.kill(child, signal.SIGKILL)
    for child in children:
        os.waitpid(child, 0)
    expect(lasted < 2, "20 opens took %.1f s" % lasted)


@probe("sanity", root=True)
def ok_other_user(x):
    """a process that gives up root reads no file of root any more, or may not give it up"""
    write(x.own + "/private", "x")
    os.chmod(x.own + "/private", 0o600)
    os.mkdir(x.own + "/open")
    os.chmod(x.own + "/open", 0o777)
    child = os.fork()
    if child == 0:
        try:
            os.setresuid(65534, 65534, 65534)
        except OSError:
            os._exit(0)
        try:
            os.chdir(x.own + "/open")
            write("made", "x")
            if os.stat("made").st_uid != 65534:
                os._exit(3)
            os.open("../private", os.O_RDONLY)
            os._exit(4)
        except PermissionError:
            os._exit(0)
        finally:
            os._exit(5)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    expect(code == 0, {3: "its file is another's", 4: "it read root's file"}.get(code, "code %d" % code))
