//! Hosts by name, in a network of the test's own.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::support::{NOBODY, Who, World, everybody, text, until};
use crate::work::{lend_toolchain, toolchain_of};

/// A public address, of this machine in the test's network.
const PUBLIC: &str = "93.184.216.34";
const PUBLIC6: &str = "2606:4700::1111";

/// A machine with a network of its own, in which a name server knows some names.
struct Lab {
    world: World,
    /// It has IPv6 beyond itself.
    six: bool,
    /// What it seems to lack, for `without`.
    lacks: &'static [&'static str],
}

impl Lab {
    /// Makes one whose configuration permits hosts.
    fn new(who: Who, allowed: &[&str]) -> Self {
        Self::of(World::new(who), allowed)
    }

    fn of(world: World, allowed: &[&str]) -> Self {
        let mut init = world.aegis(&["init", "me", "--policy", "project", "--dir"]);
        let init = init.arg(world.work()).env("RUSTUP_HOME", world.path("rustup")).output().unwrap();
        assert!(init.status.success(), "{}", text(&init));
        let settings = world.home().join("me/aegis.toml");
        let written = std::fs::read_to_string(&settings).unwrap();
        assert!(written.contains("allowed_network = []"), "{written}");
        let changed =
            written.replace("allowed_network = []", &format!("allowed_network = {}", json!(allowed)));
        std::fs::write(&settings, changed).unwrap();
        std::fs::write(world.work().join("lab.py"), include_str!("network/lab.py")).unwrap();
        Self { world, six: true, lacks: &[] }
    }

    /// A command in the network, without `aegis`.
    fn plain(&self, command: &[&str]) -> Command {
        let uid = match self.world.who() {
            Who::Me => 0,
            Who::Nobody => NOBODY,
        };
        let six = self.six.then(|| format!("{PUBLIC6}/128"));
        let addresses: Vec<String> =
            [format!("{PUBLIC}/32"), "10.7.7.7/32".to_owned()].into_iter().chain(six).collect();
        let settings = json!({
            "uid": uid,
            "folder": self.world.path("bin"),
            "addresses": addresses,
            "names": {
                "known.example": [PUBLIC, PUBLIC6],
                "other.example": [PUBLIC],
                "long.example": [PUBLIC],
                "many.example": (0..60).map(|n| format!("93.184.217.{n}")).collect::<Vec<_>>(),
                "inside.example": ["10.7.7.7", "127.0.0.1"],
            },
        });
        let mut lab = Command::new("/usr/bin/python3");
        lab.arg(self.world.work().join("lab.py")).arg(settings.to_string()).args(command);
        let environment = self.world.command("true");
        lab.env_clear().envs(environment.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let toolchain = toolchain_of(&self.world);
        let path = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";
        lab.env("PATH", format!("{}/bin:{path}", toolchain.display()));
        lab.env("RUSTUP_HOME", self.world.path("rustup")).current_dir(self.world.work());
        lab
    }

    fn run(&self, command: &[&str]) -> Output {
        let (aegis, without) = (self.world.path("bin/aegis"), self.world.path("bin/without"));
        let mut run = Vec::new();
        if !self.lacks.is_empty() {
            run.push(without.to_str().unwrap());
            run.extend(self.lacks);
            run.push("--");
        }
        run.extend([aegis.to_str().unwrap(), "run", "--config", "me", "--"]);
        self.plain(&[&run[..], command].concat()).output().unwrap()
    }

    /// The same without a denial.
    fn run_dry(&self, command: &[&str]) -> Output {
        let aegis = self.world.path("bin/aegis");
        let run = [aegis.to_str().unwrap(), "run", "--config", "me", "--dry-run", "--"];
        self.plain(&[&run[..], command].concat()).output().unwrap()
    }

    /// Puts a script where the agent finds it.
    fn script(&self, name: &str, text: &str) -> String {
        let path = self.world.work().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Compiles a program to where the agent finds it.
    fn compiled(&self, name: &str, text: &str, compiler: &[&str]) -> String {
        let (source, program) = (self.world.path(&format!("bin/{name}.c")), self.world.work().join(name));
        std::fs::write(&source, text).unwrap();
        let made =
            Command::new(compiler[0]).args(&compiler[1..]).arg("-o").args([&program, &source]).output();
        let made = made.unwrap();
        assert!(made.status.success(), "{}", crate::support::text(&made));
        program.to_str().unwrap().to_owned()
    }

    /// The datagrams that came to others than the name server, a line for each.
    fn heard(&self) -> String {
        std::fs::read_to_string(self.world.path("bin/heard")).unwrap_or_default()
    }

    /// The names that the machine's name server was asked for.
    fn queries(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.world.path("bin/queries")).unwrap_or_default();
        let mut names: Vec<String> =
            text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect();
        names.sort();
        names.dedup();
        names
    }

    /// The connections that were recorded, as host, address and port, with what was decided.
    fn connections(&self) -> Vec<(Value, Value)> {
        let entries = self.world.entries("me");
        let found = entries
            .iter()
            .filter(|entry| entry["action"] == "NetConnect" && !entry["resource"]["host"].is_null());
        found.map(|entry| (entry["resource"].clone(), entry["decision"].clone())).collect()
    }
}

/// Programs that fetch a page of `http://HOST:8080/`, with nothing set for them.
const PROGRAMS: [(&str, &[&str]); 4] = [
    ("curl", &["curl", "-sS", "http://HOST:8080/"]),
    ("wget", &["wget", "-q", "-t", "1", "-O", "-", "http://HOST:8080/"]),
    (
        "python",
        &[
            "/usr/bin/python3",
            "-c",
            "import urllib.request as r; print(r.urlopen('http://HOST:8080/').read().decode())",
        ],
    ),
    (
        "node",
        &[
            "node",
            "-e",
            "fetch('http://HOST:8080/').then(r=>r.text()).then(console.log,e=>{console.error(e.cause);process.exit(1)})",
        ],
    ),
];

#[test]
fn a_dry_run_knows_hosts_and_what_is_learned_of_it_names_them() {
    for who in everybody() {
        let lab = Lab::new(who, &["known.example:8080"]);
        for host in ["known.example", "other.example"] {
            let output = lab.run_dry(&["curl", "-sS", &format!("http://{host}:8080/")]);
            let found = text(&output);
            assert!(
                output.status.success() && found.contains(&format!("host {host}:8080")),
                "{who:?}: {found}"
            );
        }
        let entries = lab.world.entries("me");
        let would = |host: &str| -> Vec<(&Value, &Value, &Value)> {
            let of = entries.iter().filter(|entry| entry["resource"]["host"] == host);
            of.map(|entry| (&entry["resource"]["port"], &entry["would"], &entry["decision"])).collect()
        };
        let observed = json!("observed");
        assert_eq!(would("known.example"), [(&json!(8080), &json!("allow"), &observed)], "{who:?}");
        let other = would("other.example");
        assert!(other.contains(&(&json!(8080), &json!("deny"), &observed)), "{who:?}: {other:?}");
        assert!(other.iter().all(|(_, would, _)| **would == json!("deny")), "{who:?}: {other:?}");
        let last = entries.iter().rev().find(|entry| entry["kind"] == "session_start").unwrap();
        assert_eq!(last["start"]["isolation"], "none", "{who:?}");
        let learned =
            lab.world.aegis(&["policy", "learn", last["session"].as_str().unwrap()]).output().unwrap();
        assert!(learned.status.success(), "{}", text(&learned));
        let policies = String::from_utf8_lossy(&learned.stdout).into_owned();
        assert!(policies.contains("other.example") && !policies.contains(PUBLIC), "{who:?}: {policies}");
    }
}

#[test]
fn a_permitted_name_is_fetched_from_and_another_is_not() {
    for who in everybody() {
        let lab = Lab::new(who, &["known.example:8080"]);
        for (name, program) in PROGRAMS {
            let of = |host: &str| -> Vec<String> {
                program.iter().map(|word| word.replace("HOST", host)).collect()
            };
            let permitted = of("known.example");
            let output = lab.run(&permitted.iter().map(String::as_str).collect::<Vec<_>>());
            let found = text(&output);
            assert!(output.status.success() && found.contains("host known.example:8080"), "{name}: {found}");
            let denied = of("secret-in-a-name.other.example");
            let output = lab.run(&denied.iter().map(String::as_str).collect::<Vec<_>>());
            let found = text(&output);
            assert!(!output.status.success(), "{name}: {found}");
            assert!(
                found.contains("NetConnect secret-in-a-name.other.example: no policy permits it"),
                "{name}: {found}"
            );
        }
        assert_eq!(lab.queries(), ["known.example"], "what may not be known is asked of nobody");
        let connections = lab.connections();
        let permitted =
            json!({"host": "known.example", "address": PUBLIC6, "port": 8080, "transport": "tcp"});
        assert!(connections.contains(&(permitted, json!("allow"))), "{connections:#?}");
        let denied = json!({"host": "secret-in-a-name.other.example"});
        assert!(connections.contains(&(denied, json!("deny"))), "{connections:#?}");
        assert_eq!(lab.world.verdict("me").0, 0);
        let entries = lab.world.entries("me");
        let asked = entries.iter().find(|entry| entry["call"] == "resolve").unwrap();
        assert!(asked["process"]["exe"].as_str().unwrap().ends_with("/curl"), "{asked}");
        let learned = lab.world.stdout(&["policy", "learn", asked["session"].as_str().unwrap(), "--denied"]);
        assert!(learned.contains("\"secret-in-a-name.other.example\""), "{learned}");
        assert!(learned.contains(".contains(resource.host)"), "{learned}");
    }
}

/// Runs a script that takes something from `http://known.example:8080` and says what it is; and the same from another
/// host, which fails.
fn takes_from_a_host(said: &str, script: &str) {
    for who in everybody() {
        let world = World::new(who);
        lend_toolchain(&world);
        let lab = Lab::of(world, &["known.example:8080"]);
        let site = lab.world.path("bin/site");
        let made = Command::new("/usr/bin/python3")
            .args(["-c", include_str!("network/registries.py")])
            .arg(&site)
            .arg("http://known.example:8080")
            .status();
        assert!(made.unwrap().success());
        let repository = "cd \"$0\"; git init -q t; cd t; echo from git > said; git add said
             git -c user.name=a -c user.email=a@a commit -qm a; git clone -q --bare . ../demo.git
             cd ../demo.git; git update-server-info";
        let made = Command::new("sh").args(["-e", "-c", repository]).arg(&site).status();
        assert!(made.unwrap().success());
        let output = lab.run(&["sh", "-e", "-c", script]);
        let found = text(&output);
        assert!(output.status.success() && found.contains(said), "{who:?}: {found}");
        // Each of them tries a name that is not there several times, and waits in between.
        let once = "export PIP_RETRIES=0 npm_config_fetch_retries=0 CARGO_NET_RETRY=0";
        let again = script.replace("known.example", "other.example");
        let again = format!("{once}; cd $(mktemp -d ./XXXXXX); {again}");
        let output = lab.run(&["sh", "-e", "-c", &again]);
        let found = text(&output);
        assert!(!output.status.success() && found.contains("NetConnect other.example"), "{who:?}: {found}");
        assert_eq!(lab.queries(), ["known.example"], "{who:?}");
    }
}

#[test]
fn a_repository_is_cloned_from_a_permitted_host() {
    takes_from_a_host("from git", "git clone -q http://known.example:8080/demo.git cloned; cat cloned/said");
}

#[test]
fn pip_installs_from_a_permitted_registry() {
    takes_from_a_host(
        "from pip",
        "/usr/bin/python3 -m pip install -q --target made --disable-pip-version-check --trusted-host known.example \
         --index-url http://known.example:8080/simple/ demo; PYTHONPATH=made /usr/bin/python3 -m demo",
    );
}

#[test]
fn npm_installs_from_a_permitted_registry() {
    takes_from_a_host(
        "from npm",
        "npm install --silent --no-audit --no-fund --no-update-notifier --registry http://known.example:8080/npm/ demo
         node -e 'require(\"demo\")'",
    );
}

#[test]
fn cargo_builds_with_a_crate_of_a_permitted_registry() {
    takes_from_a_host(
        "from cargo",
        "mkdir src .cargo; echo 'fn main() { demo::demo() }' > src/main.rs
         printf '[package]\\nname=\"p\"\\nversion=\"0.1.0\"\\nedition=\"2021\"\\n[dependencies]\\ndemo={version=\"1\",registry=\"r\"}\\n' > Cargo.toml
         CARGO_REGISTRIES_R_INDEX=sparse+http://known.example:8080/cargo/ cargo run -q",
    );
}

#[test]
fn a_host_is_logged_in_to_by_ssh_where_it_is_permitted() {
    for who in everybody() {
        let lab = Lab::new(who, &["known.example:2222"]);
        for name in ["host_key", "client_key"] {
            let path = lab.world.path("bin").join(name);
            let made =
                Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&path).status();
            assert!(made.unwrap().success());
        }
        let key = lab.world.work().join("key");
        std::fs::copy(lab.world.path("bin/client_key"), &key).unwrap();
        lab.world.give(&key);
        let to = |host: &str| {
            let options = "-F /dev/null -q -p 2222 -i key -o UserKnownHostsFile=hosts -o StrictHostKeyChecking=accept-new";
            let output = lab.run(&["sh", "-c", &format!("ssh {options} root@{host} echo over ssh")]);
            (output.status.success(), text(&output))
        };
        let (worked, found) = to("known.example");
        assert!(worked && found.contains("over ssh"), "{who:?}: {found}");
        let (worked, found) = to("other.example");
        assert!(!worked && found.contains("NetConnect other.example"), "{who:?}: {found}");
    }
}

/// A program of Python, with what it prints.
fn python(lab: &Lab, program: &str) -> (bool, String) {
    let output = lab.run(&["/usr/bin/python3", "-c", program]);
    (output.status.success(), text(&output))
}

#[test]
fn an_address_is_what_the_names_say_that_stood_for_it() {
    for who in everybody() {
        let lab = Lab::new(who, &["known.example"]);
        let (done, found) =
            python(&lab, &format!("import socket; socket.create_connection(('{PUBLIC}', 8080))"));
        assert!(
            !done && found.contains(&format!("NetConnect {PUBLIC}:8080: no policy permits it")),
            "{found}"
        );
        let after = format!(
            "import socket; socket.getaddrinfo('KNOWN.example.', 1); socket.create_connection(('{PUBLIC}', 8080))
socket.create_connection(('{PUBLIC6}', 8080)); socket.create_connection(('::ffff:{PUBLIC}', 8080))
try: socket.getaddrinfo('other.example', 1); print('known')
except socket.gaierror as error: print('other:', error.errno == socket.EAI_NONAME)"
        );
        let (done, found) = python(&lab, &after);
        assert!(done && found.contains("other: True"), "{found}");
        assert_eq!(lab.queries(), ["known.example"]);
    }
}

#[test]
fn what_does_not_fit_a_datagram_is_asked_for_by_a_stream() {
    let lab = Lab::new(Who::Me, &["*.example"]);
    let (done, found) = python(&lab, "import socket; print(socket.gethostbyname('long.example'))");
    assert!(done && found.contains(PUBLIC), "{found}");
    let queries = std::fs::read_to_string(lab.world.path("bin/queries")).unwrap();
    assert!(queries.starts_with("long.example udp\nlong.example tcp\n"), "{queries}");
}

#[test]
fn a_name_opens_nothing_within_this_network() {
    for who in everybody() {
        let fetch = &["curl", "-sS", "http://inside.example:8080/"][..];
        let lab = Lab::new(who, &["inside.example"]);
        let found = text(&lab.run(fetch));
        assert!(found.contains("NetConnect 10.7.7.7:8080: no policy permits it"), "{found}");
        assert!(found.contains("NetConnect localhost:8080: no policy permits it"), "{found}");
        let lab = Lab::new(who, &["inside.example", "10.0.0.0/8"]);
        let found = text(&lab.run(fetch));
        assert!(found.contains("host inside.example:8080"), "{found}");
        // An address says nothing of its names.
        let lab = Lab::new(who, &["10.0.0.0/8"]);
        assert!(!lab.run(fetch).status.success());
        assert!(lab.queries().is_empty());
    }
}

#[test]
fn this_machine_is_meant_by_all_its_names() {
    for who in everybody() {
        let hosts = ["localhost", "127.0.0.1", "0.0.0.0"];
        let open = Lab::new(who, &["localhost:8080"]);
        let closed = Lab::new(who, &["known.example"]);
        for host in hosts {
            let fetch = ["curl", "-sS", "-4", &format!("http://{host}:8080/")];
            let found = text(&open.run(&fetch));
            assert!(found.contains(&format!("host {host}:8080")), "{found}");
            let found = text(&closed.run(&fetch));
            assert!(found.contains("NetConnect localhost:8080: no policy permits it"), "{host}: {found}");
        }
    }
}

#[test]
fn connections_end_as_without() {
    for who in everybody() {
        let lab = Lab::new(who, &["0.0.0.0/0", "::/0"]);
        let script = lab.world.work().join("calls.py");
        std::fs::write(&script, include_str!("network/calls.py")).unwrap();
        let program = ["/usr/bin/python3", script.to_str().unwrap(), "127.0.0.1"];
        let plain = lab.plain(&program).output().unwrap();
        assert!(plain.status.success(), "{}", text(&plain));
        let run = lab.run(&program);
        let lines = |output: &Output| {
            String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(lines(&plain), lines(&run), "{}", text(&run));
        assert_eq!(lab.world.verdict("me").0, 0);
    }
}

/// How often an address is connected to that changes meanwhile, unless `AEGIS_TEST_FLIPS` says otherwise.
const FLIPS: usize = 10_000;

/// How what flips is compiled.
const FLIPPING: &[&str] = &["cc", "-O2", "-pthread"];

fn flips() -> usize {
    std::env::var("AEGIS_TEST_FLIPS").ok().and_then(|text| text.parse().ok()).unwrap_or(FLIPS)
}

#[test]
fn an_address_that_changes_leads_nowhere_else() {
    let flips = flips();
    for who in everybody() {
        let lab = Lab::new(who, &["127.0.0.1:7001"]);
        let program = lab.compiled("flip-port", include_str!("network/flip.c"), FLIPPING);
        let output = lab.run(&[&program, "7001", "7002", &flips.to_string()]);
        assert!(output.status.success(), "{}", text(&output));
        let counts: Value = serde_json::from_slice(&output.stdout).unwrap();
        println!("{who:?}: {counts}");
        assert_eq!((&counts["escapes"], &counts["other"]), (&json!(0), &json!(0)), "{counts}");
        let count = |name: &str| usize::try_from(counts[name].as_u64().unwrap()).unwrap();
        assert_eq!(count("done") + count("denied"), flips);
        assert!(count("done") > flips / 20 && count("denied") > flips / 20, "it was no race: {counts}");
    }
}

#[test]
fn connections_that_never_come_about_hold_nothing_up() {
    for who in everybody() {
        let lab = Lab::new(who, &["127.0.0.0/8"]);
        let script = lab.world.work().join("many.py");
        std::fs::write(&script, include_str!("network/many.py")).unwrap();
        let aegis = lab.world.path("bin/aegis");
        let run = [aegis.to_str().unwrap(), "run", "--config", "me", "--"];
        let program = ["/usr/bin/python3", script.to_str().unwrap()];
        let mut command = lab.plain(&[&run[..], &program].concat());
        let mut running =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
        let mut lines = BufReader::new(running.stdout.take().unwrap()).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "killed");
        let live = std::fs::read_dir(lab.world.home().join("run")).unwrap();
        let session: Vec<String> = live
            .filter_map(|entry| std::fs::read_to_string(entry.unwrap().path().join("lock")).ok())
            .collect();
        let process = session[0].lines().next().unwrap();
        let held = || std::fs::read_dir(format!("/proc/{process}/fd")).unwrap().count();
        until("what the dead held is let go of", || held() < 100);
        running.stdin.take().unwrap().write_all(b"go on\n").unwrap();
        assert_eq!(lines.next().unwrap().unwrap(), "done");
        assert!(running.wait().unwrap().success());
    }
}

#[test]
fn the_resolver_answers_nobody_else() {
    // Asks the resolver on a port for a name by a stream, and prints the code of its answer.
    const ASKS: &str = "import socket, struct, sys
query = b'\\x12\\x34\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0\\5known\\7example\\0\\0\\1\\0\\1'
with socket.create_connection(('127.0.0.53', int(sys.argv[1]))) as one:
    one.sendall(struct.pack('>H', len(query)) + query)
    print('code', one.recv(100)[5] & 15, one.getpeername()[1], flush=True)
    sys.stdin.readline()";
    for who in everybody() {
        let lab = Lab::new(who, &["known.example"]);
        let (inside, outside) = (lab.world.work().join("asks.py"), lab.world.work().join("asks-outside.sh"));
        std::fs::write(&inside, ASKS).unwrap();
        let script = "mkfifo said go
            \"$1\" run --quiet --config me -- /usr/bin/python3 \"$2\" 53 < go > said &
            exec 3> go 4< said
            read word code port <&4
            echo \"inside $code\"
            echo | /usr/bin/python3 \"$2\" $port
            echo >&3; wait";
        std::fs::write(&outside, script).unwrap();
        let aegis = lab.world.path("bin/aegis");
        let program = ["sh", outside.to_str().unwrap(), aegis.to_str().unwrap(), inside.to_str().unwrap()];
        let output = lab.plain(&program).output().unwrap();
        let found = text(&output);
        assert!(found.contains("inside 0\n") && found.contains("code 3 "), "{found}");
        // Nor does it tell anybody that it was asked.
        assert_eq!(lab.queries(), ["known.example"]);
        assert!(lab.world.entries("me").iter().all(|entry| entry["call"] != "resolve"));
    }
}

/// How a program is compiled that brings its C library along, which is not that of GNU.
const MUSL: &[&str] = &["musl-gcc", "-static", "-O2"];

#[test]
fn a_program_that_knows_datagrams_only_finds_names() {
    for who in everybody() {
        let lab = Lab::new(who, &["known.example:8080"]);
        let fetch = lab.compiled("fetch", include_str!("network/fetch.c"), MUSL);
        let found = text(&lab.run(&[&fetch, "known.example"]));
        assert!(found.contains("host known.example:8080"), "{found}");
        let output = lab.run(&[&fetch, "secret-in-a-name.other.example"]);
        let found = text(&output);
        assert!(!output.status.success() && found.contains("no address: Name does not resolve"), "{found}");
        assert!(found.contains("NetConnect secret-in-a-name.other.example: no policy permits it"), "{found}");
        assert_eq!(lab.queries(), ["known.example"], "what may not be known is asked of nobody");
        let entries = lab.world.entries("me");
        let asked = entries.iter().find(|entry| entry["call"] == "resolve").unwrap();
        assert_eq!(asked["process"]["exe"], fetch, "{asked}");
        // Neither asking nor looking for a way is a connection.
        let connects =
            entries.iter().filter(|entry| entry["action"] == "NetConnect" && entry["call"] != "resolve");
        let made: Vec<&Value> = connects.map(|entry| &entry["resource"]["transport"]).collect();
        assert_eq!(made, ["tcp"], "{entries:#?}");
    }
}

#[test]
fn names_are_asked_for_by_datagrams_in_every_way() {
    for who in everybody() {
        let lab = Lab::new(who, &["known.example", "many.example"]);
        let script = lab.script("datagrams.py", include_str!("network/datagrams.py"));
        let ask = |name: &str| {
            let output = lab.run(&["/usr/bin/python3", &script, "ask", name]);
            assert!(output.status.success(), "{}", text(&output));
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        let ways = [
            "sendto",
            "sendmsg",
            "sendmmsg",
            "no family",
            "connected",
            "connected sendmmsg",
            "bound",
            "bound to a port",
            "mapped sendto",
            "mapped sendmsg",
            "mapped connected",
        ];
        let sizes = |cut: [bool; 3], count: [usize; 3]| {
            let word = |cut: bool| if cut { "True" } else { "False" };
            let line = |(size, cut, count)| format!("size {size}: cut {}, {count} addresses\n", word(cut));
            (0..3).map(|at| line(([0, 900, 4096][at], cut[at], count[at]))).collect::<String>()
        };
        let each = |answer: &str| ways.map(|way| format!("{way}: {answer}\n")).concat();
        let known = each(&format!("0 0 {PUBLIC6} {PUBLIC}")) + &sizes([false; 3], [1; 3]);
        assert_eq!(ask("known.example"), known);
        let denied = each("3 3") + &sizes([false; 3], [0; 3]);
        assert_eq!(ask("secret.other.example"), denied);
        let many = ask("many.example");
        assert!(many.ends_with(&sizes([true, true, false], [30, 54, 60])), "{many}");
        assert_eq!(lab.queries(), ["known.example", "many.example"]);
        let entries = lab.world.entries("me");
        let asked: Vec<_> = entries.iter().filter(|entry| entry["call"] == "resolve").collect();
        assert_eq!(asked.len(), 2 * ways.len() + 3);
        for entry in asked {
            assert_eq!(entry["resource"], json!({"host": "secret.other.example"}));
            assert!(entry["process"]["exe"].as_str().unwrap().contains("/python3"), "{entry}");
        }
        assert_eq!(lab.world.verdict("me").0, 0);
    }
}

#[test]
fn datagrams_reach_nobody_else_and_that_is_recorded() {
    for who in everybody() {
        // Whatever the policies permit.
        let lab = Lab::new(who, &["0.0.0.0/0", "::/0", "localhost"]);
        let script = lab.script("datagrams.py", include_str!("network/datagrams.py"));
        let send =
            |address: &'static str| ["/usr/bin/python3", &script, "send", address, "7002"].map(str::to_owned);
        for address in [PUBLIC, "127.0.0.1"] {
            let output = lab.plain(&send(address).each_ref().map(String::as_str)).output().unwrap();
            assert!(output.status.success(), "{}", text(&output));
            // Each way sends two.
            let to = format!("to {address}\n");
            assert_eq!(lab.heard().matches(&to).count(), 22, "{}", lab.heard());
        }
        std::fs::remove_file(lab.world.path("bin/heard")).unwrap();
        let output = lab.run(&send(PUBLIC).each_ref().map(String::as_str));
        let found = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{}", text(&output));
        let (connected, others): (Vec<&str>, Vec<&str>) =
            found.lines().partition(|line| line.contains("connected"));
        assert!(others.iter().all(|line| line.ends_with(": EACCES")) && others.len() == 8, "{found}");
        // They may look for a way to what they may connect to.
        assert!(connected.iter().all(|line| line.ends_with(": EDESTADDRREQ")), "{found}");
        let shown = text(&output);
        assert!(shown.contains(&format!("NetConnect {PUBLIC}:7002: denied by aegis:datagrams")), "{shown}");
        let output = lab.run(&send("127.0.0.1").each_ref().map(String::as_str));
        assert!(output.status.success(), "{}", text(&output));
        assert_eq!(lab.heard(), "");
        let entries = lab.world.entries("me");
        let sent = |call: &str, address: &str| {
            let is = |entry: &&Value| {
                let to = &entry["resource"];
                entry["call"] == call
                    && (&to["address"], &to["port"], &to["transport"])
                        == (&json!(address), &json!(7002), &json!("udp"))
            };
            let found: Vec<&Value> = entries.iter().filter(is).collect();
            let decided = |word: &str| found.iter().filter(|entry| entry["decision"] == word).count();
            (decided("allow"), decided("deny"))
        };
        // A call that is denied ends the way.
        assert_eq!(
            [sent("sendto", PUBLIC), sent("sendmsg", PUBLIC), sent("sendmmsg", PUBLIC)],
            [(0, 5), (0, 2), (0, 1)]
        );
        let own = ["sendto", "sendmsg", "sendmmsg"].map(|call| sent(call, "127.0.0.1"));
        assert_eq!(own, [(10, 0), (4, 0), (1, 0)]);
        assert_eq!((sent("connect", PUBLIC), sent("connect", "127.0.0.1")), ((0, 0), (3, 0)));
        assert_eq!(lab.world.verdict("me").0, 0);
    }
}

#[test]
fn the_sessions_own_programs_send_to_each_other() {
    const TALK: &str = "import socket
def udp():
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); one.settimeout(20)
    return one
server, client = udp(), udp()
server.bind(('0.0.0.0', 7003))
client.sendto(b'ask', ('127.0.0.1', 7003))
data, peer = server.recvfrom(9)
server.sendto(data + b'ed', peer)
print(client.recv(9), peer[1] != 0)";
    for who in everybody() {
        let lab = Lab::new(who, &["known.example"]);
        let (done, found) = python(&lab, TALK);
        assert!(done && found.contains("b'asked' True\n"), "{found}");
        let entries = lab.world.entries("me");
        let own = entries.iter().filter(|entry| entry["resource"]["transport"] == "udp");
        let own: Vec<Value> = own.map(|entry| json!([entry["call"], entry["policies"]])).collect();
        let expected = ["bind", "sendto", "sendto"].map(|call| json!([call, ["aegis:own-datagrams"]]));
        assert_eq!(own, expected);
        // It needs no policy.
        let output = lab.run_dry(&["/usr/bin/python3", "-c", TALK]);
        assert!(output.status.success() && text(&output).contains("b'asked' True\n"), "{}", text(&output));
        let entries = lab.world.entries("me");
        let sessions = entries.iter().filter(|entry| entry["kind"] == "session_start");
        for session in sessions.map(|entry| entry["session"].as_str().unwrap()) {
            let learned = lab.world.stdout(&["policy", "learn", session]);
            assert!(!learned.contains("7003") && !learned.contains("localhost"), "{learned}");
        }
    }
}

#[test]
fn a_peer_that_no_name_led_to_is_denied() {
    for who in everybody() {
        let lab = Lab::new(who, &["known.example"]);
        let program = format!(
            "import socket
def connect(address):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        try: return one.connect((address, 443)), one.getsockname()[0]
        except PermissionError: return 'denied'
print(connect('{PUBLIC}'), connect('8.8.8.8'), socket.gethostbyname('known.example'), connect('{PUBLIC}'), connect('10.7.7.7'))"
        );
        let (done, found) = python(&lab, &program);
        let expected = format!("denied denied {PUBLIC} (None, '{PUBLIC}') denied\n");
        assert!(done && found.contains(&expected), "{found}");
        let entries = lab.world.entries("me");
        let denied: Vec<&Value> = entries
            .iter()
            .filter(|entry| entry["resource"]["transport"] == "udp")
            .map(|entry| {
                assert_eq!(
                    (&entry["decision"], &entry["policies"]),
                    (&json!("deny"), &json!(["aegis:datagrams"]))
                );
                &entry["resource"]["address"]
            })
            .collect();
        assert_eq!(denied, [PUBLIC, "8.8.8.8", "10.7.7.7"]);
    }
}

#[test]
fn datagrams_whose_address_changes_reach_nobody_else() {
    let flips = flips();
    for who in everybody() {
        let lab = Lab::new(who, &["known.example"]);
        let program = lab.compiled("flip-datagram", include_str!("network/flip-datagram.c"), FLIPPING);
        let (outside, inside) = (format!("{PUBLIC}:7002"), "127.0.0.1:7002");
        for how in ["sendto", "sendmsg", "sendmmsg", "connect"] {
            let output = lab.run(&[&program, how, &flips.to_string(), "127.0.0.53:53", &outside, inside]);
            assert!(output.status.success(), "{}", text(&output));
            let counts: Value = serde_json::from_slice(&output.stdout).unwrap();
            println!("{who:?} {how}: {counts}");
            assert_eq!(lab.heard(), "", "{how}: {counts}");
            let count = |name: &str| usize::try_from(counts[name].as_u64().unwrap()).unwrap();
            assert_eq!(count("done") + count("denied") + count("no_way"), flips, "{counts}");
            assert!(count("done") > flips / 20 && count("denied") > flips / 20, "it was no race: {counts}");
        }
        assert!(lab.queries().is_empty());
        assert_eq!(lab.world.verdict("me").0, 0);
    }
}

#[test]
fn addresses_are_in_the_order_that_they_have_without() {
    const ORDER: &str = "import socket
for name in ('known.example', 'localhost'):
    print([one[4][0] for one in socket.getaddrinfo(name, 8080, type=socket.SOCK_STREAM)])
def source(family, address):
    with socket.socket(family, socket.SOCK_DGRAM) as one:
        try: one.connect((address, 9))
        except OSError as error: return error.errno
        return one.getsockname()[0]
print(source(socket.AF_INET, PUBLIC), source(socket.AF_INET6, PUBLIC6), source(socket.AF_INET6, '::ffff:' + PUBLIC))";
    for who in everybody() {
        for six in [true, false] {
            let lab = Lab { six, ..Lab::new(who, &["known.example:8080"]) };
            let program =
                ORDER.replace("PUBLIC6", &format!("'{PUBLIC6}'")).replace("PUBLIC", &format!("'{PUBLIC}'"));
            let fetch = lab.compiled("fetch", include_str!("network/fetch.c"), MUSL);
            let with_glibc = ["/usr/bin/python3", "-c", &program];
            for command in [&with_glibc[..], &[&fetch, "known.example"]] {
                let plain = lab.plain(command).output().unwrap();
                assert!(plain.status.success(), "{}", text(&plain));
                let run = lab.run(command);
                let lines = |output: &Output| String::from_utf8_lossy(&output.stdout).into_owned();
                assert_eq!(lines(&plain), lines(&run), "{who:?} {six}: {}", text(&run));
                let first = if six { PUBLIC6 } else { PUBLIC };
                let order = lines(&plain).find(PUBLIC).cmp(&lines(&plain).find(PUBLIC6));
                assert_eq!(order.is_lt(), first == PUBLIC, "{}", text(&plain));
            }
        }
    }
}

#[test]
fn without_namespaces_datagrams_are_refused_and_names_are_found() {
    for who in everybody() {
        for lacks in [&["namespaces"][..], &["docker"]] {
            let lab = Lab { lacks, ..Lab::new(who, &["known.example"]) };
            let program = "import socket
try: socket.socket(socket.AF_INET, socket.SOCK_DGRAM); print('opened')
except PermissionError: print('refused')
print(socket.gethostbyname('known.example'))";
            let (done, found) = python(&lab, program);
            assert!(done && found.contains(&format!("refused\n{PUBLIC}\n")), "{found}");
            assert!(
                found.contains("and datagrams (UDP) are refused (") && found.contains("no network namespace"),
                "{found}"
            );
            let entries = lab.world.entries("me");
            assert!(entries.iter().any(|entry| entry["kind"] == "refusal" && entry["call"] == "socket"));
        }
    }
}

#[test]
fn a_socket_for_datagrams_is_not_handed_down() {
    for who in everybody() {
        let world = World::new(who);
        world.stdout(&["init", "me", "--dir", world.work().to_str().unwrap()]);
        let cat = |input: Stdio| {
            world.aegis(&["run", "--config", "me", "--", "cat"]).stdin(input).output().unwrap()
        };
        let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let output = cat(Stdio::from(OwnedFd::from(udp)));
        assert_eq!(output.status.code(), Some(125), "{}", text(&output));
        assert!(text(&output).contains("standard input is a socket by which"), "{}", text(&output));
        let (mut here, there) = std::os::unix::net::UnixStream::pair().unwrap();
        here.write_all(b"by a stream").unwrap();
        drop(here);
        let output = cat(Stdio::from(OwnedFd::from(there)));
        assert_eq!(output.stdout, b"by a stream", "{}", text(&output));
    }
}
