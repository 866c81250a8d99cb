"""The API's description: complete, valid, and of nothing else."""

import io
import json
from typing import Any

import pytest
from django.core.management import call_command
from django.urls import get_resolver

from datapunk_broker.api.missing import Missing
from tests.api.talk import ROOT, Api, somebody

pytestmark = pytest.mark.django_db

UNDESCRIBED = {"schema/", "docs/"}


def described(api: Api) -> dict[str, Any]:
    schema: dict[str, Any] = api.get("schema/").json()
    return schema


def test_it_is_generated_without_a_warning_and_valid() -> None:
    out = io.StringIO()

    call_command("spectacular", "--fail-on-warn", "--validate", "--format", "openapi-json", stdout=out)

    assert json.loads(out.getvalue())["openapi"].startswith("3.1")


def test_it_is_served_as_json_to_who_is_known(api: Api) -> None:
    answer = api.get("schema/")

    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/json")
    assert described(Api(somebody())) == answer.json()
    assert Api().get("schema/").status_code == 401


def test_every_address_is_described_and_nothing_else(api: Api) -> None:
    doors = get_resolver("datapunk_broker.api.urls").url_patterns
    paths = {str(door.pattern) for door in doors if door.callback.cls is not Missing} - UNDESCRIBED  # type: ignore[union-attr]

    assert len(described(api)["paths"]) == len(paths)
    assert all(path.startswith(ROOT) for path in described(api)["paths"])


def test_every_operation_has_a_name_a_sentence_and_its_problems(api: Api) -> None:
    operations = [one for path in described(api)["paths"].values() for one in path.values()]

    assert len({one["operationId"] for one in operations}) == len(operations)
    for one in operations:
        assert one["summary"]
        assert {"400", "401", "403", "404", "429"} <= one["responses"].keys()
        for status, response in one["responses"].items():
            kinds = {"application/problem+json"} if status >= "400" else {"application/json"}
            assert response.get("content", kinds and dict.fromkeys(kinds)).keys() == kinds


def test_every_reference_leads_somewhere(api: Api) -> None:
    schema = described(api)
    text = json.dumps(schema)

    names = {part.partition('"')[0] for part in text.split("#/components/schemas/")[1:]}

    assert names <= schema["components"]["schemas"].keys()
    assert {"Envelope", "ShownTopic", "ShownSubscription", "Problem"} <= names


def test_a_secret_is_written_and_never_read(api: Api) -> None:
    shapes = described(api)["components"]["schemas"]

    assert shapes["NewSubscription"]["properties"]["secret"]["anyOf"][0]["writeOnly"]
    holders = {name for name, shape in shapes.items() if "secret" in shape.get("properties", {})}
    assert holders == {"NewSubscription", "SubscriptionChanges", "ShownSubscription"}


def test_the_documentation_is_of_local_files(api: Api) -> None:
    page = api.get("docs/")

    assert (page.status_code, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    text = page.content.decode()
    assert "/broker/api/v1/schema/" in text
    assert "drf_spectacular_sidecar/swagger-ui-dist/swagger-ui-bundle.js" in text
    assert "//cdn" not in text
    assert "https://" not in text
