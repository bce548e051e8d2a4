//! Canonical JSON: the one way to write a value.
//!
//! The subset of RFC 8785 that records use: objects with keys sorted by their bytes, no white space, integers
//! only, strings escaped as `ECMAScript` does. All keys are ASCII, so byte order is the UTF-16 order that the
//! RFC asks for.

use serde::Serialize;
use serde_json::Value;

/// Says why a value has no canonical form.
#[derive(Debug, thiserror::Error)]
pub enum CanonicalError {
    /// It is no JSON.
    #[error("not JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// It has a number that is no integer.
    #[error("a number that is no integer can't be in a record")]
    Float,
    /// A key is not ASCII.
    #[error("the key `{0}` is not ASCII")]
    Key(String),
}

/// Writes a value in its canonical form.
///
/// # Errors
/// The value has a float or a key that is not ASCII.
pub fn canonical<T: Serialize>(value: &T) -> Result<Vec<u8>, CanonicalError> {
    let value = serde_json::to_value(value)?;
    check(&value)?;
    // serde_json keeps objects in a BTreeMap: sorted by bytes.
    Ok(serde_json::to_vec(&value)?)
}

fn check(value: &Value) -> Result<(), CanonicalError> {
    match value {
        Value::Number(number) if number.is_f64() => Err(CanonicalError::Float),
        Value::Array(items) => items.iter().try_for_each(check),
        Value::Object(map) => map.iter().try_for_each(|(key, value)| {
            if key.is_ascii() { check(value) } else { Err(CanonicalError::Key(key.clone())) }
        }),
        _ => Ok(()),
    }
}

/// Says whether these bytes are the canonical form of the value they stand for.
#[must_use]
pub fn is_canonical(bytes: &[u8]) -> bool {
    serde_json::from_slice::<Value>(bytes)
        .map_err(CanonicalError::from)
        .and_then(|value| canonical(&value))
        .is_ok_and(|again| again == bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_are_sorted_and_strings_escaped_as_the_rfc_says() {
        let value = json!({"b": 1, "a": ["\u{8}\t\n\u{c}\r\"\\/\u{7f}\u{1}é€"], "A": null});
        let expected = "{\"A\":null,\"a\":[\"\\b\\t\\n\\f\\r\\\"\\\\/\u{7f}\\u0001é€\"],\"b\":1}";
        assert_eq!(String::from_utf8(canonical(&value).unwrap()).unwrap(), expected);
    }

    #[test]
    fn what_has_no_canonical_form_is_refused() {
        assert!(matches!(canonical(&json!({"a": [1.5]})), Err(CanonicalError::Float)));
        assert!(matches!(canonical(&json!({"ä": 1})), Err(CanonicalError::Key(_))));
        for bytes in
            [&b"{\"b\":1,\"a\":2}"[..], b"{ }", b"\"\\u0041\"", b"1.0", b"{\"a\":1,\"a\":1}", b"\xff", b""]
        {
            assert!(!is_canonical(bytes), "{}", String::from_utf8_lossy(bytes));
        }
    }
}
