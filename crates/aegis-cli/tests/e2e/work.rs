//! Real work under the policies of `project`: it does in `aegis run` what it does without, and nothing is denied that
//! the template permits.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::{Who, World, everybody, kill, marked, text, until};
use crate::terminal::Terminal;

/// Where programs are: not in the tests' own PATH, which may name folders of another user's home.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// The name of the configuration.
const NAME: &str = "me";

/// A world with the configuration.
fn made(who: Who) -> World {
    let world = World::new(who);
    let made = plain(&world, world.path("bin/aegis"))
        .args(["init", NAME, "--policy", "project", "--dir"])
        .arg(world.work())
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", text(&made));
    world
}

fn plain(world: &World, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = world.command(program);
    command.env("PATH", format!("{}/bin:{PATH}", toolchain_of(world).display()));
    command.env("RUSTUP_HOME", world.path("rustup")).env("CARGO_HOME", world.path("user/cargo"));
    command.env("npm_config_cache", world.path("tmp/npm")).env("SHELL", "/bin/bash");
    command
}

pub(crate) fn toolchain_of(world: &World) -> PathBuf {
    world.path("rustup/toolchains/here")
}

fn run(world: &World, program: &[&str]) -> Command {
    let mut command = plain(world, world.path("bin/aegis"));
    command.args(["run", "--config", NAME, "--"]).args(program);
    command
}

/// What was denied, each as its action and what it was on, but for what was not there: the program was told so.
fn denied(world: &World) -> Vec<String> {
    let entries = world.stdout(&["audit", "query", NAME, "--decision", "deny", "--json"]);
    let entries = entries.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let entries = entries.filter(|entry| entry["outcome"] != "missing");
    let on = |resource: &Value| {
        let name = ["path", "exe", "unix", "host"].into_iter().find_map(|key| resource[key].as_str());
        name.map_or_else(|| resource.to_string(), str::to_owned)
    };
    entries.map(|entry| format!("{} {}", entry["action"].as_str().unwrap(), on(&entry["resource"]))).collect()
}

/// Everything below a folder: its name, kind, mode, owner and, of links, target.
fn listing(world: &World, folder: &Path) -> Vec<String> {
    let found = world
        .command("find")
        .args([".", "-printf", "%P %y %m %U %l\\n"])
        .current_dir(folder)
        .output()
        .unwrap();
    let mut lines: Vec<String> = String::from_utf8_lossy(&found.stdout).lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// Runs a script without `aegis` and in `aegis run`, each in a folder of this name; it must succeed both times, print
/// the same and leave the same files. Nothing is denied but what starts with one of `but`.
fn alike(world: &World, script: &str, but: &[&str]) {
    let folder = world.work().join("folder");
    let mut both = Vec::new();
    for mut command in [plain(world, "bash"), run(world, &["bash"])] {
        assert!(world.command("mkdir").arg(&folder).status().unwrap().success());
        let output = command.args(["-e", "-c", script]).current_dir(&folder).output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        both.push((String::from_utf8_lossy(&output.stdout).into_owned(), listing(world, &folder)));
        std::fs::remove_dir_all(&folder).unwrap();
    }
    assert_eq!(both[0], both[1]);
    only_denied(world, but);
    assert_eq!(world.verdict(NAME).0, 0);
}

fn only_denied(world: &World, but: &[&str]) {
    let wrong: Vec<String> =
        denied(world).into_iter().filter(|what| !but.iter().any(|but| what.starts_with(but))).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Writes a file into the user's home.
fn in_home(world: &World, name: &str, content: &str) {
    let path = world.path("user").join(name);
    let script = "mkdir -p \"$(dirname \"$0\")\" && printf %s \"$1\" > \"$0\"";
    assert!(world.command("sh").args(["-c", script]).arg(path).arg(content).status().unwrap().success());
}

#[test]
fn git_works_with_the_users_name_and_without_their_secrets() {
    let script = "export GIT_AUTHOR_DATE=2020-01-01T00:00:00Z GIT_COMMITTER_DATE=2020-01-01T00:00:00Z
        git init -q a; cd a; echo one > f; mkdir d; echo x > d/g; chmod +x d/g; git add .; git commit -qm one; cd ..
        git clone -q a b; cd b; git checkout -q -b feature; echo two >> f; git commit -qam two
        git checkout -q main; echo y > other; git add other; git commit -qm other
        git merge -q --no-edit feature; git log --format='%H %an %ae %s'; git status --short
        touch x.ignored; git status --short; rm x.ignored
        echo dirty >> f; git stash -q; git status --short; git stash list; git stash pop -q; git checkout -q f
        git checkout -q -b topic HEAD~1; echo z > z; git add z; git commit -qm z; git rebase -q main
        git worktree add -q ../tree -b other-tree; (cd ../tree; echo w > w; git add w; git commit -qm w)
        git worktree list | wc -l; git worktree remove ../tree
        git push -q origin topic:pushed; git -C ../a branch; git clone -q --bare . ../bare.git
        git tag -a v1 -m v1; git config local.key value; git gc -q; git fsck --full --strict 2>/dev/null
        rm .git/index; git reset -q --hard; git status --short; git log --oneline --all | sort";
    for who in everybody() {
        let world = made(who);
        // Git ends where it can't read a settings file that is there.
        let settings = "[user]\n\tname = N\n\temail = n@example.com\n[init]\n\tdefaultBranch = main\n\
                        [http]\n\textraHeader = secret\n[core]\n\tpager = /nowhere\n";
        in_home(&world, ".gitconfig", settings);
        in_home(&world, ".config/git/config", "[pull]\n\tff = only\n");
        in_home(&world, ".config/git/ignore", "*.ignored\n");
        in_home(&world, ".config/git/attributes", "*.x text\n");
        alike(&world, script, &[]);
        let output = run(&world, &["git", "config", "--list", "--global"]).output().unwrap();
        let found = text(&output);
        assert!(output.status.success() && found.contains("user.name=N\n"), "{found}");
        assert!(found.contains("pull.ff=only\n"), "{found}");
        assert!(!found.contains("secret") && !found.contains("/nowhere"), "{found}");
        // What is set goes with the session.
        let set = "git config --global a.b c && git config a.b";
        let output = run(&world, &["sh", "-c", set]).output().unwrap();
        assert_eq!(&output.stdout[..], b"c\n", "{}", text(&output));
        assert!(!std::fs::read_to_string(world.path("user/.gitconfig")).unwrap().contains("[a]"));
    }
}

#[test]
fn a_session_sees_its_own_processes_and_no_others() {
    let script = "sleep 60 & other=$!; cat /proc/$other/comm; cut -d' ' -f2 /proc/$other/stat
        tr '\\0' ' ' < /proc/$other/cmdline; echo; ls /proc | grep -cx $other
        cat /proc/$other/environ > /dev/null 2>&1 && echo read
        cat /proc/$OUTSIDE/stat > /dev/null 2>&1 && echo others
        kill $other";
    for who in everybody() {
        let world = made(who);
        for lacking in [&[][..], &["namespaces"][..]] {
            let mut command = plain(&world, world.path("bin/without"));
            command
                .args(lacking)
                .arg("--")
                .arg(world.path("bin/aegis"))
                .args(["run", "--quiet", "--config", NAME]);
            let script = script.replace("$OUTSIDE", &std::process::id().to_string());
            let output = command.args(["--", "sh", "-c", &script]).output().unwrap();
            let shown = String::from_utf8_lossy(&output.stdout).into_owned();
            assert_eq!(shown, "sleep\n(sleep)\nsleep 60 \n1\n", "{who:?} {lacking:?}: {}", text(&output));
        }
        let denied = denied(&world);
        assert_eq!(denied.iter().filter(|on| on.ends_with("/environ")).count(), 2, "{denied:?}");
        assert!(denied.contains(&format!("FileRead /proc/{}/stat", std::process::id())), "{denied:?}");
    }
}

/// Puts what a build needs of the tests' own toolchain where every user can read it.
pub(crate) fn lend_toolchain(world: &World) {
    let sysroot = Command::new("rustc").args(["--print", "sysroot"]).output().unwrap();
    let sysroot = PathBuf::from(String::from_utf8(sysroot.stdout).unwrap().trim());
    let to = toolchain_of(world);
    for program in ["cargo", "rustc", "rustdoc"] {
        lend(&sysroot.join("bin").join(program), &to.join("bin").join(program));
    }
    for entry in std::fs::read_dir(sysroot.join("lib")).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_file() {
            lend(&entry.path(), &to.join("lib").join(entry.file_name()));
        }
    }
    for target in std::fs::read_dir(sysroot.join("lib/rustlib")).unwrap().map(Result::unwrap) {
        if target.file_name().to_string_lossy().starts_with(std::env::consts::ARCH) {
            lend(&target.path(), &to.join("lib/rustlib").join(target.file_name()));
        }
    }
}

/// Makes a file, or a folder with all that is in it, have another name.
fn lend(from: &Path, to: &Path) {
    if from.is_dir() {
        for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
            lend(&entry.path(), &to.join(entry.file_name()));
        }
        return;
    }
    std::fs::create_dir_all(to.parent().unwrap()).unwrap();
    std::fs::hard_link(from, to).or_else(|_| std::fs::copy(from, to).map(drop)).unwrap();
}

#[test]
fn a_crate_is_built_and_tested_with_a_cache_of_the_configurations_own() {
    let script = "mkdir src; printf '[package]\\nname=\"p\"\\nversion=\"0.1.0\"\\nedition=\"2021\"\\n' > Cargo.toml
        echo 'fn main(){println!(\"built {}\", p::f())}' > src/main.rs
        printf '/// ```\\n/// assert_eq!(p::f(),3)\\n/// ```\\npub fn f()->i32{3}\\n#[test] fn t(){let at=std::env::temp_dir().join(\"t\"); std::fs::write(&at,\"y\").unwrap(); \
        std::fs::remove_file(at).unwrap(); assert_eq!(f(),3)}' > src/lib.rs
        cargo build -q --offline; ./target/debug/p; cargo test -q --offline | grep -o 'test result: ok. . passed'
        touch src/main.rs; cargo build --offline 2>&1 | grep -c Compiling; cargo build --offline 2>&1 | grep -c Compiling || true
        rm -r target";
    for who in everybody() {
        let world = World::new(who);
        lend_toolchain(&world);
        let init = plain(&world, world.path("bin/aegis"))
            .args(["init", NAME, "--tool", "rust", "--dir"])
            .arg(world.work())
            .output();
        let init = init.unwrap();
        assert!(text(&init).contains("rustup"), "{}", text(&init));
        in_home(&world, "cargo/config.toml", "[net]\noffline = true\n");
        alike(&world, script, &[]);
        assert!(world.home().join("me/sandbox/cache/cargo/.package-cache").exists());
    }
}

#[test]
fn settings_of_cargo_above_the_project_are_read_where_they_hold_no_secret() {
    for who in everybody() {
        for (settings, is_read) in
            [("[build]\ntarget-dir = 'p/named'\n", true), ("[registries.x]\ntoken = 'xyz'\n", false)]
        {
            let world = World::new(who);
            lend_toolchain(&world);
            in_home(&world, ".cargo/config.toml", settings);
            in_home(&world, ".cargo/credentials.toml", "[registry]\ntoken = 'xyz'\n");
            in_home(&world, "p/Cargo.toml", "[package]\nname='p'\nversion='0.1.0'\nedition='2021'\n");
            in_home(&world, "p/src/lib.rs", "");
            let project = world.path("user/p");
            let init =
                plain(&world, world.path("bin/aegis")).args(["init", NAME, "--dir"]).arg(&project).output();
            assert!(init.unwrap().status.success());
            let script =
                "cargo build -q --offline; echo code $?; ls ../.cargo; cat ../.cargo/credentials.toml";
            let output = run(&world, &["sh", "-c", script]).current_dir(&project).output().unwrap();
            let found = text(&output);
            assert!(found.contains("code 0") && !found.contains("xyz"), "{found}");
            assert_eq!(project.join("named/debug").exists(), is_read, "{found}");
        }
    }
}

#[test]
fn a_package_is_installed_from_a_tarball() {
    let script = r#"mkdir pkg app; cd pkg
        printf '{"name":"pkg","version":"1.0.0","bin":{"pkgbin":"b.js"},"scripts":{"postinstall":"echo post > post.txt"}}' > package.json
        printf '#!/usr/bin/env node\nconsole.log("bin", require("./i.js"))\n' > b.js; echo 'module.exports=42' > i.js
        npm pack --silent; mv pkg-1.0.0.tgz ..; cd ../app
        printf '{"name":"app","version":"1.0.0","scripts":{"hello":"node h.js && pkgbin"}}' > package.json
        echo 'console.log("hello", require("pkg/i.js"))' > h.js
        npm install --silent --no-audit --no-fund --offline ../pkg-1.0.0.tgz; cat node_modules/pkg/post.txt; npm run -s hello"#;
    for who in everybody() {
        let world = made(who);
        in_home(&world, ".npmrc", "//registry.npmjs.org/:_authToken=secret\n");
        let npmrc = format!("FileRead {}", world.path("user/.npmrc").display());
        // It looks for a newer version of itself.
        alike(&world, script, &[&npmrc, "NetConnect registry.npmjs.org"]);
        assert!(world.home().join("me/sandbox/cache/npm/_cacache").exists());
    }
}

#[test]
fn node_works_on_files_processes_and_sockets() {
    let script = r#"cat > n.js <<'E'
const fs=require('fs'),cp=require('child_process'),os=require('os'),path=require('path'),net=require('net');
fs.mkdirSync('a/b',{recursive:true});fs.writeFileSync('a/b/f','x');fs.appendFileSync('a/b/f','y');
fs.renameSync('a/b/f','a/g');fs.symlinkSync('g','a/l');fs.copyFileSync('a/g','a/h');fs.chmodSync('a/h',0o600);
fs.utimesSync('a/h',1,2);console.log(fs.readFileSync('a/l','utf8'),fs.statSync('a/h').mtimeMs);
console.log(cp.execSync('echo child').toString(),cp.spawnSync('node',['-e','process.exit(7)']).status);
const t=fs.mkdtempSync(path.join(os.tmpdir(),'n-'));fs.writeFileSync(t+'/x','1');fs.rmSync(t,{recursive:true});
const c=cp.fork('c.js');c.on('message',m=>{console.log('msg',m);c.disconnect()});
const w=fs.watch('.',()=>{w.close()});fs.writeFileSync('watched','');
const s=net.createServer(x=>x.end('served'));
s.listen('sock',()=>net.connect('sock').on('data',d=>{console.log(d.toString());s.close()}));
E
        echo 'process.send({a:1})' > c.js; node n.js | sort"#;
    for who in everybody() {
        let world = made(who);
        alike(&world, script, &[]);
    }
}

#[test]
fn a_python_environment_takes_a_wheel() {
    let script = r#"cat > make.py <<'E'
import zipfile
info = 'demo-1.0.dist-info/'
with zipfile.ZipFile('demo-1.0-py3-none-any.whl', 'w') as z:
    z.writestr('demo/__init__.py', 'def main():\n    print("demo runs")\n')
    z.writestr(info + 'METADATA', 'Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n')
    z.writestr(info + 'WHEEL', 'Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n')
    z.writestr(info + 'entry_points.txt', '[console_scripts]\ndemo = demo:main\n')
    z.writestr(info + 'RECORD', ''.join(n + ',,\n' for n in z.namelist() + [info + 'RECORD']))
E
        /usr/bin/python3 make.py; /usr/bin/python3 -m venv v
        v/bin/pip install -q --no-index --disable-pip-version-check demo-1.0-py3-none-any.whl; v/bin/demo
        v/bin/python -c 'import demo, sys; print(sys.prefix != sys.base_prefix)'"#;
    for who in everybody() {
        let world = made(who);
        // Pip ends where it can't list the user's packages, and Python looks for them where they are.
        let version = plain(&world, "/usr/bin/python3")
            .args(["-c", "import site; print(site.getusersitepackages())"])
            .output()
            .unwrap();
        let packages = String::from_utf8(version.stdout).unwrap();
        let packages = Path::new(packages.trim()).strip_prefix(world.path("user")).unwrap().to_owned();
        in_home(&world, packages.join("x.py").to_str().unwrap(), "");
        // Without Aegis it would take as long again and tell nothing.
        let output = run(&world, &["bash", "-e", "-c", script]).output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        assert_eq!(&output.stdout[..], b"demo runs\nTrue\n", "{}", text(&output));
        let listed = run(&world, &["/usr/bin/python3", "-m", "pip", "list", "--disable-pip-version-check"]);
        let output = { listed }.output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        only_denied(&world, &[]);
    }
}

#[test]
fn programs_are_made_linked_and_run() {
    let script = "printf 'all: p\\np: m.o n.o\\n\\t$(CC) -o $@ $^\\n%%.o: %%.c\\n\\t$(CC) -c -o $@ $<\\nclean:\\n\\trm -f *.o p\\n' > Makefile
        echo 'int f(void); int main(void){return f();}' > m.c; echo 'int f(void){return 0;}' > n.c
        make -s -j2; ./p; make -q && echo made; touch -d '+1 min' n.c; make -n | wc -l; make -s 2>/dev/null
        printf '#include <stdio.h>\\nint main(void){puts(\"hi\");return 3;}' > h.c
        gcc -O2 -g -Wall -o h h.c; ./h || echo $?; gcc -pipe -c h.c; ar rcs l.a h.o; gcc -shared -fPIC -o libx.so n.c
        gcc -static -o st h.c; ./st || echo $?; strip h; ./h || true; make -s clean";
    for who in everybody() {
        let world = made(who);
        alike(&world, script, &[]);
    }
}

#[test]
fn databases_are_shared_and_locked() {
    let script = r#"cat > s.py <<'E'
import os, sqlite3
c = sqlite3.connect('d.db'); print(c.execute('pragma journal_mode=wal').fetchone())
c.execute('create table t(x)'); c.commit(); c.close()
def write(k):
    d = sqlite3.connect('d.db', timeout=60)
    for i in range(10):
        with d: d.execute('insert into t values(?)', (k * 100 + i,))
pids = []
for k in range(3):
    pid = os.fork()
    if pid == 0: write(k); os._exit(0)
    pids.append(pid)
print([os.waitpid(pid, 0)[1] for pid in pids])
c = sqlite3.connect('d.db'); print(c.execute('select count(*), sum(x) from t').fetchone(), c.execute('pragma integrity_check').fetchone())
c.execute('begin exclusive'); d = sqlite3.connect('d.db', timeout=0)
try: d.execute('insert into t values(1)')
except sqlite3.OperationalError as e: print(e)
c.commit(); c.execute('pragma wal_checkpoint(truncate)'); c.execute('vacuum'); c.close(); d.close()
E
        /usr/bin/python3 s.py; sqlite3 d.db 'pragma journal_mode=delete; insert into t values (5); select count(*) from t;' .tables"#;
    for who in everybody() {
        let world = made(who);
        alike(&world, script, &[]);
    }
}

#[test]
fn editors_archivers_and_other_tools_work() {
    let script = r#"printf 'one\ntwo\n' > f; vim -u NONE -N -es -c '%s/one/three/' -c wq f; cat f
        ssh-keygen -q -t ed25519 -N '' -f key -C c; ssh-keygen -l -f key.pub | grep -c ED25519; rm key key.pub
        mkdir d; echo a > d/a; ln -s a d/l; ln d/a d/h; mkfifo d/p; touch -d 2001-02-03 d/a; chmod 640 d/a
        tar czf t.tgz d; rm -r d; tar xpzf t.tgz; stat -c '%n %a %h %Y' d/a d/h; gzip -k f; gunzip -c f.gz
        cp -a d e; stat -c '%a %h %Y' e/a; mv e g; install -m 755 f script; truncate -s 100 long
        echo old > x1; echo old > 'x 2'; find . -maxdepth 1 -name 'x*' -print0 | xargs -0 sed -i s/old/new/; cat x1 'x 2'
        perl -e 'open F,">pf"; print F "p\n"; close F; rename "pf","pg"; print `cat pg`; utime 1,2,"pg"; print((stat "pg")[9],"\n")'
        diff <(echo a) <(echo a) && echo same; exec 3<>rw; echo hi >&3; exec 3>&-; cat rw; umask 077; echo > own; stat -c %a own
        flock lock echo locked; (cat d/p &) ; echo through > d/p; split -l1 f; cat xaa; dd if=/dev/zero of=dd bs=1k count=4 2>/dev/null
        mktemp -d > /dev/null; (echo out > /dev/stdout) | cat; mkdir -p q/w; rmdir -p q/w; rm -r g; id -u"#;
    for who in everybody() {
        let world = made(who);
        // Vim keeps what it did in the home.
        let viminfo = ["FileRead", "FileWrite"]
            .map(|action| format!("{action} {}", world.path("user/.viminfo").display()));
        alike(&world, script, &viminfo.each_ref().map(String::as_str));
    }
}

#[test]
fn the_ends_of_a_fifo_meet_each_other() {
    let script = "mkfifo p; for n in 1 2 3 4 5 6 7 8 9 10; do (echo $n > p &); cat p; done
        for n in 1 2 3 4 5 6 7 8 9 10; do (cat p > got &); echo $n > p; until [ -s got ]; do :; done; cat got; rm got; done";
    for who in everybody() {
        let world = made(who);
        alike(&world, script, &[]);
    }
}

#[test]
fn a_shell_with_job_control_works() {
    for who in everybody() {
        let world = made(who);
        let aegis = world.path("bin/aegis");
        let shell = format!(
            "{} run --config me -- bash --norc --noprofile -i; echo code $?; exec sleep 1000",
            aegis.display()
        );
        let terminal = Terminal::new(&world, &shell);
        until("there is a prompt", || terminal.screen().contains("bash-"));
        terminal.line("PS1='> '; clear");
        terminal.shows(">");
        terminal.line("sleep 500");
        until("sleep runs in the foreground", || {
            world.stdout(&["log", NAME, "--last", "30"]).contains("sleep 500")
        });
        terminal.keys(&["C-z"]);
        until("it is stopped", || terminal.screen().contains("Stopped"));
        terminal.line("bg; jobs; fg");
        until("it runs again", || terminal.screen().contains("Running"));
        terminal.keys(&["C-c"]);
        terminal.line("echo interrupted=$?");
        terminal.shows("interrupted=130");
        terminal.line("cat & kill %1; wait %1; echo background=$?");
        until("it was ended", || terminal.screen().contains("background=1"));
        terminal.line("echo again > /dev/stderr; echo by-name > /dev/tty; stty size < $(tty) | sed 's/^2[34] 80/its size/'");
        terminal.shows("again");
        terminal.shows("by-name");
        terminal.shows("its size");
        terminal.line("exit 3");
        terminal.shows("code 3");
        let history = format!("FileWrite {}", world.path("user/.bash_history").display());
        only_denied(&world, &[&history]);
    }
}

#[test]
fn a_terminal_server_of_the_agents_own_works() {
    let script = "t() { tmux -S \"$TMPDIR/socket\" -f /dev/null \"$@\"; }
        t new-session -d -x 80 -y 20 'cat'; t send-keys marked Enter; t wait-for -S x; t wait-for x
        n=0; until [ \"$(t capture-pane -p | grep -c marked)\" = 2 ] || [ $n = 2000 ]; do n=$((n+1)); done
        t capture-pane -p | grep -c marked; t split-window -d cat; t list-panes | wc -l; t kill-server; echo $?
        mkdir s; export TMUX_TMPDIR=$PWD/s; tmux -L own -f /dev/null new-session -d cat; tmux -L own ls | wc -l
        tmux -L own kill-server; rm -r s";
    for who in everybody() {
        let world = made(who);
        // It looks at what runs in its panes, and would note itself in the list of who is logged in.
        alike(&world, script, &["FileRead /proc/", "FileRead /run/utmp", "FileWrite /run/utmp"]);
    }
}

#[test]
fn semaphores_and_shared_memory_of_the_sessions_own_work() {
    for who in everybody() {
        let world = made(who);
        let script = "
import multiprocessing, os
from multiprocessing import shared_memory
def work(number):
    return number * number
if __name__ == '__main__':
    with multiprocessing.Pool(2) as pool:
        assert pool.map(work, range(5)) == [0, 1, 4, 9, 16]
    block = shared_memory.SharedMemory(name='block', create=True, size=100)
    assert os.path.exists(os.environ['TMPDIR'] + '/block')
    block.close()
    block.unlink()
";
        std::fs::write(world.work().join("pool.py"), script).unwrap();
        let output = run(&world, &["/usr/bin/python3", "pool.py"]).output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        only_denied(&world, &[]);
        assert!(!Path::new("/dev/shm/block").exists());
    }
}

#[test]
fn a_denial_says_what_forbids_it_and_how_it_would_be_allowed() {
    let world = made(Who::Me);
    let outside = world.path("outside");
    std::fs::write(&outside, "x").unwrap();
    let script = format!(
        "mkdir -p .git/hooks; echo x > .git/hooks/pre-commit; cat {0}; cat {0}; echo x > .envrc; echo x > {1}",
        outside.display(),
        world.path("written").display()
    );
    let output = run(&world, &["sh", "-c", &script]).output().unwrap();
    let found = String::from_utf8_lossy(&output.stderr).into_owned();
    let work = world.work();
    let plants = world.home().join("me/policies/plants.cedar");
    let line_of = |id: &str| {
        let text = std::fs::read_to_string(&plants).unwrap();
        text.lines().position(|line| line.contains(&format!("@id(\"{id}\")"))).unwrap() + 1
    };
    let place = format!("{}:{}", plants.display(), line_of("git-hooks"));
    let session = world.entries(NAME)[1]["session"].as_str().unwrap().to_owned();
    for expected in [
        "  denied       5, 4 different things (aegis audit query me --session".to_owned(),
        format!(
            "    FileWrite {}/.git/hooks/pre-commit: denied by plants:git-hooks ({place})\n",
            work.display()
        ),
        format!("    FileRead {}: no policy permits it\n", outside.display()),
        format!(
            "    FileWrite {}/.envrc: denied by plants:editor-settings ({}:",
            work.display(),
            plants.display()
        ),
        "    and 1 more\n".to_owned(),
        format!("  to allow     aegis policy learn {session} --denied   (prints policies that permit it)\n"),
        format!("{place}   (the policy to change)\n"),
    ] {
        assert!(found.contains(&expected), "{expected}\n{found}");
    }
    // What it says is so.
    let learned = world.home().join("me/policies/learned.cedar");
    world.stdout(&["policy", "learn", &session, "--denied", "--output", learned.to_str().unwrap()]);
    let output = run(&world, &["sh", "-c", &script]).output().unwrap();
    let found = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(found.contains("  denied       2, 2 different things"), "{found}");
    assert!(world.path("written").exists() && !work.join(".envrc").exists());
}

/// The entries of the folder for temporary files that are a session's own.
fn leftovers(world: &World) -> Vec<String> {
    let entries = std::fs::read_dir(world.path("tmp")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("aegis-")).collect()
}

#[test]
fn the_sessions_own_temporary_directory_goes_with_it() {
    for who in everybody() {
        let world = made(who);
        std::fs::write(world.path("kept"), "x").unwrap();
        let script = format!(
            "mkdir -p \"$TMPDIR/a/b\"; echo x > \"$TMPDIR/a/b/c\"; ln -s {} \"$TMPDIR/l\"; ln -s / \"$TMPDIR/a/r\"; \
             stat -c %a \"$TMPDIR\"; echo \"$TMPDIR\"",
            world.path("").display()
        );
        let output = run(&world, &["sh", "-c", &script]).output().unwrap();
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let (mode, tmp) = printed.trim().split_once('\n').unwrap();
        assert_eq!(mode, "700");
        assert!(Path::new(tmp).starts_with(world.path("tmp")), "{}", text(&output));
        assert_eq!(leftovers(&world), [""; 0]);
        assert!(world.path("kept").exists(), "links are not followed");

        // Not before the last of its processes has ended.
        let script = "mkfifo $TMPDIR/fifo; (echo > $TMPDIR/started; read line < $TMPDIR/fifo) > /dev/null 2>&1 & \
                      until [ -e $TMPDIR/started ]; do :; done";
        let output = run(&world, &["sh", "-c", script]).output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        let left = leftovers(&world);
        assert_eq!(left.len(), 1, "{}", text(&output));
        let fifo = world.path("tmp").join(&left[0]).join("fifo");
        assert!(world.command("sh").args(["-c", "echo > $0"]).arg(&fifo).status().unwrap().success());
        until("it is gone", || leftovers(&world).is_empty());

        // Nor what was made for a session that did not start.
        let output = run(&world, &["./missing"]).output().unwrap();
        assert_eq!(output.status.code(), Some(127));
        std::fs::write(world.work().join("wrong"), "\x7fELF no program").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(world.work().join("wrong"), mode).unwrap();
        assert!(!run(&world, &["./wrong"]).output().unwrap().status.success());
        assert_eq!(leftovers(&world), [""; 0]);

        // A session that is given up.
        let marker = format!("AEGIS_TEST={}", world.path("").display());
        let mut front = run(&world, &["sh", "-c", "echo > $TMPDIR/started; exec sleep 1000"]);
        let mut front = front.env("AEGIS_TEST", world.path("")).spawn().unwrap();
        until("it runs", || {
            let left = leftovers(&world);
            left.first().is_some_and(|name| world.path("tmp").join(name).join("started").exists())
        });
        assert!(marked(&marker).contains(&front.id()));
        kill(front.id(), rustix::process::Signal::KILL);
        front.wait().unwrap();
        until("it is gone", || leftovers(&world).is_empty());
    }
}
