//! Damages ledgers as those would who can write their files: by accident, with skill, and with stolen keys.

use std::time::Duration;

use aegis_proof::{Checkpoint, Frontier, Origin, SecretKey, canonical, leaf};
use rusqlite::{Connection, params};
use serde_json::{Value, json};

use super::make::{Dice, Home};
use crate::keys::{Epoch, Keys, generate};
use crate::store::Ledger;

/// A kind of damage, and what it is found as: by the ledger alone, held to its home, and held to a checkpoint and the
/// trust root that were kept elsewhere.
pub(super) struct Damage {
    pub(super) name: &'static str,
    pub(super) found: [&'static str; 3],
    /// A seam is reported.
    pub(super) seam: bool,
    /// Damages the first home; the second is as it was earlier.
    pub(super) inflict: fn(&Home, &Home, &mut Dice),
}

const fn damage(
    name: &'static str,
    found: [&'static str; 3],
    inflict: fn(&Home, &Home, &mut Dice),
) -> Damage {
    Damage { name, found, seam: false, inflict }
}

/// The damage of the index only.
pub(super) const INDEX: &str = "damage the index only";

pub(super) const ALL: [Damage; 19] = [
    damage("nothing", ["", "", ""], |_, _, _| {}),
    damage("edit one", ["altered"; 3], edit),
    damage("spoil one", ["not_a_record"; 3], spoil),
    damage("delete some", ["removed"; 3], delete),
    damage("insert one", ["reordered"; 3], insert),
    damage("reorder two", ["reordered"; 3], reorder),
    damage("swap two sessions", ["reordered"; 3], swap_sessions),
    damage("cut the tail", ["truncated"; 3], cut),
    damage("cut the tail with its checkpoints", ["", "rolled_back", ""], cut_clean),
    damage("remove a checkpoint", ["checkpoint_missing"; 3], remove_checkpoint),
    damage("edit and hash anew", ["rewritten"; 3], rehash),
    damage("rewrite all with new keys", ["", "rewritten_whole", "replaced"], rewrite_whole),
    damage("rewrite the sealed past with stolen keys", ["forged"; 3], resign),
    Damage { seam: true, ..damage("rewrite it behind a seam", ["", "forked", "forked"], reseam) },
    damage("roll back to an older copy", ["", "rolled_back", ""], roll_back),
    damage("drop the unsealed tail", ["", "", ""], drop_unsealed),
    damage("remove the ledger and begin anew", ["", "begun_anew", "replaced"], begin_anew),
    damage("remove the register", ["", "register_missing", ""], remove_register),
    damage(INDEX, ["", "", ""], spoil_index),
];

/// The tables as anybody can write to them.
struct Tables(Connection);

impl Tables {
    fn open(home: &Home) -> Self {
        Self(Connection::open(home.ledger()).unwrap())
    }

    fn last(&self) -> u64 {
        self.number("SELECT max(seq) FROM records")
    }

    /// How many records are sealed.
    fn sealed(&self) -> u64 {
        self.number("SELECT max(size) FROM checkpoints")
    }

    fn number(&self, sql: &str) -> u64 {
        u64::try_from(self.0.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap()).unwrap()
    }

    fn run(&self, sql: &str) {
        self.0.execute_batch(sql).unwrap();
    }

    fn record(&self, seq: u64) -> Vec<u8> {
        let seq = i64::try_from(seq).unwrap();
        self.0.query_row("SELECT record FROM records WHERE seq = ?1", [seq], |row| row.get(0)).unwrap()
    }

    fn value(&self, seq: u64) -> Value {
        serde_json::from_slice(&self.record(seq)).unwrap()
    }

    fn put(&self, seq: u64, record: &[u8]) {
        let seq = i64::try_from(seq).unwrap();
        self.0.execute("UPDATE records SET record = ?2 WHERE seq = ?1", params![seq, record]).unwrap();
    }

    fn put_value(&self, seq: u64, value: &Value) {
        self.put(seq, &canonical(value).unwrap());
    }

    fn put_note(&self, size: u64, note: &str) {
        let size = i64::try_from(size).unwrap();
        self.0.execute("UPDATE checkpoints SET note = ?2 WHERE size = ?1", params![size, note]).unwrap();
    }

    fn sizes(&self) -> Vec<u64> {
        let mut query = self.0.prepare("SELECT size FROM checkpoints ORDER BY size").unwrap();
        let sizes = query.query_map([], |row| row.get::<_, i64>(0)).unwrap();
        sizes.map(|size| u64::try_from(size.unwrap()).unwrap()).collect()
    }

    /// A record of the sealed part that is of a session, as the one behind it is.
    fn victim(&self, dice: &mut Dice) -> u64 {
        loop {
            let seq = 2 + dice.below(self.sealed() - 3);
            if of_session(&self.record(seq)) && of_session(&self.record(seq + 1)) {
                return seq;
            }
        }
    }

    /// Gives all records from this one on the hashes that follow from those before.
    fn chain_from(&self, seq: u64) {
        for seq in seq.max(2)..=self.last() {
            let mut value = self.value(seq);
            value["prev"] = leaf(&self.record(seq - 1)).to_string().into();
            self.put_value(seq, &value);
        }
    }

    /// Signs the checkpoints anew, each with the key that is given for it.
    fn sign(&self, origin: &Origin, identity: &SecretKey, mut key: impl FnMut(u64) -> Option<SecretKey>) {
        let mut tree = Frontier::default();
        let sizes = self.sizes();
        for seq in 1..=self.last() {
            tree.push(leaf(&self.record(seq)));
            if sizes.contains(&seq)
                && let Some(key) = key(seq)
            {
                let checkpoint = Checkpoint { origin: origin.clone(), size: seq, root: tree.root() };
                self.put_note(seq, &checkpoint.sign(identity, &key));
            }
        }
    }

    /// Moves the records and checkpoints from this number on one further.
    fn make_room(&self, seq: u64) {
        for at in (seq..=self.last()).rev() {
            self.run(&format!("UPDATE records SET seq = {} WHERE seq = {at}", at + 1));
            self.run(&format!("UPDATE checkpoints SET size = {} WHERE size = {at}", at + 1));
        }
    }

    /// Puts a copy of a record elsewhere.
    fn copy(&self, from: u64, to: u64) {
        self.run(&format!(
            "INSERT INTO records SELECT {to}, record, session, at, kind, action FROM records WHERE seq = {from}"
        ));
    }

    fn drop_unsealed(&self) {
        self.run(&format!("DELETE FROM records WHERE seq > {}", self.sealed()));
    }
}

fn of_session(record: &[u8]) -> bool {
    !String::from_utf8_lossy(record).contains(r#""producer":{"id":"ledger""#)
}

/// Changes what a record says, and keeps its form.
fn tamper(tables: &Tables, seq: u64) {
    let mut value = tables.value(seq);
    value["event"]["what"] = json!({"refusal": {"call": "open", "detail": "x"}});
    tables.put_value(seq, &value);
}

fn edit(home: &Home, _: &Home, dice: &mut Dice) {
    let tables = Tables::open(home);
    tamper(&tables, tables.victim(dice));
}

fn spoil(home: &Home, _: &Home, dice: &mut Dice) {
    let tables = Tables::open(home);
    let seq = tables.victim(dice);
    let mut record = tables.record(seq);
    // A byte that no record has.
    let at = usize::try_from(dice.below(record.len() as u64)).unwrap();
    record[at] = b'\n';
    tables.put(seq, &record);
}

fn delete(home: &Home, _: &Home, dice: &mut Dice) {
    let tables = Tables::open(home);
    let seq = tables.victim(dice);
    tables.run(&format!("DELETE FROM records WHERE seq >= {seq} AND seq <= {}", seq + dice.below(2)));
}

fn insert(home: &Home, _: &Home, dice: &mut Dice) {
    let tables = Tables::open(home);
    let seq = tables.victim(dice);
    tables.make_room(seq);
    tables.copy(seq - 1, seq);
}

fn reorder(home: &Home, _: &Home, dice: &mut Dice) {
    let tables = Tables::open(home);
    let seq = tables.victim(dice);
    let (one, two) = (tables.record(seq), tables.record(seq + 1));
    tables.put(seq, &two);
    tables.put(seq + 1, &one);
}

/// Exchanges records of the first session with as many of the second.
fn swap_sessions(home: &Home, _: &Home, _: &mut Dice) {
    let tables = Tables::open(home);
    let column = |name: &str, id: u64| tables.number(&format!("SELECT {name} FROM sessions WHERE id = {id}"));
    let (first, second) = (column("start_seq", 1), column("start_seq", 2));
    let length = (column("end_seq", 1) - first).min(column("end_seq", 2) - second);
    for offset in 0..=length {
        let (one, two) = (tables.record(first + offset), tables.record(second + offset));
        tables.put(first + offset, &two);
        tables.put(second + offset, &one);
    }
}

fn cut(home: &Home, _: &Home, dice: &mut Dice) {
    let tables = Tables::open(home);
    tables.run(&format!("DELETE FROM records WHERE seq > {}", tables.sealed() - 1 - dice.below(2)));
}

fn cut_clean(home: &Home, past: &Home, _: &mut Dice) {
    let size = Tables::open(past).sealed();
    Tables::open(home)
        .run(&format!("DELETE FROM records WHERE seq > {size}; DELETE FROM checkpoints WHERE size > {size}"));
}

fn remove_checkpoint(home: &Home, _: &Home, dice: &mut Dice) {
    let tables = Tables::open(home);
    let size = dice.pick(&tables.sizes());
    tables.run(&format!("DELETE FROM checkpoints WHERE size = {size}"));
}

fn rehash(home: &Home, _: &Home, dice: &mut Dice) {
    let tables = Tables::open(home);
    let seq = tables.victim(dice);
    tamper(&tables, seq);
    tables.chain_from(seq + 1);
}

/// Everything anew, with keys of the attacker's own.
fn rewrite_whole(home: &Home, _: &Home, dice: &mut Dice) {
    let tables = Tables::open(home);
    tamper(&tables, tables.victim(dice));
    let identity = generate().unwrap();
    let sizes = tables.sizes();
    let keys: Vec<SecretKey> = (0..=sizes.len()).map(|_| generate().unwrap()).collect();
    let origin = Origin::of(&identity.public(), &keys[0].public());
    let mut start = tables.value(1);
    start["event"]["what"]["ledger_start"] = json!({
        "identity": identity.public().to_base64(),
        "key": keys[0].public().to_base64(),
        "origin": origin.as_str(),
    });
    tables.put_value(1, &start);
    for (at, size) in sizes.iter().enumerate() {
        let mut seal = tables.value(*size);
        seal["event"]["what"]["seal"]["next"] = keys[at + 1].public().to_base64().into();
        tables.put_value(*size, &seal);
    }
    tables.chain_from(2);
    let mut keys = keys.into_iter();
    tables.sign(&origin, &identity, |_| keys.next());
}

/// The keys that a thief finds today.
fn stolen(home: &Home) -> (SecretKey, Epoch, Origin) {
    let keys = Keys::new(home.root().join("keys"));
    let origin = Ledger::open_to_read(&home.ledger()).unwrap().trust_root().unwrap().origin;
    let epoch = keys.epoch(&origin, Duration::ZERO).unwrap().read().unwrap().unwrap();
    (keys.identity().unwrap().unwrap(), epoch, origin)
}

fn resign(home: &Home, _: &Home, dice: &mut Dice) {
    let (identity, epoch, origin) = stolen(home);
    let tables = Tables::open(home);
    let seq = tables.victim(dice);
    tamper(&tables, seq);
    tables.chain_from(seq + 1);
    tables.sign(&origin, &identity, |size| (size > seq).then(|| SecretKey::from_seed(epoch.current.seed())));
}

/// Says that a key was lost before the first seal, and goes on from there with keys of the attacker's own.
fn reseam(home: &Home, _: &Home, _: &mut Dice) {
    let (identity, _, origin) = stolen(home);
    let tables = Tables::open(home);
    tables.drop_unsealed();
    let sizes = tables.sizes();
    let keys: Vec<SecretKey> = (0..=sizes.len()).map(|_| generate().unwrap()).collect();
    let seam = sizes[0];
    tamper(&tables, 3);
    tables.make_room(seam);
    tables.copy(seam + 1, seam);
    let (mut epoch, mut counter) = (1, 1);
    for seq in 2..=tables.last() {
        let mut value = tables.value(seq);
        value["seq"] = seq.into();
        if value["producer"]["id"] == "ledger" {
            counter += 1;
            value["producer"]["n"] = counter.into();
            value["event"]["what"] = if seq == seam {
                json!({"seam": {"detail": "lost", "epoch": 1, "key": keys[0].public().to_base64()}})
            } else {
                epoch += 1;
                json!({"seal": {"epoch": epoch - 1, "next": keys[epoch - 1].public().to_base64()}})
            };
        }
        tables.put_value(seq, &value);
    }
    tables.chain_from(2);
    let mut keys = keys.into_iter();
    tables.sign(&origin, &identity, |_| keys.next());
    // A thief can write to the key file as well, and would.
    let last = generate().unwrap();
    let number = sizes.len() as u64 + 1;
    let current = keys.next().unwrap();
    let custody = Keys::new(home.root().join("keys"));
    custody.epoch(&origin, Duration::ZERO).unwrap().write(&Epoch { number, current, next: last }).unwrap();
}

fn roll_back(home: &Home, past: &Home, _: &mut Dice) {
    for suffix in ["-wal", "-shm"] {
        drop(std::fs::remove_file(home.root().join(format!("x/audit.db{suffix}"))));
    }
    std::fs::copy(past.ledger(), home.ledger()).unwrap();
}

fn drop_unsealed(home: &Home, _: &Home, _: &mut Dice) {
    Tables::open(home).drop_unsealed();
}

fn begin_anew(home: &Home, _: &Home, dice: &mut Dice) {
    for suffix in ["", "-wal", "-shm"] {
        drop(std::fs::remove_file(home.root().join(format!("x/audit.db{suffix}"))));
    }
    home.session(dice, 3, &mut None);
}

fn remove_register(home: &Home, _: &Home, _: &mut Dice) {
    std::fs::remove_file(home.root().join("register")).unwrap();
}

fn spoil_index(home: &Home, _: &Home, dice: &mut Dice) {
    let tables = Tables::open(home);
    let seq = tables.victim(dice);
    let lie = dice.pick(&["at = at + 1", "kind = 2", "session = session + 1", "action = 99"]);
    tables.run(&format!("UPDATE records SET {lie} WHERE seq = {seq}"));
}
