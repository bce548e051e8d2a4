//! Base64 as RFC 4648, section 4 has it: the form of paths that are not UTF-8.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Returns `bytes` in base64, padded.
pub(super) fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Returns the bytes that `text` stands for, or nothing where it is not padded base64.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}
