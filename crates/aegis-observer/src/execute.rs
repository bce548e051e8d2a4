//! The argument vector of a program that is about to run, read from the caller's memory.

use std::io;

use aegis_sys::memory;
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

/// Reads an argument vector. `wide` says whether the caller's pointers have 64 bits.
///
/// # Errors
/// The caller's memory can't be read.
pub fn arguments(tid: u32, vector: u64, wide: bool) -> io::Result<Arguments> {
    let mut arguments = Arguments::default();
    if vector == 0 {
        return Ok(arguments);
    }
    let width = if wide { 8 } else { 4 };
    let mut room = BYTES_MAX;
    let mut buffer = Vec::new();
    for index in 0..POINTERS_MAX {
        let mut word = [0; 8];
        let at = vector.wrapping_add((index * width) as u64);
        memory::read_exact(tid, at, word.get_mut(..width).unwrap_or_default())?;
        let pointer = u64::from_le_bytes(word);
        if pointer == 0 {
            break;
        }
        if room == 0 || arguments.list.len() >= COUNT_MAX {
            arguments.omitted += 1;
            continue;
        }
        match memory::read_string(tid, pointer, room, &mut buffer) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CString;

    fn read(list: &[&[u8]]) -> Arguments {
        let strings: Vec<CString> = list.iter().map(|s| CString::new(*s).unwrap()).collect();
        let pointers: Vec<u64> = strings.iter().map(|s| s.as_ptr() as u64).chain([0]).collect();
        arguments(std::process::id(), pointers.as_ptr() as u64, true).unwrap()
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
        assert!(arguments(std::process::id(), 1, true).is_err());
    }
}
