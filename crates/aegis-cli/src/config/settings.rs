//! The settings of a configuration as typed values, with what holds where nothing is written.
//!
//! These are read after [`super::check`] has passed a file. The defaults here are the only ones: the schema
//! and `config show` take them from these types.

use std::net::SocketAddr;
use std::path::PathBuf;

use aegis_policy::AllowedHost;
use aegis_types::{Action, AgentName, Decision};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::choices::{Isolation, Observer};
use super::secret::{KeptSecret, Secret, Webhook};
use super::values;

/// `aegis.toml`, as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    pub(super) name: AgentName,
    pub(super) sandbox_dir: Option<PathBuf>,
    pub(super) policy_paths: Option<Vec<PathBuf>>,
    pub(super) ledger_path: Option<PathBuf>,
    #[serde(default)]
    pub(super) allowed_network: Vec<Host>,
    #[serde(default)]
    pub(super) isolation: Isolation,
    #[serde(default)]
    pub(super) observer: Observer,
    #[serde(default)]
    pub(super) pilot: Pilot,
    #[serde(default)]
    pub(super) alerts: Vec<Alert>,
    pub(super) channel: Option<Channel>,
}

/// An entry of `allowed_network`, as written.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Host(pub(super) AllowedHost);

impl TryFrom<String> for Host {
    type Error = <AllowedHost as std::str::FromStr>::Err;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse().map(Self)
    }
}

/// How the agent is supervised.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Pilot {
    /// Which agent it is; told from the command where it is not set.
    pub(crate) tool: Option<String>,
    /// What happens to a request that no policy settles.
    pub(crate) uncertain: Uncertain,
    /// Nothing is answered.
    pub(crate) dry_run: bool,
    /// What happens when the agent stops working.
    pub(crate) stall: Stall,
    /// Steering over HTTP.
    pub(crate) control: Control,
}

/// What happens to a request that no policy settles.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Uncertain {
    /// A person is asked.
    #[default]
    Ask,
    /// It is denied.
    Deny,
}

/// What happens when the agent stops working.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Stall {
    /// Seconds without output or request.
    pub(crate) timeout_secs: u32,
    /// What is typed.
    pub(crate) nudge_message: String,
    /// How often.
    pub(crate) max_nudges: u32,
}

impl Default for Stall {
    fn default() -> Self {
        Self { timeout_secs: 120, nudge_message: "Continue working on the task.".to_owned(), max_nudges: 5 }
    }
}

/// Steering over HTTP.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Control {
    /// Where it listens, if anywhere.
    #[serde(deserialize_with = "listen", serialize_with = "listened")]
    pub(crate) http_listen: Option<SocketAddr>,
    /// The key that a caller must show.
    #[serde(deserialize_with = "kept_secret")]
    pub(crate) api_key: Option<KeptSecret>,
    /// The certificate chain.
    pub(crate) tls_cert: Option<PathBuf>,
    /// Its private key.
    pub(crate) tls_key: Option<PathBuf>,
    /// Listens beyond loopback without TLS.
    pub(crate) insecure: bool,
}

fn listen<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    values::listen(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

#[expect(clippy::ref_option, reason = "serde gives a reference to the field")]
fn listened<S: Serializer>(address: &Option<SocketAddr>, serializer: S) -> Result<S::Ok, S::Error> {
    match address {
        Some(address) => serializer.collect_str(address),
        None => serializer.serialize_str(""),
    }
}

fn kept_secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<KeptSecret>, D::Error> {
    let secret = KeptSecret::deserialize(deserializer)?;
    Ok(Some(secret).filter(|secret| !secret.is_none()))
}

/// Who is told of what.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(from = "WrittenAlert")]
pub(crate) struct Alert {
    /// Its name.
    pub(crate) name: String,
    /// What it is about.
    pub(crate) event: AlertEvent,
    /// Only this action.
    pub(crate) action: Option<Action>,
    /// Only this decision.
    pub(crate) decision: Option<Decision>,
    /// Only paths that fit this pattern.
    pub(crate) path: Option<String>,
    /// Only this agent.
    pub(crate) agent: Option<AgentName>,
    /// Where it is posted to.
    pub(crate) webhook_url: Webhook,
    /// The message's form.
    pub(crate) format: Format,
    /// The key of an integration of PagerDuty.
    pub(crate) routing_key: Option<Secret>,
    /// What a message is signed with.
    pub(crate) secret: Option<Secret>,
    /// Seconds after a message in which no other is sent.
    pub(crate) cooldown_secs: u32,
    /// The address may be a private one.
    pub(crate) allow_private: bool,
}

/// An alert, as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenAlert {
    name: String,
    event: AlertEvent,
    action: Option<Action>,
    decision: Option<Decision>,
    path: Option<String>,
    agent: Option<AgentName>,
    webhook_url: Webhook,
    format: Option<Format>,
    routing_key: Option<Secret>,
    secret: Option<Secret>,
    #[serde(default = "cooldown")]
    cooldown_secs: u32,
    #[serde(default)]
    allow_private: bool,
}

/// Seconds in which a rule sends no second message, where nothing else is set.
pub(super) fn cooldown() -> u32 {
    60
}

impl From<WrittenAlert> for Alert {
    fn from(written: WrittenAlert) -> Self {
        let format = written.format.unwrap_or_else(|| Format::of_host(&written.webhook_url.host()));
        Self {
            name: written.name,
            event: written.event,
            action: written.action,
            decision: written.decision,
            path: written.path,
            agent: written.agent,
            webhook_url: written.webhook_url,
            format,
            routing_key: written.routing_key,
            secret: written.secret,
            cooldown_secs: written.cooldown_secs,
            allow_private: written.allow_private,
        }
    }
}

/// What an alert is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum AlertEvent {
    /// Something was denied.
    Deny,
    /// Something was allowed.
    Allow,
    /// A request waits.
    Pending,
    /// The agent stopped working.
    Stall,
    /// The agent ended.
    Exit,
    /// The agent ended by an error.
    Crash,
    /// The ledger does not verify.
    Integrity,
    /// Another policy set is in force.
    PolicyChange,
    /// All of these.
    Any,
}

/// The form of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// Slack's.
    Slack,
    /// PagerDuty's, Events version 2.
    Pagerduty,
    /// JSON, signed.
    Generic,
}

impl Format {
    /// Returns the form that a host takes.
    fn of_host(host: &str) -> Self {
        let is = |name: &str| host == name || host.strip_suffix(name).is_some_and(|rest| rest.ends_with('.'));
        if is("hooks.slack.com") || is("hooks.slack-gov.com") {
            Self::Slack
        } else if is("events.pagerduty.com") || is("events.eu.pagerduty.com") {
            Self::Pagerduty
        } else {
            Self::Generic
        }
    }

    /// Returns the form of an alert: the word that is written, else what its address takes.
    pub(super) fn of(word: Option<&str>, url: &str) -> Self {
        match word {
            Some("slack") => Self::Slack,
            Some("pagerduty") => Self::Pagerduty,
            Some(_) => Self::Generic,
            None => Self::of_host(&Webhook::new(url).host()),
        }
    }
}

/// Where requests can be seen and answered from afar.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Channel {
    /// What kind.
    pub(crate) r#type: ChannelType,
    /// The token of the bot.
    pub(crate) bot_token: Secret,
    /// The one chat that is listened to.
    pub(crate) chat_id: i64,
    /// Users of a group that are listened to.
    #[serde(default)]
    pub(crate) users: Vec<u64>,
    /// What is told.
    #[serde(default = "all_events")]
    pub(crate) events: Vec<ChannelEvent>,
}

/// The kinds of channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ChannelType {
    /// A bot of Telegram.
    Telegram,
}

/// What a channel can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ChannelEvent {
    /// A request waits.
    Pending,
    /// The agent stopped working.
    Stall,
    /// Somebody should look.
    Attention,
    /// The agent ended.
    Exit,
}

/// What a channel tells where nothing else is set.
pub(super) fn all_events() -> Vec<ChannelEvent> {
    vec![ChannelEvent::Pending, ChannelEvent::Stall, ChannelEvent::Attention, ChannelEvent::Exit]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_told_from_the_host_alone() {
        for (url, format) in [
            ("https://hooks.slack.com/services/x", Format::Slack),
            ("https://HOOKS.slack.com:443/x", Format::Slack),
            ("https://events.pagerduty.com/v2/enqueue", Format::Pagerduty),
            ("https://hooks.slack.com.example.org/", Format::Generic),
            ("https://nohooks.slack.com/", Format::Generic),
            ("https://example.org/hooks.slack.com", Format::Generic),
        ] {
            assert_eq!(Format::of(None, url), format, "{url}");
        }
        assert_eq!(Format::of(Some("generic"), "https://hooks.slack.com/x"), Format::Generic);
    }
}
