//! `without THING... -- CMD`: executes a command on a system that seems to lack something, for tests of what is done
//! without it. What is refused is refused by a seccomp filter of the kind that container engines put on their
//! processes; it holds for everything that the command starts.
//!
//! | THING | what is refused |
//! |---|---|
//! | `namespaces` | making any namespace, as with `user.max_user_namespaces=0` or in a container |
//! | `networks` | making a network namespace, as with `user.max_net_namespaces=0` |
//! | `mounts` | mounting anything within one: Ubuntu's AppArmor lets a namespace be made and nothing be done with it |
//! | `docker` | what Docker's default profile refuses without CAP_SYS_ADMIN |
//! | `landlock` | Landlock, as on a kernel that has it switched off |

mod raw;

use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use raw::{Refusal, refuse};

/// Every `CLONE_NEW*` flag that `clone(2)` takes.
const NAMESPACES: u32 = 0x7e02_0000;

/// `CLONE_NEWNET` among them.
const NETWORK: u32 = 0x4000_0000;

const MOUNTS: &[libc::c_long] = &[
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_mount_setattr,
];

/// What the profile's list of permitted calls leaves out (moby, `profiles/seccomp/default.json`).
const DOCKER: &[libc::c_long] = &[
    libc::SYS_bpf,
    libc::SYS_fanotify_init,
    libc::SYS_perf_event_open,
    libc::SYS_quotactl,
    libc::SYS_setdomainname,
    libc::SYS_sethostname,
    libc::SYS_setns,
    libc::SYS_syslog,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_userfaultfd,
    libc::SYS_open_by_handle_at,
    libc::SYS_acct,
];

const LANDLOCK: &[libc::c_long] =
    &[libc::SYS_landlock_create_ruleset, libc::SYS_landlock_add_rule, libc::SYS_landlock_restrict_self];

fn refusals(thing: &str) -> Option<Vec<Refusal>> {
    let all = |calls: &[libc::c_long], errno: i32| -> Vec<Refusal> {
        calls.iter().map(|call| Refusal { call: *call, flags: None, errno }).collect()
    };
    let making = |flags: u32, errno: i32| {
        vec![
            Refusal { call: libc::SYS_clone, flags: Some(flags), errno },
            Refusal { call: libc::SYS_unshare, flags: Some(flags), errno },
            // Its flags are in memory.
            Refusal { call: libc::SYS_clone3, flags: None, errno: libc::ENOSYS },
        ]
    };
    Some(match thing {
        "namespaces" => making(NAMESPACES, libc::ENOSPC),
        "networks" => making(NETWORK, libc::ENOSPC),
        "mounts" => all(MOUNTS, libc::EACCES),
        "docker" => {
            [making(NAMESPACES, libc::EPERM), all(MOUNTS, libc::EPERM), all(DOCKER, libc::EPERM)].concat()
        }
        "landlock" => all(LANDLOCK, libc::EOPNOTSUPP),
        _ => return None,
    })
}

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let Some(end) = arguments.iter().position(|argument| argument == "--") else {
        return fail("usage: without THING... -- CMD");
    };
    let (things, command) = arguments.split_at(end);
    let mut all = Vec::new();
    for thing in things {
        match thing.to_str().and_then(refusals) {
            Some(refusals) => all.extend(refusals),
            None => return fail(&format!("without: {} is nothing known", thing.display())),
        }
    }
    let [_, program, rest @ ..] = command else { return fail("without: no command") };
    if let Err(error) = refuse(&all) {
        return fail(&format!("without: the filter can't be installed: {error}"));
    }
    #[expect(clippy::disallowed_methods, reason = "this program is for tests and becomes another")]
    let error = Command::new(program).args(rest).exec();
    fail(&format!("without: {} can't be executed: {error}", program.display()))
}

#[expect(clippy::print_stderr, reason = "a program of tests that says why it failed")]
fn fail(why: &str) -> ExitCode {
    eprintln!("{why}");
    ExitCode::from(2)
}
