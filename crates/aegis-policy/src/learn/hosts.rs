//! Network addresses: named one by one, but for ports that the kernel chose.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use aegis_types::Action;

use crate::learn::fact::{Fact, On, Traits};
use crate::learn::text::{direction, list, literal, policy, scope_of};
use crate::request::Resource;
use crate::templates::quoted;

/// The lowest port that a kernel chooses by itself (Linux: `ip_local_port_range`).
const CHOSEN_PORT: u16 = 32_768;

/// Addresses that are named one by one.
#[derive(Debug, Default)]
pub(super) struct Hosts<'a> {
    pub(super) connected: BTreeSet<(&'a str, u16)>,
    pub(super) listened: BTreeSet<(&'a str, u16)>,
}

impl Hosts<'_> {
    /// Writes the policies that permit them.
    pub(super) fn write(&self, facts: &BTreeMap<Fact, Traits>) -> Vec<String> {
        let is_own = |address: &str| address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        let is_chosen = |port: u16| port >= CHOSEN_PORT;
        let has_own_servers = facts.iter().any(|(fact, traits)| match &fact.on {
            On::Host(address, _) => traits.done && fact.listen && is_own(address),
            _ => false,
        });
        let name = |(address, port): &(&str, u16)| {
            Resource::Host { host: address, address: None, port: *port }.id().into_owned()
        };
        // A name that was asked for, and by which no connection came about: on which port is not known.
        let is_name = |(host, port): &(&str, u16)| *port == 0 && host.parse::<IpAddr>().is_err();
        let (names, connected): (Vec<_>, Vec<_>) = self.connected.iter().copied().partition(is_name);
        let (own, connected): (Vec<_>, Vec<_>) = connected
            .into_iter()
            .partition(|(address, port)| has_own_servers && is_own(address) && is_chosen(*port));
        // Who binds to port 0 lets the kernel choose.
        let (chosen, listened): (Vec<_>, Vec<_>) = self
            .listened
            .iter()
            .partition(|(address, port)| is_chosen(*port) && self.listened.contains(&(*address, 0)));
        let mut parts = Vec::new();
        if !connected.is_empty() {
            parts.push(by_name(false, &connected.iter().map(name).collect()));
        }
        if !names.is_empty() {
            parts.push(by_host(&names.iter().map(|(host, _)| *host).collect()));
        }
        if !own.is_empty() {
            parts.push(own_servers());
        }
        if !listened.is_empty() {
            parts.push(by_name(true, &listened.into_iter().map(name).collect()));
        }
        if !chosen.is_empty() {
            parts.push(chosen_ports(&chosen.iter().map(|(address, _)| *address).collect()));
        }
        parts
    }
}

/// Returns a policy that permits connections by name, or listening.
fn by_name(listen: bool, names: &BTreeSet<String>) -> String {
    let (id, comment) = if listen {
        ("addresses", "Listens on addresses that are not this machine's alone.")
    } else {
        ("hosts", "Connects to these addresses.")
    };
    let literals: Vec<String> = names.iter().map(|name| literal(name)).collect();
    let condition = format!("{} && {}.contains(resource)", direction(listen), list(&literals));
    policy(id, "permit", &[comment.to_owned()], &network(), Some(&condition), None)
}

/// Returns a policy that permits connections to hosts on any port.
fn by_host(names: &BTreeSet<&str>) -> String {
    let literals: Vec<String> = names.iter().map(|name| quoted(name)).collect();
    let condition =
        format!("{} && resource has host && {}.contains(resource.host)", direction(false), list(&literals));
    let comment = "Finds these hosts, and connects to them on any port: it was not let know where they are.";
    policy("names", "permit", &[comment.to_owned()], &network(), Some(&condition), None)
}

/// Returns the policy for the sessions' own servers, on ports that the kernel chose.
fn own_servers() -> String {
    let condition = format!(
        "{} && resource has address && resource.address.isLoopback() &&\n  resource has port && resource.port >= {CHOSEN_PORT}",
        direction(false)
    );
    let comment = "Connects to servers of its own, on this machine, on ports that the kernel chose.";
    policy("own-servers", "permit", &[comment.to_owned()], &network(), Some(&condition), None)
}

/// Returns the policy for listening on ports that the kernel chose.
fn chosen_ports(addresses: &BTreeSet<&str>) -> String {
    let literals: Vec<String> = addresses.iter().map(|address| quoted(address)).collect();
    let condition = format!(
        "{} && resource has host && {}.contains(resource.host) &&\n  resource has port && resource.port >= {CHOSEN_PORT}",
        direction(true),
        list(&literals)
    );
    let comment = "Listens on ports that the kernel chose.";
    policy("chosen-ports", "permit", &[comment.to_owned()], &network(), Some(&condition), None)
}

fn network() -> String {
    scope_of(&BTreeSet::from([Action::NetConnect]))
}
