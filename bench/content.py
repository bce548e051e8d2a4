"""What the commands of the rows work on, the same at every run."""

import os
import random

from files import write

GIT_COMMITS = 300
GIT_FILES = 400
CARGO_MODULES = 12


def pick(rng, things):
    # random() alone gives the same sequence in every version of Python.
    return things[int(rng.random() * len(things))]


WORDS = (
    "amber basin cedar delta ember fjord grove haven inlet jetty knoll ledge "
    "marsh north oasis plain quarry ridge slope tidal upland valley wharf yonder"
).split()


def text_line(rng):
    return " ".join(pick(rng, WORDS) for _ in range(8))


def git_stream():
    """A history for `git fast-import`, the same at every run."""
    rng = random.Random(20)
    paths = ["src/part%02d/file%03d.txt" % (n % 20, n) for n in range(GIT_FILES)]
    files = {path: [text_line(rng) for _ in range(60)] for path in paths}
    out = []
    for commit in range(GIT_COMMITS):
        if commit == 0:
            changed = paths
        else:
            changed = sorted({pick(rng, paths) for _ in range(6)})
            for path in changed:
                lines = files[path]
                for _ in range(3):
                    lines[int(rng.random() * len(lines))] = text_line(rng)
                lines.insert(int(rng.random() * len(lines)), text_line(rng))
        message = "Change %d: %s\n" % (commit, text_line(rng))
        person = "A Person <person@example.org> %d +0000" % (1_600_000_000 + commit * 3600)
        out.append("commit refs/heads/main\nauthor %s\ncommitter %s\n" % (person, person))
        out.append("data %d\n%s" % (len(message), message))
        for path in changed:
            body = "\n".join(files[path]) + "\n"
            out.append("M 100644 inline %s\ndata %d\n%s\n" % (path, len(body), body))
        out.append("\n")
    return "".join(out).encode("ascii")


MODULE = """\
use std::collections::BTreeMap;
use std::fmt;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Item{n} {{
    pub name: String,
    pub counts: Vec<u64>,
    pub inner: Option<Box<Item{n}>>,
}}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind{n} {{
    Small,
    Large(u32),
    Named {{ id: u64, weight: u16 }},
}}

impl fmt::Display for Item{n} {{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {{
        write!(f, "{{}}:", self.name)?;
        for count in &self.counts {{
            write!(f, " {{count:>4}}")?;
        }}
        match &self.inner {{
            Some(inner) => write!(f, " [{{inner}}]"),
            None => Ok(()),
        }}
    }}
}}

impl Kind{n} {{
    pub fn of(value: u64) -> Self {{
        match value % 3 {{
            0 => Kind{n}::Small,
            1 => Kind{n}::Large((value >> 1) as u32),
            _ => Kind{n}::Named {{ id: value, weight: (value & 0xff) as u16 }},
        }}
    }}
}}

pub fn tally(seed: u64) -> BTreeMap<String, Vec<Kind{n}>> {{
    let mut found: BTreeMap<String, Vec<Kind{n}>> = BTreeMap::new();
    for step in 0..16_u64 {{
        let value = helper::mix(seed.wrapping_add(step), {n});
        let item = Item{n} {{
            name: format!("item-{{}}", value % 5),
            counts: (0..4).map(|shift| value >> shift).collect(),
            inner: (step % 2 == 0).then(|| Box::new(Item{n}::default())),
        }};
        found.entry(item.to_string()).or_default().push(Kind{n}::of(value));
    }}
    found
}}
"""

HELPER = """\
pub fn mix(value: u64, salt: u64) -> u64 {
    let mut state = value ^ salt.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for _ in 0..4 {
        state ^= state >> 29;
        state = state.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    }
    state
}
"""


def make_crate(folder):
    """A crate of a dozen modules and one dependency beside it."""
    manifest = '[package]\nname = "%s"\nversion = "0.1.0"\nedition = "2021"\n'
    names = ["part%02d" % n for n in range(CARGO_MODULES)]
    main = "".join("mod %s;\n" % name for name in names) + "\nfn main() {\n"
    main += "".join('    println!("{:?}", %s::tally(%d));\n' % (name, n) for n, name in enumerate(names))
    os.makedirs(os.path.join(folder, "src"))
    os.makedirs(os.path.join(folder, "helper", "src"))
    files = {
        "Cargo.toml": manifest % "measured"
        + '\n[dependencies]\nhelper = { path = "helper" }\n\n[workspace]\nmembers = ["helper"]\n',
        "src/main.rs": main + "}\n",
        "helper/Cargo.toml": manifest % "helper",
        "helper/src/lib.rs": HELPER,
    }
    for n, name in enumerate(names):
        files["src/%s.rs" % name] = MODULE.format(n=n)
    for path, text in files.items():
        write(os.path.join(folder, path), text.encode("ascii"))


EVENTS_PROGRAM = """\
import os, sys
folder, files, passes = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
paths = [os.path.join(folder, "file%04d" % n) for n in range(files)]
for _ in range(passes):
    for path in paths:
        os.close(os.open(path, os.O_RDONLY))
"""
