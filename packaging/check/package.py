"""Looks at a Debian package, and runs what it has out of a folder."""

import gzip
import os
import shlex
import subprocess
import tempfile
from pathlib import Path

from node import Failed, Node, expect, run, section

TOOLS = [
    "rabbitmq-diagnostics",
    "rabbitmq-plugins",
    "rabbitmq-queues",
    "rabbitmq-streams",
    "rabbitmq-upgrade",
    "rabbitmqctl",
]
UNIT = "usr/lib/systemd/system/leveret.service"
# What has to be there, and its permissions.
FILES = {
    "usr/bin/leveret": "-rwxr-xr-x",
    "etc/leveret/leveret.conf": "-rw-r-----",
    "etc/default/leveret": "-rw-r-----",
    UNIT: "-rw-r--r--",
    "usr/share/man/man1/leveret.1.gz": "-rw-r--r--",
    "usr/share/bash-completion/completions/leveret": "-rw-r--r--",
    "usr/share/zsh/vendor-completions/_rabbitmqctl": "-rw-r--r--",
    "usr/share/fish/vendor_completions.d/rabbitmqctl.fish": "-rw-r--r--",
    "usr/share/doc/leveret/copyright": "-rw-r--r--",
}
FILES |= {f"usr/share/man/man8/{tool}.8.gz": "-rw-r--r--" for tool in TOOLS}
FILES |= {f"usr/share/bash-completion/completions/{tool}": "-rw-r--r--" for tool in TOOLS}
FIELDS = {
    "Package": "leveret",
    "Section": "net",
    "Conflicts": "rabbitmq-server",
    "Replaces": "rabbitmq-server",
    "Provides": "rabbitmq-server",
}
CONFFILES = ["/etc/default/leveret", "/etc/leveret/leveret.conf"]
# What scripts do beside what cargo-deb writes for units.
SCRIPTS = {"postinst": ["adduser", "deb-systemd-helper enable"], "prerm": ["stop"], "postrm": ["deluser", "purge"]}
DATA_DIR = "/var/lib/leveret"


def check(deb):
    with section(f"{deb.name}: files, fields and scripts"):
        listed(deb)
        fields(deb)
    with tempfile.TemporaryDirectory(prefix="leveret-package-") as temporary:
        folder = Path(temporary)
        run("dpkg-deb", "-e", deb, folder / "control")
        run("dpkg-deb", "-x", deb, folder / "root")
        with section("scripts, pages and completions can be read"):
            control(folder / "control")
            contents(folder / "root")
        with section("what it has runs out of a folder, as the unit says"):
            runs(folder / "root", folder)


def listed(deb):
    """Files with their permissions, owners and links."""
    found = {}
    for line in run("dpkg-deb", "-c", deb).splitlines():
        mode, owner, _size, _day, _time, path = line.split(maxsplit=5)
        expect(owner in ("0/0", "root/root"), f"{path} belongs to {owner}")
        path, _, target = path.removeprefix("./").partition(" -> ")
        found[path.rstrip("/")] = (mode, target)
        expect(mode[0] == "l" or mode[5] != "w" and mode[8] != "w", f"{path} can be written by others: {mode}")
    for path, mode in FILES.items():
        expect(path in found, f"{path} is missing")
        expect(found[path][0] == mode, f"{path} is {found[path][0]} and should be {mode}")
    links = {path.rpartition("/")[2]: target for path, (mode, target) in found.items() if mode[0] == "l"}
    expected = {name: "../bin/leveret" for name in [*TOOLS, "rabbitmq-server"]}
    expect(links == expected, f"the links are {links}")
    expect(all(f"usr/sbin/{name}" in found for name in expected), "the links are not in usr/sbin")


def fields(deb):
    for name, value in FIELDS.items():
        is_value = run("dpkg-deb", "-f", deb, name).strip()
        expect(is_value == value, f"the field {name} is {is_value!r}")
    depends = run("dpkg-deb", "-f", deb, "Depends")
    expect("adduser" in depends and "libc6" in depends, f"it depends on {depends}")
    architecture = run("dpkg", "--print-architecture")
    expect(run("dpkg-deb", "-f", deb, "Architecture") == architecture, f"it is not for {architecture}")


def control(folder):
    conffiles = sorted((folder / "conffiles").read_text().split())
    expect(conffiles == CONFFILES, f"the files that dpkg keeps are {conffiles}")
    for name, texts in SCRIPTS.items():
        script = folder / name
        run("sh", "-n", script)
        text = script.read_text()
        expect("#DEBHELPER#" not in text, f"{name} is not complete")
        for part in texts:
            expect(part in text, f"{name} has no {part}")
        expect(os.access(script, os.X_OK), f"{name} cannot be run")


def contents(folder):
    for page in [*folder.glob("usr/share/man/*/*")]:
        expect(b".TH" in gzip.decompress(page.read_bytes()), f"{page} is no manual page")
    for script in folder.glob("usr/share/bash-completion/completions/*"):
        run("bash", "-n", script)
        expect(f" {script.name}\n" in script.read_text(), f"{script} is not for {script.name}")
    run(folder / "usr/bin/leveret", "config", "check", folder / "etc/leveret/leveret.conf")


def unit(path):
    """The settings of the section [Service], each with all its values."""
    settings, current = {}, None
    for line in path.read_text().splitlines():
        if line.startswith("["):
            current = line
        elif current == "[Service]" and "=" in line and not line.startswith("#"):
            name, value = line.split("=", 1)
            settings.setdefault(name, []).append(value)
    return settings


def runs(folder, temporary):
    service = unit(folder / UNIT)
    command = shlex.split(service["ExecStart"][0])
    expect(service["Type"] == ["notify"], "the unit does not wait for the broker")
    command[0] = str(folder / command[0].lstrip("/"))
    data = temporary / "data"
    env = {
        "PATH": os.environ["PATH"],
        # Below which the package's own configuration is, and not this machine's.
        "SYS_PREFIX": str(folder),
        "RABBITMQ_NODENAME": f"packages-{os.getpid()}@localhost",
        # Others may use the usual ports.
        "LEVERET_LISTEN": "127.0.0.1:0",
        "LEVERET_MANAGEMENT_LISTEN": "none",
        "LEVERET_PROMETHEUS_LISTEN": "none",
    }
    for setting in service["Environment"]:
        name, value = setting.split("=", 1)
        env[name] = value.replace(DATA_DIR, str(data))
    expect(env["LEVERET_DATA_DIR"] == str(data), "the unit does not say where the data are")
    with Node(command, env) as node:
        node.wait_for("READY=1")
        sbin = folder / "usr/sbin"
        status = run(sbin / "rabbitmqctl", "status", env=env)
        expect("OS PID" in status and str(node.process.pid) in status, f"rabbitmqctl status:\n{status}")
        users = run(sbin / "rabbitmqctl", "list_users", env=env)
        expect("guest" in users and "administrator" in users, f"rabbitmqctl list_users:\n{users}")
        for tool in TOOLS:
            run(sbin / tool, "help", env=env)
        node.stop()
    # By its name: another node may run on this machine.
    run(sbin / "rabbitmqctl", "-n", env["RABBITMQ_NODENAME"], "status", env=env, ok=False)
    try:
        again = subprocess.run([folder / "usr/bin/leveret", "storage", "check", data], capture_output=True, text=True, timeout=60)
    except subprocess.TimeoutExpired as error:
        raise Failed(f"leveret storage check: {error}") from error
    expect(again.returncode == 0, f"the data are not sound after a stop:\n{again.stdout}{again.stderr}")
