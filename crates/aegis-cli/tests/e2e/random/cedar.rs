//! Cedar's own answer, with the whole set, every ancestor and every attribute.

use std::collections::{HashMap, HashSet};

use cedar_policy::{
    Authorizer, Context, Entities, Entity, EntityId, EntityUid, PolicySet, Request, RestrictedExpression,
};

/// A question.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Asked {
    pub(crate) action: &'static str,
    /// A path, or `unix:` and one.
    pub(crate) resource: String,
    /// What becomes of it runs as its owner.
    pub(crate) setuid: bool,
    /// The address is listened on.
    pub(crate) listen: bool,
}

/// The policies, and who asks.
pub(crate) struct Cedar {
    set: PolicySet,
    exe: String,
    known: HashMap<Asked, bool>,
}

fn uid(kind: &str, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(format!("Aegis::{kind}").parse().unwrap(), EntityId::new(id))
}

fn text(text: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(text.to_owned())
}

impl Cedar {
    pub(crate) fn new(policies: &str, exe: &str) -> Self {
        Self { set: policies.parse().unwrap(), exe: exe.to_owned(), known: HashMap::new() }
    }

    /// Says whether it is allowed.
    pub(crate) fn allows(&mut self, asked: &Asked) -> bool {
        if let Some(known) = self.known.get(asked) {
            return *known;
        }
        let allowed = self.ask(asked);
        self.known.insert(asked.clone(), allowed);
        allowed
    }

    fn ask(&self, asked: &Asked) -> bool {
        let path = asked.resource.strip_prefix("unix:").unwrap_or(&asked.resource);
        let resource = uid("Resource", &asked.resource);
        let above = std::path::Path::new(path).ancestors().map(|folder| folder.to_str().unwrap());
        let parents: HashSet<_> =
            above.filter(|folder| *folder != asked.resource).map(|folder| uid("Resource", folder)).collect();
        let mut attributes = HashMap::from([("path".to_owned(), text(path))]);
        let path = std::path::Path::new(path);
        if let Some(name) = path.file_name() {
            attributes.insert("name".into(), text(name.to_str().unwrap()));
        }
        if let Some(extension) = path.extension().filter(|extension| !extension.is_empty()) {
            attributes.insert("extension".into(), text(extension.to_str().unwrap()));
        }
        let group = match asked.action {
            "FileRead" | "DirList" => Some("Read"),
            "FileWrite" | "FileDelete" | "DirCreate" => Some("Write"),
            "ProcessSpawn" => Some("Process"),
            _ => None,
        };
        let action = uid("Action", asked.action);
        let entities = [
            Entity::new(resource.clone(), attributes, parents).unwrap(),
            Entity::new_no_attrs(
                action.clone(),
                group.map(|group| uid("Action", group)).into_iter().collect(),
            ),
        ];
        let process =
            [("exe".to_owned(), text(&self.exe)), ("pid".to_owned(), RestrictedExpression::new_long(1))];
        let mut context = vec![
            ("mode".to_owned(), text("run")),
            ("process".to_owned(), RestrictedExpression::new_record(process).unwrap()),
        ];
        match asked.action {
            "FileWrite" => context.push(("setuid".into(), RestrictedExpression::new_bool(asked.setuid))),
            "NetConnect" => {
                let direction = if asked.listen { "listen" } else { "connect" };
                context.push(("direction".into(), text(direction)));
            }
            _ => {}
        }
        let context = Context::from_pairs(context).unwrap();
        let request = Request::new(uid("Agent", "x"), action, resource, context, None).unwrap();
        let entities = Entities::from_entities(entities, None).unwrap();
        let response = Authorizer::new().is_authorized(&request, &self.set, &entities);
        assert!(response.diagnostics().errors().next().is_none(), "{response:?}");
        response.decision() == cedar_policy::Decision::Allow
    }
}
