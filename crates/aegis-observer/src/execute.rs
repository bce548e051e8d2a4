//! The argument vector of a program that is about to run, read from the caller's memory.

use std::io;

use aegis_sys::memory::Memory;
use aegis_types::Text;

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
    let mut buffer = Vec::new();
    let mut pointers = Pointers { memory, at: vector, width, chunk: [0; CHUNK], chunk_at: 0, chunk_end: 0 };
    for _ in 0..POINTERS_MAX {
        let pointer = pointers.next()?;
        if pointer == 0 {
            break;
        }
        if room == 0 || arguments.list.len() >= COUNT_MAX {
            arguments.omitted += 1;
            continue;
        }
        match memory.read_string(pointer, room, &mut buffer) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(libc::ENAMETOOLONG) => {
                buffer.truncate(room);
                arguments.omitted += 1;
            }
            Err(error) => return Err(error),
        }
        room -= buffer.len().min(room);
        arguments.list.push(Text::new(buffer.clone()));
    }
    Ok(arguments)
}

/// How much of a vector is read at a time; a chunk never crosses a page, since the next may not be there.
const CHUNK: usize = 4096;

/// The pointers of a vector, read page by page.
struct Pointers<'m> {
    memory: &'m Memory,
    /// The address of the next pointer.
    at: u64,
    width: usize,
    chunk: [u8; CHUNK],
    /// The addresses that the chunk holds.
    chunk_at: u64,
    chunk_end: u64,
}

impl Pointers<'_> {
    fn next(&mut self) -> io::Result<u64> {
        let mut word = [0; 8];
        let part = word.get_mut(..self.width).unwrap_or_default();
        if self.at < self.chunk_at || self.at.wrapping_add(self.width as u64) > self.chunk_end {
            let to_page_end = CHUNK - usize::try_from(self.at % CHUNK as u64).unwrap_or(0);
            let room = self.chunk.get_mut(..to_page_end).unwrap_or_default();
            let got = self.memory.read(self.at, room)?;
            self.chunk_at = self.at;
            self.chunk_end = self.at.wrapping_add(got as u64);
        }
        let offset = usize::try_from(self.at - self.chunk_at).unwrap_or(0);
        match self.chunk.get(offset..offset + self.width) {
            Some(bytes) if self.at.wrapping_add(self.width as u64) <= self.chunk_end => {
                part.copy_from_slice(bytes);
            }
            // Not aligned, and across two pages.
            _ => self.memory.read_exact(self.at, part)?,
        }
        self.at = self.at.wrapping_add(self.width as u64);
        Ok(u64::from_le_bytes(word))
    }
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
}
