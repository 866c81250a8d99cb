"""Who runs the servers: PostgreSQL refuses to be run by root, so root lends them to nobody."""

import os
import pwd
import re
import subprocess
from pathlib import Path
from typing import Any

VERSION = re.compile(r"(?:\(PostgreSQL\) |v=)(\d+)")


def server_account() -> dict[str, Any]:
    """What Popen needs so as to run a server."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def hand_over(path: Path) -> None:
    """Give a file, or a folder and all in it, to the account that runs the servers."""
    if account := server_account():
        for each in (path, *path.rglob("*")):
            os.chown(each, account["user"], account["group"], follow_symlinks=False)


def version_of(binary: Path) -> int:
    """The major version of a server's program; 0 when that account cannot run it, or it is something else."""
    try:
        answer = subprocess.run(
            [binary, "--version"],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
            cwd="/",
            **server_account(),
        )
    except (OSError, subprocess.SubprocessError):
        return 0
    version = VERSION.search(answer.stdout)
    return int(version[1]) if version else 0
