"""Whatever the OpenAPI document lets pass or forbids: no request meets a bug, and every response is as documented."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import BaseSchema, Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.core.result import Ok
from schemathesis.specs.openapi import checks

from tests.serving.http.world import World, fill, settings_of
from tests.serving.persons_sample import NOW

EXAMPLES = 12
OPERATIONS = 18
CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    path = tmp_path_factory.mktemp("schema")
    fill(settings_of(path))
    began = time.monotonic_ns()
    # Waiting for fresh stores needs a clock that goes on.
    found = World(
        path,
        clock=lambda: NOW + (time.monotonic_ns() - began) // 1_000_000,
        requests_per_minute=1_000_000,
        hosts=["testserver"],
        wait_seconds=0.05,
        token_minutes=60,
    )
    yield found
    found.service.close()


@pytest.fixture(scope="module")
def document(world: World) -> BaseSchema:
    """Return the document with the application that it is of."""
    config = SchemathesisConfig.from_dict(
        {"checks": {"negative_data_rejection": {"expected-statuses": [401, 403, 404, 405, 422, 431]}}}
    )
    return schemathesis.openapi.from_asgi(
        "/openapi.json", world.app(page=False), config=config, headers=world.headers()
    )


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: str(mode.value))
def test_requests_meet_no_bug_and_responses_are_as_documented(
    document: BaseSchema, world: World, mode: GenerationMode
) -> None:
    asked = 0
    for found in document.get_all_operations():
        assert isinstance(found, Ok), found
        operation = found.ok()

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(operation.as_strategy(generation_mode=mode))
        def ask(case: Case[Any]) -> None:
            nonlocal asked
            asked += 1
            case.call_and_validate(headers=world.headers(world.anna), checks=CHECKS)

        # What takes nothing cannot be asked wrongly.
        with contextlib.suppress(Unsatisfiable):
            ask()
    assert asked >= OPERATIONS
