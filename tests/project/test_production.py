"""The settings that the README gives for production leave ``check --deploy`` nothing to say."""

import re
import secrets

from tests.processes import manage
from tests.servers.plugin import ROOT


def environment_of_the_readme() -> dict[str, str]:
    section = (ROOT / "README.md").read_text().split("## In production", 1)[1].split("\n## ", 1)[0]
    exports = dict(re.findall(r"^export (\w+)=(\S+)", section, re.MULTILINE))
    assert exports["SECRET_KEY"] == "..."
    return {**exports, "SECRET_KEY": secrets.token_urlsafe(50)}


def test_the_readmes_settings_for_production_pass_djangos_deployment_check() -> None:
    done = manage("check", "--deploy", "--fail-level", "WARNING", **environment_of_the_readme())
    assert (done.returncode, done.stdout.strip()) == (0, "System check identified no issues (0 silenced)."), done.stderr


def test_without_https_the_check_says_so() -> None:
    done = manage("check", "--deploy", "--fail-level", "WARNING", **{**environment_of_the_readme(), "HTTPS": "0"})
    assert done.returncode == 1
    assert "SECURE_SSL_REDIRECT" in done.stderr
