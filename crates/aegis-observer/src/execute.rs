//! The argument vector of a program that is about to run, read from the caller's memory.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};

use aegis_sys::memory::Memory;
use aegis_types::Text;
use rustix::fs::{FileType, OFlags};

/// How many bytes of arguments are recorded.
const BYTES_MAX: usize = 8 << 10;

/// How many arguments are recorded.
const COUNT_MAX: usize = 256;

/// How many pointers are counted at most.
const POINTERS_MAX: usize = 1 << 16;

/// The arguments of a program.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Arguments {
    /// As many as are recorded.
    pub list: Vec<Text>,
    /// How many more there are, whole or in part.
    pub omitted: u64,
}

impl Arguments {
    /// Takes a command line, as much of it as is recorded.
    pub fn of<'a>(argv: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut arguments = Self::default();
        let mut room = BYTES_MAX;
        for argument in argv {
            if room == 0 || arguments.list.len() >= COUNT_MAX {
                arguments.omitted += 1;
                continue;
            }
            let part = argument.get(..room).unwrap_or(argument);
            arguments.omitted += u64::from(part.len() < argument.len());
            room -= part.len();
            arguments.list.push(Text::new(part.to_vec()));
        }
        arguments
    }
}

/// Reads an argument vector. `wide` says whether the caller's pointers have 64 bits.
///
/// # Errors
/// The caller's memory can't be read.
pub fn arguments(memory: &Memory, vector: u64, wide: bool) -> io::Result<Arguments> {
    let mut arguments = Arguments::default();
    if vector == 0 {
        return Ok(arguments);
    }
    let width = if wide { 8 } else { 4 };
    let mut room = BYTES_MAX;
    // The strings mostly stand one behind the other, as do the pointers to them.
    let (mut pointers, mut strings) = (Window::new(memory), Window::new(memory));
    let mut at = vector;
    for _ in 0..POINTERS_MAX {
        let pointer = pointers.number(at, width)?;
        at = at.wrapping_add(width as u64);
        if pointer == 0 {
            break;
        }
        if room == 0 || arguments.list.len() >= COUNT_MAX {
            arguments.omitted += 1;
            continue;
        }
        let (argument, whole) = strings.string(pointer, room)?;
        arguments.omitted += u64::from(!whole);
        room -= argument.len();
        arguments.list.push(Text::new(argument));
    }
    Ok(arguments)
}

/// How much is read at a time; a read never crosses a page, since the next may not be there.
const PAGE: usize = 4096;

/// The page of the caller's memory that was read last: what is read piece by piece costs a call for each page, not
/// for each piece.
struct Window<'m> {
    memory: &'m Memory,
    bytes: [u8; PAGE],
    /// The address of the first byte.
    start: u64,
    /// How many are there.
    length: usize,
}

impl<'m> Window<'m> {
    fn new(memory: &'m Memory) -> Self {
        Self { memory, bytes: [0; PAGE], start: 0, length: 0 }
    }

    /// Returns what stands at an address, at least one byte and at most to the end of its page.
    fn at(&mut self, address: u64) -> io::Result<&[u8]> {
        let held = |window: &Self| {
            let offset = usize::try_from(address.checked_sub(window.start)?).ok()?;
            (offset < window.length).then_some(offset)
        };
        let offset = match held(self) {
            Some(offset) => offset,
            None => {
                let to_page_end = PAGE - usize::try_from(address % PAGE as u64).unwrap_or(0);
                self.length = 0;
                let room = self.bytes.get_mut(..to_page_end).unwrap_or_default();
                self.length = self.memory.read(address, room)?;
                self.start = address;
                0
            }
        };
        Ok(self.bytes.get(offset..self.length).unwrap_or_default())
    }

    /// Reads a little-endian number of so many bytes.
    fn number(&mut self, address: u64, width: usize) -> io::Result<u64> {
        let mut word = [0; 8];
        let mut filled = 0;
        while filled < width {
            let here = self.at(address.wrapping_add(filled as u64))?;
            let rest = word.get_mut(filled..width).unwrap_or_default();
            let count = here.len().min(rest.len());
            for (to, from) in rest.iter_mut().zip(here) {
                *to = *from;
            }
            filled += count;
        }
        Ok(u64::from_le_bytes(word))
    }

    /// Reads a string that ends with a zero byte, without it; says whether it is whole, or cut after `max` bytes.
    fn string(&mut self, address: u64, max: usize) -> io::Result<(Vec<u8>, bool)> {
        let mut out = Vec::new();
        loop {
            let here = self.at(address.wrapping_add(out.len() as u64))?;
            let end = here.iter().position(|byte| *byte == 0);
            out.extend_from_slice(here.get(..end.unwrap_or(here.len())).unwrap_or_default());
            if out.len() > max {
                out.truncate(max);
                return Ok((out, false));
            }
            if end.is_some() {
                return Ok((out, true));
            }
        }
    }
}

/// How many interpreters a script can need, one run by the next (`BINPRM_MAX_RECURSION` of the kernel, and the script).
pub const INTERPRETERS_MAX: usize = 5;

/// Returns the interpreter that a file names in its first line, where it is a script.
pub(crate) fn interpreter(file: &OwnedFd) -> Option<Vec<u8>> {
    // What was found was opened for its place only.
    let link = format!("self/fd/{}", file.as_raw_fd());
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    if !FileType::from_raw_mode(rustix::fs::fstat(file).ok()?.st_mode).is_file() {
        return None;
    }
    // Its time of access stays as it is where that can be had: it may be a program that is denied.
    let open = |extra| aegis_sys::outside::open(&link, flags | extra);
    let readable = open(OFlags::NOATIME).or_else(|_| open(OFlags::empty())).ok()?;
    // As much as the kernel reads of it (`BINPRM_BUF_SIZE`).
    let mut start = [0; 256];
    let length = rustix::io::read(&readable, &mut start).ok()?;
    interpreter_in(start.get(..length)?)
}

fn interpreter_in(start: &[u8]) -> Option<Vec<u8>> {
    let line = start.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let word = line.split(|byte| matches!(byte, b' ' | b'\t' | 0)).find(|word| !word.is_empty())?;
    Some(word.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CString;

    fn me() -> Memory {
        Memory::open(std::process::id()).unwrap()
    }

    fn read(list: &[&[u8]]) -> Arguments {
        let strings: Vec<CString> = list.iter().map(|s| CString::new(*s).unwrap()).collect();
        let pointers: Vec<u64> = strings.iter().map(|s| s.as_ptr() as u64).chain([0]).collect();
        arguments(&me(), pointers.as_ptr() as u64, true).unwrap()
    }

    #[test]
    fn long_command_lines_are_cut_and_counted() {
        let short = read(&[b"ls", b"", b"\xff"]);
        assert_eq!(short, Arguments { list: vec!["ls".into(), "".into(), Text::new([0xff])], omitted: 0 });
        let exact = vec![b'x'; BYTES_MAX];
        assert_eq!(read(&[&exact]).omitted, 0);
        let long = vec![b'x'; BYTES_MAX + 1];
        let cut = read(&[&long, b"more"]);
        assert_eq!((cut.list.len(), cut.list[0].as_bytes().len(), cut.omitted), (1, BYTES_MAX, 2));
        let many = vec![&b"a"[..]; COUNT_MAX + 3];
        assert_eq!(read(&many).omitted, 3);
        for list in [vec![&exact[..]], vec![&long[..], b"more"], many, vec![b"ls", b"", b"\xff"]] {
            assert_eq!(Arguments::of(list.iter().copied()), read(&list), "one bound for both");
        }
        assert!(arguments(&me(), 1, true).is_err());
    }

    #[test]
    fn strings_and_pointers_may_stand_anywhere() {
        // What is read stands across the bound of two pages.
        let memory = vec![b'x'; 3 * PAGE];
        let second = (memory.as_ptr() as u64).next_multiple_of(PAGE as u64) + PAGE as u64;
        let me = me();
        let (text, whole) = Window::new(&me).string(second - 3, 5).unwrap();
        assert_eq!((text.as_slice(), whole), (&b"xxxxx"[..], false));
        let mut window = Window::new(&me);
        for offset in 0..=8 {
            let word = window.number(second - offset, 8).unwrap();
            assert_eq!(word, u64::from_le_bytes([b'x'; 8]), "at {offset}");
        }
        assert_eq!(window.number(second - 2, 4).unwrap(), u64::from(u32::from_le_bytes([b'x'; 4])));
        // Backwards and forwards, each string is its own.
        let list: Vec<CString> = (0..300).map(|n| CString::new(format!("argument {n}")).unwrap()).collect();
        let mut window = Window::new(&me);
        for (n, string) in list.iter().enumerate().rev().chain(list.iter().enumerate()) {
            let (text, whole) = window.string(string.as_ptr() as u64, 100).unwrap();
            assert_eq!((text, whole), (format!("argument {n}").into_bytes(), true));
        }
    }

    #[test]
    fn scripts_name_their_interpreter() {
        for (start, expected) in [
            (&b"#!/bin/sh\necho"[..], Some(&b"/bin/sh"[..])),
            (b"#! \t/usr/bin/env python3 -x\n", Some(b"/usr/bin/env")),
            (b"#!relative", Some(b"relative")),
            (b"#!\n/bin/sh", None),
            (b"#!", None),
            (b"\x7fELF", None),
            (b"", None),
        ] {
            assert_eq!(interpreter_in(start).as_deref(), expected);
        }
    }
}
