"""Attacks that run programs, or load code, which policy does not permit."""
import ctypes
import os
import shutil
import struct
import subprocess
import threading

from core import Blocked, NotApplicable, probe, secret, write
from syscalls import AT_EMPTY_PATH, sc


def run(arguments, mark, **options):
    """Runs a program; it must print the mark."""
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=8, **options)
    if mark not in done.stdout:
        raise Blocked("rc %d %s" % (done.returncode, done.stderr.strip()[-60:]))


def become(call):
    """Has a child call something that must end in execve of a program that prints its argument `it-ran`."""
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.dup2(send, 1)
            call()
            os._exit(1)
        except OSError as error:
            os._exit(error.errno)
        finally:
            os._exit(255)
    os.close(send)
    with open(receive, "rb") as file:
        text = file.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if b"it-ran" not in text:
        raise OSError(code, os.strerror(code)) if code > 0 else Blocked("killed by signal %d" % -code)


def vector(*words):
    """Returns words as execve takes them."""
    return (ctypes.c_char_p * (len(words) + 1))(*[word.encode() for word in words], None)


@probe("exec")
def exec_memfd(x):
    """run a program from a memfd"""
    fd = os.memfd_create("program", 0)
    with open("/bin/echo", "rb") as file:
        os.write(fd, file.read())
    run(["/proc/self/fd/%d" % fd, "it-ran"], "it-ran", pass_fds=[fd])


@probe("exec")
def exec_memfd_execveat(x):
    """the same by execveat with AT_EMPTY_PATH, which names no path"""
    fd = os.memfd_create("program", 0)
    with open("/bin/echo", "rb") as file:
        os.write(fd, file.read())
    become(lambda: sc("execveat", fd, b"", vector("echo", "it-ran"), vector(), AT_EMPTY_PATH))


@probe("exec")
def exec_from_work(x):
    """run a program that was written into the work directory (a downloaded one)"""
    shutil.copy("/bin/echo", x.W + "/dl_echo")
    os.chmod(x.W + "/dl_echo", 0o755)
    run([x.W + "/dl_echo", "it-ran"], "it-ran")


@probe("exec")
def exec_forbidden(x):
    """run a program in the forbidden directory"""
    run([x.F + "/bin/echo", "it-ran"], "it-ran")


@probe("exec")
def exec_setuid(x):
    """gain another euid by a set-uid program"""
    if not x.suid:
        raise NotApplicable("needs the battery run by root with --uid")
    done = subprocess.run([x.suid, "-u"], capture_output=True, text=True)
    if done.stdout.strip() != "0":
        raise Blocked("euid stays %s %s" % (done.stdout.strip(), done.stderr.strip()[:50]))


@probe("exec")
def exec_loader(x):
    """have the dynamic loader run the forbidden program, which execve then does not see"""
    loader = "/lib64/ld-linux-x86-64.so.2"
    if not os.path.exists(loader):
        raise NotApplicable("no such loader")
    run([loader, x.F + "/bin/echo", "it-ran"], "it-ran")


@probe("exec")
def exec_interpreter(x):
    """a script in the work directory whose interpreter is forbidden"""
    write(x.own + "/it-ran", "#!%s/bin/echo\n" % x.F)
    os.chmod(x.own + "/it-ran", 0o755)
    become(lambda: os.execv(x.own + "/it-ran", ["script"]))


@probe("exec")
def exec_link(x):
    """through a symbolic link in the work directory"""
    os.symlink(x.F + "/bin/echo", x.own + "/echo")
    run([x.own + "/echo", "it-ran"], "it-ran")


@probe("exec")
def exec_hardlink(x):
    """hard-link the forbidden program into the work directory and run it there"""
    os.link(x.F + "/bin/echo", x.own + "/echo")
    run([x.own + "/echo", "it-ran"], "it-ran")


@probe("exec")
def exec_relative(x):
    """by ./echo in the forbidden directory"""
    def call():
        os.chdir(x.F + "/bin")
        os.execv("./echo", ["echo", "it-ran"])
    become(call)


@probe("exec")
def exec_opath(x):
    """execveat with AT_EMPTY_PATH on an O_PATH descriptor"""
    fd = os.open(x.F + "/bin/echo", os.O_PATH)
    become(lambda: sc("execveat", fd, b"", vector("echo", "it-ran"), vector(), AT_EMPTY_PATH))


@probe("exec")
def exec_opath_proc(x):
    """execve of /proc/self/fd/N, an O_PATH descriptor"""
    fd = os.open(x.F + "/bin/echo", os.O_PATH)
    become(lambda: os.execv("/proc/self/fd/%d" % fd, ["echo", "it-ran"]))


@probe("exec")
def exec_below_opath(x):
    """execveat below an O_PATH descriptor of the forbidden directory"""
    fd = os.open(x.F, os.O_PATH)
    become(lambda: sc("execveat", fd, b"bin/echo", vector("echo", "it-ran"), vector(), 0))


@probe("exec")
def exec_inherited_folder(x):
    """execveat below a descriptor of the forbidden directory that the launcher left open"""
    become(lambda: sc("execveat", 79, b"bin/echo", vector("echo", "it-ran"), vector(), 0))


@probe("exec")
def exec_proc_root(x):
    """through /proc/self/root"""
    become(lambda: os.execv("/proc/self/root%s/bin/echo" % x.F, ["echo", "it-ran"]))


@probe("exec")
def exec_spawn(x):
    """posix_spawn of the forbidden program"""
    actions = [(os.POSIX_SPAWN_OPEN, 1, x.own + "/out", os.O_CREAT | os.O_WRONLY, 0o600)]
    os.waitpid(os.posix_spawn(x.F + "/bin/echo", ["echo", "it-ran"], {}, file_actions=actions), 0)
    with open(x.own + "/out") as file:
        if "it-ran" not in file.read():
            raise Blocked("no output")


@probe("exec")
def exec_thread(x):
    """execve by a thread that is not the first"""
    def call():
        failed = []

        def work():
            try:
                os.execv(x.F + "/bin/echo", ["echo", "it-ran"])
            except OSError as error:
                failed.append(error)
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        raise failed[0]
    become(call)


@probe("exec")
def exec_copy(x):
    """copy the forbidden program into the work directory and run it"""
    shutil.copy(x.F + "/bin/echo", x.own + "/echo")
    run([x.own + "/echo", "it-ran"], "it-ran")


@probe("exec")
def exec_preload(x):
    """LD_PRELOAD of a forbidden library into a permitted program"""
    run(["/bin/cat", "/proc/self/maps"], x.F + "/lib/libc.so.6", env={"LD_PRELOAD": x.F + "/lib/libc.so.6"})


@probe("exec")
def exec_library_path(x):
    """LD_LIBRARY_PATH to the forbidden directory"""
    run(["/bin/cat", "/proc/self/maps"], x.F + "/lib/libc.so.6", env={"LD_LIBRARY_PATH": x.F + "/lib"})


@probe("exec")
def exec_dlopen(x):
    """load a forbidden library into the own process"""
    try:
        ctypes.CDLL(x.F + "/lib/libm.so.6")
    except OSError as error:
        raise Blocked(str(error))
    with open("/proc/self/maps") as file:
        if x.F + "/lib/libm.so.6" not in file.read():
            raise Blocked("another library was loaded")


@probe("exec", secret("script"))
def exec_source(x):
    """have the shell read commands of a forbidden file"""
    done = subprocess.run(["/bin/sh", "-c", ". %s/script.sh" % x.F], capture_output=True, text=True)
    if done.returncode:
        raise Blocked(done.stderr.strip()[-60:])
    return done.stdout


def tiny_elf32(path):
    """Returns a 32-bit program that opens the path, and writes what it reads to its output."""
    base, start = 0x10000, 52 + 32
    code = "b805000000 bb%s 31c9 31d2 cd80"  # open(path, 0, 0)
    code += "89c3 b803000000 89e1 81e900100000 ba00010000 cd80"  # read(fd, below the stack, 256)
    code += "85c0 7817 89c2 b804000000 bb01000000 cd80"  # if that is not negative: write(1, ..., count)
    code += "31db b801000000 cd80"  # exit(0)
    code += "bb01000000 b801000000 cd80"  # exit(1), where the jump leads
    length = len(bytes.fromhex(code % "00000000"))
    text = bytes.fromhex(code % struct.pack("<I", base + start + length).hex()) + path.encode() + b"\0"
    size = start + len(text)
    header = b"\x7fELF\x01\x01\x01" + bytes(9)
    header += struct.pack("<HHIIIIIHHHHHH", 2, 3, 1, base + start, 52, 0, 0, 52, 32, 1, 0, 0, 0)
    return header + struct.pack("<8I", 1, 0, base, base, size, size, 5, 4096) + text


@probe("compat", secret("secret"))
def compat_program(x):
    """write a 32-bit program into the work directory and have it read the forbidden file"""
    path = x.own + "/program"
    with open(path, "wb") as file:
        file.write(tiny_elf32(x.F + "/secret"))
    os.chmod(path, 0o755)
    done = subprocess.run([path], capture_output=True, timeout=8)
    if done.returncode:
        raise Blocked("rc %d" % done.returncode)
    return done.stdout.decode("latin1")
