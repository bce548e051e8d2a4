//! Names in policies that are symbolic links on this machine: links are resolved before a policy is asked, so such a
//! name matches nothing, and a forbid of it protects nothing.

use crate::problem::{Problem, Severity};
use crate::request::is_within;
use crate::set::{Policies, Rule, is_permit};

/// A name that is a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Linked {
    /// What to tell.
    pub warning: Problem,
    /// The policy forbids: without effect, it leaves open what it should not.
    pub forbids: bool,
}

impl Policies {
    /// Finds names that are links. `resolve` gives an absolute path as the kernel has it, links resolved as far as
    /// there is anything.
    #[must_use]
    pub fn linked(&self, resolve: &dyn Fn(&str) -> Option<String>) -> Vec<Linked> {
        self.rules().iter().flat_map(|rule| self.linked_in(rule, resolve)).collect()
    }

    fn linked_in(&self, rule: &Rule, resolve: &dyn Fn(&str) -> Option<String>) -> Vec<Linked> {
        let ids: Vec<String> =
            rule.policy.entity_literals().iter().map(|uid| uid.id().unescaped().to_owned()).collect();
        let path_of = |id: &str| {
            Some(id.strip_prefix("unix:").unwrap_or(id)).filter(|p| p.starts_with('/')).map(str::to_owned)
        };
        let named: Vec<String> = ids.iter().filter_map(|id| path_of(id)).collect();
        let mut linked = Vec::new();
        for id in &ids {
            // The caller's own folder is no link to a policy.
            let Some(path) = path_of(id).filter(|path| !is_within(path, "/proc")) else { continue };
            let Some(real) = resolve(&path).filter(|real| *real != path) else { continue };
            // Named both ways, as on systems where it is none.
            if named.iter().any(|name| is_within(&real, name)) {
                continue;
            }
            let what = id.replacen(&path, &real, 1);
            let message = format!(
                "`{id}` is `{what}` on this machine: links are resolved before a policy is asked, so this name matches nothing"
            );
            let quoted = format!("\"{id}\"");
            let at = self.text(rule).find(&quoted).map(|at| at..at + quoted.len());
            let warning =
                self.problem(rule, Severity::Warning, at, message).help(format!("write \"{what}\""));
            linked.push(Linked { warning, forbids: !is_permit(&rule.policy) });
        }
        linked
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Origin, Source};

    #[test]
    fn links_are_found_unless_the_place_is_named_as_well() {
        let resolve = |path: &str| {
            let replaced = path.strip_prefix("/bin").map(|rest| format!("/usr/bin{rest}"));
            Some(
                replaced
                    .or_else(|| path.strip_prefix("/var/run").map(|rest| format!("/run{rest}")))
                    .unwrap_or(path.to_owned()),
            )
        };
        let text = "permit (principal, action, resource) when { resource in [Aegis::Resource::\"/usr\", Aegis::Resource::\"/bin\"] };\n\
                    permit (principal, action, resource in Aegis::Resource::\"/bin/x\");\n\
                    forbid (principal, action, resource == Aegis::Resource::\"unix:/var/run/docker.sock\");\n\
                    permit (principal, action, resource in Aegis::Resource::\"/proc/self\");";
        let source = Source { origin: Origin::Configuration, path: "x".into(), text: text.into() };
        let found = Policies::parse(vec![source]).unwrap().linked(&resolve);
        let told: Vec<(usize, usize, bool, Option<&str>)> = found
            .iter()
            .map(|l| (l.warning.line, l.warning.column, l.forbids, l.warning.help.as_deref()))
            .collect();
        assert_eq!(
            told,
            [
                (2, 57, false, Some("write \"/usr/bin/x\"")),
                (3, 57, true, Some("write \"unix:/run/docker.sock\""))
            ]
        );
    }
}
