//! Seccomp filters: a small assembler for the one shape of program that is needed.
//!
//! A program looks at the architecture, then at the call's number, then at words of its arguments. What no
//! rule names is allowed. The kernel remembers numbers that are allowed whatever their arguments
//! (`seccomp(2)`, since 5.11), so calls that are not listed cost nothing.

use libc::{sock_filter, sock_fprog};

/// What the kernel does with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Lets it through.
    Allow,
    /// Asks the supervisor.
    Notify,
    /// Answers with this errno, or with success where it is 0, without executing it.
    Errno(u16),
    /// Kills the process.
    Kill,
}

/// A condition on one argument of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// The low 32 bits, masked, have this value.
    Masked {
        /// Which argument, 0 to 5.
        argument: u8,
        /// The bits that are compared.
        mask: u32,
        /// The value that they must have.
        value: u32,
    },
    /// Any of these bits of the low 32 is set.
    AnyBit {
        /// Which argument, 0 to 5.
        argument: u8,
        /// The bits.
        mask: u32,
    },
    /// The argument, all 64 bits, is not zero.
    NonZero {
        /// Which argument, 0 to 5.
        argument: u8,
    },
}

/// What to do with the calls of one number; all conditions must hold.
#[derive(Debug, Clone)]
pub struct Rule {
    /// The call's number.
    pub number: u32,
    /// Conditions on its arguments.
    pub conditions: Vec<Condition>,
    /// What then happens.
    pub verdict: Verdict,
}

/// The rules for one architecture.
#[derive(Debug, Clone)]
pub struct Section {
    /// Its `AUDIT_ARCH_*` number.
    pub architecture: u32,
    /// What happens to numbers from this one on, checked before the rules (x32 calls have bit 30 set).
    pub from: Option<(u32, Verdict)>,
    /// Its rules; the first that fits holds.
    pub rules: Vec<Rule>,
}

/// A program for the kernel.
#[derive(Debug, Clone)]
pub struct Program(Vec<sock_filter>);

const OFFSET_NUMBER: u32 = 0;
const OFFSET_ARCHITECTURE: u32 = 4;
const OFFSET_ARGUMENTS: u32 = 16;

fn instruction(code: u32, jt: u8, jf: u8, k: u32) -> sock_filter {
    // Every code that is used here is below 0x100.
    sock_filter { code: u16::try_from(code).unwrap_or(0), jt, jf, k }
}

fn load(offset: u32) -> sock_filter {
    instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, offset)
}

fn jump(kind: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    instruction(libc::BPF_JMP | kind | libc::BPF_K, jt, jf, k)
}

fn answer(verdict: Verdict) -> sock_filter {
    let k = match verdict {
        Verdict::Allow => libc::SECCOMP_RET_ALLOW,
        Verdict::Notify => libc::SECCOMP_RET_USER_NOTIF,
        Verdict::Errno(errno) => libc::SECCOMP_RET_ERRNO | u32::from(errno),
        Verdict::Kill => libc::SECCOMP_RET_KILL_PROCESS,
    };
    instruction(libc::BPF_RET | libc::BPF_K, 0, 0, k)
}

/// Offsets of an argument's low and high words (little-endian machines).
fn words(argument: u8) -> (u32, u32) {
    let low = OFFSET_ARGUMENTS + 8 * u32::from(argument.min(5));
    (low, low + 4)
}

impl Rule {
    /// The instructions that decide this rule; the number is in the accumulator before and after.
    fn assemble(&self) -> Vec<sock_filter> {
        // Built backwards: each condition that fails jumps behind the answer.
        let mut body = vec![answer(self.verdict)];
        for condition in self.conditions.iter().rev() {
            // One more than the body: the reload of the number must be jumped to, which stands behind it.
            let out = u8::try_from(body.len()).unwrap_or(u8::MAX);
            let mut part = match *condition {
                Condition::Masked { argument, mask, value } => vec![
                    load(words(argument).0),
                    instruction(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, 0, 0, mask),
                    jump(libc::BPF_JEQ, value, 0, out),
                ],
                Condition::AnyBit { argument, mask } => {
                    vec![load(words(argument).0), jump(libc::BPF_JSET, mask, 0, out)]
                }
                Condition::NonZero { argument } => vec![
                    load(words(argument).0),
                    jump(libc::BPF_JEQ, 0, 0, 2),
                    load(words(argument).1),
                    jump(libc::BPF_JEQ, 0, out, 0),
                ],
            };
            part.append(&mut body);
            body = part;
        }
        if !self.conditions.is_empty() {
            body.push(load(OFFSET_NUMBER));
        }
        let over = u8::try_from(body.len()).unwrap_or(u8::MAX);
        let mut whole = vec![jump(libc::BPF_JEQ, self.number, 0, over)];
        whole.append(&mut body);
        whole
    }
}

impl Program {
    /// Assembles sections; calls of an architecture that has none kill the process.
    #[must_use]
    pub fn assemble(sections: &[Section]) -> Self {
        let mut program = vec![];
        for section in sections {
            let mut body = vec![load(OFFSET_NUMBER)];
            if let Some((from, verdict)) = section.from {
                body.extend([jump(libc::BPF_JGE, from, 0, 1), answer(verdict)]);
            }
            body.extend(section.rules.iter().flat_map(Rule::assemble));
            body.push(answer(Verdict::Allow));
            let over = u32::try_from(body.len()).unwrap_or(u32::MAX);
            program.extend([
                load(OFFSET_ARCHITECTURE),
                jump(libc::BPF_JEQ, section.architecture, 1, 0),
                instruction(libc::BPF_JMP | libc::BPF_JA, 0, 0, over),
            ]);
            program.append(&mut body);
        }
        program.push(answer(Verdict::Kill));
        Self(program)
    }

    /// Returns the number of instructions; the kernel takes at most 4,096.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Says whether there are none; never so.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Hands the program to the kernel's form, for as long as the closure runs.
    pub(crate) fn with_raw<T>(&self, f: impl FnOnce(&sock_fprog) -> T) -> T {
        let raw = sock_fprog {
            len: u16::try_from(self.0.len()).unwrap_or(u16::MAX),
            filter: self.0.as_ptr().cast_mut(),
        };
        f(&raw)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel would answer: an interpreter of the instructions that are used.
    fn run(program: &Program, architecture: u32, number: u32, arguments: [u64; 6]) -> u32 {
        let word = |offset: u32| match offset {
            OFFSET_NUMBER => number,
            OFFSET_ARCHITECTURE => architecture,
            _ => {
                let index = (offset - OFFSET_ARGUMENTS) as usize;
                (arguments[index / 8] >> (index % 8 * 8)) as u32
            }
        };
        let (mut at, mut accumulator) = (0usize, 0u32);
        loop {
            let i = program.0[at];
            at += 1;
            let code = u32::from(i.code);
            let taken = match code {
                c if c == libc::BPF_LD | libc::BPF_W | libc::BPF_ABS => {
                    accumulator = word(i.k);
                    continue;
                }
                c if c == libc::BPF_ALU | libc::BPF_AND | libc::BPF_K => {
                    accumulator &= i.k;
                    continue;
                }
                c if c == libc::BPF_JMP | libc::BPF_JA => {
                    at += i.k as usize;
                    continue;
                }
                c if c == libc::BPF_RET | libc::BPF_K => return i.k,
                c if c == libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K => accumulator == i.k,
                c if c == libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K => accumulator >= i.k,
                c if c == libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K => accumulator & i.k != 0,
                _ => panic!("instruction {code:#x}"),
            };
            at += usize::from(if taken { i.jt } else { i.jf });
        }
    }

    #[test]
    fn rules_decide_as_they_say() {
        let rule = |number, conditions, verdict| Rule { number, conditions, verdict };
        let program = Program::assemble(&[
            Section {
                architecture: 1,
                from: Some((1 << 30, Verdict::Notify)),
                rules: vec![
                    rule(2, vec![], Verdict::Notify),
                    rule(3, vec![Condition::NonZero { argument: 4 }], Verdict::Notify),
                    rule(
                        4,
                        vec![
                            Condition::Masked { argument: 0, mask: 0xff, value: 4 },
                            Condition::AnyBit { argument: 1, mask: 6 },
                            Condition::NonZero { argument: 2 },
                        ],
                        Verdict::Errno(0),
                    ),
                    rule(4, vec![], Verdict::Errno(1)),
                ],
            },
            Section { architecture: 9, from: None, rules: vec![rule(5, vec![], Verdict::Notify)] },
        ]);
        let (allow, notify) = (libc::SECCOMP_RET_ALLOW, libc::SECCOMP_RET_USER_NOTIF);
        let errno = libc::SECCOMP_RET_ERRNO;
        for (architecture, number, arguments, expected) in [
            (1, 2, [0; 6], notify),
            (1, 1, [0; 6], allow),
            (1, 5, [0; 6], allow),
            (9, 5, [0; 6], notify),
            (9, 2, [0; 6], allow),
            (7, 2, [0; 6], libc::SECCOMP_RET_KILL_PROCESS),
            (1, 1 << 30, [0; 6], notify),
            (1, (1 << 30) - 1, [0; 6], allow),
            (1, 3, [0; 6], allow),
            (1, 3, [0, 0, 0, 0, 1, 0], notify),
            (1, 3, [0, 0, 0, 0, 1 << 40, 0], notify),
            (1, 4, [0x104, 2, 1, 0, 0, 0], errno),
            (1, 4, [0x104, 2, 1 << 32, 0, 0, 0], errno),
            (1, 4, [0x105, 2, 1, 0, 0, 0], errno | 1),
            (1, 4, [4, 1, 1, 0, 0, 0], errno | 1),
            (1, 4, [4, 4, 0, 0, 0, 0], errno | 1),
        ] {
            assert_eq!(
                run(&program, architecture, number, arguments),
                expected,
                "{architecture} {number} {arguments:?}"
            );
        }
    }
}
