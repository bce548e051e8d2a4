"""Does known things to files and programs and says what they were, to be compared with what was recorded.

  truth.py WORK ROUNDS

Runs inside the sandbox, in a directory that it may do everything in. Prints one JSON line for each act:
{"action": ..., "path": ..., "outcome": "ok" or the name of an errno}, in the words of the ledger's entries. Every name is
used once, so that each act has an entry of its own.
"""
import errno
import json
import os
import subprocess
import sys


def main():
    work, rounds = os.path.realpath(sys.argv[1]), int(sys.argv[2])
    os.chdir(work)

    def tell(action, path, call):
        try:
            call()
            outcome = "ok"
        except OSError as error:
            outcome = errno.errorcode.get(error.errno, "EOTHER")
        line = {"action": action, "path": os.path.join(work, path), "outcome": outcome}
        sys.stdout.write(json.dumps(line) + "\n")

    def write(path, flags):
        fd = os.open(path, flags | os.O_WRONLY, 0o644)
        os.write(fd, b"truth")
        os.close(fd)

    def read(path):
        os.close(os.open(path, os.O_RDONLY))

    os.symlink("linked-target", "linked")
    for n in range(rounds):
        new, moved, folder = f"new-{n}", f"moved-{n}", f"folder-{n}"
        tell("FileWrite", new, lambda: write(new, os.O_CREAT | os.O_EXCL))
        tell("FileRead", new, lambda: read(f"./{new}"))
        tell("DirCreate", folder, lambda: os.mkdir(folder))
        tell("DirList", folder, lambda: os.listdir(folder))
        tell("FileWrite", f"{folder}/a", lambda: write(f"{work}//{folder}/./a", os.O_CREAT))
        tell("FileDelete", new, lambda: os.rename(new, moved))
        tell("FileWrite", f"{folder}/b", lambda: os.link(moved, f"{folder}/b"))
        tell("FileWrite", f"{folder}/c", lambda: os.symlink("nowhere", f"{folder}/c"))
        tell("FileDelete", f"{folder}/c", lambda: os.unlink(f"{folder}/c"))
        tell("FileDelete", f"absent-{n}", lambda: os.unlink(f"absent-{n}"))
        tell("FileWrite", f"no-{n}/f", lambda: write(f"no-{n}/f", os.O_CREAT))
        tell("FileDelete", folder, lambda: os.rmdir(folder))
        tell("FileDelete", f"{folder}/a", lambda: os.unlink(os.path.join("..", os.path.basename(work), folder, "a")))
        if n % 10 == 0:
            tell("ProcessSpawn", "/usr/bin/true", lambda: subprocess.run(["/usr/bin/true"], check=True))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
