//! Floor 1: bytes to packets and back, for every version of MQTT.

pub mod qos;
pub mod version;
