//! What was probably meant: the nearest known word, and the table that a key belongs to.

use aegis_export::shown;

use super::shape::{Key, Table, walk};

/// The longest word that is looked for; nothing near is longer.
const LONGEST: usize = 40;

/// Returns the nearest of some words, where one is near.
pub(super) fn nearest(words: impl Iterator<Item = &'static str>, given: &str) -> Option<&'static str> {
    if given.len() > LONGEST {
        return None;
    }
    let given = fold(given);
    words
        .map(|word| (distance(&fold(word), &given), word))
        .filter(|(distance, word)| *distance * 3 <= word.len().max(given.len()))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// Takes away what is often mistaken: case, and `-` for `_`.
fn fold(word: &str) -> String {
    word.to_ascii_lowercase().replace(['-', ' '], "_")
}

/// Returns how far two words are apart; `timeout` is near to `timeout_secs`.
fn distance(word: &str, given: &str) -> usize {
    let whole = strsim::damerau_levenshtein(word, given);
    let begins = given.len() >= 4 && (word.starts_with(given) || given.starts_with(word));
    if begins { whole.min(1) } else { whole }
}

/// Returns a word of the file as it may be repeated.
pub(super) fn quoted(word: &str) -> String {
    let cut: String = word.chars().take(LONGEST).collect();
    let dots = if cut.len() < word.len() { "…" } else { "" };
    format!("{}{dots}", shown(cut.as_bytes()))
}

/// Says that a word is one of several.
pub(super) fn list(words: &[&str]) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match words.as_slice() {
        [only] => only.clone(),
        [most @ .., last] => format!("{} or {last}", most.join(", ")),
        [] => String::new(),
    }
}

/// Says that a key is not known in the table at `place`, and what may have been meant.
pub(super) fn unknown_key(
    root: &'static Table,
    place: &str,
    keys: &'static [Key],
    other: &[&'static str],
    given: &str,
) -> String {
    let mut elsewhere = Vec::new();
    walk(root.keys, &mut |where_, key| elsewhere.push((where_.to_owned(), key.name)));
    let name = quoted(given);
    let homes: Vec<String> =
        elsewhere.iter().filter(|(_, known)| *known == given).map(|(home, _)| home_of(root, home)).collect();
    let stands = if place.is_empty() { "above the tables".to_owned() } else { format!("in `{place}`") };
    if !homes.is_empty() {
        return format!("`{name}` does not stand {stands}: it belongs {}", homes.join(" or "));
    }
    let here = keys.iter().map(|key| key.name).chain(other.iter().copied());
    if let Some(near) = nearest(here.clone(), given) {
        return format!("unknown key `{name}`, did you mean `{near}`?");
    }
    if let Some(near) = nearest(elsewhere.iter().map(|(_, name)| *name), given)
        && let Some((home, _)) = elsewhere.iter().find(|(_, name)| *name == near)
    {
        return format!("unknown key `{name}`, did you mean `{near}`? It belongs {}", home_of(root, home));
    }
    let here: Vec<&str> = here.collect();
    if here.is_empty() {
        return format!("unknown key `{name}`; `{place}` has no keys");
    }
    format!("unknown key `{name}`; known {stands} are {}", list(&here).replace(" or ", " and "))
}

/// Says where a key belongs.
fn home_of(root: &'static Table, place: &str) -> String {
    if place.is_empty() {
        return "to the top, above the first table".to_owned();
    }
    let is_list =
        root.keys.iter().any(|key| key.name == place && matches!(key.kind, super::shape::Kind::Tables(_)));
    if is_list { format!("into `[[{place}]]`") } else { format!("into `[{place}]`") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys::CONFIGURATION;

    #[test]
    fn the_nearest_word_is_found() {
        let words = || ["isolation", "observer", "timeout_secs", "max_nudges"].into_iter();
        for (given, near) in [
            ("isolaton", Some("isolation")),
            ("Isolation", Some("isolation")),
            ("timeout", Some("timeout_secs")),
            ("timeout-secs", Some("timeout_secs")),
            ("max_nudge", Some("max_nudges")),
            ("nudges", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest(words(), given), near, "{given}");
        }
        assert_eq!(nearest(words(), &"isolation".repeat(9)), None);
    }

    #[test]
    fn a_key_in_the_wrong_table_is_sent_home() {
        let said = |place, given| unknown_key(&CONFIGURATION, place, &[], &[], given);
        assert_eq!(
            said("pilot", "isolation"),
            "`isolation` does not stand in `pilot`: it belongs to the top, above the first table"
        );
        assert_eq!(
            said("", "timeout_secs"),
            "`timeout_secs` does not stand above the tables: it belongs into `[pilot.stall]`"
        );
        assert_eq!(
            said("pilot", "cooldown"),
            "unknown key `cooldown`, did you mean `cooldown_secs`? It belongs into `[[alerts]]`"
        );
        assert_eq!(said("x", "\u{1b}zzz"), "unknown key `\\u{1b}zzz`; `x` has no keys");
    }
}
