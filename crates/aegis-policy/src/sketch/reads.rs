//! What a policy reads beside the name of the resource.

use super::Attribute;

/// What a policy reads beside the name of the resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Reads(u32);

impl Reads {
    pub(crate) const EXE: Self = Self(1 << 8);
    pub(crate) const PID: Self = Self(1 << 9);
    pub(crate) const TIME: Self = Self(1 << 10);
    pub(crate) const ARGUMENTS: Self = Self(1 << 11);
    pub(crate) const DIRECTION: Self = Self(1 << 12);
    pub(crate) const EXISTED: Self = Self(1 << 13);
    pub(crate) const SETUID: Self = Self(1 << 14);
    pub(crate) const TOOL: Self = Self(1 << 15);
    pub(crate) const SESSION: Self = Self(1 << 16);
    pub(crate) const MODE: Self = Self(1 << 17);
    pub(super) const CONTEXT: Self = Self(0x3ff << 8);
    pub(super) const EVERYTHING: Self = Self(u32::MAX);

    pub(crate) const fn attribute(attribute: Attribute) -> Self {
        Self(1 << attribute as u32)
    }

    /// Returns what is read, as it is written in a policy.
    pub(crate) fn words(self) -> Vec<&'static str> {
        let context = [
            (Self::EXE, "context.process.exe"),
            (Self::PID, "context.process.pid"),
            (Self::TIME, "context.time"),
            (Self::ARGUMENTS, "context.arguments"),
            (Self::DIRECTION, "context.direction"),
            (Self::EXISTED, "context.existed"),
            (Self::SETUID, "context.setuid"),
            (Self::TOOL, "context.tool"),
            (Self::SESSION, "context.session"),
            (Self::MODE, "context.mode"),
        ];
        let resource = [
            (Attribute::Path, "resource.path"),
            (Attribute::Name, "resource.name"),
            (Attribute::Extension, "resource.extension"),
            (Attribute::Host, "resource.host"),
            (Attribute::Port, "resource.port"),
            (Attribute::Tool, "resource.tool"),
            (Attribute::Address, "resource.address"),
            (Attribute::Command, "resource.command"),
        ];
        resource
            .into_iter()
            .map(|(attribute, word)| (Self::attribute(attribute), word))
            .chain(context)
            .filter(|(bit, _)| self.has(*bit))
            .map(|(_, word)| word)
            .collect()
    }

    pub(crate) fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns those that are in `other` as well.
    pub(crate) fn only(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(super) fn context(word: &str) -> Self {
        match word {
            "time" => Self::TIME,
            "arguments" => Self::ARGUMENTS,
            "direction" => Self::DIRECTION,
            "existed" => Self::EXISTED,
            "setuid" => Self::SETUID,
            "tool" => Self::TOOL,
            "session" => Self::SESSION,
            "mode" => Self::MODE,
            "process" => Self::EXE.and(Self::PID),
            _ => Self::CONTEXT,
        }
    }
}
