//! Interactive programs, in a terminal that tmux keeps: job control, full-screen programs, window size.

use crate::support::{Who, World, until};

/// A terminal of 80 by 24.
pub(crate) struct Terminal<'w> {
    world: &'w World,
    socket: String,
}

impl<'w> Terminal<'w> {
    pub(crate) fn new(world: &'w World, command: &str) -> Self {
        let terminal = Self { world, socket: world.path("tmux").to_str().unwrap().to_owned() };
        let started =
            terminal.tmux(&["-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", "24", command]);
        assert!(started.status.success(), "{}", crate::support::text(&started));
        terminal
    }

    fn tmux(&self, arguments: &[&str]) -> std::process::Output {
        self.world
            .command("tmux")
            .env("SHELL", "/bin/sh")
            .args(["-S", &self.socket])
            .args(arguments)
            .output()
            .unwrap()
    }

    pub(crate) fn keys(&self, keys: &[&str]) {
        assert!(self.tmux(&[&["send-keys"], keys].concat()).status.success());
    }

    pub(crate) fn line(&self, text: &str) {
        self.keys(&["-l", text]);
        self.keys(&["Enter"]);
    }

    pub(crate) fn screen(&self) -> String {
        String::from_utf8_lossy(&self.tmux(&["capture-pane", "-p"]).stdout).into_owned()
    }

    pub(crate) fn shows(&self, text: &str) {
        let mut last = String::new();
        until(&format!("the screen shows {text:?}"), || {
            last = self.screen();
            last.lines().any(|line| line.trim_end() == text)
        });
    }
}

impl Drop for Terminal<'_> {
    fn drop(&mut self) {
        drop(self.tmux(&["kill-server"]));
    }
}

#[test]
fn a_shell_with_job_control_works_as_without() {
    let world = World::new(Who::Me);
    let aegis = world.path("bin/aegis");
    let shell = format!(
        "PS1='> ' {} wrap --quiet --name bash -- bash --norc --noprofile -i; echo code $?; exec sleep 1000",
        aegis.display()
    );
    let terminal = Terminal::new(&world, &shell);
    terminal.shows(">");
    terminal.line("sleep 500");
    until("sleep runs in the foreground", || {
        world.stdout(&["log", "bash", "--last", "30"]).contains("sleep 500")
    });
    terminal.keys(&["C-z"]);
    until("it is stopped", || terminal.screen().contains("Stopped"));
    terminal.line("bg; jobs; fg");
    until("it runs again", || terminal.screen().contains("Running"));
    terminal.keys(&["C-c"]);
    terminal.line("echo interrupted=$?");
    terminal.shows("interrupted=130");
    terminal.line("exit 3");
    terminal.shows("code 3");
}

#[test]
fn stopping_the_front_by_the_terminal_gives_the_outer_shell_its_prompt() {
    let world = World::new(Who::Me);
    let terminal = Terminal::new(&world, "PS1='outer> ' exec bash --norc --noprofile -i");
    terminal.shows("outer>");
    terminal.line(&format!("{} wrap --quiet --name cat -- cat", world.path("bin/aegis").display()));
    until("cat runs", || {
        // What is typed before is not echoed.
        let log = world.aegis(&["log", "cat"]).output().unwrap();
        String::from_utf8_lossy(&log.stdout).contains("bin/cat [cat]")
    });
    terminal.line("hello");
    until("cat has answered", || terminal.screen().matches("hello").count() == 2);
    terminal.keys(&["C-z"]);
    until("the outer shell says so", || terminal.screen().contains("Stopped"));
    terminal.line("fg");
    terminal.line("again");
    until("cat has answered again", || terminal.screen().matches("again").count() == 2);
    terminal.keys(&["C-c"]);
    // What is typed before may be thrown away with what the key interrupts.
    until("the prompt is back", || terminal.screen().matches("outer>").count() == 3);
    terminal.line("echo code=$?");
    terminal.shows("code=130");
}

#[test]
fn a_full_screen_program_and_a_change_of_size_work() {
    let world = World::new(Who::Me);
    let aegis = world.path("bin/aegis");
    let command = format!(
        "{} wrap --quiet --name vim -- vim -u NONE -N note; echo code $?; exec sleep 1000",
        aegis.display()
    );
    let terminal = Terminal::new(&world, &command);
    until("vim is there", || terminal.screen().contains('~'));
    terminal.keys(&["i"]);
    terminal.keys(&["-l", "written under aegis"]);
    assert!(terminal.tmux(&["resize-window", "-x", "60", "-y", "15"]).status.success());
    until("vim has taken the new size", || {
        terminal.screen().lines().count() <= 15 && terminal.screen().contains("written under aegis")
    });
    terminal.keys(&["Escape"]);
    terminal.line(":wq");
    terminal.shows("code 0");
    assert_eq!(std::fs::read_to_string(world.work().join("note")).unwrap(), "written under aegis\n");
    let entries = world.entries("vim");
    assert!(!crate::support::on_path(&entries, "FileWrite", &world.work().join("note")).is_empty());
}

#[test]
fn a_mistake_in_an_edit_can_be_mended_at_once() {
    let world = World::new(Who::Me);
    assert!(world.wrap("x", &["true"]).status.success());
    // Makes a mistake at first, and takes it back when asked again.
    let script =
        "if grep -q nam2 $1; then sed -i /nam2/d $1; echo '# mended' >> $1; else echo 'nam2 = 1' >> $1; fi";
    let editor = world.path("editor");
    std::fs::write(&editor, script).unwrap();
    let edit =
        format!("EDITOR='sh {}' {} config edit x", editor.display(), world.path("bin/aegis").display());
    let terminal =
        Terminal::new(&world, &format!("{edit}; echo code $?; {edit}; echo then $?; exec sleep 1000"));
    let asks = |times: usize| {
        until("it asks", || terminal.screen().matches("edit again? [Y/n]").count() == times);
    };
    asks(1);
    assert!(terminal.screen().contains("nam2 = 1"), "{}", terminal.screen());
    terminal.line("n");
    until("it says so", || terminal.screen().contains("aegis: the settings were not changed"));
    terminal.shows("code 1");
    asks(2);
    terminal.line("");
    terminal.shows("changed: only comments and layout");
    terminal.shows("then 0");
    assert!(std::fs::read_to_string(world.home().join("x/aegis.toml")).unwrap().ends_with("# mended\n"));
}

#[test]
fn a_configuration_is_made_by_six_questions() {
    let world = World::new(Who::Me);
    let command = format!("{} init; echo code $?; exec sleep 1000", world.path("bin/aegis").display());
    let terminal = Terminal::new(&world, &command);
    let asked = |text: &str| until(&format!("it asks {text:?}"), || terminal.screen().contains(text));
    asked("Its name [work]:");
    terminal.line("run");
    asked("`run` is a name that the Aegis home uses itself");
    terminal.line("mine");
    asked("The directory that it works in");
    terminal.line("/nonexistent");
    asked("there is no directory /nonexistent");
    terminal.line("");
    asked("Its policies [project]:");
    terminal.line("projekt");
    asked("there is no template `projekt`");
    terminal.line("");
    asked("The agent and the packages that it works with");
    terminal.line("clude");
    asked("no tool `clude` is known");
    terminal.line("claude, node");
    asked("Hosts that it may connect to");
    terminal.line("https://a.example");
    asked("it is a URL");
    terminal.line("a.example:443, 10.0.0.0/8");
    asked("Make it the one");
    terminal.line("maybe");
    asked("yes or no");
    assert!(!world.home().join("mine").exists(), "nothing is made before the last answer");
    terminal.line("y");
    until("it is made", || terminal.screen().contains("code 0"));
    assert_eq!(world.stdout(&["use"]), "mine\n");
    let settings = std::fs::read_to_string(world.home().join("mine/aegis.toml")).unwrap();
    assert!(settings.contains("allowed_network = [\"a.example:443\", \"10.0.0.0/8\"]"), "{settings}");
    let listed = world.stdout(&["policy", "list"]);
    for id in ["project:directory", "tool-claude:state", "tool-node:hosts"] {
        assert!(listed.contains(id), "{id}: {listed}");
    }
}

#[test]
fn an_end_in_the_middle_of_the_questions_makes_nothing() {
    let world = World::new(Who::Me);
    let command = format!("{} init; echo code $?; exec sleep 1000", world.path("bin/aegis").display());
    let terminal = Terminal::new(&world, &command);
    until("it asks", || terminal.screen().contains("Its name [work]:"));
    terminal.line("");
    until("it asks on", || terminal.screen().contains("The directory"));
    terminal.keys(&["C-d"]);
    until("it ends", || terminal.screen().contains("code 1"));
    assert!(terminal.screen().contains("nothing was made"));
    assert!(!world.home().exists());
}
