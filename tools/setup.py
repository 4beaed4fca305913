#!/usr/bin/env python3
"""Sets up what the build needs: system packages, a recent cargo, and libtorch in build/venv.

    setup.py [system] [build] [cuda] [oracle] [lint] [fuzz] [report] [real] [picture]

`system` alone brings the system packages and cargo, and no libtorch: all that `pip install .` needs.
Only the standard library is used. Every step says what it does and how long it took; what is already
there is not done again. Exit code 1: something is missing that this program cannot or may not
install, and the message says what to do.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
VENV = BUILD / "venv"
PACKAGES = ROOT / "tools" / "packages.txt"
SECTIONS = ["build", "python", "fuzz", "report", "real", "picture"]  # of packages.txt
ORACLE_PYTHON = (3, 11)  # the oldest Python that the pinned torch wheel can be imported in
APT = ["-y", "--no-install-recommends", "-o", "Dpkg::Use-Pty=0"]


class SetupError(Exception):
    """Something only the user can put right; the message says how."""


def say(text):
    print(f"[setup] {text}", flush=True)


class Step:
    """Says what is done and, at the end, how long it took."""

    def __init__(self, what):
        self.what = what

    def __enter__(self):
        say(f"{self.what} ...")
        self.start = time.monotonic()
        return self

    def __exit__(self, kind, value, trace):
        seconds = time.monotonic() - self.start
        say(f"{self.what}: {'done' if kind is None else 'FAILED'} in {seconds:.1f} s")


def run(command, **options):
    """Runs a command with its output shown; returns its exit code."""
    return subprocess.run([str(part) for part in command], stdin=subprocess.DEVNULL,
                          **options).returncode


def output_of(command):
    """The standard output of a command, or "" where it fails or does not exist."""
    try:
        result = subprocess.run([str(part) for part in command], stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    except OSError:
        return ""
    return result.stdout if result.returncode == 0 else ""


def version_of(text):
    """The first version number in a text as a tuple, (0,) where there is none."""
    match = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    return tuple(int(part) for part in match.groups() if part) if match else (0,)


def dotted(version):
    return ".".join(str(part) for part in version)


# --- system packages and cargo ---------------------------------------------------------------------


def read_packages(sections):
    """The (package, check) pairs of some sections of packages.txt."""
    section, found = None, []
    for number, line in enumerate(PACKAGES.read_text().splitlines(), 1):
        line = line.split("#")[0].strip()
        if line.startswith("["):
            section = line.strip("[]")
        elif line:
            fields = line.split()
            if len(fields) != 2 or ":" not in fields[1]:
                raise SetupError(f"{PACKAGES}:{number}: expected PACKAGE CHECK, got '{line}'")
            if section in sections:
                found.append((fields[0], fields[1]))
    return found


def is_there(check):
    kind, _, name = check.partition(":")
    if kind == "command":
        return shutil.which(name) is not None
    if kind == "header":
        folders = ["/usr/include", "/usr/local/include", "/opt/local/include",
                   *os.environ.get("CPLUS_INCLUDE_PATH", "").split(os.pathsep)]
        return any(folder and (Path(folder) / name).exists() for folder in folders)
    if kind == "file":
        return any(Path("/").glob(name.lstrip("/")))  # may have wildcards
    if kind == "include":
        return (Path(sysconfig.get_path("include")) / name).exists()
    if kind == "python":
        return run([sys.executable, "-c", f"import {name}"], stderr=subprocess.DEVNULL) == 0
    raise SetupError(f"{PACKAGES}: unknown check '{check}'")


def needed_cargo():
    """The oldest cargo that builds rust/ (rust-version in its Cargo.toml)."""
    manifest = ROOT / "rust" / "Cargo.toml"
    match = re.search(r'^rust-version\s*=\s*"([\d.]+)"', manifest.read_text(), re.MULTILINE)
    if not match:
        raise SetupError(f"{manifest}: no line rust-version")
    return version_of(match.group(1) + ".0")


def find_cargo(needed):
    """(cargo, rustc) of a good version, or None; versioned names as Ubuntu has them too."""
    folders = os.environ.get("PATH", "").split(os.pathsep)
    folders += [str(Path.home() / ".cargo" / "bin"), "/usr/bin"]
    candidates = [("cargo", "rustc")]
    versioned = set()
    for folder in folders:
        if os.path.isdir(folder):
            versioned.update(file.name for file in Path(folder).glob("cargo-1.[0-9]*"))
    for name in sorted(versioned, key=version_of, reverse=True):
        candidates.append((name, name.replace("cargo", "rustc")))
    path = os.pathsep.join(folders)
    for cargo_name, rustc_name in candidates:
        cargo, rustc = shutil.which(cargo_name, path=path), shutil.which(rustc_name, path=path)
        if cargo and rustc and min(version_of(output_of([cargo, "--version"])),
                                   version_of(output_of([rustc, "--version"]))) >= needed:
            return cargo, rustc
    return None


# Packages with a good cargo on the systems that this program was written for.
KNOWN_CARGO = {
    ("debian", "12"): ["cargo-web", "rustc-web"],
    ("debian", "13"): ["cargo", "rustc"],
    ("ubuntu", "22.04"): ["cargo-1.91", "rustc-1.91"],
    ("ubuntu", "24.04"): ["cargo-1.91", "rustc-1.91"],
}


def read_os_release():
    try:
        lines = Path("/etc/os-release").read_text().splitlines()
    except OSError:
        return {}
    return {key: value.strip('"') for key, _, value in (line.partition("=") for line in lines)}


def cargo_packages(needed):
    """The Debian or Ubuntu packages with a recent enough cargo, [] where apt knows none."""
    names = output_of(["apt-cache", "pkgnames", "cargo"]).split()
    names = [name for name in names if re.fullmatch(r"cargo(-web|-1\.\d+)?", name)]

    def rank(name):  # the system's own first, then Debian's for browsers, then the newest
        return (name != "cargo", name != "cargo-web", tuple(-part for part in version_of(name)))

    for name in sorted(names, key=rank):
        policy = re.search(r"Candidate: (\S+)", output_of(["apt-cache", "policy", name]))
        # Debian's and Ubuntu's old cargo packages had numbers of their own, below 1.
        if policy and version_of(policy.group(1)) >= needed:
            return [name, name.replace("cargo", "rustc")]
    return []


def known_cargo_packages():
    """What this release is known to have: for a user who cannot refresh old package lists."""
    release = read_os_release()
    return KNOWN_CARGO.get((release.get("ID"), release.get("VERSION_ID")), [])


def setup_system(sections, with_cargo):
    """Installs the system packages and cargo, or says what to install."""
    wanted = read_packages(sections)
    missing = [(package, check) for package, check in wanted if not is_there(check)]
    needed = needed_cargo() if with_cargo else None
    cargo = find_cargo(needed) if with_cargo else None
    if missing or (with_cargo and not cargo):
        install_system([package for package, _ in missing], needed if not cargo else None)
        cargo = find_cargo(needed) if with_cargo else None
        missing = [f"{package} ({check})" for package, check in wanted if not is_there(check)]
        if missing:
            raise SetupError("these are still missing after the installation: " +
                             ", ".join(missing))
        if with_cargo and not cargo:
            raise SetupError(rust_advice(needed))
    else:
        say(f"system packages ({', '.join(sections)}): all there")
    if cargo:
        say(f"cargo: {output_of([cargo[0], '--version']).strip()} ({cargo[0]})")
        write_if_changed(BUILD / "setup.cmake",
                         "# Written by tools/setup.py\n"
                         f'set(ENGRAM_CARGO "{cargo[0]}" CACHE FILEPATH "cargo")\n'
                         f'set(ENGRAM_RUSTC "{cargo[1]}" CACHE FILEPATH "rustc")\n')


def rust_advice(needed):
    return (f"a cargo and rustc >= {dotted(needed)} are needed and this system's packages have none."
            " Install them from https://rustup.rs:\n"
            "    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y "
            "--profile minimal\nthen try again")


def install_system(packages, cargo_needed):
    """Installs packages with apt as root; otherwise raises with the line to run."""
    root = os.geteuid() == 0
    if not shutil.which("apt-get"):
        lines = [f"    {package:20} {check}" for package, check in read_packages(SECTIONS)
                 if package in packages]
        text = "there is no apt-get here. Install by this system's own means:\n" + "\n".join(lines)
        if cargo_needed:
            text += f"\n    cargo and rustc      >= {dotted(cargo_needed)}"
        raise SetupError(text)
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    if root:
        with Step("refreshing the package lists (apt-get update)"):
            if run(["apt-get", "update", "-qq"], env=environment) != 0:
                raise SetupError("apt-get update failed (see above): check the network and "
                                 "/etc/apt, then try again")
    rust = cargo_packages(cargo_needed) if cargo_needed else []
    if cargo_needed and not rust and not root:
        rust = known_cargo_packages()
    line = packages + rust
    if not root:
        text = ("system packages are missing, and installing them needs root. Run this line, then "
                "try again:\n    sudo apt-get update && sudo apt-get install "
                f"{APT[0]} {APT[1]} {' '.join(line)}" if line else "")
        if cargo_needed and not rust:
            text += ("\n" if text else "") + (
                rust_advice(cargo_needed) + "\n(or, if the package lists here are old: sudo "
                "apt-get update, and another try looks for a newer cargo package)")
        raise SetupError(text)
    if line:
        with Step(f"installing {' '.join(line)}"):
            if run(["apt-get", "install", "-qq", *APT, *line], env=environment) != 0:
                raise SetupError("apt-get install failed (see above): put it right, then try "
                                 "again")
    if cargo_needed and not rust:
        raise SetupError(rust_advice(cargo_needed))


# --- the private Python environment ----------------------------------------------------------------


def write_if_changed(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def need_space(gigabytes, what):
    BUILD.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(BUILD).free / 1e9
    if free < gigabytes:
        raise SetupError(f"{what} needs {gigabytes:g} GB in {BUILD}, and {free:.1f} GB are free")


def venv_python():
    return VENV / "bin" / "python"


def make_venv():
    if venv_python().exists() and output_of([venv_python(), "-c", "print(1)"]).strip() == "1":
        return
    if VENV.exists():  # its Python has gone or the folder was moved
        shutil.rmtree(VENV)
    with Step(f"making a private Python environment in {VENV}"):
        if run([sys.executable, "-m", "venv", VENV]) != 0:
            shutil.rmtree(VENV, ignore_errors=True)
            raise SetupError(f"'{sys.executable} -m venv' failed (see above). On Debian and Ubuntu: "
                             "apt-get install python3-venv; elsewhere install Python's venv and "
                             "ensurepip modules, then try again")


def stamp_text(requirements):
    digest = hashlib.sha256()
    for name in requirements:
        digest.update((ROOT / "tools" / name).read_bytes())
    python = output_of([venv_python(), "-c", "import sys; print(sys.version)"])
    digest.update(python.encode())
    return digest.hexdigest() + "\n"


def installed(name):
    """The size and time of the installed torch library, to see a venv that was made anew."""
    stamp = VENV / f".engram-{name}"
    return stamp.read_text() if stamp.exists() else ""


def pip_install(name, requirements, what, extra, gigabytes):
    """Installs a requirements file into the environment once; `extra` are pip's options."""
    stamp = stamp_text([requirements])
    if installed(name) == stamp:
        say(f"{what}: all there")
        return
    need_space(gigabytes, what)
    python = venv_python()
    options = ["--disable-pip-version-check", "--no-input", "--progress-bar", "off", "--retries",
               "5", *extra, "-r", ROOT / "tools" / requirements]
    with Step(f"installing {what} into {VENV}"):
        if run([python, "-m", "pip", "install", "-q", *options]) != 0:
            raise SetupError(
                f"pip could not install {what} (see above). If the download broke off: check the "
                "network (HTTPS_PROXY where there is a proxy) and try again, what came whole "
                f"is kept in pip's cache. If nothing helps, remove {VENV} and try again")
    (VENV / f".engram-{name}").write_text(stamp)


def setup_torch():
    make_venv()
    extra = ["--no-deps"]
    if sys.version_info[:2] < ORACLE_PYTHON:
        # The build needs only the wheel's C++ libraries and headers, so the wheel for a newer
        # Python does as well; pip takes it when it installs into a plain folder.
        site = output_of([venv_python(), "-c", "import sysconfig; "
                          "print(sysconfig.get_path('purelib'))"]).strip()
        extra += ["--target", site, "--upgrade", "--only-binary", ":all:",
                  "--python-version", dotted(ORACLE_PYTHON), "--implementation", "cp",
                  "--ignore-requires-python"]
    pip_install("torch", "requirements-torch.txt", "libtorch (a download of 555 MB)", extra, 3)


def setup_full(name, what):
    if sys.version_info[:2] < ORACLE_PYTHON:
        raise SetupError(f"{what} needs Python >= {dotted(ORACLE_PYTHON)}, and this is "
                         f"{dotted(sys.version_info[:3])}. Give a newer one: make PYTHON=python3.12 "
                         f"{name} (after rm -r {VENV})")
    make_venv()
    pip_install(name, f"requirements-{name}.txt", what, [], 8)


def main(arguments):
    goals = arguments or ["build"]
    known = ["system", "build", "cuda", "oracle", "lint", "fuzz", "report", "real", "picture"]
    unknown = [goal for goal in goals if goal not in known]
    if unknown:
        raise SetupError(f"unknown goal '{unknown[0]}', expected one of: {', '.join(known)}")
    start = time.monotonic()
    sections = ["build"] + [goal for goal in goals if goal in SECTIONS[1:]]
    if "system" in goals:
        sections.append("python")
    setup_system(sections, with_cargo=(ROOT / "rust" / "Cargo.toml").exists())
    if set(goals) != {"system"}:
        setup_torch()
    if "lint" in goals:
        pip_install("lint", "requirements-lint.txt", "clang-format and clang-tidy",
                    ["--no-deps"], 0.3)
    if "cuda" in goals:
        setup_full("cuda", "the GPU libraries (a download of 2.5 GB)")
    if "oracle" in goals or "real" in goals:
        setup_full("oracle", "the PyTorch oracle (a download of 2.6 GB)")
    if "real" in goals:
        setup_full("real", "readers of quantised models")
    say(f"set-up complete in {time.monotonic() - start:.1f} s")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except SetupError as error:
        print(f"[setup] {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("[setup] interrupted; try again to go on", file=sys.stderr)
        sys.exit(130)
