//! Floor 1: bytes to packets and back, for every version of MQTT, and nothing else [MQTT3-7.0.0-2].

pub mod ack;
pub mod auth;
pub mod connack;
pub mod connect;
pub mod disconnect;
pub mod error;
pub mod frame;
pub mod packet;
pub mod packet_id;
pub mod ping;
pub mod properties;
pub mod publish;
pub mod qos;
pub mod reason;
pub mod suback;
pub mod subscribe;
pub mod topic;
pub mod unsuback;
pub mod unsubscribe;
pub mod version;
mod wire;

#[cfg(test)]
mod proptests;
#[cfg(test)]
mod testing;
