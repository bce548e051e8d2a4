"""Makes registries of packages as files, each with one package: of pip in `simple`, of npm in `npm`, of Cargo in `cargo`.

registries.py FOLDER URL: URL is where FOLDER will be served.
"""

import hashlib
import io
import json
import os
import sys
import tarfile
import zipfile

folder, url = sys.argv[1:]


def put(name, data):
    path = os.path.join(folder, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data if isinstance(data, bytes) else data.encode())


def packed(files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    return out.getvalue()


# Simple repository API and wheels (packaging.python.org).
wheel = "demo-1.0-py3-none-any.whl"
out = io.BytesIO()
with zipfile.ZipFile(out, "w") as archive:
    info = "demo-1.0.dist-info/"
    archive.writestr("demo.py", "print('from pip')\n")
    archive.writestr(info + "METADATA", "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n")
    archive.writestr(info + "WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    archive.writestr(info + "RECORD", "".join(n + ",,\n" for n in archive.namelist() + [info + "RECORD"]))
put("files/" + wheel, out.getvalue())
put("simple/demo/index.html", f'<!DOCTYPE html><html><body><a href="{url}/files/{wheel}">{wheel}</a></body></html>')

# Package metadata (docs.npmjs.com).
package = {"name": "demo", "version": "1.0.0", "main": "demo.js"}
tarball = packed({"package/package.json": json.dumps(package), "package/demo.js": "console.log('from npm')\n"})
put("files/demo-1.0.0.tgz", tarball)
dist = {"tarball": f"{url}/files/demo-1.0.0.tgz", "shasum": hashlib.sha1(tarball).hexdigest()}
document = {"name": "demo", "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": {**package, "dist": dist}}}
put("npm/demo", json.dumps(document))

# Sparse index (The Cargo Book, "Registry Index").
crate = packed({
    "demo-1.0.0/Cargo.toml": '[package]\nname = "demo"\nversion = "1.0.0"\nedition = "2021"\n',
    "demo-1.0.0/src/lib.rs": 'pub fn demo() { println!("from cargo") }\n',
})
put("files/demo-1.0.0.crate", crate)
put("cargo/config.json", json.dumps({"dl": url + "/files/{crate}-{version}.crate"}))
line = {"name": "demo", "vers": "1.0.0", "deps": [], "cksum": hashlib.sha256(crate).hexdigest(), "features": {}}
put("cargo/de/mo/demo", json.dumps({**line, "yanked": False}))
