"""What the fuzzer is told before it calls: no pull waits longer than a moment."""

from typing import Any

import schemathesis

MOMENT = 0.05


@schemathesis.hook
def before_call(context: object, case: Any, kwargs: dict[str, Any]) -> None:
    body = case.body
    if case.operation.path.endswith("/pull/") and isinstance(body, dict):
        seconds = body.get("wait_seconds")
        if isinstance(seconds, int | float) and not isinstance(seconds, bool) and MOMENT < seconds <= 20:
            body["wait_seconds"] = MOMENT
