//! What a decision costs: `policy-bench`, release build.
//!
//! For sets of 3, 50 and 500 policies, in a mix as people write them: the time to read a set, to validate it, to
//! prepare it, and of a decision that is new and of one that is kept, in the median and at the 99th percentile.
//! Beside it Cedar with the whole set, its request made ready beforehand.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a program for people at a terminal, which measures time"
)]

use std::sync::Arc;
use std::time::Instant;

use aegis_policy::{Engine, Origin, Policies, Request, Resource, Source, Subject};
use aegis_types::{Action, AgentName, Timestamp};
use cedar_policy::{Authorizer, Context, Entities, Entity, PolicySet, Request as CedarRequest};

/// The kinds of policies, by turns: `{n}` is a number.
const MIX: [&str; 10] = [
    "permit (principal, action in Aegis::Action::\"Read\", resource in Aegis::Resource::\"/srv/p{n}\");",
    "permit (principal, action in Aegis::Action::\"Write\", resource in Aegis::Resource::\"/srv/p{n}\");",
    "permit (principal, action == Aegis::Action::\"FileRead\", resource) when { resource has path && resource.path like \"/data/{n}/*\" };",
    "forbid (principal, action, resource) when { resource has extension && resource.extension == \"k{n}\" };",
    "permit (principal, action == Aegis::Action::\"NetConnect\", resource) when { context.direction == \"connect\" && resource has host && resource has port && resource.host == \"h{n}.example.com\" && resource.port == 443 };",
    "forbid (principal, action in Aegis::Action::\"Write\", resource in Aegis::Resource::\"/srv/p{n}/.git/hooks\");",
    "permit (principal, action in Aegis::Action::\"Process\", resource in Aegis::Resource::\"/opt/t{n}\");",
    "permit (principal, action, resource) when { resource in [Aegis::Resource::\"/a{n}\", Aegis::Resource::\"/b{n}\"] };",
    "permit (principal, action == Aegis::Action::\"FileRead\", resource) when { resource has name && resource.name == \"README{n}.md\" };",
    "forbid (principal == Aegis::Agent::\"other{n}\", action, resource);",
];

/// What a set is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// As people write them; the names alone decide.
    Mixed,
    /// The same, and the one that permits asks for the program: Cedar is asked each time.
    Asked,
    /// All of one action, by pattern.
    Patterns,
}

fn texts(count: usize, kind: Kind) -> String {
    let of =
        |n: usize| MIX[if kind == Kind::Patterns { 2 } else { n % MIX.len() }].replace("{n}", &n.to_string());
    let mut texts: Vec<String> = (0..count).map(of).collect();
    texts[count - 1] =
        "permit (principal, action in Aegis::Action::\"Read\", resource in Aegis::Resource::\"/home/me/project\")".into();
    if kind == Kind::Asked {
        texts[count - 1].push_str(" when { context.process.exe like \"/usr/bin/*\" }");
    }
    texts[count - 1].push(';');
    texts.join("\n")
}

fn percentile(times: &mut [f64], part: f64) -> f64 {
    times.sort_by(f64::total_cmp);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in a list")]
    times[((times.len() - 1) as f64 * part) as usize]
}

fn timed<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let start = Instant::now();
    let result = work();
    (start.elapsed().as_secs_f64() * 1e6, result)
}

fn main() {
    println!("times in microseconds: median / 99th percentile of 20,000 decisions, all allowed");
    for (count, kind) in [3, 50, 500]
        .into_iter()
        .flat_map(|n| [(n, Kind::Mixed), (n, Kind::Asked)])
        .chain([(500, Kind::Patterns)])
    {
        let text = texts(count, kind);
        let source = Source { origin: Origin::Configuration, path: "x".into(), text };
        let (read, policies) = timed(|| Policies::parse(vec![source]).unwrap());
        let (validated, problems) = timed(|| policies.validate());
        assert!(problems.is_empty());
        let policies = Arc::new(policies);
        let subject = Subject {
            agent: AgentName::new("me").unwrap(),
            session: "s".into(),
            mode: "run".into(),
            tmp: None,
            tmp_is_shared: false,
            reserved: Default::default(),
        };
        let (prepared, engine) = timed(|| Engine::new(Arc::clone(&policies), subject).unwrap());
        let paths: Vec<String> =
            (0..20_000).map(|n| format!("/home/me/project/src/module{}/file{n}.rs", n % 50)).collect();
        let ask = |path: &str| {
            engine.decide(&Request {
                action: Action::FileRead,
                resource: Resource::Path(path),
                exe: "/usr/bin/cat",
                pid: 7,
                time: Timestamp::from_nanos(0),
                listen: false,
                setuid: false,
                of_session: false,
                existed: &|| false,
            })
        };
        let mut new: Vec<f64> = paths.iter().map(|path| timed(|| ask(path)).0).collect();
        // As many as are kept.
        let few = &paths[..2_000];
        few.iter().for_each(|path| drop(ask(path)));
        let mut kept: Vec<f64> = few.iter().cycle().take(20_000).map(|path| timed(|| ask(path)).0).collect();
        let mut plain = plain(&policies, &paths[..1_000]);
        println!(
            "{count:>4} policies ({kind:?}): read {read:.0}, validate {validated:.0}, prepare {prepared:.0}; new {:.2} / {:.2}, kept {:.2} / {:.2}; Cedar alone {:.2} / {:.2}",
            percentile(&mut new, 0.5),
            percentile(&mut new, 0.99),
            percentile(&mut kept, 0.5),
            percentile(&mut kept, 0.99),
            percentile(&mut plain, 0.5),
            percentile(&mut plain, 0.99),
        );
    }
}

/// Cedar with the whole set.
fn plain(policies: &Policies, paths: &[String]) -> Vec<f64> {
    let set = PolicySet::from_policies(policies.rules().iter().map(|rule| rule.policy.clone())).unwrap();
    let uid =
        |kind: &str, id: &str| format!("Aegis::{kind}::\"{id}\"").parse::<cedar_policy::EntityUid>().unwrap();
    let authorizer = Authorizer::new();
    paths
        .iter()
        .map(|path| {
            let parents = std::path::Path::new(path)
                .ancestors()
                .skip(1)
                .map(|folder| uid("Resource", folder.to_str().unwrap()))
                .collect();
            let resource = uid("Resource", path);
            let action = uid("Action", "FileRead");
            let entities = Entities::from_entities(
                [
                    Entity::new_no_attrs(resource.clone(), parents),
                    Entity::new_no_attrs(action.clone(), [uid("Action", "Read")].into()),
                ],
                None,
            )
            .unwrap();
            let request =
                CedarRequest::new(uid("Agent", "me"), action, resource, Context::empty(), None).unwrap();
            timed(|| authorizer.is_authorized(&request, &set, &entities)).0
        })
        .collect()
}
