//! The durable store in the API and in the metrics.

use midge::embed::PublishOptions;
use midge::protocol::QoS;

use crate::http::{Http, broker, console};

fn publish(broker: &midge::embed::Broker, topic: &str) {
    let mut options = PublishOptions::default();
    (options.qos, options.retain) = (QoS::AtLeastOnce, true);
    broker.publish_acknowledged(topic, "x", &options, None).unwrap();
}

#[test]
fn without_a_store_all_is_in_memory() {
    let broker = broker(&[]);
    let mut http = Http::admin(console(&broker));
    let storage = http.json("/api/v1/storage");
    assert_eq!(storage, serde_json::json!({"state": "memory", "store": null}));
    assert!(!http.get("/metrics").text().contains("midge_storage"));
}

#[test]
fn the_store_is_shown_with_its_numbers() {
    let path = std::env::temp_dir().join(format!("midge-http-store-{}", std::process::id()));
    let _old = std::fs::remove_dir_all(&path);
    let broker = broker(&[("storage.path", path.to_str().unwrap()), ("storage.log_size", "64KiB")]);
    let mut http = Http::admin(console(&broker));
    let before = http.json("/api/v1/storage");
    let flushes = before["store"]["flushes"]["count"].as_u64().unwrap();
    for number in 0..3 {
        publish(&broker, &format!("t/{number}"));
    }
    // The caller is told of a commit before it is counted.
    while broker.storage().unwrap().commits < 3 {
        std::thread::yield_now();
    }
    let storage = http.json("/api/v1/storage");
    let store = &storage["store"];
    assert_eq!((storage["state"].as_str(), store["sync"].as_str()), (Some("ok"), Some("always")));
    assert_eq!(store["path"].as_str().unwrap(), path.canonicalize().unwrap().to_str().unwrap());
    assert_eq!((store["commits"].as_u64(), store["committed_changes"].as_u64()), (Some(3), Some(3)));
    assert_eq!(store["flushes"]["count"].as_u64(), Some(flushes + 3));
    let histogram = store["flushes"]["histogram"].as_array().unwrap();
    assert_eq!((histogram.len(), histogram[0]["up_to_us"].as_u64()), (15, Some(100)));
    assert!(histogram[14]["up_to_us"].is_null());
    let counted: u64 = histogram.iter().map(|bucket| bucket["count"].as_u64().unwrap()).sum();
    assert_eq!(counted, flushes + 3);
    assert_eq!((store["cause"].is_null(), store["disk_errors"].as_u64()), (true, Some(0)));
    let metrics = http.get("/metrics");
    for line in [
        "midge_storage_up 1",
        "midge_storage_commits_total 3",
        "midge_storage_changes_total 3",
        "midge_storage_disk_errors_total 0",
        "midge_storage_acknowledgements_waiting 0",
        &format!("midge_storage_tables_bytes {}", std::fs::metadata(path.join("midge.redb")).unwrap().len()),
        &format!("midge_storage_flush_seconds_count {}", flushes + 3),
        &format!("midge_storage_flush_seconds_bucket{{le=\"+Inf\"}} {}", flushes + 3),
        "# TYPE midge_storage_checkpoint_age_seconds gauge",
    ] {
        assert!(metrics.text().lines().any(|one| one == line), "{line}: {}", metrics.text());
    }
    broker.stop(None).unwrap();
    std::fs::remove_dir_all(&path).unwrap();
}
