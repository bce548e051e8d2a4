//! Hosts that a configuration permits by name, address or network: one entry of `allowed_network`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A host, a network or all below a domain, each on one port or any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedHost {
    host: Host,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    /// A name in small letters.
    Name(String),
    /// Every name below this one.
    Below(String),
    /// An address.
    Address(IpAddr),
    /// A network: its first address, and how many bits of it count.
    Network(IpAddr, u8),
}

/// Why a text is no entry of `allowed_network`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no host: {why}; write `api.example.com`, `*.example.com`, `192.0.2.7` or `10.0.0.0/8`, each with `:PORT` or without, IPv6 with a port as `[2001:db8::1]:443`"
)]
pub struct HostError {
    text: String,
    why: &'static str,
}

impl FromStr for AllowedHost {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, HostError> {
        parse(text).map_err(|why| HostError { text: text.chars().take(100).collect(), why })
    }
}

fn parse(text: &str) -> Result<AllowedHost, &'static str> {
    if text.contains("://") {
        return Err("it is a URL");
    }
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or("a `[` is not closed")?;
            match rest.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if rest.is_empty() => (host, None),
                None => return Err("what follows `]` is no port"),
            }
        }
        None if text.matches(':').count() > 1 => (text, None),
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let port = match port {
        Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => {
            Some(port.parse().ok().filter(|port| *port > 0).ok_or("its port is not from 1 to 65535")?)
        }
        Some(_) => return Err("its port is no number"),
        None => None,
    };
    Ok(AllowedHost { host: parse_host(host)?, port })
}

fn parse_host(text: &str) -> Result<Host, &'static str> {
    if let Some((address, bits)) = text.split_once('/') {
        let address: IpAddr = address.parse().map_err(|_| "the part before `/` is no address")?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits: u8 = bits
            .parse()
            .ok()
            .filter(|bits| *bits <= most)
            .ok_or("the part behind `/` is no number of bits of it")?;
        return Ok(Host::Network(address, bits));
    }
    if let Ok(address) = text.parse() {
        return Ok(Host::Address(address));
    }
    let (below, name) = match text.strip_prefix("*.") {
        Some(name) => (true, name),
        None => (false, text),
    };
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    if name.is_empty() || name.len() > 253 {
        return Err("a name has 1 to 253 characters");
    }
    if !name.is_ascii() {
        return Err("a name has ASCII letters; write it in its `xn--` form");
    }
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if !name.split('.').all(is_label) {
        return Err("its labels are not of letters, digits and `-`");
    }
    // A last label of digits makes it an address for a resolver (WHATWG URL, RFC 3986 section 3.2.2).
    if name.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit())) {
        return Err("it looks like an address and is none");
    }
    Ok(if below { Host::Below(name) } else { Host::Name(name) })
}

impl fmt::Display for AllowedHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let brackets = self.port.is_some()
            && matches!(self.host, Host::Address(IpAddr::V6(_)) | Host::Network(IpAddr::V6(_), _));
        let (open, close) = if brackets { ("[", "]") } else { ("", "") };
        match &self.host {
            Host::Name(name) => f.write_str(name)?,
            Host::Below(name) => write!(f, "*.{name}")?,
            Host::Address(address) => write!(f, "{open}{address}{close}")?,
            Host::Network(address, bits) => write!(f, "{open}{address}/{bits}{close}")?,
        }
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

impl AllowedHost {
    /// Returns the condition of a policy on `NetConnect` that holds for this host.
    #[must_use]
    pub fn condition(&self) -> String {
        let host = match &self.host {
            Host::Name(name) => format!("resource has host && resource.host == \"{name}\""),
            Host::Below(name) => format!("resource has host && resource.host like \"*.{name}\""),
            Host::Address(address) => {
                format!("resource has address && resource.address == ip(\"{address}\")")
            }
            Host::Network(address, bits) => {
                format!("resource has address && resource.address.isInRange(ip(\"{address}/{bits}\"))")
            }
        };
        match self.port {
            Some(port) => format!("{host} && resource has port && resource.port == {port}"),
            None => host,
        }
    }
}

/// Returns a policy file that permits connections to these hosts; nothing where there is none.
#[must_use]
pub fn policy_of(hosts: &[AllowedHost]) -> Option<String> {
    if hosts.is_empty() {
        return None;
    }
    let mut text = String::from("// Made of `allowed_network` in aegis.toml; change it there.\n");
    for host in hosts {
        text.push_str(&format!(
            "\npermit (principal, action == Aegis::Action::\"NetConnect\", resource)\nwhen {{ context.direction == \"connect\" && {} }};\n",
            host.condition()
        ));
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_and_written() {
        for text in [
            "api.example.com",
            "api.example.com:443",
            "*.example.com",
            "*.example.com:8443",
            "10.0.0.0/8",
            "10.0.0.0/8:22",
            "192.0.2.7:1",
            "::1",
            "[::1]:65535",
            "2001:db8::/32",
            "[2001:db8::/32]:443",
            "localhost",
        ] {
            assert_eq!(text.parse::<AllowedHost>().unwrap().to_string(), text);
        }
        assert_eq!("API.Example.com.".parse::<AllowedHost>().unwrap().to_string(), "api.example.com");
        for text in [
            "",
            "*",
            "*.",
            "a..b",
            "-a",
            "a:0",
            "a:65536",
            "a:x",
            "a:",
            "10.0.0.0/33",
            "10.0.0/8",
            "1.2.3",
            "https://a",
            "[::1",
            "[::1]x",
            "ä.example",
            "a b",
            "a\"b",
            "exa*mple.com",
            "::/129",
        ] {
            assert!(text.parse::<AllowedHost>().is_err(), "{text}");
        }
    }
}
