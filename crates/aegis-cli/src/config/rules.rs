//! What holds between the keys of one table.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::ops::Range;

use toml::de::DeTable;

use super::check::{Check, Placed};
use super::values;

fn text<'d>(given: &'d DeTable<'_>, name: &str) -> Option<&'d str> {
    given.get(name).and_then(|value| value.get_ref().as_str())
}

/// An HTTP listener has a key, and beyond loopback encryption or the user's word that it needs none.
pub(super) fn control(check: &mut Check, given: &DeTable<'_>) {
    for (one, other) in [("tls_cert", "tls_key"), ("tls_key", "tls_cert")] {
        if let (Some(value), None) = (given.get(one), given.get(other)) {
            check.wrong(value.span(), format!("`{one}` needs `{other}`"));
        }
    }
    let Some(value) = given.get("http_listen") else { return };
    let Some(Ok(Some(address))) = value.get_ref().as_str().map(values::listen) else { return };
    if given.get("api_key").is_none_or(|key| key.get_ref().as_str() == Some("")) {
        check.wrong(value.span(), "`http_listen` needs an `api_key` that is not empty");
    }
    let insecure = given.get("insecure").and_then(|value| value.get_ref().as_bool()) == Some(true);
    if !is_loopback(&address) && !insecure && !given.contains_key("tls_cert") {
        check.wrong(
            value.span(),
            "`http_listen` is beyond loopback: it needs `tls_cert` and `tls_key`, or `insecure = true`",
        );
    }
}

fn is_loopback(address: &SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

/// PagerDuty needs the key of an integration; only generic messages are signed.
pub(super) fn alert(check: &mut Check, given: &DeTable<'_>, span: &Range<usize>) {
    let url = text(given, "webhook_url").unwrap_or_default();
    let to = super::settings::Format::of(text(given, "format"), url);
    match (to, given.get("routing_key")) {
        (super::settings::Format::Pagerduty, None) => {
            check.wrong(span.clone(), "`routing_key` is missing in `alerts`: PagerDuty needs it");
        }
        (super::settings::Format::Slack | super::settings::Format::Generic, Some(value)) => {
            check.wrong(value.span(), "`routing_key` is for PagerDuty; this alert goes elsewhere");
        }
        _ => {}
    }
    if let (true, Some(value)) = (to != super::settings::Format::Generic, given.get("secret")) {
        check.wrong(value.span(), "`secret` signs messages of the format `generic`; this alert has another");
    }
}

/// Two rules of one name could not be told apart in the history.
pub(super) fn names_differ<'d>(check: &mut Check, alerts: impl Iterator<Item = Placed<'d>>) {
    let mut seen = BTreeSet::new();
    for alert in alerts {
        let Some(name) = alert.get_ref().as_table().and_then(|given| given.get("name")) else { continue };
        if let Some(text) = name.get_ref().as_str()
            && !seen.insert(text)
        {
            check.wrong(name.span(), "`name` is that of another alert, too");
        }
    }
}

/// A group could hold anybody: its users are named. A private chat has one user, its own.
pub(super) fn channel(check: &mut Check, given: &DeTable<'_>) {
    let Some(chat) = given.get("chat_id") else { return };
    let is_group = chat.get_ref().as_integer().and_then(values::integer).is_some_and(|id| id < 0);
    let users = given.get("users");
    let is_empty = users.is_none_or(|users| users.get_ref().as_array().is_none_or(|users| users.is_empty()));
    if is_group && is_empty {
        check.wrong(chat.span(), "`chat_id` is a group: it needs `users` that are listened to");
    }
    if let (false, Some(users)) = (is_group, users) {
        check.wrong(users.span(), "`users` is for groups; `chat_id` is a private chat");
    }
}
