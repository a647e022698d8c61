"""/metrics as Prometheus reads it: its Python client has the parser of each format."""

import requests
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as text_format

from conftest import LOGIN


def test_both_parsers_take_the_metrics(broker):
    requests.post(
        broker.console + "/api/v1/publish", json={"topic": "nobody", "payload": "x"}, auth=LOGIN, timeout=30
    ).raise_for_status()
    answer = requests.get(broker.console + "/metrics", timeout=30)
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    families = {family.name: family for family in open_metrics(answer.text)}
    published = families["midge_messages_published"]
    assert (published.type, published.samples[0].name, published.samples[0].value) == (
        "counter",
        "midge_messages_published_total",
        1,
    )
    dropped = {sample.labels["reason"]: sample.value for sample in families["midge_messages_dropped"].samples}
    assert dropped["no_subscriber"] == 1
    assert families["midge_retained_bytes"].unit == "bytes"
    assert families["midge_received_bytes"].type == "counter"
    assert families["midge_clients_connected"].type == "gauge"
    for family in families.values():
        assert family.documentation and family.name.startswith("midge_")
        assert family.name.endswith("_" + family.unit) or not family.unit

    samples = {sample.name for family in text_format(answer.text) for sample in family.samples}
    assert {"midge_messages_published_total", "midge_uptime_seconds"} <= samples


def test_every_statistic_is_a_metric(broker):
    overview = requests.get(broker.console + "/api/v1/overview", auth=LOGIN, timeout=30).json()
    text = requests.get(broker.console + "/metrics", timeout=30).text
    count = sum(1 for family in open_metrics(text))
    names = [name for name in overview["stats"] if not name.startswith("messages_dropped")]
    # With the drops of all reasons, the start and the uptime.
    assert count == len(names) + 3
