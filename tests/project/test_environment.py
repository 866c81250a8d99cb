import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from broker_project import environment
from broker_project.environment import broker_settings, database, flag, secret_key, words
from tests.processes import OURS, manage

VARIABLES = (*OURS, "ALLOWED_HOSTS", "CSRF_TRUSTED_ORIGINS", "LOG_JSON", "DATAPUNK_BROKER_CLEANUP_INTERVAL")


@pytest.fixture(autouse=True)
def nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in OURS:
        monkeypatch.delenv(name, raising=False)


def settings_of(*names: str, **env: str) -> Any:
    """Return settings as the project has them with this environment, in a process of its own."""
    code = f"import json; from django.conf import settings as s; print(json.dumps([getattr(s, n) for n in {names!r}]))"
    done = manage("shell", "--no-imports", "-c", code, **env)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_with_nothing_said_all_is_in_the_process(tmp_path: Path) -> None:
    names = ("DATABASES", "CACHES", "CHANNEL_LAYERS", "CELERY_BROKER_URL", "DEBUG", "ALLOWED_HOSTS")

    databases, caches, layers, broker_url, debug, hosts = settings_of(*names)

    assert databases["default"]["ENGINE"] == "django.db.backends.sqlite3"
    assert databases["default"]["NAME"].endswith("/broker.sqlite3")
    assert databases["default"]["OPTIONS"]["transaction_mode"] == "IMMEDIATE"
    assert "journal_mode=WAL" in databases["default"]["OPTIONS"]["init_command"]
    assert databases["default"]["OPTIONS"]["timeout"] == 20
    assert caches["default"]["BACKEND"].endswith("LocMemCache")
    assert layers["default"]["BACKEND"].endswith("InMemoryChannelLayer")
    assert (broker_url, debug) == ("memory://", False)
    assert hosts == ["localhost", "127.0.0.1", "[::1]"]


def test_servers_are_named_by_their_urls() -> None:
    env = {"DATABASE_URL": "postgresql://u:p@db:5433/broker?sslmode=require", "REDIS_URL": "redis://cache:6379/1"}

    databases, caches, layers, broker_url = settings_of(
        "DATABASES", "CACHES", "CHANNEL_LAYERS", "CELERY_BROKER_URL", **env
    )

    default = databases["default"]
    assert (default["HOST"], default["PORT"], default["NAME"]) == ("db", 5433, "broker")
    options = default["OPTIONS"]
    assert (options["server_side_binding"], options["prepare_threshold"], options["sslmode"]) == (True, 5, "require")
    assert options["pool"]["max_size"] >= 32
    assert caches["default"] == {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": env["REDIS_URL"]}
    assert layers["default"]["BACKEND"] == "channels_redis.pubsub.RedisPubSubChannelLayer"
    assert broker_url == env["REDIS_URL"]


def test_celery_may_have_a_broker_of_its_own() -> None:
    env = {"REDIS_URL": "redis://cache:6379/1", "CELERY_BROKER_URL": "amqp://queue"}

    assert settings_of("CELERY_BROKER_URL", **env) == ["amqp://queue"]


def test_the_brokers_settings_may_be_said_one_by_one() -> None:
    env = {
        "DATAPUNK_BROKER_MAX_ATTEMPTS": "5",
        "DATAPUNK_BROKER_RETENTION_HOURS": "",
        "DATAPUNK_BROKER_DELIVERY_MODE": "exactly_once",
        "DATAPUNK_BROKER_BREAKER": '{"failures": 3, "open_seconds": 60}',
    }

    [broker] = settings_of("DATAPUNK_BROKER", **env)

    assert broker["MAX_ATTEMPTS"] == 5
    assert broker["DELIVERY_MODE"] == "exactly_once"
    assert broker["BREAKER"] == {"failures": 3, "open_seconds": 60}
    assert "RETENTION_HOURS" not in broker
    assert [topic["name"] for topic in broker["TOPICS"]] == ["github", "repositories", "orders", "alerts"]


def test_an_interval_that_cannot_be_meant_is_named() -> None:
    done = manage("check", DATAPUNK_BROKER_CLEANUP_INTERVAL="abc")

    assert done.returncode == 1
    assert "DATAPUNK_BROKER['CLEANUP_INTERVAL'] must be seconds" in done.stderr


def test_what_is_empty_says_nothing() -> None:
    names = ("DATABASES", "CELERY_BROKER_URL", "DEBUG", "ALLOWED_HOSTS", "CSRF_TRUSTED_ORIGINS", "DEMO_ADMIN_PASSWORD")

    assert settings_of(*names, **dict.fromkeys(VARIABLES, "")) == settings_of(*names)


@pytest.mark.parametrize(
    "env",
    [
        {},
        {"DEBUG": "1"},
        {"DATABASE_URL": "postgresql://u@db/broker", "REDIS_URL": "redis://cache/0"},
        {"DATAPUNK_BROKER_RETENTION_HOURS": "48", "LOG_JSON": "1"},
    ],
)
def test_the_system_checks_find_nothing(env: dict[str, str]) -> None:
    done = manage("check", "--fail-level", "INFO", **env)

    assert (done.returncode, done.stdout) == (0, "System check identified no issues (0 silenced).\n"), done.stderr


def test_no_migration_is_missing(tmp_path: Path) -> None:
    done = manage("makemigrations", "--check", "--dry-run", DATABASE_URL=f"sqlite:///{tmp_path}/none.sqlite3")

    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("env", [{"DEBUG": "0"}, {"DATABASE_URL": "postgresql://u@db/broker"}])
def test_without_a_secret_key_the_project_is_not_served_for_real(env: dict[str, str]) -> None:
    done = manage("check", SECRET_KEY="", **env)

    assert done.returncode != 0
    assert "SECRET_KEY is not set. Without DEBUG=1 the project needs one of its own" in done.stderr


@pytest.mark.parametrize("debug", [True, False])
def test_for_local_use_a_secret_key_is_made_once_and_kept(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    debug: bool,
) -> None:
    if debug:
        monkeypatch.setenv("DATABASE_URL", "postgresql://u@db/broker")
    file = tmp_path / "key"

    key = secret_key(file, debug=debug)

    assert len(key) >= 50
    assert secret_key(file, debug=debug) == key
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("begun", ["", "\n"])
def test_a_file_without_a_key_in_it_is_none(tmp_path: Path, begun: str) -> None:
    file = tmp_path / "key"
    file.write_text(begun)

    key = secret_key(file, debug=True)

    assert len(key) >= 50
    assert file.read_text() == key
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_all_that_begin_at_once_have_the_same_secret_key(tmp_path: Path) -> None:
    for turn in range(20):
        at_once = threading.Barrier(8)

        def begin(file: Path, at_once: threading.Barrier = at_once) -> str:
            at_once.wait(30)
            return secret_key(file, debug=True)

        with ThreadPoolExecutor(8) as threads:
            keys = set(threads.map(begin, [tmp_path / str(turn)] * 8))
        assert len(keys) == 1
        assert len(keys.pop()) >= 50


def test_a_secret_key_that_cannot_be_kept_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ImproperlyConfigured, match="none can be kept"):
        secret_key(tmp_path / "no folder" / "key", debug=True)


@pytest.mark.parametrize(("text", "meant"), [("1", True), ("True", True), ("off", False), ("", False), (" NO ", False)])
def test_a_flag_is_read_as_people_write_it(
    text: str,
    meant: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DEBUG", text)

    assert flag("DEBUG") is meant


def test_a_flag_that_says_neither_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEBUG", "maybe")

    with pytest.raises(ImproperlyConfigured, match="DEBUG is 'maybe'"):
        flag("DEBUG")


def test_words_have_commas_or_spaces_between_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALLOWED_HOSTS", "a.example, b.example c.example")

    assert words("ALLOWED_HOSTS") == ["a.example", "b.example", "c.example"]


def test_what_the_url_says_of_the_database_wins() -> None:
    assert database("postgresql://u@db/x?prepare_threshold=0")["OPTIONS"]["prepare_threshold"] in (0, "0")


def test_a_url_of_no_database_is_refused_without_showing_it() -> None:
    with pytest.raises(ImproperlyConfigured) as error:
        database("nonsense://u:hunter2@db/x")

    assert "hunter2" not in str(error.value)


def test_a_setting_that_is_not_json_is_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{environment.PREFIX}THROTTLE", "100/min")

    assert broker_settings({"MAX_ATTEMPTS": 3}) == {"MAX_ATTEMPTS": 3, "THROTTLE": "100/min"}
