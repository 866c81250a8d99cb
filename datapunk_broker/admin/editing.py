"""The form in which a dead payload is mended: it refuses what is not JSON, and loses nothing of what was typed."""

import re
from typing import Any

import msgspec
from django import forms

from datapunk_broker.admin.payloads import MOST_EDITED, body_of, text_of
from datapunk_broker.admin.pretty import compact, pretty
from datapunk_broker.exceptions import BrokerError, PayloadInvalidError, SchemaMismatchError
from datapunk_broker.models import Message
from datapunk_broker.payload import judge

JSON = "application/json"
_BYTE = re.compile(r"\(byte (\d+)\)")


class EditForm(forms.Form):
    """A payload as text."""

    payload = forms.CharField(
        required=False,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 20, "spellcheck": "false", "class": "broker-code", "autofocus": True}),
    )

    def __init__(self, *args: Any, message: Message, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.message = message
        self.is_json = message.content_type == JSON
        self.fields["payload"].label = "Payload (JSON)" if self.is_json else f"Payload ({message.content_type})"

    def clean_payload(self) -> str:
        """Refuse what is not JSON, and say where."""
        text = self._as_it_was(self.cleaned_data["payload"])
        if self.is_json:
            try:
                judge(text.encode())
            except PayloadInvalidError as error:
                problem = f"The payload {_located(error.problem, text)}"
                raise forms.ValidationError(problem) from error
        return text

    def has_changed(self) -> bool:
        """Whether the text is another than what was shown."""
        typed: str = self.data.get("payload", "")
        return self._as_it_was(typed) != str(self.initial["payload"])

    def payload_bytes(self) -> bytes:
        """Return the bytes to publish: JSON without the space that was for the reader."""
        text = self.cleaned_data["payload"]
        return (compact(text) if self.is_json else text).encode()

    def payload_given(self) -> Any:
        """Return the payload as ``redrive`` takes it: JSON keeps every digit."""
        return msgspec.Raw(self.payload_bytes()) if self.is_json else self.payload_bytes()

    def refuse(self, refusal: BrokerError) -> None:
        """Show what the broker refused, beside the payload where it is about that."""
        if isinstance(refusal, SchemaMismatchError):
            said = f"It does not fit the schema at {refusal.path or '/'}: {refusal.problem}"
        else:
            said = str(refusal)
        self.add_error("payload", said)

    def _as_it_was(self, typed: str) -> str:
        """Undo what a browser does to the ends of lines."""
        return typed if "\r\n" in str(self.initial["payload"]) else typed.replace("\r\n", "\n")


def _located(problem: str, text: str) -> str:
    """Return what is wrong with the line and column, where the reader counted bytes."""
    found = _BYTE.search(problem)
    if found is None:
        return problem
    before = text.encode()[: int(found[1])].decode(errors="ignore")
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    return _BYTE.sub(f"at line {line}, column {column}", problem)


def editable(message: Message) -> str | None:
    """Return a payload as text to edit, None for one that is binary or too long for a form."""
    try:
        text = text_of(body_of(message))
    except PayloadInvalidError:
        return None
    if text is None or len(text) > MOST_EDITED:
        return None
    if message.content_type != JSON:
        return text
    laid_out, whole = pretty(text, MOST_EDITED)
    return laid_out if whole else text
