"""System calls that the standard library does not have: raw calls, io_uring, and the 32-bit entry. x86-64 only."""
import ctypes
import mmap
import os
import struct

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
libc.shmat.restype = ctypes.c_void_p

NR = {
    "msgget": 68, "msgsnd": 69, "msgrcv": 70, "semget": 64, "semctl": 66, "clone": 56, "ptrace": 101, "syslog": 103,
    "rt_sigqueueinfo": 129, "mknod": 133, "pivot_root": 155, "acct": 163, "settimeofday": 164, "mount": 165,
    "swapon": 167, "reboot": 169, "sethostname": 170, "ioperm": 173, "quotactl": 179, "tgkill": 234, "mq_open": 240,
    "mq_unlink": 241, "mq_timedsend": 242, "mq_timedreceive": 243, "kexec_load": 246, "add_key": 248, "keyctl": 250,
    "ioprio_set": 251, "ioprio_get": 252, "inotify_add_watch": 254, "inotify_init1": 294, "futimesat": 261,
    "linkat": 265, "unshare": 272, "get_robust_list": 274, "perf_event_open": 298, "fanotify_init": 300,
    "fanotify_mark": 301, "name_to_handle_at": 303, "open_by_handle_at": 304, "setns": 308, "process_vm_readv": 310,
    "process_vm_writev": 311, "kcmp": 312, "finit_module": 313, "renameat2": 316, "seccomp": 317, "bpf": 321,
    "execveat": 322, "userfaultfd": 323, "pidfd_send_signal": 424, "io_uring_setup": 425, "io_uring_enter": 426,
    "open_tree": 428, "pidfd_open": 434, "clone3": 435, "openat2": 437, "pidfd_getfd": 438, "process_madvise": 440,
    "fchmodat2": 452, "setxattrat": 463, "file_setattr": 469,
}
AT_FDCWD = -100
AT_SYMLINK_FOLLOW = 0x400
AT_EMPTY_PATH = 0x1000
AT_REMOVEDIR = 0x200
RENAME_EXCHANGE = 2
CLONE_FS, CLONE_NEWNS, CLONE_NEWUSER = 0x200, 0x20000, 0x10000000
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS, PR_SET_CHILD_SUBREAPER = 1, 38, 36
MAP_32BIT = 0x40


def sc(call, *args):
    """Makes a system call, given by name or number; raises OSError."""
    plain = []
    for value in args:
        if isinstance(value, bytes):
            plain.append(ctypes.c_char_p(value))
        elif isinstance(value, int):
            plain.append(ctypes.c_long(value))
        else:
            plain.append(value)
    result = libc.syscall(ctypes.c_long(NR.get(call, call)), *plain)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def prctl(option, value):
    """Calls prctl(2) with one argument; raises OSError."""
    if libc.prctl(option, value, 0, 0, 0) < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def mount(source, target, kind=None, flags=0, data=None):
    """Calls mount(2)."""
    sc("mount", source.encode(), target.encode(), kind.encode() if kind else 0, flags, data.encode() if data else 0)


def check(result):
    """Turns a negative result of io_uring or of a 32-bit call into OSError."""
    if result < 0:
        raise OSError(-result, os.strerror(-result))
    return result


class Iovec(ctypes.Structure):
    """struct iovec."""

    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


class Uring:
    """An io_uring with four entries, used for one operation at a time."""

    OPENAT, CLOSE, READ, CONNECT, SEND, RENAMEAT, UNLINKAT, SOCKET = 18, 19, 22, 16, 26, 35, 36, 45

    def __init__(self):
        params = ctypes.create_string_buffer(120)
        self.fd = sc("io_uring_setup", 4, ctypes.byref(params))
        entries, completions = struct.unpack("<II", params.raw[:8])
        self.sq = struct.unpack("<IIIIIIIIQ", params.raw[40:80])
        self.cq = struct.unpack("<IIIIIIIIQ", params.raw[80:120])
        size = max(self.sq[6] + entries * 4, self.cq[5] + completions * 16)
        flags, access = mmap.MAP_SHARED | mmap.MAP_POPULATE, mmap.PROT_READ | mmap.PROT_WRITE
        self.ring = mmap.mmap(self.fd, size, flags, access, offset=0)
        self.entries = mmap.mmap(self.fd, entries * 64, flags, access, offset=0x10000000)

    def op(self, code, fd=-1, addr=0, length=0, off=0, flags=0):
        """Does one operation and returns its result; raises OSError."""
        tail, mask = (struct.unpack_from("<I", self.ring, self.sq[i])[0] for i in (1, 2))
        slot = tail & mask
        self.entries[slot * 64:slot * 64 + 64] = struct.pack("<BBHiQQIIQHHiQQ", code, 0, 0, fd, off, addr, length,
                                                             flags, 1, 0, 0, 0, 0, 0)
        struct.pack_into("<I", self.ring, self.sq[6] + 4 * slot, slot)
        struct.pack_into("<I", self.ring, self.sq[1], tail + 1)
        sc("io_uring_enter", self.fd, 1, 1, 1, 0, 0)
        head, mask = (struct.unpack_from("<I", self.ring, self.cq[i])[0] for i in (0, 2))
        _, result, _ = struct.unpack_from("<QiI", self.ring, self.cq[5] + 16 * (head & mask))
        struct.pack_into("<I", self.ring, self.cq[0], head + 1)
        return check(result)


class Compat:
    """The 32-bit system call entry `int 0x80`, whose numbers are those of i386."""

    OPEN, READ, UNLINK, SOCKETCALL = 5, 3, 10, 102
    # push rbx; mov eax,edi; mov ebx,esi; xchg ecx,edx; int 0x80; pop rbx; ret
    CODE = bytes.fromhex("53 89f8 89f3 87ca cd80 5b c3")

    def __init__(self):
        access = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
        self.page = libc.mmap(None, 8192, access, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_32BIT, -1, 0)
        if self.page in (None, ctypes.c_void_p(-1).value):
            raise OSError(ctypes.get_errno(), "no executable memory below 2 GiB")
        ctypes.memmove(self.page, self.CODE, len(self.CODE))
        self.data = self.page + 4096
        kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_uint, ctypes.c_uint, ctypes.c_uint, ctypes.c_uint)
        self.enter = kind(self.page)

    def put(self, data, at=0):
        """Places bytes where 32-bit pointers reach them and returns the address."""
        ctypes.memmove(self.data + at, data + b"\0", len(data) + 1)
        return self.data + at

    def call(self, number, first=0, second=0, third=0):
        """Makes a call and returns its result; raises OSError."""
        return check(self.enter(number, first, second, third))
