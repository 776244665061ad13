"""Packs the program and an SDK into a wheel for pip and a tarball for npm.

Started by scripts/dist --packages. Standard library alone, Python 3.11 or newer. Each package
has the SDK and the command `turnkey`, which is the program itself: no interpreter is started
for it. The same files and the same Python give the same bytes, whenever they are packed.

Versions stand in Cargo.toml, sdk/python/pyproject.toml and sdk/javascript/package.json, and
must be the same. What a package says of machines is read from the program (ELF): a static one
runs with any C library, any other is said to be for systems like this one alone.
"""

import argparse
import base64
import gzip
import hashlib
import io
import json
import struct
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import NamedTuple, NoReturn

ROOT = Path(__file__).resolve().parent.parent
PYTHON = ROOT / "sdk" / "python"
JAVASCRIPT = ROOT / "sdk" / "javascript"
LICENSES = ["LICENSE-APACHE", "LICENSE-MIT"]
COMMAND = "turnkey"

# The first moment that a zip can name, and the one that npm gives to all files.
ZIP_TIME = (1980, 1, 1, 0, 0, 0)
TAR_TIME = 499_162_500

# e_machine of ELF: what Python calls the processor, and what Node.js does.
MACHINES = {62: ("x86_64", "x64"), 183: ("aarch64", "arm64")}
PT_INTERP = 3


class Machine(NamedTuple):
    """Where a program runs."""

    python: str
    node: str
    is_static: bool


class File(NamedTuple):
    """A file of a package."""

    name: str
    data: bytes
    is_program: bool = False


def die(text: str) -> NoReturn:
    sys.exit(f"scripts/packages.py: {text}")


def machine(program: Path, data: bytes) -> Machine:
    """Reads it from the program's head."""
    if data[:6] != b"\x7fELF\x02\x01":
        die(f"{program} is no program for a 64-bit Linux; build one with scripts/dist")
    (kind,) = struct.unpack_from("<H", data, 18)
    if kind not in MACHINES:
        die(f"{program} is for a processor that no package is made for (ELF machine {kind})")
    (table,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    segments = [struct.unpack_from("<I", data, table + n * size)[0] for n in range(count)]
    return Machine(*MACHINES[kind], is_static=PT_INTERP not in segments)


def tree(directory: Path, pattern: str = "**/*") -> list[Path]:
    """The files that belong to a package, in order."""
    files = [path for path in directory.glob(pattern) if path.is_file()]
    return sorted(path for path in files if "__pycache__" not in path.parts)


def readme(directory: Path) -> str:
    path = directory / "README.md"
    return path.read_text() if path.is_file() else ""


def entry_points(project: dict, files: list[File]) -> str:
    """entry_points.txt. Who names a module that is not there breaks what reads it."""
    names = {file.name for file in files}
    text = ""
    for group, entries in project.get("entry-points", {}).items():
        text += f"[{group}]\n"
        for name, target in entries.items():
            module = target.partition(":")[0].replace(".", "/")
            if not names & {f"{module}.py", f"{module}/__init__.py"}:
                die(f"sdk/python/pyproject.toml names {target}, and there is no such module")
            text += f"{name} = {target}\n"
        text += "\n"
    return text


def metadata(project: dict, text: str) -> str:
    """METADATA, of a version that every pip understands."""
    lines = [
        "Metadata-Version: 2.1",
        f"Name: {project['name']}",
        f"Version: {project['version']}",
        f"Summary: {project['description']}",
        f"License: {project['license']['text']}",
        *[f"License-File: {name}" for name in LICENSES],
        *[f"Classifier: {name}" for name in project["classifiers"]],
        f"Requires-Python: {project['requires-python']}",
    ]
    if text:
        lines.append("Description-Content-Type: text/markdown")
    return "\n".join(lines) + "\n" + (f"\n{text}" if text else "")


def wheel(program: bytes, on: Machine, project: dict, out: Path, level: int) -> Path:
    """The wheel: the module, and the command among its scripts."""
    name, version = project["name"], project["version"]
    if on.is_static:
        platforms = [f"manylinux_2_17_{on.python}", f"musllinux_1_1_{on.python}"]
    else:
        platforms = [f"linux_{on.python}"]
    source = PYTHON / "src"
    files = [File(path.relative_to(source).as_posix(), path.read_bytes()) for path in tree(source / name)]
    files.append(File(f"{name}-{version}.data/scripts/{COMMAND}", program, is_program=True))
    about = f"{name}-{version}.dist-info"
    tags = "".join(f"Tag: py3-none-{platform}\n" for platform in platforms)
    made_by = f"Wheel-Version: 1.0\nGenerator: turnkey ({version})\nRoot-Is-Purelib: false\n"
    texts = {
        "METADATA": metadata(project, readme(PYTHON)),
        "WHEEL": made_by + tags,
        "entry_points.txt": entry_points(project, files),
        **{f"licenses/{license}": (ROOT / license).read_text() for license in LICENSES},
    }
    files += [File(f"{about}/{file}", text.encode()) for file, text in texts.items() if text]
    record = f"{about}/RECORD"
    lines = []
    for file in files:
        digest = base64.urlsafe_b64encode(hashlib.sha256(file.data).digest()).rstrip(b"=")
        lines.append(f"{file.name},sha256={digest.decode()},{len(file.data)}\n")
    files.append(File(record, "".join([*lines, f"{record},,\n"]).encode()))
    path = out / f"{name}-{version}-py3-none-{'.'.join(platforms)}.whl"
    with zipfile.ZipFile(path, "w") as package:
        for file in files:
            entry = zipfile.ZipInfo(file.name, ZIP_TIME)
            entry.external_attr = (0o100755 if file.is_program else 0o100644) << 16
            entry.create_system = 3
            package.writestr(entry, file.data, zipfile.ZIP_DEFLATED, level)
    return path


def tarball(program: bytes, on: Machine, manifest: dict, out: Path, level: int) -> Path:
    """The package for npm: the module with its types, and the command."""
    binary = f"bin/{COMMAND}"
    manifest = manifest | {
        "bin": {COMMAND: binary},
        "files": [*manifest["files"], "bin"],
        "os": ["linux"],
        "cpu": [on.node],
    }
    # The checkout's own tests are not in the package.
    manifest.pop("scripts", None)
    text = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
    files = [File("package.json", text.encode())]
    for name in manifest["files"][:-1]:
        found = tree(JAVASCRIPT, f"{name}/**/*" if (JAVASCRIPT / name).is_dir() else name)
        files += [File(path.relative_to(JAVASCRIPT).as_posix(), path.read_bytes()) for path in found]
    files += [File(name, (ROOT / name).read_bytes()) for name in LICENSES]
    if words := readme(JAVASCRIPT):
        files.append(File("README.md", words.encode()))
    files.append(File(binary, program, is_program=True))
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.USTAR_FORMAT) as package:
        for file in files:
            entry = tarfile.TarInfo(f"package/{file.name}")
            entry.size = len(file.data)
            entry.mode = 0o755 if file.is_program else 0o644
            entry.mtime = TAR_TIME
            package.addfile(entry, io.BytesIO(file.data))
    path = out / f"{manifest['name']}-{manifest['version']}.tgz"
    # Without a name, as the stream has none: nothing of this machine is in it.
    path.write_bytes(gzip.compress(archive.getvalue(), level, mtime=0))
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description="Packs the program and the SDKs for pip and npm.")
    parser.add_argument("--program", type=Path, required=True, help="the program; a static one runs everywhere")
    parser.add_argument("--out", type=Path, required=True, help="where the packages are written")
    parser.add_argument("--fast", action="store_true", help="pack less tightly, for a try")
    arguments = parser.parse_args()
    level = 1 if arguments.fast else 9
    project = tomllib.loads((PYTHON / "pyproject.toml").read_text())["project"]
    manifest = json.loads((JAVASCRIPT / "package.json").read_text())
    workspace = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]
    versions = {workspace["version"], project["version"], manifest["version"]}
    if len(versions) > 1:
        die(f"Cargo.toml, sdk/python/pyproject.toml and sdk/javascript/package.json have different versions: {', '.join(sorted(versions))}")
    try:
        program = arguments.program.read_bytes()
    except OSError as error:
        die(f"cannot read {arguments.program}: {error.strerror}; build it with scripts/dist")
    on = machine(arguments.program, program)
    if not on.is_static:
        print(f"warning: {arguments.program} is not static: the packages are for systems like this one", file=sys.stderr)
    arguments.out.mkdir(parents=True, exist_ok=True)
    for path in [
        wheel(program, on, project, arguments.out, level),
        tarball(program, on, manifest, arguments.out, level),
    ]:
        print(path)


if __name__ == "__main__":
    main()
