//! Makes homes with ledgers, by the code that makes real ones.

use std::path::{Path, PathBuf};

use aegis_proof::TrustRoot;
use aegis_types::{
    Act, Action, AgentName, Clock as _, Event, Gap, GapReason, Process, Resource, SessionEnd, SessionId,
    SessionStart, Text, What,
};

use crate::custody::Custody;
use crate::recorder::{OBSERVER, SESSION};
use crate::seal::Step;
use crate::store::{Entry, Ledger, Sealing};

/// All steps at which a seal may stop.
pub(super) const STEPS: [Step; 6] =
    [Step::KeysRead, Step::KeysWritten, Step::Signed, Step::Committed, Step::Entered, Step::Advanced];

/// Numbers that look like chance and are the same for each seed (SplitMix64).
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// A number below this one.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    pub(super) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.below(of.len() as u64)).unwrap()]
    }
}

/// A home with one ledger.
pub(super) struct Home(tempfile::TempDir);

impl Home {
    pub(super) fn new() -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir(home.root().join("x")).unwrap();
        home
    }

    pub(super) fn root(&self) -> &Path {
        self.0.path()
    }

    pub(super) fn ledger(&self) -> PathBuf {
        self.root().join("x/audit.db")
    }

    pub(super) fn custody(&self) -> Custody {
        Custody::of(self.root(), &self.ledger(), Vec::new())
    }

    fn open(&self) -> Ledger {
        Ledger::open(&self.ledger(), &self.custody()).unwrap()
    }

    pub(super) fn trust_root(&self) -> TrustRoot {
        self.open().trust_root().unwrap()
    }

    /// Seals, and returns the latest checkpoint.
    pub(super) fn checkpoint(&self) -> String {
        let mut ledger = self.open();
        ledger.append(&[], Sealing::Now { told: true }).unwrap();
        ledger.latest_checkpoint().unwrap().unwrap().1
    }

    /// A copy of all of it, as it is now.
    pub(super) fn copy(&self) -> Self {
        let copy = Self::new();
        // What is in the log is moved into the file.
        let ledger = self.open();
        ledger.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        drop(ledger);
        std::fs::create_dir_all(copy.root().join("keys")).unwrap();
        for folder in ["", "x", "keys"] {
            for entry in std::fs::read_dir(self.root().join(folder)).unwrap() {
                let entry = entry.unwrap();
                if entry.file_type().unwrap().is_file() {
                    std::fs::copy(entry.path(), copy.root().join(folder).join(entry.file_name())).unwrap();
                }
            }
        }
        copy
    }

    /// Removes or tears the keys of the epochs.
    pub(super) fn lose_keys(&self, dice: &mut Dice) {
        for entry in std::fs::read_dir(self.root().join("keys")).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|end| end == "epoch") {
                if dice.below(2) == 0 {
                    std::fs::remove_file(path).unwrap();
                } else {
                    let text = std::fs::read(&path).unwrap();
                    std::fs::write(path, &text[..text.len() / 2]).unwrap();
                }
            }
        }
    }

    /// Several sessions one after the other and beside one another, with crashes; returns how many keys were lost.
    pub(super) fn grow(&self, dice: &mut Dice) -> u64 {
        let mut lost = 0;
        for _ in 0..1 + dice.below(4) {
            match dice.below(6) {
                0 => {
                    let step = dice.pick(&STEPS);
                    self.session(dice, 10, &mut Some(step));
                    // Another one comes and goes on.
                    self.session(dice, 3, &mut None);
                }
                1 if self.ledger().exists() => {
                    self.lose_keys(dice);
                    lost += 1;
                    self.session(dice, 3, &mut None);
                }
                2 => self.beside_one_another(dice),
                _ => self.session(dice, 30, &mut None),
            }
        }
        self.session(dice, 2, &mut None);
        lost
    }

    /// One session of up to this many batches. At the step that is given, the machine stops.
    pub(super) fn session(&self, dice: &mut Dice, batches: u64, stop: &mut Option<Step>) {
        let mut session = Session::begin(self.open());
        for _ in 0..dice.below(batches + 1) {
            session.batch(dice);
        }
        session.ledger.fails_at = stop.take();
        session.end();
    }

    /// Three sessions that take turns.
    fn beside_one_another(&self, dice: &mut Dice) {
        let mut sessions: Vec<Session> = (0..3).map(|_| Session::begin(self.open())).collect();
        for _ in 0..dice.below(30) {
            let at = usize::try_from(dice.below(3)).unwrap();
            sessions[at].batch(dice);
        }
        sessions.into_iter().for_each(Session::end);
    }

    /// Some sealed sessions; returns the trust root.
    pub(super) fn begin(&self, dice: &mut Dice) -> TrustRoot {
        for _ in 0..3 {
            let mut session = Session::begin(self.open());
            session.append(vec![(OBSERVER, action(dice)), (OBSERVER, action(dice))], Sealing::WhenMany);
            session.batch(dice);
            session.end();
        }
        self.trust_root()
    }

    /// A session that lives and has not sealed its last entries.
    pub(super) fn unsealed(&self, dice: &mut Dice) {
        let mut session = Session::begin(self.open());
        session.ledger.append(&[], Sealing::Now { told: true }).unwrap();
        for _ in 0..3 {
            session.append(vec![(OBSERVER, action(dice))], Sealing::WhenMany);
        }
    }
}

/// A session that lives.
struct Session {
    ledger: Ledger,
    id: SessionId,
}

impl Session {
    fn begin(ledger: Ledger) -> Self {
        let id = SessionId::at(aegis_sys::clock::SystemClock.now().wall);
        let mut session = Self { ledger, id };
        session.append(vec![(SESSION, start())], Sealing::WhenMany);
        session
    }

    fn append(&mut self, whats: Vec<(&'static str, What)>, sealing: Sealing) {
        let entries: Vec<Entry> = whats
            .into_iter()
            .map(|(producer, what)| {
                let now = aegis_sys::clock::SystemClock.now();
                let event = Event { at: now.wall, mono_us: now.mono_us, what };
                Entry::new(self.id, producer, &event).unwrap()
            })
            .collect();
        let stops = self.ledger.fails_at.is_some();
        let done = self.ledger.append(&entries, sealing);
        // A machine that stops before the commit leaves nothing of it.
        assert!(done.is_ok() || stops, "{done:?}");
    }

    fn batch(&mut self, dice: &mut Dice) {
        let events = (0..dice.below(12))
            .map(|_| (OBSERVER, if dice.below(20) == 0 { gap() } else { action(dice) }))
            .collect();
        let sealing = dice.pick(&[
            Sealing::WhenMany,
            Sealing::WhenMany,
            Sealing::WhenMany,
            Sealing::Now { told: false },
            Sealing::Now { told: true },
            Sealing::Heartbeat,
        ]);
        self.append(events, sealing);
    }

    fn end(mut self) {
        self.append(vec![(SESSION, end())], Sealing::Now { told: true });
    }
}

pub(super) fn start() -> What {
    What::SessionStart(Box::new(SessionStart {
        agent: AgentName::new("x").unwrap(),
        argv: vec![Text::from("true"), Text::new([0xff])],
        argv_omitted: None,
        cwd: Text::from("/"),
        dir: Text::from("/"),
        host: "h\u{e9}".into(),
        ignore: Vec::new(),
        io_uring: false,
        isolation: "none".into(),
        kernel: "Linux".into(),
        masked: false,
        mode: "wrap".into(),
        observer: "seccomp".into(),
        policy: None,
        tool: None,
        uid: 0,
        user: None,
        version: "0".into(),
    }))
}

pub(super) fn end() -> What {
    let counts = std::collections::BTreeMap::new();
    What::SessionEnd(Box::new(SessionEnd { counts, duration_us: 1, exit: None, failure: None, gaps: 0 }))
}

fn gap() -> What {
    What::Gap(Gap { detail: "x\n\u{1}\"".into(), process: None, reason: GapReason::Limit })
}

pub(super) fn action(dice: &mut Dice) -> What {
    let strange = "/tmp/\u{e9}\u{1f600}\u{7f}".as_bytes();
    let name = dice.pick(&[&b"/tmp/a"[..], b"/tmp/b c", b"/tmp/\xff\"\\", strange]);
    let process = Process { exe: Text::from("/bin/x").into(), pid: 1, ppid: 0, tid: 1 };
    let on = Resource::Path(Text::new(name));
    What::Action(Box::new(Act::new(dice.pick(Action::ALL), "openat", process, on)))
}
