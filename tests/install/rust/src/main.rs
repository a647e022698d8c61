//! A broker in Rust, and a part in C.

use midge::{Broker, Config};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut config = Config::new();
    config.set("listener.tcp.bind", "off")?;
    Broker::builder(&config).start()?.stop(None)?;
    assert!(midge_outside::is_right());
    println!("hello from Rust and C");
    Ok(())
}
