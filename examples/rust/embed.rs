//! A broker inside a Rust program: `cargo run --example embed`, then talk to it with any MQTT client.
//!
//! With an argument (`cargo run --example embed -- 127.0.0.1:1883`) it stays up until Enter is pressed.

#![allow(clippy::print_stdout, reason = "an example talks to its reader")]

use std::time::Duration;

use midge::{Broker, Config, PublishOptions, QoS, SubscribeOptions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1);
    let mut config = Config::new();
    // Port 0: the system chooses a free one.
    config.set("listener.tcp.bind", address.as_deref().unwrap_or("127.0.0.1:0"))?;

    let broker = Broker::start(&config)?;
    for (name, address) in broker.addresses() {
        println!("listener {name}: {address}");
    }

    let mut messages = broker.subscribe("sensors/+/temperature", &SubscribeOptions::default())?;
    let reached = broker.publish(
        "sensors/kitchen/temperature",
        "21.5",
        &PublishOptions::qos(QoS::AtLeastOnce).retained(),
    )?;
    println!("published to {reached} subscriber");
    if let Some(message) = messages.recv_timeout(Duration::from_secs(1))? {
        println!("{}: {}", message.topic(), String::from_utf8_lossy(message.payload()));
    }

    if address.is_some() {
        println!("press Enter to stop");
        std::io::stdin().read_line(&mut String::new())?;
    }
    broker.stop(None)?;
    Ok(())
}
