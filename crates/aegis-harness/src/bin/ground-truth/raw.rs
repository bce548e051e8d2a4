//! The calls that have no safe form: everything unsafe of this program.
#![expect(unsafe_code, reason = "these calls have no safe form; every block argues its safety")]

use std::convert::Infallible;
use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command};
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Returns `text` as the kernel takes it.
pub(crate) fn c_string(text: impl AsRef<OsStr>) -> io::Result<CString> {
    Ok(CString::new(text.as_ref().as_bytes())?)
}

fn checked(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Calls truncate(2).
pub(crate) fn truncate(path: &Path, length: i64) -> io::Result<()> {
    let path = c_string(path)?;
    // SAFETY: the path ends with NUL and outlives the call.
    checked(unsafe { libc::truncate(path.as_ptr(), length) }.into()).map(drop)
}

/// Calls creat(2).
pub(crate) fn creat(path: &Path, mode: libc::mode_t) -> io::Result<OwnedFd> {
    let path = c_string(path)?;
    // SAFETY: the path ends with NUL and outlives the call.
    let fd = unsafe { libc::creat(path.as_ptr(), mode) };
    checked(fd.into())?;
    // SAFETY: the call has just returned this descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Calls link(2).
pub(crate) fn link(old: &Path, new: &Path) -> io::Result<()> {
    let (old, new) = (c_string(old)?, c_string(new)?);
    // SAFETY: both paths end with NUL and outlive the call.
    checked(unsafe { libc::link(old.as_ptr(), new.as_ptr()) }.into()).map(drop)
}

/// Gives the calling thread a working directory of its own.
pub(crate) fn unshare_cwd() -> io::Result<()> {
    // SAFETY: only the table of descriptors is dangerous to unshare, and it is not.
    Ok(unsafe { unshare_unsafe(UnshareFlags::FS) }?)
}

/// Changes the first byte of a file that is not empty through a shared mapping.
pub(crate) fn write_through_mapping(file: impl AsFd) -> io::Result<()> {
    let (access, length) = (ProtFlags::READ | ProtFlags::WRITE, 1);
    // SAFETY: the kernel chooses a free place; the mapping ends below and no reference to it exists.
    unsafe {
        let start = mmap(ptr::null_mut(), length, access, MapFlags::SHARED, file, 0)?;
        start.cast::<u8>().write_volatile(b'm');
        munmap(start, length)?;
    }
    Ok(())
}

/// Ends a forked child at once.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: the call only ends the process.
    unsafe { libc::_exit(code) }
}

/// Starts a child that runs `body`, which executes a program or ends the process and else says why not.
///
/// Must be called while the process has one thread: then `body` may do what it likes.
pub(crate) fn fork(
    mut body: impl FnMut() -> io::Result<Infallible> + Send + Sync + 'static,
) -> io::Result<Child> {
    #[expect(clippy::disallowed_methods, reason = "a program to be observed, no part of Aegis")]
    let mut never_executed = Command::new("/");
    // SAFETY: with one thread there is no lock that another could hold for ever in the child.
    unsafe { never_executed.pre_exec(move || body().map(|never| match never {})) };
    never_executed.spawn()
}

/// Executes the program that `name` is below `folder`, or `folder` itself where `name` is empty, with an empty
/// environment. Returns only if that fails.
pub(crate) fn exec_at(folder: impl AsFd, name: &CStr, argument: &CStr) -> io::Result<Infallible> {
    let arguments = [argument.as_ptr(), ptr::null()];
    let environment = [ptr::null::<libc::c_char>()];
    let fd = folder.as_fd().as_raw_fd();
    // SAFETY: all texts end with NUL, both arrays with a null pointer, and all outlive the call.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            fd,
            name.as_ptr(),
            arguments.as_ptr(),
            environment.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    Err(io::Error::last_os_error())
}

/// `struct io_sqring_offsets` and `struct io_cqring_offsets` of linux/io_uring.h: ten words each.
///
/// Both begin with head, tail and ring mask. The last two name words are an address; `array` is the word after
/// `dropped` in the first, `cqes` the word after `overflow` in the second.
type Offsets = [u32; 10];

/// `struct io_uring_params`.
#[repr(C)]
#[derive(Default)]
struct Params {
    sq_entries: u32,
    cq_entries: u32,
    rest: [u32; 8],
    sq: Offsets,
    cq: Offsets,
}

/// `struct io_uring_sqe`, as far as an open uses it.
#[repr(C)]
struct Submission {
    opcode: u8,
    flags: u8,
    ioprio: u16,
    fd: i32,
    offset: u64,
    address: u64,
    mode: u32,
    open_flags: u32,
    user_data: u64,
    unused: [u64; 3],
}

/// `struct io_uring_cqe`.
#[repr(C)]
struct Completion {
    user_data: u64,
    result: i32,
    flags: u32,
}

const OP_OPENAT: u8 = 18;
const ENTER_GETEVENTS: u32 = 1;
const OFFSET_SQ: u64 = 0;
const OFFSET_CQ: u64 = 0x800_0000;
const OFFSET_SQES: u64 = 0x1000_0000;

/// An io_uring with room for one call.
#[derive(Debug)]
pub(crate) struct Ring {
    fd: OwnedFd,
    sq: *mut u8,
    cq: *mut u8,
    submission: *mut Submission,
    sq_tail: usize,
    sq_array: usize,
    cq_head: usize,
    cq_tail: usize,
    completion: usize,
}

impl Ring {
    /// Sets a ring up, or says why there is none to be had.
    pub(crate) fn new() -> io::Result<Self> {
        let mut params = Params::default();
        // SAFETY: the kernel writes no more than the structure, which is as large as its own (120 bytes).
        let fd = checked(unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, &raw mut params) })?;
        let fd = i32::try_from(fd).map_err(io::Error::other)?;
        // SAFETY: the call has just returned this descriptor, and nobody else knows it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let [_, sq_tail, _, _, _, _, sq_array, ..] = params.sq.map(|offset| offset as usize);
        let [cq_head, cq_tail, _, _, _, completion, ..] = params.cq.map(|offset| offset as usize);
        let map = |offset, length| {
            let access = ProtFlags::READ | ProtFlags::WRITE;
            // SAFETY: the kernel chooses a free place; the mapping is never ended.
            unsafe { mmap(ptr::null_mut(), length, access, MapFlags::SHARED, &fd, offset) }
        };
        let sq = map(OFFSET_SQ, sq_array + size_of::<u32>())?.cast();
        let two_completions = completion + 2 * size_of::<Completion>();
        let cq = map(OFFSET_CQ, two_completions)?.cast();
        let submission = map(OFFSET_SQES, size_of::<Submission>())?.cast();
        Ok(Self { fd, sq, cq, submission, sq_tail, sq_array, cq_head, cq_tail, completion })
    }

    /// Opens an absolute path through the ring.
    pub(crate) fn open(&self, path: &CStr, flags: u32, mode: u32) -> io::Result<OwnedFd> {
        let call = Submission {
            opcode: OP_OPENAT,
            flags: 0,
            ioprio: 0,
            fd: libc::AT_FDCWD,
            offset: 0,
            address: path.as_ptr() as u64,
            mode,
            open_flags: flags,
            user_data: 0,
            unused: [0; 3],
        };
        // SAFETY: the offsets are the kernel's own and within the mappings, which live as long as the process;
        // a ring of one entry has a mask of 0 for calls and of 1 for answers. The path outlives the call
        // because this function waits for the answer.
        let result = unsafe {
            self.submission.write_volatile(call);
            self.sq.add(self.sq_array).cast::<u32>().write_volatile(0);
            (*self.sq.add(self.sq_tail).cast::<AtomicU32>()).fetch_add(1, Ordering::Release);
            let head = &*self.cq.add(self.cq_head).cast::<AtomicU32>();
            let tail = &*self.cq.add(self.cq_tail).cast::<AtomicU32>();
            let mut to_submit = 1;
            while head.load(Ordering::Acquire) == tail.load(Ordering::Acquire) {
                let fd = self.fd.as_raw_fd();
                let none = ptr::null::<u8>();
                let enter = libc::SYS_io_uring_enter;
                match checked(libc::syscall(enter, fd, to_submit, 1, ENTER_GETEVENTS, none, 0)) {
                    Ok(_) => to_submit = 0,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            let place = head.load(Ordering::Acquire) as usize & 1;
            let answers = self.cq.add(self.completion).cast::<Completion>();
            let result = answers.add(place).read_volatile().result;
            head.fetch_add(1, Ordering::Release);
            result
        };
        if result < 0 {
            return Err(io::Error::from_raw_os_error(-result));
        }
        // SAFETY: the kernel has just opened this descriptor for us, and nobody else knows it.
        Ok(unsafe { OwnedFd::from_raw_fd(result) })
    }
}
