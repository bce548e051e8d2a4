"""Attacks on processes outside and on the tool's supervisor: memory, descriptors, signals, limits."""
import ctypes
import errno
import fcntl
import os
import resource
import signal
import struct
import time

from core import Blocked, NotApplicable, heard, probe, read, read_fd, secret, write
from syscalls import CLONE_NEWNS, Iovec, libc, sc

PTRACE_ATTACH, PTRACE_DETACH, PTRACE_PEEKDATA, PTRACE_POKEDATA, PTRACE_SEIZE = 16, 17, 2, 5, 0x4206
MARK = 0x5745  # what attacks write into the memory of a victim
IOPRIO = 2 << 13 | 7


def poked(slot):
    """The victim's memory has what the probe wrote."""
    return lambda host, evidence: host.victim_word(slot) == MARK


# Memory and descriptors of a process outside.

@probe("proc", secret("mem"))
def proc_mem(x):
    """read its memory by /proc/PID/mem"""
    with open("/proc/%d/mem" % x.victim, "rb", buffering=0) as file:
        file.seek(x.secret_at)
        return file.read(64).decode("latin1")


@probe("proc", secret("mem"))
def proc_ptrace(x):
    """PTRACE_ATTACH and read its memory"""
    sc("ptrace", PTRACE_ATTACH, x.victim, 0, 0)
    os.waitpid(x.victim, 0x40000000)
    libc.ptrace.restype = ctypes.c_long
    words = [libc.ptrace(PTRACE_PEEKDATA, x.victim, ctypes.c_void_p(x.secret_at + 8 * i), None) for i in range(8)]
    sc("ptrace", PTRACE_DETACH, x.victim, 0, 0)
    return struct.pack("<8q", *words).decode("latin1")


@probe("proc", poked(0))
def proc_ptrace_write(x):
    """PTRACE_ATTACH and write its memory"""
    sc("ptrace", PTRACE_ATTACH, x.victim, 0, 0)
    os.waitpid(x.victim, 0x40000000)
    try:
        sc("ptrace", PTRACE_POKEDATA, x.victim, x.words_at, MARK)
    finally:
        sc("ptrace", PTRACE_DETACH, x.victim, 0, 0)


@probe("proc")
def proc_ptrace_seize(x):
    """PTRACE_SEIZE, which stops nothing"""
    sc("ptrace", PTRACE_SEIZE, x.victim, 0, 0)


@probe("proc", secret("mem"))
def proc_vm_readv(x):
    """read its memory by process_vm_readv"""
    data = ctypes.create_string_buffer(64)
    here, there = Iovec(ctypes.addressof(data), 64), Iovec(x.secret_at, 64)
    sc("process_vm_readv", x.victim, ctypes.byref(here), 1, ctypes.byref(there), 1, 0)
    return data.raw.decode("latin1")


@probe("proc", poked(1))
def proc_vm_writev(x):
    """write its memory by process_vm_writev"""
    data = ctypes.create_string_buffer(struct.pack("<q", MARK), 8)
    here, there = Iovec(ctypes.addressof(data), 8), Iovec(x.words_at + 8, 8)
    sc("process_vm_writev", x.victim, ctypes.byref(here), 1, ctypes.byref(there), 1, 0)


@probe("proc", poked(2))
def proc_mem_write(x):
    """write its memory by /proc/PID/mem"""
    with open("/proc/%d/mem" % x.victim, "r+b", buffering=0) as file:
        file.seek(x.words_at + 16)
        file.write(struct.pack("<q", MARK))


@probe("proc", secret("secret"))
def proc_fd_path(x):
    """open /proc/PID/fd/N"""
    return read("/proc/%d/fd/%d" % (x.victim, x.victim_fd))


@probe("proc", secret("secret"))
def proc_pidfd_getfd(x):
    """take one of its descriptors by pidfd_getfd"""
    fd = sc("pidfd_getfd", sc("pidfd_open", x.victim, 0), x.victim_fd, 0)
    return os.pread(fd, 4096, 0).decode("latin1")


@probe("proc", secret("env"))
def proc_environ(x):
    """read its environment"""
    return read("/proc/%d/environ" % x.victim)


@probe("proc")
def proc_maps(x):
    """read its memory map"""
    if "python" not in read("/proc/%d/maps" % x.victim):
        raise Blocked("another process has that pid")


@probe("proc")
def proc_list(x):
    """see it in /proc"""
    if x.tag not in read("/proc/%d/cmdline" % x.victim):
        raise Blocked("another process has that pid")


@probe("proc")
def proc_exe_link(x):
    """see which program it runs by /proc/PID/exe"""
    if "python" not in os.readlink("/proc/%d/exe" % x.victim):
        raise Blocked("another process has that pid")


@probe("proc")
def proc_kcmp(x):
    """compare kernel objects with it by kcmp, which tells of addresses"""
    sc("kcmp", os.getpid(), x.victim, 1, 0, 0)


@probe("proc")
def proc_robust_list(x):
    """ask for the address of its robust list"""
    head, size = ctypes.c_void_p(), ctypes.c_size_t()
    sc("get_robust_list", x.victim, ctypes.byref(head), ctypes.byref(size))


@probe("proc", root=True)
def proc_madvise(x):
    """push its memory out by process_madvise (MADV_COLD)"""
    page = Iovec(x.words_at & ~4095, 4096)
    sc("process_madvise", sc("pidfd_open", x.victim, 0), ctypes.byref(page), 1, 20, 0)


@probe("proc", root=True)
def proc_setns(x):
    """enter its mount namespace by setns"""
    sc("setns", sc("pidfd_open", x.victim, 0), CLONE_NEWNS)


# What sets the conditions of a process outside.

@probe("proc", lambda host, evidence: "Max open files            77 " in read("/proc/%d/limits" % host.tuned))
def proc_prlimit(x):
    """set its limit of open files by prlimit64"""
    hard = resource.prlimit(x.tuned, resource.RLIMIT_NOFILE)[1]
    resource.prlimit(x.tuned, resource.RLIMIT_NOFILE, (77, hard))


@probe("proc", lambda host, evidence: len(os.sched_getaffinity(host.tuned)) == 1)
def proc_affinity(x):
    """confine it to one processor"""
    if os.cpu_count() == 1:
        raise NotApplicable("one processor")
    os.sched_setaffinity(x.tuned, {min(os.sched_getaffinity(0))})


@probe("proc", lambda host, evidence: os.getpriority(os.PRIO_PROCESS, host.tuned) == 7)
def proc_priority(x):
    """lower its priority by setpriority"""
    os.setpriority(os.PRIO_PROCESS, x.tuned, 7)


@probe("proc", lambda host, evidence: os.sched_getscheduler(host.tuned) == os.SCHED_BATCH)
def proc_scheduler(x):
    """set its scheduling policy"""
    os.sched_setscheduler(x.tuned, os.SCHED_BATCH, os.sched_param(0))


@probe("proc", lambda host, evidence: sc("ioprio_get", 1, host.tuned) == IOPRIO)
def proc_ioprio(x):
    """lower its priority of input and output"""
    sc("ioprio_set", 1, x.tuned, IOPRIO)


@probe("proc", lambda host, evidence: read("/proc/%d/oom_score_adj" % host.tuned).strip() == "789")
def proc_oom_score(x):
    """make it the first that is killed when memory is short"""
    write("/proc/%d/oom_score_adj" % x.tuned, "789")


@probe("proc", lambda host, evidence: read("/proc/%d/coredump_filter" % host.tuned).strip().endswith("7f"))
def proc_coredump_filter(x):
    """have all of its memory dumped when it fails"""
    write("/proc/%d/coredump_filter" % x.tuned, "0x7f")


# Signals to processes outside. Each real-time signal is a probe's own; the victim tells which it got.

@probe("proc", lambda host, evidence: host.killed.wait(1) is not None)
def proc_kill(x):
    """SIGKILL a process outside"""
    os.kill(x.killed, signal.SIGKILL)


@probe("signal", lambda host, evidence: host.state_of(host.stopped) == "T")
def sig_stop(x):
    """SIGSTOP a process outside"""
    os.kill(x.stopped, signal.SIGSTOP)


@probe("signal", heard("sig40"))
def sig_tgkill(x):
    """tgkill"""
    sc("tgkill", x.victim, x.victim, 40)


@probe("signal", heard("sig41"))
def sig_pidfd(x):
    """pidfd_send_signal"""
    signal.pidfd_send_signal(sc("pidfd_open", x.victim, 0), 41)


@probe("signal", heard("sig42"))
def sig_queue(x):
    """rt_sigqueueinfo"""
    information = struct.pack("<iiiixxxxi", 42, 0, -1, 0, os.getpid()).ljust(128, b"\0")
    sc("rt_sigqueueinfo", x.victim, 42, information)


@probe("signal", heard("sig43"))
def sig_group(x):
    """kill a process group outside"""
    os.killpg(x.victim, 43)


@probe("signal", heard("sig44"))
def sig_async_io(x):
    """F_SETOWN and F_SETSIG: have the kernel send a signal when a pipe gets data"""
    receive, send = os.pipe()
    fcntl.fcntl(receive, fcntl.F_SETOWN, x.victim)
    fcntl.fcntl(receive, fcntl.F_SETSIG, 44)
    fcntl.fcntl(receive, fcntl.F_SETFL, fcntl.fcntl(receive, fcntl.F_GETFL) | os.O_ASYNC | os.O_NONBLOCK)
    os.write(send, b"x")


@probe("signal", heard("sig45"))
def sig_pidfd_proc(x):
    """pidfd_send_signal with a descriptor of /proc/PID"""
    signal.pidfd_send_signal(os.open("/proc/%d" % x.victim, os.O_RDONLY | os.O_DIRECTORY), 45)


# The tool's supervisor: the process that the battery started. With a tool that becomes the agent by exec, it is the
# probes' own parent, which is told.

def supervisor(x):
    """Returns the supervisor's pid."""
    if os.readlink("/proc/self/ns/pid") != x.pidns:
        raise Blocked("another pid namespace")
    for _ in range(100):
        if os.path.exists(x.W + "/.tool_pid"):
            return int(read(x.W + "/.tool_pid"))
        time.sleep(0.02)
    raise Blocked("the supervisor is not known")


def found(x, pid):
    """Returns the evidence that the supervisor was reached."""
    return "the supervisor is the probes' parent (by exec)" if pid == x.runner else "pid %d" % pid


@probe("supervisor")
def sup_signal(x):
    """signal 0"""
    pid = supervisor(x)
    os.kill(pid, 0)
    return found(x, pid)


@probe("supervisor")
def sup_signal_threads(x):
    """tgkill with signal 0 to a thread of it that is not the first, or to the first when it has one"""
    pid = supervisor(x)
    try:
        threads = sorted(map(int, os.listdir("/proc/%d/task" % pid)))
    except OSError:
        threads = range(pid, pid + 16)  # what is hidden is guessed
    reached = []
    last = OSError(errno.EPERM, "no thread reached")
    for thread in threads:
        try:
            sc("tgkill", pid, thread, 0)
            reached.append(thread)
        except OSError as error:
            last = last if error.errno == errno.ESRCH else error
    if not reached:
        raise last
    return found(x, pid)


@probe("supervisor")
def sup_continue(x):
    """SIGCONT, which has a rule of its own within a session"""
    pid = supervisor(x)
    os.kill(pid, signal.SIGCONT)
    return found(x, pid)


@probe("supervisor")
def sup_pidfd_signal(x):
    """pidfd_send_signal with signal 0"""
    pid = supervisor(x)
    signal.pidfd_send_signal(sc("pidfd_open", pid, 0), 0)
    return found(x, pid)


@probe("supervisor")
def sup_ptrace(x):
    """PTRACE_SEIZE"""
    pid = supervisor(x)
    sc("ptrace", PTRACE_SEIZE, pid, 0, 0)
    return found(x, pid)


@probe("supervisor")
def sup_mem_write(x):
    """open /proc/PID/mem for writing; nothing is written"""
    pid = supervisor(x)
    os.close(os.open("/proc/%d/mem" % pid, os.O_RDWR))
    return found(x, pid)


@probe("supervisor")
def sup_vm_readv(x):
    """read its memory by process_vm_readv, at an address of its map"""
    pid = supervisor(x)
    start = int(read("/proc/%d/maps" % pid).split("-")[0], 16)
    data = ctypes.create_string_buffer(16)
    here, there = Iovec(ctypes.addressof(data), 16), Iovec(start, 16)
    sc("process_vm_readv", pid, ctypes.byref(here), 1, ctypes.byref(there), 1, 0)
    return found(x, pid)


@probe("supervisor", secret("awskey"))
def sup_environ(x):
    """read the launcher's secrets in its environment"""
    return read("/proc/%d/environ" % supervisor(x))


@probe("supervisor")
def sup_pidfd_getfd(x):
    """take its descriptor 0 by pidfd_getfd"""
    pid = supervisor(x)
    sc("pidfd_getfd", sc("pidfd_open", pid, 0), 0, 0)
    return found(x, pid)


@probe("supervisor")
def sup_fd_links(x):
    """see what its descriptors stand for"""
    pid = supervisor(x)
    folder = "/proc/%d/fd/" % pid
    return "%s, %d descriptors" % (found(x, pid), len([os.readlink(folder + n) for n in os.listdir(folder)]))


@probe("supervisor")
def sup_root(x):
    """look at the root directory through /proc/PID/root"""
    pid = supervisor(x)
    os.stat("/proc/%d/root/usr" % pid)
    return found(x, pid)


@probe("supervisor")
def sup_prlimit(x):
    """prlimit64, with the values that it has"""
    pid = supervisor(x)
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
    return found(x, pid)


@probe("supervisor")
def sup_affinity(x):
    """sched_setaffinity, with the processors that it has"""
    pid = supervisor(x)
    os.sched_setaffinity(pid, os.sched_getaffinity(pid))
    return found(x, pid)


@probe("supervisor")
def sup_priority(x):
    """setpriority, with the priority that it has"""
    pid = supervisor(x)
    os.setpriority(os.PRIO_PROCESS, pid, os.getpriority(os.PRIO_PROCESS, pid))
    return found(x, pid)


@probe("supervisor")
def sup_scheduler(x):
    """sched_setscheduler, with the policy that it has"""
    pid = supervisor(x)
    os.sched_setscheduler(pid, os.sched_getscheduler(pid), os.sched_param(0))
    return found(x, pid)


@probe("supervisor")
def sup_oom_score(x):
    """write its oom_score_adj, with the value that it has"""
    path = "/proc/%d/oom_score_adj" % supervisor(x)
    value = read(path).strip()
    write(path, value)


def state_folders(x):
    """Yields the directories of the tool's state."""
    yield x.state
    for root, folders, _ in os.walk(x.state):
        yield from (os.path.join(root, name) for name in folders)


@probe("supervisor", lambda host, evidence: any(path.endswith("/aegis_tamper") for path in host.state_files()))
def tool_state_write(x):
    """create a file in the tool's own state (--state; a fixture without it)"""
    last = Blocked("no directory")
    for folder in state_folders(x):
        try:
            write(folder + "/aegis_tamper", "x")
            return folder
        except OSError as error:
            last = error
    raise last


@probe("supervisor")
def tool_state_read(x):
    """read the tool's own state: database, session files"""
    count, last = 0, Blocked("no file visible")
    for folder, _, names in os.walk(x.state):
        for name in names:
            path = os.path.join(folder, name)
            if not os.path.isfile(path):
                continue
            try:
                read(path)
                count += 1
            except OSError as error:
                last = error
    if not count:
        raise last
    return "%d files readable" % count


@probe("supervisor", lambda host, evidence: os.path.getsize(host.policy) > 0)
def tool_policy_write(x):
    """open the tool's policy file for writing (--policy; a fixture without it); nothing is written"""
    os.close(os.open(x.policy, os.O_WRONLY))
