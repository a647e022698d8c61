"""The API against its own document: schemathesis makes up requests, right and wrong ones, and checks the answers."""

import requests
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import CHECKS

from conftest import LOGIN

LIVE = {"/api/v1/events", "/api/v1/live"}
schema = schemathesis.pytest.from_fixture("schema").exclude(path=list(LIVE))


@schema.parametrize()
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_answer_is_as_the_document_says(case):
    # Guesses of a password would be slowed, as they should be.
    excluded = [CHECKS.get_one("ignored_auth")]
    if case.operation.label == "POST /api/v1/listeners":
        # The document does not repeat the table of settings, which says what a value may be.
        excluded.append(CHECKS.get_one("positive_data_acceptance"))
    case.call_and_validate(auth=LOGIN, excluded_checks=excluded)


def test_streams_are_as_the_document_says(lasting_broker):
    for path in LIVE:
        url = lasting_broker.console + path
        with requests.get(url, auth=LOGIN, stream=True, timeout=30) as answer:
            assert answer.status_code == 200
            assert answer.headers["content-type"] == "text/event-stream"
            assert next(answer.iter_lines())
        assert requests.get(url, timeout=30).status_code == 401


def test_no_route_but_the_open_ones_answers_without_a_login(lasting_broker):
    document = requests.get(lasting_broker.console + "/api/v1/openapi.json", timeout=30).json()
    tried = 0
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if operation.get("security") == [] or path == "/metrics":
                continue
            url = lasting_broker.console + path.replace("{client_id}", "x")
            answer = requests.request(method, url, json={}, timeout=30)
            assert answer.status_code == 401, (method, path)
            tried += 1
    assert tried > 15
