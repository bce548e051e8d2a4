//! Names of resources and agents that nothing can have. A forbid on such a name would protect nothing.

use std::net::{IpAddr, Ipv6Addr};

use aegis_types::AgentName;

use crate::explain::words;
use crate::problem::Severity;

/// What is wrong with a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wrong {
    pub(crate) severity: Severity,
    pub(crate) message: String,
    pub(crate) help: String,
}

/// The type of resources.
pub(crate) const RESOURCE: &str = "Aegis::Resource";

/// The type of agents.
pub(crate) const AGENT: &str = "Aegis::Agent";

/// The type of actions.
pub(crate) const ACTION: &str = "Aegis::Action";

/// Says what is wrong with a name; nothing where it is fine.
pub(crate) fn literal(kind: &str, id: &str) -> Option<Wrong> {
    let error = |message: String, help: String| Some(Wrong { severity: Severity::Error, message, help });
    match kind {
        RESOURCE => resource(id),
        AGENT => agent(id),
        ACTION if words::is_action(id) => None,
        ACTION => error(format!("there is no action `{id}`"), words::action_help(id)),
        _ => error(format!("there is no type `{kind}`"), type_help(kind, Some(id))),
    }
}

/// Says whether a resource can have this name.
pub(crate) fn is_possible(id: &str) -> bool {
    resource(id).is_none_or(|wrong| wrong.severity == Severity::Warning)
}

/// Says what to write for a type that there is not.
pub(crate) fn type_help(kind: &str, id: Option<&str>) -> String {
    let last = kind.rsplit("::").next().unwrap_or_default().to_lowercase();
    let meant = match last.as_str() {
        "user" | "agent" | "agents" | "principal" | "group" | "role" | "service" => Some(AGENT),
        "action" | "actions" => Some(ACTION),
        "resource" | "resources" | "file" | "files" | "directory" | "dir" | "folder" | "path" | "host"
        | "address" | "network" | "socket" | "program" | "process" | "tool" | "url" => Some(RESOURCE),
        _ => None,
    };
    let id = match (meant, id) {
        (Some(ACTION), Some(id)) => Some(words::nearest_action(id).unwrap_or(id)),
        (_, id) => id,
    };
    match (meant, id) {
        (Some(meant), Some(id)) => format!("write `{meant}::\"{}\"`", shown(id)),
        (Some(meant), None) => format!("write `{meant}`"),
        (None, _) => {
            format!("the types are `{AGENT}` (principal), `{ACTION}` (action) and `{RESOURCE}` (resource)")
        }
    }
}

fn agent(id: &str) -> Option<Wrong> {
    let error = AgentName::new(id).err()?;
    let message = if id.is_empty() {
        "no agent has an empty name".to_owned()
    } else {
        format!("no agent is named `{id}`")
    };
    let help = if id.is_empty() || id.contains('*') {
        "for any agent write `principal` alone".to_owned()
    } else {
        format!("{error}")
    };
    Some(Wrong { severity: Severity::Error, message, help })
}

/// A name read as a network address.
enum Address {
    Right,
    Wrong(Fault),
    /// It is none.
    Other,
}

/// What is wrong, and what to write.
type Fault = (&'static str, String);

fn resource(id: &str) -> Option<Wrong> {
    let (severity, (what, help)) = match fault(id) {
        Some(fault) => (Severity::Error, fault),
        None => (Severity::Warning, doubt(id)?),
    };
    let message = match severity {
        Severity::Error if id.is_empty() => "no resource has an empty name".to_owned(),
        Severity::Error => format!("no resource is named `{id}`: {what}"),
        Severity::Warning => format!("`{id}` is taken as it stands: {what}"),
    };
    Some(Wrong { severity, message, help })
}

/// Finds what can be a name, but is likely meant otherwise.
fn doubt(id: &str) -> Option<Fault> {
    if let Some((tool, command)) = call(id).filter(|(_, command)| command.contains('*')) {
        let pattern = command.strip_suffix(":*").map_or(command.to_owned(), |start| format!("{start}*"));
        let help = format!(
            "for a pattern write `context.tool == \"{tool}\" && resource has command && resource.command like \"{}\"`, on `ToolCall`",
            shown(&pattern)
        );
        return Some(("`*` has no meaning in a name", help));
    }
    let (_, rest) = id.split_once('{')?;
    let is_choice = id.starts_with('/') && rest.split_once('}')?.0.contains(',');
    is_choice.then(|| {
        let help =
            "name each path: `resource in [Aegis::Resource::\"/a\", Aegis::Resource::\"/b\"]` in `when { }`";
        ("`{` has no meaning in a name", help.to_owned())
    })
}

/// Reads the name of a call of a tool: `TOOL(COMMAND)`.
fn call(id: &str) -> Option<(&str, &str)> {
    let (tool, command) = id.strip_suffix(')')?.split_once('(')?;
    let is_tool = |c: char| !c.is_whitespace() && !"/*\"'`".contains(c);
    (!tool.is_empty() && tool.chars().all(is_tool)).then_some((tool, command))
}

fn fault(id: &str) -> Option<Fault> {
    if id == "session:tmp" || call(id).is_some() {
        return None;
    }
    if id.starts_with('/') {
        return path(id, "");
    }
    if let Some(rest) = id.strip_prefix("unix:") {
        return socket(rest);
    }
    if id.is_empty() || id == "*" {
        let what = if id.is_empty() { "a name can't be empty" } else { "`*` has no meaning in a name" };
        return Some((what, "for anything write `resource` alone".to_owned()));
    }
    url(id).or_else(|| elsewhere(id)).or_else(|| match address(id) {
        Address::Right => None,
        Address::Wrong(fault) => Some(fault),
        Address::Other => Some(word(id)),
    })
}

fn socket(rest: &str) -> Option<Fault> {
    if rest.contains('*') {
        return Some((
            "`*` has no meaning in a name",
            "name each socket; one with a path is in its directory".to_owned(),
        ));
    }
    if let Some(name) = rest.strip_prefix('@') {
        return name.is_empty().then(|| ("the socket has no name", "write \"unix:@NAME\"".to_owned()));
    }
    if rest.starts_with('/') {
        return path(rest, "unix:");
    }
    Some((
        "a socket has an absolute path, or `@` and a name",
        "write \"unix:/PATH\" or \"unix:@NAME\"".to_owned(),
    ))
}

/// Looks at an absolute path. `kind` is what stands before it.
fn path(path: &str, kind: &str) -> Option<Fault> {
    if path.contains('*') {
        return Some(("`*` has no meaning in a name", star(path)));
    }
    if path.split('/').any(|part| part == "." || part == "..") || path.contains("//") {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let help = if parts.iter().any(|part| matches!(*part, "." | "..")) {
            "write the path as it resolves".to_owned()
        } else {
            format!("write \"{kind}/{}\"", shown(&parts.join("/")))
        };
        return Some(("`.`, `..` and `//` are resolved before a policy is asked", help));
    }
    if path.len() > 1 && path.ends_with('/') {
        let help = format!("write `resource in {RESOURCE}::\"{kind}{}\"`", shown(path.trim_end_matches('/')));
        return Some(("a path has no `/` at its end", help));
    }
    None
}

/// Says what to write for a path with `*`.
fn star(path: &str) -> String {
    let folder = path.trim_end_matches(['*', '/']);
    if path.ends_with('*') && path.contains("/*") && !folder.contains('*') && !folder.is_empty() {
        return format!("for all in this directory write `resource in {RESOURCE}::\"{}\"`", shown(folder));
    }
    // Zero or more directories are any characters and a `/`.
    let pattern = path.replace("/**/", "/*").replace("**", "*");
    format!(
        "for all in a directory write `resource in {RESOURCE}::\"/the/directory\"`, for a pattern `resource has path && resource.path like \"{}\"`",
        shown(&pattern)
    )
}

/// Looks at what has a scheme.
fn url(id: &str) -> Option<Fault> {
    let (scheme, rest) = id.split_once("://")?;
    if scheme.eq_ignore_ascii_case("file") {
        let help = format!("write the path: \"{}\"", shown(rest.trim_end_matches('/')));
        return Some(("it is a URL", help));
    }
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let port = match scheme.to_ascii_lowercase().as_str() {
        "http" | "ws" => "80",
        "https" | "wss" => "443",
        "ssh" => "22",
        "ftp" => "21",
        _ => "PORT",
    };
    let host = shown(&host.to_lowercase());
    let named = if host.contains(':') { host } else { format!("{host}:{port}") };
    Some(("it is a URL", format!("write \"{named}\": a host and its port, no path")))
}

/// Finds paths as a shell, another system or a user has them.
fn elsewhere(id: &str) -> Option<Fault> {
    let whole = || "write the whole path: \"/home/me/...\"".to_owned();
    let mut chars = id.chars();
    let (first, second, third) = (chars.next(), chars.next(), chars.next());
    let fault: Fault = if first == Some('~') {
        ("`~` stands for nothing here", whole())
    } else if matches!(first, Some('$' | '%')) {
        ("variables are not replaced", whole())
    } else if id.contains('\\')
        || (first.is_some_and(|c| c.is_ascii_alphabetic()) && second == Some(':') && third == Some('/'))
    {
        ("a path begins with `/` and has no `\\`", whole())
    } else if id.starts_with("./") || id.starts_with("../") || id == "." || id == ".." {
        ("it is relative", "paths are absolute: \"/home/me/...\"".to_owned())
    } else {
        return None;
    };
    Some(fault)
}

/// Reads `HOST:PORT` and `[ADDRESS]:PORT`, and what is near to them.
fn address(id: &str) -> Address {
    if let Some((network, bits)) = id.split_once('/')
        && network.parse::<IpAddr>().is_ok()
        && bits.bytes().all(|b| b.is_ascii_digit() || b == b'.')
    {
        let help = format!("write `resource has address && resource.address.isInRange(ip(\"{id}\"))`");
        return Address::Wrong(("it is a network, not one address", help));
    }
    if let Ok(address) = id.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        return Address::Wrong(("it has no port", no_port(id, address)));
    }
    if id.contains('/') || id.contains(char::is_whitespace) {
        return Address::Other;
    }
    let Some((host, port)) = id.rsplit_once(':') else { return Address::Other };
    if host.is_empty() || host == "*" {
        return Address::Wrong((
            "it has no host",
            format!("write `resource has port && resource.port == {port}`"),
        ));
    }
    if let Some(domain) = host.strip_prefix("*.") {
        let end = if port == "*" {
            String::new()
        } else {
            format!(" && resource has port && resource.port == {port}")
        };
        let help = format!("write `resource has host && resource.host like \"*.{domain}\"{end}`");
        return Address::Wrong(("`*` has no meaning in a name", help));
    }
    let is_v6 = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).map(str::parse::<Ipv6Addr>);
    match is_v6 {
        Some(Ok(address)) if host == format!("[{address}]") => {}
        Some(Ok(address)) => {
            let help = format!("write \"[{address}]:{port}\"");
            return Address::Wrong(("an IPv6 address is written in its shortest form", help));
        }
        Some(Err(_)) => {
            let help = "write \"[ADDRESS]:PORT\"".to_owned();
            return Address::Wrong(("what stands in `[` and `]` is no IPv6 address", help));
        }
        None if host.parse::<Ipv6Addr>().is_ok() => {
            return Address::Wrong((
                "an IPv6 address stands in brackets",
                format!("write \"[{host}]:{port}\""),
            ));
        }
        None if !host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')) => {
            return Address::Wrong((
                "it is no host with a port",
                "write \"HOST:PORT\", \"[ADDRESS]:PORT\", or an absolute path".to_owned(),
            ));
        }
        None => {}
    }
    if host.contains(|c: char| c.is_ascii_uppercase()) {
        return Address::Wrong(("hosts have small letters", format!("write \"{}\"", id.to_lowercase())));
    }
    // Who binds to port 0 lets the kernel choose one.
    if port.parse::<u16>().is_ok_and(|number| number.to_string() == port) {
        return Address::Right;
    }
    Address::Wrong(wrong_port(host, port))
}

fn no_port(id: &str, address: IpAddr) -> String {
    let named = if address.is_ipv6() { format!("[{address}]:PORT") } else { format!("{id}:PORT") };
    // What was meant for a port reads as a part of the address.
    let other = id
        .rsplit_once(':')
        .filter(|(host, _)| host.parse::<Ipv6Addr>().is_ok())
        .map(|(host, port)| format!("\"[{host}]:{port}\" or "))
        .unwrap_or_default();
    format!(
        "write {other}\"{named}\"; for any port `resource has address && resource.address == ip(\"{address}\")`"
    )
}

fn wrong_port(host: &str, port: &str) -> Fault {
    if port == "*" {
        return (
            "`*` has no meaning in a name",
            format!("for any port write `resource has host && resource.host == \"{host}\"`"),
        );
    }
    if let Some((low, high)) = port.split_once('-')
        && low.parse::<u16>().is_ok()
        && high.parse::<u16>().is_ok()
    {
        let help = format!(
            "write `resource has host && resource.host == \"{host}\" && resource has port && resource.port >= {low} && resource.port <= {high}`"
        );
        return ("it has no single port", help);
    }
    ("a port is a number from 1 to 65535", format!("write \"{host}:443\", with the port's number"))
}

/// Looks at what is left: relative paths, hosts, programs, tools.
fn word(id: &str) -> Fault {
    let id = &shown(id);
    if let Some(domain) = id.strip_prefix("*.").filter(|domain| domain.contains('.')) {
        let help = format!("write `resource has host && resource.host like \"*.{domain}\"`");
        return ("`*` has no meaning in a name", help);
    }
    if id.contains('*') {
        let start = if id.starts_with('*') { "" } else { "*/" };
        let help = format!("for a pattern write `resource has path && resource.path like \"{start}{id}\"`");
        return ("`*` has no meaning in a name", help);
    }
    if let Some((program, arguments)) =
        id.split_once(char::is_whitespace).filter(|(first, _)| !first.contains('/'))
    {
        let argument = arguments.split_whitespace().next().unwrap_or_default();
        let help = format!(
            "write `resource has name && resource.name == \"{program}\" && context.arguments.contains(\"{argument}\")`, on `ProcessSpawn`"
        );
        return ("a program is named by its absolute path, without arguments", help);
    }
    if id.contains('/') {
        return ("it is not absolute", format!("write the whole path: \"/{id}\""));
    }
    let last = id.rsplit('.').next().unwrap_or_default();
    if id == "localhost" || (id.contains('.') && is_domain(last)) {
        let host = id.to_lowercase();
        let help =
            format!("write \"{host}:443\"; for any port `resource has host && resource.host == \"{host}\"`");
        return ("it has no port", help);
    }
    if id.contains('.') {
        let help = format!(
            "write the absolute path; for a file of this name anywhere `resource has name && resource.name == \"{id}\"`"
        );
        return ("it is not absolute", help);
    }
    if id.starts_with(|c: char| c.is_uppercase()) || id.starts_with("mcp__") {
        let help = format!(
            "a call of a tool is \"{id}(COMMAND)\"; for all calls write `context.tool == \"{id}\"`, on `ToolCall`"
        );
        return ("it is no path, no host with a port and no call of a tool", help);
    }
    let help = format!(
        "write the absolute path, \"/usr/bin/{id}\"; for a program of this name anywhere `resource has name && resource.name == \"{id}\"`"
    );
    ("a program is named by its absolute path", help)
}

/// Endings of hosts that are more likely than endings of files.
fn is_domain(last: &str) -> bool {
    let known = [
        "com",
        "org",
        "net",
        "io",
        "dev",
        "ai",
        "app",
        "edu",
        "gov",
        "int",
        "local",
        "internal",
        "localhost",
        "co",
        "de",
        "uk",
        "eu",
        "fr",
        "us",
        "cloud",
        "test",
        "example",
        "lan",
        "home",
        "corp",
    ];
    known.contains(&last.to_lowercase().as_str())
}

/// Returns a text as it stands between quotes.
pub(crate) fn shown(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_can_be_are_fine() {
        for id in [
            "/",
            "/proc/self",
            "/a b (c)",
            "/home/me/x(1)",
            "/a/[id].tsx",
            "session:tmp",
            "unix:/run/x",
            "unix:@/tmp/.X11-unix/X0",
            "[::1]:443",
            "localhost:3000",
            "127.0.0.1:0",
            "a_b-c.example.com:65535",
            "Bash(npm test)",
            "mcp__x__y()",
            "WebFetch(https://example.com/)",
            "Bash(cat ~/x > /y)",
            "/c:\\x",
        ] {
            assert_eq!(resource(id), None, "{id}");
        }
        for id in ["claude", "a.b_c-1"] {
            assert_eq!(agent(id), None);
        }
    }

    #[test]
    fn others_are_explained() {
        for (id, what, help) in [
            ("", "empty name", "`resource` alone"),
            ("*", "`*` has no meaning", "`resource` alone"),
            ("home/me/project", "not absolute", "\"/home/me/project\""),
            ("file:///home/me/", "it is a URL", "\"/home/me\""),
            ("https://api.example.com/v1", "it is a URL", "\"api.example.com:443\""),
            ("api.example.com", "no port", "resource.host == \"api.example.com\""),
            ("README.md", "not absolute", "resource.name == \"README.md\""),
            ("10.0.0.0/8", "a network", "isInRange(ip(\"10.0.0.0/8\"))"),
            ("fc00::/7", "a network", "isInRange(ip(\"fc00::/7\"))"),
            ("127.0.0.1", "no port", "\"127.0.0.1:PORT\""),
            ("::1", "no port", "\"[::1]:PORT\""),
            ("::1:3000", "no port", "\"[::1]:3000\""),
            ("127.0.0.1:3000-3010", "no single port", ">= 3000 && resource.port <= 3010"),
            ("127.0.0.1:65536", "1 to 65535", "443"),
            ("example.com:*", "`*`", "resource.host == \"example.com\""),
            (
                "*.example.com:443",
                "`*`",
                "like \"*.example.com\" && resource has port && resource.port == 443",
            ),
            ("*.example.com", "`*`", "resource.host like \"*.example.com\""),
            ("*:443", "no host", "resource.port == 443"),
            ("API.example.com:443", "small letters", "\"api.example.com:443\""),
            ("git", "absolute path", "resource.name == \"git\""),
            ("git status", "absolute path", "context.arguments.contains(\"status\")"),
            ("Bash", "no call of a tool", "context.tool == \"Bash\""),
            ("C:\\Users\\me", "no `\\`", "whole path"),
            ("$HOME/x", "variables are not replaced", "whole path"),
            ("~/x", "`~` stands for nothing", "whole path"),
            ("./x", "relative", "absolute"),
            ("unix:run/x", "absolute path", "unix:/PATH"),
            ("unix:///run/x", "resolved", "\"unix:/run/x\""),
            ("*.md", "`*`", "resource.path like \"*.md\""),
            ("src/*", "`*`", "resource.path like \"*/src/*\""),
            ("/a/**", "`*`", "resource in Aegis::Resource::\"/a\""),
            ("/a/**/*.rs", "`*`", "resource.path like \"/a/*.rs\""),
            ("/a/../b", "resolved", "as it resolves"),
        ] {
            let Some(wrong) = resource(id) else { panic!("nothing is wrong with {id}") };
            let fits = wrong.severity == Severity::Error
                && wrong.message.contains(what)
                && wrong.help.contains(help);
            assert!(fits, "{id}: {wrong:?}");
        }
        assert_eq!(resource("Bash(npm:*)").unwrap().severity, Severity::Warning);
        assert!(resource("Bash(npm:*)").unwrap().help.contains("resource.command like \"npm*\""));
        assert_eq!(resource("/a/{b,c}").unwrap().severity, Severity::Warning);
        assert!(agent("*").unwrap().help.contains("`principal` alone"));
        assert!(agent("a b").unwrap().help.contains("letters"));
    }
}
