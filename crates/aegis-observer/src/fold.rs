//! Reads of the system's own files: one entry per process and directory, and a count when the process ends.

use foldhash::HashMap;

use crate::resolve::is_below;

/// Folders below `/etc` whose files belong to the system.
const FOLDERS: [&[u8]; 2] = [b"/etc/ssl/certs", b"/etc/ca-certificates"];

/// Single files below `/etc` that every program reads.
const FILES: [&[u8]; 6] = [
    b"/etc/ld.so.cache",
    b"/etc/ld.so.preload",
    b"/etc/locale.alias",
    b"/etc/locale.conf",
    b"/etc/localtime",
    b"/etc/ca-certificates.conf",
];

/// The most directories that are counted for one process; beyond, each read is an entry.
const DIRECTORIES_MAX: usize = 4_096;

/// The most memory that the counts of all processes may take, in bytes; beyond, each read is an entry.
const BYTES_MAX: usize = 8 << 20;

/// What a directory takes beside its name, about.
const OVERHEAD: usize = 64;

/// The memory that the counts of all processes take, about, in bytes.
#[derive(Debug, Default)]
pub struct Memory(usize);

/// What one process read, by directory.
#[derive(Debug, Default)]
pub struct Folds(HashMap<Vec<u8>, Count>);

/// How often, in one directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// Files opened for reading.
    pub reads: u64,
    /// Directories opened.
    pub lists: u64,
}

/// What becomes of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fold {
    /// It is recorded, as the first of its directory.
    First,
    /// It is counted.
    Counted,
    /// It is no read of this kind.
    No,
}

/// Says whether a file is the system's own, for this process.
#[must_use]
pub fn is_system(path: &[u8], pid: u32, home: &[u8], kept: &[u8]) -> bool {
    let top = path.strip_prefix(b"/").and_then(|rest| rest.split(|b| *b == b'/').next()).unwrap_or_default();
    let system = match top {
        b"usr" | b"bin" | b"sbin" | b"sys" | b"lib" | b"lib32" | b"lib64" | b"libx32" => true,
        b"etc" => FILES.contains(&path) || FOLDERS.iter().any(|folder| is_below(path, folder)),
        b"proc" => path.split(|b| *b == b'/').nth(2) == Some(pid.to_string().as_bytes()),
        _ => false,
    };
    // Nothing of the user's is the system's own.
    system && ![home, kept].into_iter().any(|own| own.len() > 1 && is_below(path, own))
}

impl Folds {
    /// Counts a read of a system file.
    pub fn count(&mut self, path: &[u8], is_list: bool, memory: &mut Memory) -> Fold {
        let end = path.iter().rposition(|b| *b == b'/').unwrap_or(0);
        let folder = if is_list { path } else { path.get(..end).unwrap_or_default() };
        if let Some(count) = self.0.get_mut(folder) {
            let (now, other) =
                if is_list { (&mut count.lists, count.reads) } else { (&mut count.reads, count.lists) };
            *now += 1;
            // The first of either kind is an entry of its own.
            return if *now == 1 && other > 0 { Fold::First } else { Fold::Counted };
        }
        let need = folder.len() + OVERHEAD;
        if self.0.len() >= DIRECTORIES_MAX || memory.0 + need > BYTES_MAX {
            return Fold::No;
        }
        memory.0 += need;
        let count = Count { reads: u64::from(!is_list), lists: u64::from(is_list) };
        self.0.insert(folder.to_vec(), count);
        Fold::First
    }

    /// Says that these counts are about to go.
    pub fn give_back(&self, memory: &mut Memory) {
        let own: usize = self.0.keys().map(|folder| folder.len() + OVERHEAD).sum();
        memory.0 = memory.0.saturating_sub(own);
    }

    /// Returns the directories with more than the one read that was recorded.
    pub fn into_counts(self) -> impl Iterator<Item = (Vec<u8>, Count)> {
        self.0.into_iter().filter(|(_, count)| count.reads > 1 || count.lists > 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_systems_own_files_are_folded() {
        let system = |path: &str| is_system(path.as_bytes(), 7, b"/home/u", b"/usr/src/mine");
        for yes in [
            "/usr/lib/x.so",
            "/lib/x",
            "/lib64/ld.so",
            "/libx32/a",
            "/bin/sh",
            "/sys/x",
            "/etc/ld.so.cache",
            "/etc/ssl/certs/a.pem",
            "/proc/7/maps",
            "/proc/7",
        ] {
            assert!(system(yes), "{yes}");
        }
        for no in [
            "/etc/passwd",
            "/etc/ssl/private/k",
            "/proc/71/maps",
            "/proc/1/environ",
            "/library/x",
            "/home/u/usr",
            "/usr/src/mine/f",
            "/usrx",
            "/opt/x",
            "/etc/ld.so.cache.d",
            "/proc/meminfo",
        ] {
            assert!(!system(no), "{no}");
        }
        assert!(!is_system(b"/usr/local/u/f", 7, b"/usr/local/u", b""), "a home under /usr is a home");
    }

    #[test]
    fn the_first_is_an_entry_and_the_rest_are_a_count() {
        let mut folds = Folds::default();
        let mut count = |path: &[u8], is_list| folds.count(path, is_list, &mut Memory::default());
        assert_eq!(count(b"/usr/lib/a", false), Fold::First);
        assert_eq!(count(b"/usr/lib/b", false), Fold::Counted);
        assert_eq!(count(b"/usr/lib", true), Fold::First);
        assert_eq!(count(b"/usr/share/c", false), Fold::First);
        let counts: Vec<_> = folds.into_counts().collect();
        assert_eq!(counts, [(b"/usr/lib".to_vec(), Count { reads: 2, lists: 1 })]);
    }

    #[test]
    fn the_number_of_directories_is_bounded() {
        let mut folds = Folds::default();
        for n in 0..DIRECTORIES_MAX {
            let path = format!("/usr/{n}/f");
            assert_eq!(folds.count(path.as_bytes(), false, &mut Memory::default()), Fold::First);
        }
        assert_eq!(folds.count(b"/usr/more/f", false, &mut Memory::default()), Fold::No);
    }

    #[test]
    fn all_processes_together_have_so_much_memory() {
        let mut memory = Memory::default();
        let long = "x".repeat(4_000);
        let mut first = Folds::default();
        let fits = BYTES_MAX / (long.len() + 10 + OVERHEAD);
        let mut taken = 0;
        for n in 0..DIRECTORIES_MAX {
            let path = format!("/usr/{n:05}{long}/f");
            taken += usize::from(first.count(path.as_bytes(), false, &mut memory) == Fold::First);
        }
        assert_eq!(taken, fits);
        let mut second = Folds::default();
        assert_eq!(second.count(format!("/usr/{long}/f").as_bytes(), false, &mut memory), Fold::No);
        first.give_back(&mut memory);
        assert_eq!(second.count(format!("/usr/{long}/f").as_bytes(), false, &mut memory), Fold::First);
    }
}
