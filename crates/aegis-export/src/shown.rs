//! Text that comes from an agent, made safe to show on a terminal.

use std::fmt::Write as _;

use aegis_types::{Resource, Text};

/// Returns bytes as text with nothing in it that a terminal would act on or that would mislead a reader:
/// control characters, bytes that are not UTF-8, characters that change direction or have no width are
/// written as escapes, and so is the backslash.
#[must_use]
pub fn shown(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\n' => out.push_str("\\n"),
                '\t' => out.push_str("\\t"),
                '\r' => out.push_str("\\r"),
                '\\' => out.push_str("\\\\"),
                c if c.is_control() || is_misleading(c) => {
                    // Writing to a string can't fail.
                    let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
                }
                c => out.push(c),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

/// Characters that are not seen, or that change the order in which others are.
fn is_misleading(c: char) -> bool {
    matches!(u32::from(c),
        0xad | 0x61c | 0x180e | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f | 0xfeff | 0xfff9..=0xfffb | 0xe0000..=0xe007f)
}

/// Returns a resource in one line.
#[must_use]
pub fn resource_text(resource: &Resource) -> String {
    match resource {
        Resource::Path(path) => shown(path.as_bytes()),
        Resource::Unix(path) => format!("unix:{}", shown(path.as_bytes())),
        Resource::Unread(text) => format!("({})", shown(text.as_bytes())),
        Resource::Net(to) => format!("{}{}", shown(to.to_string().as_bytes()), over(to)),
        Resource::Program(program) if program.argv.is_empty() => shown(program.exe.as_bytes()),
        Resource::Program(program) => {
            format!("{} [{}]", shown(program.exe.as_bytes()), command_line(&program.argv))
        }
    }
}

fn over(to: &aegis_types::Endpoint) -> String {
    to.transport.as_ref().map(|transport| format!("/{transport}")).unwrap_or_default()
}

/// Returns a command line in one line; arguments with blanks in them, and empty ones, in quotes.
#[must_use]
pub fn command_line(argv: &[Text]) -> String {
    let quoted = |argument: &Text| {
        let text = shown(argument.as_bytes());
        let plain =
            !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || matches!(c, '"' | '\''));
        if plain { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
    };
    argv.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_reaches_the_terminal_raw() {
        assert_eq!(shown("a b/ä€".as_bytes()), "a b/ä€");
        assert_eq!(shown(b"a\x1b[2Jb\n\xff\\"), "a\\u{1b}[2Jb\\n\\xff\\\\");
        assert_eq!(shown("x\u{202e}y\u{200b}\u{9b}".as_bytes()), "x\\u{202e}y\\u{200b}\\u{9b}");
    }

    proptest! {
        #[test]
        fn no_control_character_survives(bytes: Vec<u8>) {
            prop_assert!(!shown(&bytes).chars().any(|c| c.is_control() || is_misleading(c)));
        }
    }
}
