"""A root folder that is thrown away: an overlay over this machine's, in namespaces of its own.

What is written there is in memory and goes with the last process. Neither processes, nor the network, nor the settings of the
kernel can be reached from within: it is another set of processes, without a network, and what the kernel can be told is
read-only.
"""

import fcntl
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path

from node import expect

NAMESPACES = ["--mount", "--pid", "--net", "--ipc", "--uts", "--cgroup", "--fork", "--kill-child=KILL"]
# Far beyond what all takes.
DEADLINE_SECONDS = 300
# What the last line begins with.
END = "packages: the end: "
# Where the checks, the package and the folder packaging are in it.
HERE = Path("/leveret-check")
HOST = "leveret-check"
DEVICES = ["null", "zero", "full", "random", "urandom", "tty"]
SYSTEMD = "/lib/systemd/systemd"
# Units that speak to the kernel or to devices, or that have nothing to do with us.
MASKED = [
    "dev-hugepages.mount",
    "dev-mqueue.mount",
    "getty.target",
    "kmod-static-nodes.service",
    "sys-fs-fuse-connections.mount",
    "sys-kernel-config.mount",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "systemd-modules-load.service",
    "systemd-remount-fs.service",
    "systemd-sysctl.service",
    "systemd-timesyncd.service",
    "systemd-tmpfiles-setup-dev.service",
    "systemd-udev-trigger.service",
    "systemd-udevd.service",
    "systemd-udevd-control.socket",
    "systemd-udevd-kernel.socket",
]


def why_not():
    """Why there can be none on this machine; nothing if there can."""
    if os.geteuid() != 0:
        return "only root can mount a root folder of its own"
    missing = [name for name in ("unshare", "chroot", "mount", "dpkg", "adduser", SYSTEMD) if not shutil.which(name)]
    if missing:
        return f"there is no {', '.join(missing)}"
    trial = "mount -t tmpfs t /mnt && mkdir /mnt/a /mnt/b /mnt/c && mount -t overlay o -o lowerdir=/,upperdir=/mnt/a,workdir=/mnt/b /mnt/c"
    tried = subprocess.run(["unshare", *NAMESPACES, "sh", "-c", trial], capture_output=True, text=True)
    return f"no overlay can be mounted: {tried.stderr.strip()}" if tried.returncode != 0 else ""


def run(module, deb, init):
    """Runs `check` of a module in one; with `init` systemd, under that."""
    command = ["unshare", *NAMESPACES, sys.executable, __file__, module, str(deb), init]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    signal.alarm(DEADLINE_SECONDS)
    signal.signal(signal.SIGALRM, lambda *_: process.kill())
    end = "it took too long"
    for line in process.stdout:
        if line.startswith(END):
            end = line.removeprefix(END).strip()
            break
        print(line, end="", flush=True)
    signal.alarm(0)
    # With systemd, the first process does not end by itself.
    process.kill()
    process.wait()
    expect(end == "well", f"{module}: {end}")


def inside(module, deb, init):
    """The first process of the namespaces."""
    root = build(Path(deb))
    os.chroot(root)
    os.chdir("/")
    loopback_up()
    socket.sethostname(HOST)
    if os.fork() == 0:
        sys.path.insert(0, str(HERE))
        os.environ.clear()
        os.environ.update({"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"})
        try:
            __import__(module).check(HERE / Path(deb).name)
            print(f"{END}well", flush=True)
        # Whatever it is, the process that waits prints it.
        except Exception as error:  # noqa: BLE001
            text = " | ".join(str(error).splitlines())
            print(f"{END}{type(error).__name__}: {text}", flush=True)
        os._exit(0)
    if init == "systemd":
        nowhere = os.open("/dev/null", os.O_RDWR)
        for number in range(3):
            os.dup2(nowhere, number)
        environment = {"container": "leveret-check", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
        os.execve(SYSTEMD, [SYSTEMD, "--system", "--unit=leveret-check.target"], environment)
    # The first process is told of the end of all others.
    while True:
        try:
            os.wait()
        except ChildProcessError:
            return


def mount(*arguments):
    subprocess.run(["mount", *map(str, arguments)], check=True)


def build(deb):
    """Mounts everything, and returns where."""
    base = Path("/mnt")
    mount("--make-rprivate", "/")
    mount("-t", "tmpfs", "-o", "mode=755", "upper", base)
    root = base / "root"
    for name in ("upper", "work", "root"):
        (base / name).mkdir()
    mount("-t", "overlay", "overlay", "-o", f"lowerdir=/,upperdir={base}/upper,workdir={base}/work", root)
    mount("-t", "proc", "proc", root / "proc")
    mount("--bind", root / "proc/sys", root / "proc/sys")
    mount("-o", "remount,bind,ro", root / "proc/sys")
    mount("-t", "tmpfs", "-o", "mode=755", "run", root / "run")
    mount("-t", "tmpfs", "-o", "mode=1777", "tmp", root / "tmp")
    # Of the kernel's folders, systemd needs that of processes' groups only.
    mount("-t", "tmpfs", "-o", "mode=755", "sys", root / "sys")
    groups = root / "sys/fs/cgroup"
    for name in ("systemd", "unified"):
        (groups / name).mkdir(parents=True)
    if Path("/sys/fs/cgroup/cgroup.controllers").exists():
        mount("-t", "cgroup2", "cgroup", groups)
    else:
        mount("-t", "cgroup", "-o", "none,name=systemd", "cgroup", groups / "systemd")
        mount("-t", "cgroup2", "cgroup", groups / "unified")
    devices(root / "dev")
    units(root / "etc/systemd/system")
    (root / "etc/hostname").write_text(f"{HOST}\n")
    here = root / HERE.relative_to("/")
    shutil.copytree(Path(__file__).parent, here)
    shutil.copytree(Path(__file__).parent.parent / "docker", here / "docker")
    shutil.copy(deb, here)
    return root


def devices(folder):
    mount("-t", "tmpfs", "-o", "mode=755", "dev", folder)
    for name in DEVICES:
        (folder / name).touch()
        mount("--bind", f"/dev/{name}", folder / name)
    (folder / "shm").mkdir(mode=0o1777)
    (folder / "pts").mkdir()
    mount("-t", "devpts", "-o", "newinstance,ptmxmode=0666", "pts", folder / "pts")
    (folder / "ptmx").symlink_to("pts/ptmx")
    (folder / "console").touch()
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        (folder / name).symlink_to(f"/proc/self/fd/{number}")


def units(folder):
    """Has systemd start nothing but what is asked for."""
    for wanted in [*folder.glob("*.wants/*")]:
        wanted.unlink()
    for name in MASKED:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to("/dev/null")
    (folder / "leveret-check.target").write_text("[Unit]\nDescription=Nothing\nDefaultDependencies=no\n")


def loopback_up():
    """The network has this one interface, which is down at first."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        set_flags, up_and_running = 0x8914, 0x1 | 0x40
        fcntl.ioctl(any_socket, set_flags, struct.pack("16sh14x", b"lo", up_and_running))


if __name__ == "__main__":
    inside(*sys.argv[1:])
