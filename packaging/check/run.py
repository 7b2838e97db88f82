"""Checks the Debian package and the container: what is in them, and whether a broker comes out.

    python3 packaging/check/run.py target/debian/leveret_0.1.0-1_amd64.deb

The package is looked at, and what it has is run out of a folder. Then it is installed for real, under a systemd, in a root
folder that is thrown away: an overlay over this machine's in namespaces of its own, so that nothing of this machine changes.
The last stage of the Dockerfile is carried out in another one. Where that cannot be, it says which part was left out.
"""

import sys
from pathlib import Path

import image
import package
import root
from node import Failed, section


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    deb = Path(sys.argv[1]).resolve()
    package.check(deb)
    image.check_sources()
    reason = root.why_not()
    if reason:
        print(f"packages: LEFT OUT: installing the package and running the container's steps: {reason}", flush=True)
        return
    with section("the package is installed, upgraded, removed and purged, under systemd"):
        root.run("installed", deb, init="systemd")
    with section("the container's steps, variables and files"):
        root.run("image", deb, init="none")


if __name__ == "__main__":
    try:
        main()
    except Failed as failure:
        sys.exit(f"packages: FAILED: {failure}")
