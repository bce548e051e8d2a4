//! Policy sets at random, over the names of the tree.

use proptest::prelude::*;

use super::tree::FOLDERS;

/// Names that there may be, and some that there are not yet.
const PATHS: [&str; 16] = [
    "a/f.rs",
    "a/k.pem",
    "a/a/g",
    "a/b",
    "a",
    "b",
    "b/a",
    "b/a/f.rs",
    "a/.git/config",
    "new",
    "a/new.pem",
    "b/n",
    "b/n/new",
    "a/l",
    "a/p",
    "p",
];

const ACTIONS: [&str; 7] =
    ["FileRead", "FileWrite", "FileDelete", "DirCreate", "DirList", "ProcessSpawn", "NetConnect"];

fn uid(path: &str) -> String {
    if path.is_empty() {
        "Aegis::Resource::\"{root}\"".into()
    } else {
        format!("Aegis::Resource::\"{{root}}/{path}\"")
    }
}

fn folder() -> impl Strategy<Value = String> {
    prop::sample::select([&[""][..], &FOLDERS[..]].concat()).prop_map(uid)
}

fn path() -> impl Strategy<Value = String> {
    prop::sample::select(&PATHS[..]).prop_map(uid)
}

fn atom() -> impl Strategy<Value = String> {
    let pattern = prop::sample::select(
        &[
            "{root}/a/*",
            "{root}/b/a/*",
            "{root}/*/b/*",
            "{root}/a*",
            "*.pem",
            "*/.git/*",
            "*/k.*",
            "{root}/*/f.rs",
            "*",
            "{root}/a/n*",
        ][..],
    );
    let text = |text: &'static str| Just(text.to_owned());
    prop_oneof![
        3 => folder().prop_map(|f| format!("resource in {f}")),
        1 => (folder(), folder()).prop_map(|(a, b)| format!("resource in [{a}, {b}]")),
        2 => path().prop_map(|p| format!("resource == {p}")),
        1 => path().prop_map(|p| format!("resource != {p}")),
        1 => prop::sample::select(&PATHS[..])
            .prop_map(|p| format!("resource has path && resource.path == \"{{root}}/{p}\"")),
        4 => pattern.prop_map(|p| format!("resource has path && resource.path like \"{p}\"")),
        2 => prop::sample::select(&["rs", "pem"][..])
            .prop_map(|e| format!("resource has extension && resource.extension == \"{e}\"")),
        1 => text("resource has extension"),
        2 => prop::sample::select(&["g", ".env", "k.pem", "hooks", "config"][..])
            .prop_map(|n| format!("resource has name && resource.name == \"{n}\"")),
        1 => text("resource in Aegis::Resource::\"unix:{root}/a/new\""),
        1 => text("context.process.exe == \"{operate}\""),
        1 => text("context.process.exe like \"/usr/*\""),
        1 => text("context.mode == \"run\""),
        1 => text("action == Aegis::Action::\"FileRead\""),
        1 => text("action in [Aegis::Action::\"Write\", Aegis::Action::\"DirList\"]"),
        1 => text("principal == Aegis::Agent::\"x\""),
    ]
}

fn condition() -> impl Strategy<Value = String> {
    atom().prop_recursive(2, 5, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|a| format!("!({a})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) && ({b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) || ({b})")),
            (inner.clone(), inner.clone(), inner)
                .prop_map(|(a, b, c)| format!("(if ({a}) then ({b}) else ({c}))")),
        ]
    })
}

fn action() -> impl Strategy<Value = String> {
    let one = prop::sample::select(&ACTIONS[..]);
    prop_oneof![
        3 => Just("action".to_owned()),
        4 => one.clone().prop_map(|a| format!("action == Aegis::Action::\"{a}\"")),
        3 => prop::sample::select(&["Read", "Write", "Process"][..])
            .prop_map(|g| format!("action in Aegis::Action::\"{g}\"")),
        2 => (one.clone(), one)
            .prop_map(|(a, b)| format!("action in [Aegis::Action::\"{a}\", Aegis::Action::\"{b}\"]")),
        1 => Just("action in [Aegis::Action::\"Write\", Aegis::Action::\"Read\"]".to_owned()),
    ]
}

fn policy() -> impl Strategy<Value = String> {
    let head = prop_oneof![
        4 => folder().prop_map(|f| format!("resource in {f}")),
        2 => path().prop_map(|p| format!("resource == {p}")),
        3 => Just(format!("resource in {}", uid(""))),
    ];
    let when = || prop::option::weighted(0.4, condition());
    let setuid = prop::bool::weighted(0.15);
    (prop::bool::weighted(0.65), action(), head, when(), when(), setuid).prop_map(
        |(permits, action, head, when, unless, setuid)| {
            let effect = if permits { "permit" } else { "forbid" };
            let mut text = format!("{effect} (principal, {action}, {head})");
            for (word, condition) in [("when", when), ("unless", unless)] {
                if let Some(condition) = condition {
                    text.push_str(&format!(" {word} {{ {condition} }}"));
                }
            }
            if setuid {
                text.push_str(" when { context has setuid && context.setuid }");
            }
            text.push(';');
            text
        },
    )
}

/// A permit that is not confined to the tree.
fn wide() -> impl Strategy<Value = String> {
    (action(), condition()).prop_map(|(a, c)| format!("permit (principal, {a}, resource) when {{ {c} }};"))
}

/// Makes the texts of policies, beside [`BASE`].
pub(crate) fn policies() -> impl Strategy<Value = Vec<String>> {
    let broad = prop_oneof![
        Just("permit (principal, action, resource in Aegis::Resource::\"{root}\");".to_owned()),
        Just("permit (principal, action in [Aegis::Action::\"Read\", Aegis::Action::\"Write\"], resource in Aegis::Resource::\"{root}\");".to_owned()),
        Just("permit (principal, action in Aegis::Action::\"Write\", resource in Aegis::Resource::\"{root}\");".to_owned()),
        wide(),
        policy(),
    ];
    (prop::collection::vec(policy(), 0..8), broad, any::<bool>()).prop_map(
        |(mut policies, broad, all_seen)| {
            policies.push(broad);
            if all_seen {
                policies.push(ALL_SEEN.to_owned());
            }
            policies
        },
    )
}

/// What the program that works on the tree needs to live.
pub(crate) const BASE: &str = "permit (
  principal,
  action in [Aegis::Action::\"Read\", Aegis::Action::\"Process\"],
  resource
) when {
  resource in [
    Aegis::Resource::\"/usr\", Aegis::Resource::\"/lib\", Aegis::Resource::\"/lib64\",
    Aegis::Resource::\"/etc/ld.so.cache\", Aegis::Resource::\"/proc/self\", Aegis::Resource::\"{operate}\",
    Aegis::Resource::\"/dev/null\"
  ]
};";

/// Lets the agent see everything: what a policy may permit somewhere is shown everywhere. It permits nothing where the
/// tree is.
pub(crate) const ALL_SEEN: &str = "permit (
  principal,
  action == Aegis::Action::\"NetConnect\",
  resource
) when {
  context.direction == \"listen\"
} unless {
  resource in Aegis::Resource::\"{outer}\"
};";
