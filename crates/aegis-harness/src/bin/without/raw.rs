//! Installing a filter that refuses calls: everything unsafe of this program.
#![expect(
    unsafe_code,
    reason = "there is no safe form of prctl(2) with a filter; every block argues its safety"
)]

use std::io;

use libc::{sock_filter, sock_fprog};

/// A call that is refused.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    /// Its number.
    pub(crate) call: libc::c_long,
    /// Only where its first argument has any of these bits.
    pub(crate) flags: Option<u32>,
    /// With what.
    pub(crate) errno: i32,
}

/// Offsets in `struct seccomp_data`: the number, and the low half of the first argument.
const NUMBER: u32 = 0;
const FIRST: u32 = 16;

fn instruction(code: u32, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter { code: u16::try_from(code).unwrap_or(0), jt, jf, k }
}

/// Refuses calls from now on, in this process and what it starts.
pub(crate) fn refuse(refusals: &[Refusal]) -> io::Result<()> {
    let load = |offset| instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, offset);
    let answer = |k| instruction(libc::BPF_RET | libc::BPF_K, 0, 0, k);
    let mut program = Vec::new();
    for refusal in refusals {
        let number = u32::try_from(refusal.call).unwrap_or(u32::MAX);
        let errno = libc::SECCOMP_RET_ERRNO | u32::try_from(refusal.errno).unwrap_or(1);
        program.push(load(NUMBER));
        let body: u8 = if refusal.flags.is_some() { 3 } else { 1 };
        program.push(instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, body, number));
        if let Some(flags) = refusal.flags {
            program.push(load(FIRST));
            program.push(instruction(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, 0, 1, flags));
        }
        program.push(answer(errno));
    }
    program.push(answer(libc::SECCOMP_RET_ALLOW));
    let length = u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let filter = sock_fprog { len: length, filter: program.as_mut_ptr() };
    // SAFETY: prctl(2) with these options takes numbers, and a program that lives until the call is over.
    unsafe {
        if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
            || libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) != 0
        {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}
