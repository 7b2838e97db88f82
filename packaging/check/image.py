"""Reads the Dockerfile, and carries out what its last stage says in a root folder that is thrown away."""

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

from node import Node, expect, run, section, speaks_amqp

REPOSITORY = Path(__file__).parent.parent.parent
DOCKERFILE = "docker/Dockerfile"
DATA = Path("/var/lib/rabbitmq")
KNOWN = {"FROM", "WORKDIR", "RUN", "COPY", "ENV", "VOLUME", "EXPOSE", "ENTRYPOINT", "CMD"}
# The ports of the image `rabbitmq` that something listens to here.
PORTS = {"5671", "5672", "15671", "15672", "15691", "15692"}
# Another address than that on which a broker for its own machine listens.
ELSEWHERE = "127.0.0.2"
PASSWORD = "an unusual password"


def read(path):
    """The instructions of each stage, as words and what follows."""
    stages = []
    text = re.sub(r"^\s*#.*\n", "", path.read_text(), flags=re.MULTILINE)
    for line in text.replace("\\\n", " ").splitlines():
        if not line.strip():
            continue
        word, rest = line.split(maxsplit=1)
        expect(word in KNOWN, f"{path}: {word} is not understood here")
        if word == "FROM":
            stages.append([])
        stages[-1].append((word, rest.strip()))
    return stages


def copy(rest):
    """What is copied: options, from where, to where."""
    words = rest.split()
    options = dict(word.removeprefix("--").split("=", 1) for word in words if word.startswith("--"))
    *sources, destination = [word for word in words if not word.startswith("--")]
    return options, sources, destination


def check_sources():
    """What is copied is there, and scripts can be read."""
    with section("the Dockerfile copies what is there"):
        stages = read(REPOSITORY / "packaging" / DOCKERFILE)
        expect(len(stages) == 2, "the Dockerfile has other stages than one to build and one to run")
        for word, rest in [instruction for stage in stages for instruction in stage]:
            if word == "COPY":
                options, sources, _ = copy(rest)
                missing = [source for source in sources if not (REPOSITORY / source).exists()]
                expect("from" in options or not missing, f"COPY: there is no {missing}")
        expect(set(dict(stages[1])["EXPOSE"].split()) == PORTS, "other ports than RabbitMQ's")
        entrypoint = REPOSITORY / "packaging/docker/entrypoint.sh"
        run("sh", "-n", entrypoint)
        expect(os.access(entrypoint, os.X_OK), f"{entrypoint} cannot be run")
        ignored = (REPOSITORY / ".dockerignore").read_text().splitlines()
        expect("target" in ignored and "crates" not in ignored, ".dockerignore is not for this")


def check(deb):
    """The image as far as there is no Docker: its steps, and then containers out of it."""
    empty_machine()
    here = deb.parent
    image = build(read(here / DOCKERFILE)[1], deb)
    variables(image)
    configuration(image)
    volumes(image)
    other_user(image)
    derived(image)


def empty_machine():
    """Takes away what a slim Debian does not have."""
    for name in ("passwd", "group", "shadow", "gshadow"):
        lines = Path("/etc", name).read_text().splitlines(keepends=True)
        kept = [line for line in lines if line.split(":")[0] in ("root", "nobody", "nogroup", "daemon")]
        Path("/etc", name).write_text("".join(kept))
    for path in ("/etc/rabbitmq", "/etc/leveret", str(DATA), "/var/log/rabbitmq"):
        shutil.rmtree(path, ignore_errors=True)
    for path in [*Path("/usr/sbin").glob("rabbitmq*"), *Path("/usr/local/bin").glob("rabbitmq*")]:
        path.unlink()


def build(stage, deb):
    """Carries out a stage. There is no network, so that nothing is installed but the program of the package."""
    stub = Path("/leveret-stub")
    stub.mkdir()
    (stub / "apt-get").write_text("#!/bin/sh\n")
    (stub / "apt-get").chmod(0o755)
    run("dpkg-deb", "-x", deb, "/leveret-package")
    env = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    image = {"env": env}
    for word, rest in stage:
        if word == "RUN":
            run("sh", "-c", rest, env={**env, "PATH": f"{stub}:{env['PATH']}"})
        elif word == "ENV":
            env.update(pair.split("=", 1) for pair in shlex.split(rest))
        elif word in ("ENTRYPOINT", "CMD"):
            image[word] = json.loads(rest)
        elif word == "COPY":
            options, sources, destination = copy(rest)
            for source in sources:
                is_program = options.get("from") == "build"
                found = Path("/leveret-package/usr/bin/leveret") if is_program else deb.parent / source.removeprefix("packaging/")
                shutil.copy(found, destination)
            if "chown" in options:
                shutil.chown(destination, *options["chown"].split(":"))
    return image


class Container(Node):
    """What `docker run` starts, and a volume that is new or has been used before."""

    def __init__(self, image, user=None, **variables):
        self.env = {**image["env"], **variables}
        self.user = [] if user is None else ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]
        super().__init__([*self.user, *image["ENTRYPOINT"], *image["CMD"]], self.env)
        self.wait_for("READY=1")

    def execute(self, *command, ok=True):
        """What `docker exec` does."""
        return run(*self.user, *command, env=self.env, ok=ok)

    def owner(self):
        return Path("/proc", str(self.process.pid)).stat().st_uid


def new_volume():
    for path in DATA.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def variables(image):
    """RABBITMQ_DEFAULT_USER and those like it; the checks of health; signals."""
    new_volume()
    wanted = {"RABBITMQ_DEFAULT_USER": "somebody", "RABBITMQ_DEFAULT_PASS": PASSWORD, "RABBITMQ_DEFAULT_VHOST": "somewhere"}
    with Container(image, **wanted) as container:
        expect(container.owner() == 999, f"it runs as user {container.owner()}")
        users = container.execute("rabbitmqctl", "-q", "list_users")
        expect("somebody" in users and "administrator" in users and "guest" not in users, users)
        container.execute("rabbitmqctl", "authenticate_user", "somebody", PASSWORD)
        container.execute("rabbitmqctl", "authenticate_user", "somebody", "guest", ok=False)
        vhosts = container.execute("rabbitmqctl", "-q", "list_vhosts").split()
        expect(vhosts == ["name", "somewhere"], f"the vhosts are {vhosts}")
        for words in (["ping"], ["status"], ["check_running"], ["check_local_alarms"], ["check_port_connectivity"]):
            container.execute("rabbitmq-diagnostics", "-q", *words)
        ports = container.execute("rabbitmq-diagnostics", "-q", "listeners")
        expect(all(f"port: {port}," in ports for port in (5672, 15672, 15692)), ports)
        expect(speaks_amqp(5672, ELSEWHERE), "AMQP is spoken on this machine only")
        expect(PASSWORD not in container.log.read_text(), "the password is in the log")
        expect("no effect" not in container.log.read_text(), container.log.read_text())
        container.stop()
    # Who changes the name of the container, and the variables, has the same data.
    with Container(image, RABBITMQ_NODENAME="other@localhost") as container:
        expect("somebody" in container.execute("rabbitmqctl", "list_users"), "the data were lost")
        container.stop()


def configuration(image):
    """rabbitmq.conf, conf.d, enabled_plugins and definitions, where the image `rabbitmq` has them."""
    new_volume()
    folder = Path("/etc/rabbitmq")
    definitions = folder / "definitions.json"
    definitions.write_text(json.dumps({"vhosts": [{"name": "/"}, {"name": "defined"}]}))
    (folder / "rabbitmq.conf").write_text(f"load_definitions = {definitions}\n")
    (folder / "conf.d/20-more.conf").write_text("listeners.tcp.default = 5680\n")
    (folder / "enabled_plugins").write_text("[rabbitmq_management].\n")
    with Container(image) as container:
        vhosts = container.execute("rabbitmqctl", "-q", "list_vhosts").split()
        expect("defined" in vhosts, f"the definitions were not read: {vhosts}")
        expect(speaks_amqp(5680), "the port of conf.d does not count")
        plugins = container.execute("rabbitmq-plugins", "list", "-m", "-e").split()
        expect("rabbitmq_management" in plugins and "rabbitmq_sharding" not in plugins, f"{plugins}")
        container.stop()
    for path in (definitions, folder / "rabbitmq.conf", folder / "conf.d/20-more.conf", folder / "enabled_plugins"):
        path.unlink()


def volumes(image):
    """A volume of root's, one in another place, and a conf.d without our file."""
    new_volume()
    shutil.chown(DATA, "root", "root")
    (DATA / "mnesia").mkdir()
    defaults = Path("/etc/rabbitmq/conf.d/10-defaults.conf")
    text = defaults.read_text()
    defaults.unlink()
    with Container(image) as container:
        expect(speaks_amqp(5672, ELSEWHERE), "without 10-defaults.conf, AMQP is spoken on this machine only")
        expect((DATA / "mnesia/leveret").owner() == "rabbitmq", "the data are not below mnesia")
        container.stop()
    defaults.write_text(text)
    elsewhere = Path("/srv/broker")
    elsewhere.mkdir(parents=True)
    shutil.chown(elsewhere, "rabbitmq", "rabbitmq")
    with Container(image, RABBITMQ_MNESIA_BASE=str(elsewhere), RABBITMQ_NODE_PORT="5681") as container:
        expect(speaks_amqp(5681), "RABBITMQ_NODE_PORT does not count")
        expect([*elsewhere.iterdir()] != [], "RABBITMQ_MNESIA_BASE does not count")
        container.execute("rabbitmqctl", "list_users")
        container.stop()


def other_user(image):
    """As with `docker run --user 1234`."""
    new_volume()
    DATA.chmod(0o1777)
    with Container(image, user=1234) as container:
        expect(container.owner() == 1234, f"it runs as user {container.owner()}")
        container.execute("rabbitmqctl", "list_users")
        container.stop()


def derived(image):
    """What Dockerfiles do that begin with FROM rabbitmq."""
    run("rabbitmq-plugins", "enable", "--offline", "rabbitmq_management", env=image["env"])
    listed = Path("/etc/rabbitmq/enabled_plugins").read_text()
    expect("rabbitmq_management" in listed, f"enabled_plugins has {listed}")
    done = subprocess.run([*image["ENTRYPOINT"], "rabbitmqctl", "version"], env=image["env"], capture_output=True, text=True)
    expect(done.returncode == 0, f"docker run IMAGE rabbitmqctl version: {done.stdout}{done.stderr}")
