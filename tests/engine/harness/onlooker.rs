//! Who sees whether a burst is given to a client as a whole.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};

use midge::codec::subscribe::SubscriptionOptions;
use midge::engine::core::state::Engine;
use midge::engine::parts::sink::{LocalMessage, Sink};

use crate::harness::Network;

/// An in-process subscriber, to which messages are always pushed one by one. At each it looks at how many the clients have
/// been sent: only one that is given several at once is ahead of it.
pub struct Onlooker {
    engine: Weak<Engine>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    pushed: u64,
    /// By client: messages sent before the onlooker came, and by how many it was ahead at most.
    clients: BTreeMap<String, (u64, u64)>,
}

impl Onlooker {
    /// Subscribes to `filter`, and looks at all clients of this moment.
    pub fn at(network: &Network, filter: &str) -> Arc<Onlooker> {
        let clients = network.engine.clients().into_iter();
        let clients = clients.map(|client| (client.client_id, (client.sent_messages, 0))).collect();
        let state = Mutex::new(State { pushed: 0, clients });
        let onlooker = Arc::new(Onlooker { engine: Arc::downgrade(&network.engine), state });
        let options = SubscriptionOptions::default();
        let turn = &mut network.turn();
        network.engine.subscribe_local(turn, filter, options, 0, onlooker.clone()).unwrap();
        onlooker
    }

    /// By how many messages a client was ahead of those that were pushed, at most. 0 if it was given them one by one.
    pub fn ahead(&self, client_id: &str) -> u64 {
        self.state.lock().unwrap().clients[client_id].1
    }

    /// How many clients were ahead.
    pub fn leaders(&self) -> usize {
        self.state.lock().unwrap().clients.values().filter(|(_, ahead)| *ahead > 0).count()
    }
}

impl Sink for Onlooker {
    fn push(&self, _message: &LocalMessage<'_>) -> bool {
        let engine = self.engine.upgrade().unwrap();
        let state = &mut *self.state.lock().unwrap();
        state.pushed += 1;
        for (client_id, (before, ahead)) in &mut state.clients {
            if let Some(client) = engine.client(client_id) {
                *ahead = (*ahead).max((client.sent_messages - *before).saturating_sub(state.pushed));
            }
        }
        true
    }

    fn wake(&self) {}
}
