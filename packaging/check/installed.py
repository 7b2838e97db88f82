"""Installs the package in a root folder that is thrown away, and treats it as an operator would."""

import os
import pwd
import re
import resource
import shutil
import subprocess
from pathlib import Path

from node import expect, run, speaks_amqp, until
from package import DATA_DIR, TOOLS

CONFIG = Path("/etc/leveret/leveret.conf")
LINK = Path("/run/leveret/rabbit@leveret-check")
ETC = Path("/etc/systemd/system")
# What RabbitMQ left: only its group may read it.
LEFT_CONFIG = "default_user = left\ndefault_pass = behind\n"
LEFT_PLUGINS = "[rabbitmq_management].\n"


def check(deb):
    begin(deb)
    had_rabbitmq = leave_rabbitmq_behind()
    # With what it takes the place of.
    run("dpkg", "--auto-deconfigure", "-i", deb)
    started()
    files()
    confined()
    tools()
    if had_rabbitmq:
        taken_over()
    reloaded()
    upgraded(deb)
    removed()
    purged()


def begin(deb):
    """Waits for systemd, and lets packages start what they have."""
    until("systemd", lambda: subprocess.run(["systemctl", "list-units"], capture_output=True).returncode == 0)
    Path("/usr/sbin/policy-rc.d").unlink(missing_ok=True)
    expect(deb.exists(), f"there is no {deb}")


def leave_rabbitmq_behind():
    """Gives a RabbitMQ of this machine files to leave; says whether there is one."""
    if "install ok installed" not in run("dpkg-query", "-W", "-f", "${Status}", "rabbitmq-server", ok=None):
        return False
    folder = Path("/etc/rabbitmq")
    (folder / "rabbitmq.conf").write_text(LEFT_CONFIG)
    (folder / "enabled_plugins").write_text(LEFT_PLUGINS)
    for file in folder.iterdir():
        shutil.chown(file, "rabbitmq", "rabbitmq")
        file.chmod(0o640)
    return True


def show(name):
    return run("systemctl", "show", "--value", "-p", name, "leveret").strip()


def started(before="0"):
    """Waits until systemd says that it runs, as another process than before; returns which one that is."""
    is_active = lambda: show("ActiveState") == "active" and show("MainPID") not in ("0", before)
    try:
        until("leveret.service", is_active)
    except Exception as error:
        journal = run("journalctl", "--no-pager", "-n", "40", "-u", "leveret", ok=None)
        raise type(error)(f"{error}: {run('systemctl', 'status', '--no-pager', 'leveret', ok=None)}\n{journal}") from error
    return show("MainPID")


def files():
    for path, owner, mode in [
        (Path(DATA_DIR), "leveret", 0o750),
        (Path("/var/log/leveret"), "leveret", 0o750),
        (Path("/run/leveret"), "leveret", 0o755),
        (Path(DATA_DIR, "control.sock"), "leveret", 0o600),
        (CONFIG, "root", 0o640),
    ]:
        found = path.stat()
        expect(path.owner() == owner and found.st_mode & 0o777 == mode, f"{path}: {path.owner()}, {found.st_mode:o}")
    expect(CONFIG.group() == "leveret", f"{CONFIG} is not for the broker's group")
    expect(LINK.is_symlink() and LINK.resolve() == Path(DATA_DIR, "control.sock"), f"{LINK} does not lead to the socket")
    account = pwd.getpwnam("leveret")
    expect(account.pw_uid < 1000 and account.pw_shell.endswith("nologin"), f"the account is {account}")
    for name in ("multi-user.target.wants/leveret.service", "rabbitmq-server.service"):
        target = (ETC / name).resolve() if (ETC / name).is_symlink() else None
        expect(target == Path("/usr/lib/systemd/system/leveret.service"), f"{name} leads to {target}")


def confined():
    """The unit is without mistakes, and the process is held as it says."""
    complaints = run("systemd-analyze", "verify", "/lib/systemd/system/leveret.service")
    mine = [line for line in complaints.splitlines() if "leveret" in line]
    expect(not mine, f"systemd-analyze verify: {mine}")
    process = Path("/proc", show("MainPID"))
    status = dict(re.findall(r"^(\w+):\s+(.*)$", (process / "status").read_text(), re.MULTILINE))
    owner = str(pwd.getpwnam("leveret").pw_uid)
    bind_service = f"{1 << 10:016x}"
    for name, value in [("NoNewPrivs", "1"), ("Seccomp", "2"), ("CapEff", bind_service), ("CapBnd", bind_service)]:
        expect(status[name] == value, f"{name} of the process is {status[name]}")
    expect(set(status["Uid"].split()) == {owner}, f"it runs as {status['Uid']}")
    # No process gets more descriptors than the kernel or a container gives.
    limits = re.search(r"^Max open files +(\d+) +(\d+)", (process / "limits").read_text(), re.MULTILINE)
    expected = min(1048576, int(Path("/proc/sys/fs/nr_open").read_text()))
    given = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    expect(int(limits[1]) >= min(expected, given), f"it may open {limits[1]} files")
    # All of the system is read-only to it, but for its own folders.
    mounts = (process / "mountinfo").read_text().splitlines()
    writable = {line.split()[4] for line in mounts if line.split()[5].startswith("rw")}
    expect("/" not in writable and DATA_DIR in writable and "/run/leveret" in writable, f"it may write to {writable}")
    exposure = run("systemd-analyze", "security", "--no-pager", "leveret.service", ok=None).strip().splitlines()[-1]
    print(f"packages: {exposure.strip().lstrip('→ ')}", flush=True)


def as_user(user, *command, ok=True):
    return run("runuser", "-u", user, "--", *command, ok=ok)


def tools():
    """Who may speak to it, and finds it."""
    expect(speaks_amqp(5672), "nobody speaks AMQP on port 5672")
    for command in [["rabbitmqctl", "status"], ["rabbitmq-diagnostics", "-q", "ping"], ["rabbitmqctl", "list_users"]]:
        run(*command)
        run(*command, "-n", "rabbit@leveret-check")
        as_user("leveret", f"/usr/sbin/{command[0]}", *command[1:])
        as_user("nobody", f"/usr/sbin/{command[0]}", *command[1:], ok=False)
    for tool in TOOLS:
        expect(os.readlink(f"/usr/sbin/{tool}") == "../bin/leveret", f"{tool} is another program")


def taken_over():
    """What RabbitMQ left counts."""
    expect("left" in run("rabbitmqctl", "list_users"), "the user of rabbitmq.conf was not made")
    enabled = Path(DATA_DIR, "enabled_plugins")
    expect(enabled.read_text() == LEFT_PLUGINS and enabled.owner() == "leveret", "enabled_plugins was not taken over")
    run("rabbitmq-plugins", "enable", "rabbitmq_sharding")
    expect("rabbitmq_sharding" in enabled.read_text(), "enabled_plugins was not written")


def reloaded():
    before = show("MainPID")
    run("systemctl", "reload", "rabbitmq-server")
    until("the end of the reload", lambda: show("ActiveState") == "active")
    expect(show("MainPID") == before, "a reload started another process")


def upgraded(deb):
    """What was changed, configuration and data, outlives another version."""
    run("rabbitmqctl", "add_user", "kept", "secret")
    with CONFIG.open("a") as config:
        config.write("listeners.tcp.default = 127.0.0.1:5673\n")
    before = show("MainPID")
    run("dpkg", "--force-confold", "-i", deb)
    started(before)
    expect(speaks_amqp(5673), "the changed configuration does not count")
    expect("kept" in run("rabbitmqctl", "list_users"), "a user was lost")
    expect(CONFIG.group() == "leveret" and CONFIG.stat().st_mode & 0o777 == 0o640, f"{CONFIG} can be read by others")


def removed():
    process = Path("/proc", show("MainPID"))
    run("dpkg", "-r", "leveret")
    expect(not process.exists(), "it runs without its package")
    expect(not Path("/usr/sbin/rabbitmqctl").exists(), "links were left behind")
    expect(CONFIG.exists() and Path(DATA_DIR, "leveret.lock").exists(), "data or configuration went with the program")


def purged():
    run("dpkg", "-P", "leveret")
    left = [path for path in (DATA_DIR, "/var/log/leveret", "/etc/leveret", "/etc/default/leveret") if Path(path).exists()]
    expect(not left, f"left behind: {left}")
    expect("leveret" not in Path("/etc/passwd").read_text(), "the account was left behind")
    left = [path.name for path in ETC.rglob("*") if path.name in ("leveret.service", "rabbitmq-server.service")]
    left = [name for name in left if name == "leveret.service"]
    expect(not left, f"units were left behind: {left}")
