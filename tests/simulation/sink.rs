//! The host program's subscription to everything.

use std::sync::{Arc, Mutex};

use midge::codec::qos::QoS;
use midge::codec::subscribe::SubscriptionOptions;
use midge::engine::core::state::Engine;
use midge::engine::parts::sink::{Local, LocalMessage, Sink};
use midge::time::Time;

use crate::letter::number_of;

/// Keeps the number, topic and QoS of every message.
#[derive(Default)]
pub struct Everything {
    messages: Mutex<Vec<(u64, String, u8)>>,
    subscription: Mutex<Option<Arc<Local>>>,
}

impl Everything {
    pub fn subscribe(engine: &Engine) -> Arc<Everything> {
        let sink = Arc::new(Everything::default());
        let options = SubscriptionOptions::with_qos(QoS::ExactlyOnce);
        let mut turn = engine.turn(Time::ZERO);
        let local = engine.subscribe_local(&mut turn, "#", options, 0, Arc::clone(&sink) as Arc<dyn Sink>);
        *sink.subscription.lock().unwrap() = Some(local.unwrap());
        sink
    }

    pub fn unsubscribe(&self, engine: &Engine) {
        let local = self.subscription.lock().unwrap().take().unwrap();
        engine.unsubscribe_local(&local);
    }

    /// The messages since the last call.
    pub fn take(&self) -> Vec<(u64, String, u8)> {
        std::mem::take(&mut self.messages.lock().unwrap())
    }
}

impl Sink for Everything {
    fn push(&self, message: &LocalMessage<'_>) -> bool {
        let topic = String::from_utf8(message.topic.to_vec()).unwrap();
        self.messages.lock().unwrap().push((number_of(message.payload), topic, message.qos.as_u8()));
        true
    }

    fn wake(&self) {}
}
