"""Form fields that say what an empty one stands for, and that read JSON as the broker does."""

import json
from typing import Any

from django import forms

from datapunk_broker.exceptions import PayloadInvalidError
from datapunk_broker.payload import decode

SHORT = 60
"""JSON of so many characters stands on one line."""


class JSONTextField(forms.CharField):
    """JSON as text; empty is None, and what is not JSON stays as it was typed."""

    widget = forms.Textarea

    def __init__(self, *, encoder: Any = None, decoder: Any = None, **options: Any) -> None:  # noqa: ARG002
        options.setdefault("widget", forms.Textarea(attrs={"rows": 6, "spellcheck": "false", "class": "broker-code"}))
        super().__init__(**options)

    def to_python(self, value: Any) -> Any:
        """Read the text (ValidationError for what is not JSON)."""
        if not isinstance(value, str):
            return value
        if not value.strip():
            return None
        try:
            return decode(value.encode())
        except (PayloadInvalidError, UnicodeEncodeError) as error:
            problem = f"This is not JSON: {_problem(error)}"
            raise forms.ValidationError(problem, code="invalid") from error

    def validate(self, value: Any) -> None:
        if self.required and value is None:
            raise forms.ValidationError(self.error_messages["required"], code="required")

    def run_validators(self, value: Any) -> None:
        """Take any value: the validators of text are not for it."""

    def prepare_value(self, value: Any) -> Any:
        """Write a stored value; text is what somebody typed."""
        if value is None or isinstance(value, str):
            return value
        line = json.dumps(value, ensure_ascii=False)
        return line if len(line) <= SHORT else json.dumps(value, ensure_ascii=False, indent=2)

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Whether the JSON is another; True is not 1."""
        try:
            typed = self.to_python(data)
        except forms.ValidationError:
            return True
        return json.dumps(initial, sort_keys=True) != json.dumps(typed, sort_keys=True)


def say_default(field: Any, value: Any, whose: str) -> None:
    """Say in an empty field what holds as long as it is empty."""
    if isinstance(field, forms.NullBooleanField):
        said = f"as in the {whose}: {'yes' if value else 'no'}"
        field.widget.choices = [("unknown", said), ("true", "yes"), ("false", "no")]
    elif isinstance(field, forms.ChoiceField):
        said = f"as in the {whose}: {str(value).replace('_', ' ')}"
        known: Any = field.choices
        field.choices = [("", said), *(choice for choice in known if choice[0] != "")]
    else:
        said = f"{value:g}" if isinstance(value, float) else str(value)
        field.widget.attrs["placeholder"] = f"{said} ({whose})"


def _problem(error: Exception) -> str:
    return error.problem if isinstance(error, PayloadInvalidError) else "it has a lone surrogate."
