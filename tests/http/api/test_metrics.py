"""/metrics as Prometheus reads it: its Python client has the parser of each format."""

import requests
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as text_format

from conftest import LOGIN, Broker


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
    # Listeners and refusals of authorities are shown beside the statistics.
    beside = ("midge_listener_", "midge_access_")
    count = sum(1 for family in open_metrics(text) if not family.name.startswith(beside))
    names = [name for name in overview["stats"] if not name.startswith("messages_dropped")]
    # With the drops of all reasons, the start and the uptime.
    assert count == len(names) + 3


def test_both_parsers_take_the_metrics_of_a_store(tmp_path):
    broker = Broker(f"storage.path={tmp_path / 'store'}", "storage.log_size=1MiB")
    try:
        message = {"topic": "kept", "payload": "x", "retain": True, "qos": 1}
        requests.post(broker.console + "/api/v1/publish", json=message, auth=LOGIN, timeout=30).raise_for_status()
        answer = requests.get(broker.console + "/metrics", timeout=30)
    finally:
        broker.stop()
    families = {family.name: family for family in open_metrics(answer.text)}
    flushes = families["midge_storage_flush_seconds"]
    assert (flushes.type, flushes.unit) == ("histogram", "seconds")
    bounds = [sample.labels["le"] for sample in flushes.samples if sample.name.endswith("_bucket")]
    assert (len(bounds), float(bounds[0]), bounds[-1]) == (15, 0.0001, "+Inf")
    assert families["midge_storage_up"].samples[0].value == 1
    assert families["midge_storage_log_bytes"].samples[0].value == 2 << 20
    samples = {sample.name for family in text_format(answer.text) for sample in family.samples}
    assert {"midge_storage_commits_total", "midge_storage_checkpoint_age_seconds"} <= samples
