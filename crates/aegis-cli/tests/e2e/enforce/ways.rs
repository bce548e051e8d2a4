//! What a confined program finds around it, and how it ends.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use super::{World, ends_with, everybody, expect, run_with, text, until, work, write};

#[test]
fn neither_descriptors_nor_secrets_are_handed_down() {
    for who in everybody() {
        let world = World::new(who);
        let secret = world.path("secret");
        write(&world, &secret, "secret");
        let inner = "ls /proc/self/fd; env; stat -c 'mode %a' \"$TMPDIR\"; echo x > \"$TMPDIR/x\"; cat \"$TMPDIR/x\"; cat <&7";
        let file = world.path("all.cedar");
        write(&world, &file, "permit (principal, action, resource);");
        let outer = "exec 7<\"$0\" 8>>\"$0\" 9<.; exec \"$1\" run --quiet --config fds --policy \"$2\" -- sh -c \"$3\"";
        let output = world
            .command("sh")
            .args(["-c", outer])
            .args([&secret, &world.path("bin/aegis"), &file])
            .arg(inner)
            .env("AWS_SECRET_ACCESS_KEY", "hunter2")
            .env("ANTHROPIC_API_KEY", "hunter2")
            .env("SSH_AUTH_SOCK", "/hunter2")
            .env("LD_PRELOAD", "/hunter2.so")
            .env("LD_LIBRARY_PATH", "/hunter2")
            .env("BASH_ENV", "/hunter2")
            .env("ENV", "/hunter2")
            .env("PYTHONPATH", "/hunter2")
            .env("TZ", "Europe/Berlin")
            .output()
            .unwrap();
        let shown = String::from_utf8(output.stdout.clone()).unwrap();
        let lines: Vec<&str> = shown.lines().collect();
        // Those of a program, and that of the directory it lists.
        assert_eq!(lines[..4], ["0", "1", "2", "3"], "{who:?}: {}", text(&output));
        assert!(!lines[4].chars().all(|letter| letter.is_ascii_digit()), "{who:?}: {shown}");
        assert!(!shown.contains("hunter2") && !shown.contains("secret"), "{who:?}: {shown}");
        let variable = |name: &str| {
            lines.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).map(str::to_owned)
        };
        assert_eq!(variable("TZ").as_deref(), Some("Europe/Berlin"));
        assert_eq!(variable("HOME"), Some(world.path("user").display().to_string()));
        assert_eq!(variable("AEGIS_HOME"), None);
        let tmp = variable("TMPDIR").unwrap();
        assert!(tmp.starts_with(&format!("{}/aegis-", world.path("tmp").display())), "{who:?}: {tmp}");
        assert!(lines.contains(&"mode 700") && lines.contains(&"x"), "{who:?}: {shown}");
        until("the temporary directory is gone", || !std::path::Path::new(&tmp).exists());
    }
}

#[test]
fn programs_end_as_without() {
    for who in everybody() {
        let world = World::new(who);
        let policies = work(&world);
        let code = |command: &[&str]| {
            let output = run_with(&world, "ends", &policies, &[], command);
            (output.status.code().unwrap(), text(&output))
        };
        for wanted in [0, 1, 2, 63, 124, 125, 126, 127, 128, 129, 200, 254, 255] {
            let (code, shown) = code(&["sh", "-c", &format!("exit {wanted}")]);
            assert_eq!(code, wanted, "{who:?}: {shown}");
        }
        for signal in [1, 2, 6, 9, 11, 13, 15, 31] {
            let (code, shown) = code(&["sh", "-c", &format!("kill -{signal} $$")]);
            assert_eq!(code, 128 + signal, "{who:?}: {shown}");
        }
        write(&world, &world.work().join("plain"), "x");
        assert_eq!(code(&["./plain"]).0, 126);
        assert_eq!(code(&["./missing"]).0, 127);
        assert_eq!(code(&["no-such-program"]).0, 127);
        assert_eq!(code(&["/usr"]).0, 126);
        write(&world, &world.work().join("script"), "#!/nonexistent\n");
        std::fs::set_permissions(world.work().join("script"), std::fs::Permissions::from_mode(0o755))
            .unwrap();
        assert!([126, 127].contains(&code(&["./script"]).0));
    }
}

#[test]
fn what_can_not_be_enforced_does_not_start() {
    for who in everybody() {
        let world = World::new(who);
        let started = |output: std::process::Output, why: &str| {
            assert_eq!(output.status.code(), Some(125), "{who:?}: {}", text(&output));
            assert!(text(&output).contains(why), "{who:?}, {why}: {}", text(&output));
            assert!(!world.work().join("made").exists(), "{who:?}: {}", text(&output));
        };
        // Inside of another session, by its name or not.
        for word in ["run", "wrap"] {
            for home in ["", "AEGIS_HOME=$PWD/inner "] {
                let inner = format!("{home}{} {word} -- touch made", world.path("bin/aegis").display());
                started(
                    run_with(
                        &world,
                        "outer",
                        "permit (principal, action, resource);",
                        &[],
                        &["sh", "-c", &inner],
                    ),
                    "can't",
                );
            }
        }
        world.stdout(&["init", "none", "--dir", world.work().to_str().unwrap()]);
        let run = || world.aegis(&["run", "--config", "none", "--", "touch", "made"]).output().unwrap();
        let settings = world.home().join("none/aegis.toml");
        let before = std::fs::read_to_string(&settings).unwrap();
        for word in ["None", "Process"] {
            std::fs::write(&settings, format!("isolation = \"{word}\"\n{before}")).unwrap();
            started(run(), "isolation");
        }
        std::fs::write(&settings, before).unwrap();
        for entry in std::fs::read_dir(world.home().join("none/policies")).unwrap() {
            std::fs::remove_file(entry.unwrap().path()).unwrap();
        }
        started(run(), "no policies");
        write(&world, &world.home().join("none/policies/x.cedar"), "permit (principal");
        started(run(), "x.cedar");
    }
}

#[test]
fn input_and_output_go_through() {
    for who in everybody() {
        let world = World::new(who);
        let policies = work(&world);
        // More than any buffer holds, both ways.
        let many: Vec<u8> =
            (0..20_000_000_u32).map(|number| number.to_le_bytes()[usize::from(number as u8 % 3)]).collect();
        let file = world.path("pipe.cedar");
        write(&world, &file, &policies);
        let mut child = world
            .aegis(&[
                "run",
                "--quiet",
                "--config",
                "pipe",
                "--policy",
                file.to_str().unwrap(),
                "--",
                "sh",
                "-c",
                "cat | cat; exit 3",
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        let copy = many.clone();
        let writer = std::thread::spawn(move || input.write_all(&copy));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap().unwrap();
        assert!(output.stdout == many, "{who:?}: {} bytes", output.stdout.len());
        assert_eq!(output.status.code(), Some(3));
        // Files that no policy permits: they are open already.
        let (from, to) = (world.path("from"), world.path("to"));
        write(&world, &from, "through files\n");
        let status = world
            .aegis(&["run", "--quiet", "--config", "pipe", "--", "cat"])
            .stdin(std::fs::File::open(&from).unwrap())
            .stdout(std::fs::File::create(&to).unwrap())
            .status()
            .unwrap();
        assert!(status.success());
        assert_eq!(std::fs::read_to_string(to).unwrap(), "through files\n");
    }
}

#[test]
fn a_configuration_is_made_where_there_is_none() {
    for who in everybody() {
        let world = World::new(who);
        let run = || {
            world.aegis(&["run", "--", "sh", "-c", "echo x > made; echo y > ../user/made"]).output().unwrap()
        };
        let output = run();
        let told =
            |output: &std::process::Output| String::from_utf8_lossy(&output.stderr).contains("is made with");
        assert!(told(&output), "{who:?}: {}", text(&output));
        assert!(world.work().join("made").exists() && !world.path("user/made").exists(), "{}", text(&output));
        for file in ["aegis.toml", "policies/project.cedar", "policies/plants.cedar", "audit.db"] {
            assert!(world.home().join("sh").join(file).exists(), "{who:?}: {file}");
        }
        assert!(!told(&run()));
        assert_eq!(world.verdict("sh").0, 0);
    }
}

#[test]
fn nobody_holds_what_a_program_has_closed() {
    for who in everybody() {
        let world = World::new(who);
        // Each of these fails where another process still has the file or the socket.
        let script = "
import fcntl, shutil, subprocess
failed = []
for number in range(150):
    shutil.copy('/bin/true', 'program')
    os.chmod('program', 0o755)
    try:
        subprocess.run(['./program'], check=True)
    except OSError as error:
        failed.append(str(error))
    os.unlink('program')
    fd = os.open('lock', os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        failed.append(str(error))
    os.close(fd)
port = 0
for number in range(150):
    server = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        server.bind(('127.0.0.1', port))
    except OSError as error:
        failed.append(str(error))
    port = server.getsockname()[1]
    server.listen()
    server.close()
    # It is known by its whole path as soon as it is bound.
    try:
        local = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        local.bind('socket')
        local.listen()
    except OSError as error:
        failed.append(str(error))
    os.unlink('socket')
ends['failed'] = str(failed)";
        let policies = format!(
            "{}permit (principal, action == Aegis::Action::\"NetConnect\", resource) when {{ context.direction == \"listen\" }};",
            work(&world)
        );
        let ends = ends_with(&world, "closed", &policies, &[], script);
        expect(who, &ends, &[("failed", "[]")]);
    }
}

#[test]
fn a_32_bit_call_ends_the_program() {
    for who in everybody() {
        let world = World::new(who);
        // open("seen32", O_CREAT|O_WRONLY), by the calls of 32-bit x86 from a 64-bit program.
        let source = "int main(void){ int r; static char *p; p = \"seen32\";
            __asm__ volatile(\"int $0x80\" : \"=a\"(r) : \"0\"(5), \"b\"((unsigned long)p), \"c\"(0101), \"d\"(0644) : \"memory\");
            return 7; }";
        std::fs::write(world.work().join("x.c"), source).unwrap();
        let built = Command::new("cc")
            .args(["-static", "-no-pie", "-o", "x", "x.c"])
            .current_dir(world.work())
            .output()
            .unwrap();
        assert!(built.status.success(), "{}", text(&built));
        let output = run_with(&world, "x", "permit (principal, action, resource);", &[], &["./x"]);
        // By SIGSYS; by SIGSEGV where the kernel has no such calls.
        assert!(matches!(output.status.code(), Some(159 | 139)), "{who:?}: {}", text(&output));
        assert!(!world.work().join("seen32").exists());
    }
}
