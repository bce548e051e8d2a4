//! Secrets in command lines: replaced by known patterns before a record is made.
//!
//! A pattern can miss: this lowers what a ledger gives away, it is no guarantee.

use aegis_types::Text;

/// What stands in place of a secret.
const MASK: &[u8] = b"***";

/// How tokens of well-known services begin, with the least number of characters that follow.
const TOKENS: [(&[u8], usize); 22] = [
    (b"sk-", 16),
    (b"sk_live_", 8),
    (b"rk_live_", 8),
    (b"pk-lf-", 8),
    (b"ghp_", 16),
    (b"gho_", 16),
    (b"ghu_", 16),
    (b"ghs_", 16),
    (b"ghr_", 16),
    (b"github_pat_", 16),
    (b"glpat-", 12),
    (b"xoxb-", 10),
    (b"xoxp-", 10),
    (b"xoxa-", 10),
    (b"xapp-", 10),
    (b"AKIA", 16),
    (b"ASIA", 16),
    (b"AIza", 24),
    (b"hf_", 16),
    (b"npm_", 16),
    (b"pypi-", 16),
    (b"eyJ", 20),
];

/// Words whose value is a secret, in `word=value`, `word: value` and `--word value`; compared without case,
/// with `-` and `_` alike.
const WORDS: [&str; 15] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "apikey",
    "api_key",
    "access_key",
    "secret_key",
    "private_key",
    "client_secret",
    "auth_token",
    "access_token",
    "authorization",
    "credential",
];

/// Replaces what looks like a secret in a command line; says whether anything was.
pub fn arguments(argv: &mut [Text]) -> bool {
    let mut masked = false;
    let mut value_is_secret = false;
    for argument in argv {
        let bytes = argument.as_bytes();
        let is_option = bytes.starts_with(b"-");
        let new = if value_is_secret && !is_option && !bytes.is_empty() {
            Some(MASK.to_vec())
        } else {
            text(bytes)
        };
        value_is_secret = is_option && !bytes.contains(&b'=') && is_secret_word(bytes);
        if let Some(new) = new {
            *argument = Text::new(new);
            masked = true;
        }
    }
    masked
}

/// Returns the text with its secrets replaced, where it has any.
fn text(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    // Where the name ends that stands here: looked for once for each name, however many words it has.
    let mut name_end = 0;
    let mut masked = false;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        let fresh = at == 0 || bytes.get(at - 1).is_none_or(|b| !is_word(*b));
        if at >= name_end {
            name_end = at + run(rest, is_name);
        }
        let found = fresh.then(|| secret(rest, name_end - at)).flatten();
        match found {
            Some((keep, hide)) => {
                out.extend_from_slice(rest.get(..keep).unwrap_or_default());
                out.extend_from_slice(MASK);
                at += keep + hide;
                masked = true;
            }
            None => {
                out.extend(rest.first());
                at += 1;
            }
        }
    }
    masked.then_some(out)
}

/// Where a secret begins here: how much to keep before it and how long it is. `name` is how long a name stands
/// here.
fn secret(rest: &[u8], name: usize) -> Option<(usize, usize)> {
    let first = rest.first();
    for (prefix, least) in TOKENS {
        if prefix.first() == first
            && let Some(tail) = rest.strip_prefix(prefix)
        {
            let length = run(tail, |b| is_word(b) || matches!(b, b'-' | b'.' | b'/' | b'+'));
            if length >= least {
                return Some((prefix.len(), length));
            }
        }
    }
    for scheme in [&b"Bearer "[..], b"bearer ", b"Basic ", b"basic "] {
        if let Some(tail) = rest.strip_prefix(scheme) {
            let length = run(tail, |b| !b.is_ascii_whitespace() && b != b'"' && b != b'\'');
            return (length >= 8).then_some((scheme.len(), length));
        }
    }
    url_password(rest).or_else(|| assignment(rest, name))
}

/// `scheme://user:password@host`.
fn url_password(rest: &[u8]) -> Option<(usize, usize)> {
    let scheme = run(rest, |b| b.is_ascii_alphanumeric() || b == b'+');
    let after = rest.get(scheme..)?.strip_prefix(b"://").filter(|_| scheme > 0)?;
    let authority = run(after, |b| !matches!(b, b'/' | b'?' | b'#') && !b.is_ascii_whitespace());
    let authority = after.get(..authority)?;
    let user_end = authority.iter().rposition(|b| *b == b'@')?;
    let colon = authority.get(..user_end)?.iter().position(|b| *b == b':')?;
    let length = user_end - colon - 1;
    (length > 0).then_some((scheme + 3 + colon + 1, length))
}

/// `word=value` or `word: value`.
fn assignment(rest: &[u8], name: usize) -> Option<(usize, usize)> {
    let after = rest.get(name..)?;
    let gap = match after {
        [b'"', b':', ..] | [b'\'', b':', ..] => 2,
        [b'=' | b':', ..] => 1,
        // `--word value`, inside a command line that is one argument.
        [b' ', next, ..] if rest.starts_with(b"-") && *next != b'-' => 1,
        _ => return None,
    };
    if !is_secret_word(rest.get(..name)?) {
        return None;
    }
    let spaces = run(after.get(gap..)?, |b| b == b' ');
    let quotes = run(after.get(gap + spaces..)?, |b| matches!(b, b'"' | b'\''));
    let from = name + gap + spaces + quotes;
    let value = rest.get(from..)?;
    let length =
        run(value, |b| !b.is_ascii_whitespace() && !matches!(b, b'"' | b'\'' | b'&' | b',' | b';' | b'}'));
    (length > 0 && !value.starts_with(b"Bearer ") && !value.starts_with(b"Basic ")).then_some((from, length))
}

/// How much of a name's end is compared with the words, in bytes.
const SECRET_WORD_MAX: usize = 64;

fn is_secret_word(name: &[u8]) -> bool {
    let end = name.get(name.len().saturating_sub(SECRET_WORD_MAX)..).unwrap_or(name);
    WORDS.iter().any(|word| {
        let mut end = end.iter().rev().filter(|b| !matches!(b, b'-' | b'_'));
        word.bytes()
            .rev()
            .filter(|b| *b != b'_')
            .all(|b| end.next().is_some_and(|c| c.eq_ignore_ascii_case(&b)))
    })
}

/// Says whether a byte can be part of a name, as `api-key` and `DB_PASSWORD`.
fn is_name(byte: u8) -> bool {
    is_word(byte) || byte == b'-'
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn run(bytes: &[u8], fits: impl Fn(u8) -> bool) -> usize {
    bytes.iter().position(|b| !fits(*b)).unwrap_or(bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn masked(line: &[&str]) -> Vec<String> {
        let mut argv: Vec<Text> = line.iter().map(|a| Text::from(*a)).collect();
        arguments(&mut argv);
        argv.iter().map(|a| a.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn secrets_are_replaced_where_they_stand() {
        for (line, expected) in [
            (
                vec!["curl", "-H", "Authorization: Bearer abcdefgh12345678"],
                vec!["curl", "-H", "Authorization: Bearer ***"],
            ),
            (vec!["x", "--password", "hunter2", "y"], vec!["x", "--password", "***", "y"]),
            (vec!["x", "--api-key=abc", "DB_PASSWORD=p w"], vec!["x", "--api-key=***", "DB_PASSWORD=*** w"]),
            (
                vec!["git", "clone", "https://me:pa:ss@host/x?a=b@c"],
                vec!["git", "clone", "https://me:***@host/x?a=b@c"],
            ),
            (vec!["sh", "-c", "KEY=sk-ant-abcdefghijklmnop run"], vec!["sh", "-c", "KEY=sk-*** run"]),
            (vec!["sh", "-c", "x --password hunter2 y"], vec!["sh", "-c", "x --password *** y"]),
            (vec!["aws", "AKIAABCDEFGHIJKLMNOP"], vec!["aws", "AKIA***"]),
            (
                vec!["curl", "-d", "{\"token\": \"abc\", \"n\": 1}"],
                vec!["curl", "-d", "{\"token\": \"***\", \"n\": 1}"],
            ),
        ] {
            assert_eq!(masked(&line), expected);
        }
    }

    #[test]
    fn what_is_no_secret_stays() {
        for line in [
            vec!["ls", "-la", "/home/me/token.txt"],
            vec!["git", "commit", "-m", "tokens: count them"],
            vec!["sk-short", "--token-file", "x", "https://host/a:b@c"],
            vec!["task-list", "eyJ"],
        ] {
            let same: Vec<String> = line.iter().map(|s| (*s).to_owned()).collect();
            assert_eq!(masked(&line), same);
        }
    }

    proptest! {
        #[test]
        fn any_arguments_are_taken(argv: Vec<Vec<u8>>) {
            let mut argv: Vec<Text> = argv.into_iter().map(Text::new).collect();
            let count = argv.len();
            arguments(&mut argv);
            prop_assert_eq!(argv.len(), count);
        }
    }
}
