//! The names of errors of system calls (`errno(3)`), as they stand in records.

/// The name of an errno.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ErrnoName(&'static str);

/// What stands for an errno that has no name here.
const OTHER: &str = "EOTHER";

impl ErrnoName {
    /// Every name, in the order of Linux' numbers where it has them.
    pub const ALL: &'static [&'static str] = &NAMES;

    /// An errno that has no name here.
    pub const OTHER: Self = Self(OTHER);

    /// Returns the word that stands in records.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.0
    }

    /// Returns the name that `word` is.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        NAMES.iter().chain([&OTHER]).find(|name| **name == word).map(|name| Self(name))
    }
}

const NAMES: [&str; 76] = [
    "EPERM",
    "ENOENT",
    "ESRCH",
    "EINTR",
    "EIO",
    "ENXIO",
    "E2BIG",
    "ENOEXEC",
    "EBADF",
    "ECHILD",
    "EAGAIN",
    "ENOMEM",
    "EACCES",
    "EFAULT",
    "ENOTBLK",
    "EBUSY",
    "EEXIST",
    "EXDEV",
    "ENODEV",
    "ENOTDIR",
    "EISDIR",
    "EINVAL",
    "ENFILE",
    "EMFILE",
    "ENOTTY",
    "ETXTBSY",
    "EFBIG",
    "ENOSPC",
    "ESPIPE",
    "EROFS",
    "EMLINK",
    "EPIPE",
    "EDOM",
    "ERANGE",
    "EDEADLK",
    "ENAMETOOLONG",
    "ENOLCK",
    "ENOSYS",
    "ENOTEMPTY",
    "ELOOP",
    "ENODATA",
    "ETIME",
    "EPROTO",
    "EOVERFLOW",
    "EILSEQ",
    "EUSERS",
    "ENOTSOCK",
    "EDESTADDRREQ",
    "EMSGSIZE",
    "EPROTOTYPE",
    "ENOPROTOOPT",
    "EPROTONOSUPPORT",
    "ESOCKTNOSUPPORT",
    "EOPNOTSUPP",
    "EPFNOSUPPORT",
    "EAFNOSUPPORT",
    "EADDRINUSE",
    "EADDRNOTAVAIL",
    "ENETDOWN",
    "ENETUNREACH",
    "ENETRESET",
    "ECONNABORTED",
    "ECONNRESET",
    "ENOBUFS",
    "EISCONN",
    "ENOTCONN",
    "ESHUTDOWN",
    "ETIMEDOUT",
    "ECONNREFUSED",
    "EHOSTDOWN",
    "EHOSTUNREACH",
    "EALREADY",
    "EINPROGRESS",
    "ESTALE",
    "EDQUOT",
    "ECANCELED",
];
