"""What the fuzzer is told: to wait for no pull, what it could never guess, and which refusals no schema foretells."""

import os
from collections import Counter
from pathlib import Path
from typing import Any

import schemathesis

MOMENT = 0.05

PAGES = {"cursor"}
"""A cursor is one that was given out."""

HELD = {"headers", "routing_key"}
"""No NUL, no lone surrogate, and sizes in bytes."""

NAMED = {"name", "dead_letter_topic", "schema", "topic", "bindings", "endpoint_url", "secret"}
"""A name is free, and stays; a topic is there; a binding fits the topic's type; an address is one."""

FITTING = {"stream", "persistent", "history", "transport", "mode", "ordering", "delivery_mode", "handler"}
FITTING |= {"batch_window", "ack_deadline"}
FITTING |= {"binding_invalid", "too_many_subscribers", "delivery_mode_invalid", "endpoint_refused"}
"""Options that exclude one another."""

PUBLISHED = {"payload_invalid", "message_too_large", "schema_mismatch"}
"""An event's own attributes are called as they like, and a message fits its topic."""

EXCUSES: dict[str, set[str]] = {
    "list_topics": PAGES,
    "list_subscriptions": PAGES,
    "list_messages": PAGES | {"header"} | HELD,
    "list_dead_letters": PAGES,
    "create_topic": NAMED | FITTING,
    "change_topic": NAMED | FITTING,
    "create_subscription": NAMED | FITTING,
    "change_subscription": NAMED | FITTING,
    "publish": PUBLISHED,
    "publish_batch": PUBLISHED,
    "redrive_dead_letters": {"payload", "schema_mismatch", "message_too_large"},
    "explain": HELD,
    "obtain_token": {"username", "password", "credentials_invalid"},
}
"""The fields, or the codes, for which an operation may refuse what has the right shape; all others may not."""

_calls: Counter[str] = Counter()


def name_of(case: Any) -> str:
    return str(case.operation.definition.raw["operationId"])


def is_positive(case: Any) -> bool:
    return case.meta is None or case.meta.generation.mode.is_positive


@schemathesis.hook
def before_call(context: object, case: Any, kwargs: dict[str, Any]) -> None:
    name, body = name_of(case), case.body
    if name == "pull" and isinstance(body, dict):
        seconds = body.get("wait_seconds")
        if isinstance(seconds, int | float) and not isinstance(seconds, bool) and MOMENT < seconds <= 20:
            body["wait_seconds"] = MOMENT
    if name == "redrive_dead_letters" and isinstance(body, dict) and isinstance(body.get("filter"), dict):
        body["filter"]["subscription"] = "of-topic"  # some dead letters are left for the others
    if is_positive(case):
        _calls[name] += 1
        if _calls[name] % 3 == 1:
            tell(name, case)


def tell(name: str, case: Any) -> None:
    """Put in what is there."""
    if name in ("read_dead_letter", "discard_dead_letter"):
        letters = os.environ["FUZZING_LETTERS"].split()
        case.path_parameters["id"] = letters[_calls["discard_dead_letter"] // 3 % len(letters)]
    elif name == "explain" and isinstance(case.body, dict):
        case.body["topic"] = "fanout"
    elif name == "read_audit":
        case.query = {"subscription": "of-fanout"}
    elif name == "create_subscription":
        case.body = {"name": f"made-{_calls[name]}", "topic": "fanout", "transport": "pull"}
    elif name == "obtain_token":
        case.body = {"username": "root", "password": "pass"}


@schemathesis.hook
def after_call(context: object, case: Any, response: Any) -> None:
    with Path(os.environ["FUZZING_ANSWERS"]).open("a") as answers:
        answers.write(f"{name_of(case)} {response.status_code}\n")


@schemathesis.check
def refuses_nothing_without_an_excuse(context: object, response: Any, case: Any) -> None:
    """Refuse what has the right shape for no other reason than those that are named."""
    if response.status_code not in (400, 413, 422) or not is_positive(case):
        return
    problem, excuses = response.json(), EXCUSES.get(name_of(case), set())
    fields = {error["field"].partition(".")[0].partition("[")[0] for error in problem.get("errors", [])}
    # 2.0 is a whole number to a schema, and none to a reader of JSON.
    excused = problem["code"] in excuses or (fields and fields <= excuses) or "got `float`" in problem["detail"]
    assert excused, f"{name_of(case)} refused {fields or problem['code']}: {problem['detail']}"
