//! The smallest program: it ends, and opens nothing.

/// Where the program is loaded.
const LOAD_ADDRESS: u64 = 0x40_0000;

/// The sizes of `Elf64_Ehdr` and `Elf64_Phdr`.
const FILE_HEADER: u16 = 64;
const PROGRAM_HEADER: u16 = 56;

/// Returns a static ELF program for this machine that does nothing but end with `code`.
#[must_use]
pub fn exit_program(code: u8) -> Vec<u8> {
    let start = u64::from(FILE_HEADER + PROGRAM_HEADER);
    let instructions = exit_instructions(code);
    let size = start + instructions.len() as u64;
    [
        b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec(), // 64 bits, little-endian
        halves(&[2, MACHINE, 1, 0]),                       // ET_EXEC; version
        longs(&[LOAD_ADDRESS + start, u64::from(FILE_HEADER), 0]),
        halves(&[0, 0, FILE_HEADER, PROGRAM_HEADER, 1, 0, 0, 0]),
        halves(&[1, 0, 5, 0]), // PT_LOAD; readable and executable
        longs(&[0, LOAD_ADDRESS, LOAD_ADDRESS, size, size, 0x1_0000]),
        instructions,
    ]
    .concat()
}

fn halves(values: &[u16]) -> Vec<u8> {
    values.iter().copied().flat_map(u16::to_le_bytes).collect()
}

fn longs(values: &[u64]) -> Vec<u8> {
    values.iter().copied().flat_map(u64::to_le_bytes).collect()
}

/// `e_machine` of elf(5).
#[cfg(target_arch = "x86_64")]
const MACHINE: u16 = 62;
#[cfg(target_arch = "aarch64")]
const MACHINE: u16 = 183;

/// `mov edi, code; mov eax, SYS_exit; syscall`.
#[cfg(target_arch = "x86_64")]
fn exit_instructions(code: u8) -> Vec<u8> {
    vec![0xbf, code, 0, 0, 0, 0xb8, 60, 0, 0, 0, 0x0f, 0x05]
}

/// `mov x0, code; mov x8, SYS_exit; svc 0`.
#[cfg(target_arch = "aarch64")]
fn exit_instructions(code: u8) -> Vec<u8> {
    let move_code = 0xd280_0000 | u32::from(code) << 5;
    [move_code, 0xd280_0ba8, 0xd400_0001].into_iter().flat_map(u32::to_le_bytes).collect()
}
