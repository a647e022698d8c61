//! The broker dies at any moment, and another one starts with what the store had committed.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use midge::storage::Store;

use crate::model::Model;
use crate::op::Op;
use crate::sink::Everything;
use crate::walks::Walk;
use crate::world::{Event, World, engine_of, memory_of};

/// What the store has committed, as a model, and what came after.
#[derive(Default)]
pub struct Committed {
    model: Model,
    /// Steps that are not known to be committed, each with the position that it is committed with, and its time.
    steps: VecDeque<(u64, u64, Op)>,
    /// QoS 1 and 2 messages that the clients have since the last crash: session, number, how often.
    heard: HashMap<(usize, u64, u64), u32>,
    /// Those of them that a client has forgotten with its session.
    forgotten: HashSet<(usize, u64, u64)>,
    /// Messages that a client may have, or a retained one that is just like it.
    doubted: HashSet<(usize, u64, u64)>,
}

impl Committed {
    pub fn new(model: Model) -> Committed {
        Committed { model, ..Committed::default() }
    }

    pub fn push(&mut self, position: u64, now: u64, op: Op) {
        self.steps.push_back((position, now, op));
    }

    /// A client has a message for the first time.
    pub fn heard(&mut self, client: usize, generation: u64, number: u64) {
        *self.heard.entry((client, generation, number)).or_default() += 1;
    }

    /// A client has a message, or a retained one that is just like it.
    pub fn doubt(&mut self, client: usize, generation: u64, number: u64) {
        self.doubted.insert((client, generation, number));
    }

    /// A client has been told that the session is not the one that it knows, and forgets what it has.
    pub fn forget(&mut self, client: usize) {
        self.forgotten.extend(self.heard.keys().filter(|key| key.0 == client));
        self.model.sessions.get_mut(&client).into_iter().for_each(|session| session.owed.forget());
    }

    /// The model of what is committed up to `position`. `knows`: the session whose state each client has.
    fn cut(&mut self, position: u64, now: u64, knows: &[u64]) -> Model {
        let model = &mut self.model;
        for (at, time, op) in self.steps.drain(..) {
            if at <= position {
                model.now = time;
                op.apply(model);
            }
        }
        model.now = now;
        let (heard, forgotten) = (std::mem::take(&mut self.heard), std::mem::take(&mut self.forgotten));
        for (client, session) in &mut model.sessions {
            let generation = session.generation;
            let key = |number| (*client, generation, number);
            let times = |number| heard.get(&key(number)).copied().unwrap_or(0);
            session.owed.mark(times, |number| forgotten.contains(&key(number)));
            session.owed.doubt_all(|number| self.doubted.contains(&key(number)));
        }
        let mut left = model.clone();
        left.crash();
        for (client, session) in &mut left.sessions {
            // Another client has begun a session that is lost, and forgotten this one: it is sent again what it had.
            if knows[*client] == session.generation {
                session.owed.remember();
            }
        }
        left
    }
}

impl World {
    /// Does something to the model, and remembers it until all that was appended is committed.
    pub fn change(&mut self, op: Op) -> bool {
        self.change_with(self.store.appended(), op)
    }

    /// Does something to the model, and remembers it until this position is committed.
    pub fn change_with(&mut self, position: u64, op: Op) -> bool {
        let done = op.apply(&mut self.model);
        if self.restarts {
            self.committed.push(position, self.now, op);
        }
        done
    }

    /// The broker dies. The store may have committed more than it has said.
    pub fn crash(&mut self) {
        let (appended, committed) = (self.store.appended(), self.store.committed());
        let wanted = committed + self.dice.below(appended - committed + 1);
        let position = if self.late { self.store.commit_to(wanted) } else { appended };
        self.note(|| format!("crash: {position} of {appended} changes are left"));
        self.coverage.crashes += 1;
        self.coverage.changes_lost += appended - position;
        self.coverage.changes_restored += position;
        let knows: Vec<u64> = self.clients.iter().map(|client| client.generation).collect();
        let mut model = self.committed.cut(position, self.now, &knows);
        for (client, session) in &mut model.sessions {
            let before = [self.model.sessions.get(client), self.model.ghosts.get(client)];
            let same = before.into_iter().flatten().find(|before| before.generation == session.generation);
            Walk::crash(&mut session.walks, same.map_or(&[], |before| &before.walks));
        }
        model.generations = model.generations.max(self.model.generations);
        model.accepted.extend(self.model.accepted.iter().copied());
        self.committed.model.generations = model.generations;
        self.coverage.expired_before += self.model.expired;
        self.model = model;
        self.positions.retain(|_, at| *at <= position);
        #[cfg(feature = "durable")]
        if self.seed.is_multiple_of(16) && self.coverage.crashes == 1 {
            crate::durable_check::comes_back(|see| self.store.for_each_before(position, see));
        }
        self.store = Arc::new(self.store.after_crash(position).with_memory(memory_of(self.seed)));
        // Whole seconds, and whole ticks of the engine's wheel.
        self.began = self.now / 4000 * 4000;
        self.takeovers = 0;
        (self.engine, self.alarm) = engine_of(&self.config, &self.store, self.seed, self.began / 1000);
        let restored = self.engine.restore(&mut self.engine.turn(self.time()));
        restored.unwrap_or_else(|error| panic!("{error}"));
        // That connections have ended is itself a change that may be lost.
        self.committed.push(self.store.appended(), self.now, Op::Crash);
        self.sink = Everything::subscribe(&self.engine);
        self.sink.take();
        self.compare_retained();
        self.touched.lock().unwrap().clear();
        // An identifier whose use is lost may be given again, by chance to the same message published anew.
        self.clients.iter_mut().for_each(|client| client.seen.clear());
        for (at, conn) in self.conns.iter_mut().enumerate() {
            conn.open = false;
            let was_whole = !std::mem::replace(&mut conn.broken, true);
            if was_whole && self.clients[conn.client].conn == Some(at) {
                self.lost.push(at);
            }
        }
        for conn in std::mem::take(&mut self.lost) {
            let delay = self.dice.between(1, 3000);
            self.later(delay, Event::ClientLost(conn));
        }
        self.restart_ticks();
    }
}
