//! What the simulations have been through.

/// Declares the numbers, their sum and their report.
macro_rules! coverage {
    ($($name:ident, $text:literal;)*) => {
        /// Numbers of one seed, or of all.
        #[derive(Clone, Debug, Default)]
        pub struct Coverage {
            $(pub $name: u64,)*
        }

        impl Coverage {
            pub fn add(&mut self, other: &Coverage) {
                $(self.$name += other.$name;)*
            }

            /// The names of what has never happened.
            pub fn never(&self) -> Vec<&'static str> {
                let mut never = Vec::new();
                $(if self.$name == 0 { never.push($text); })*
                never
            }

            pub fn report(&self) -> String {
                let mut lines = String::new();
                $(lines += &format!("  {:>12} {}\n", self.$name, $text);)*
                lines
            }
        }
    };
}

coverage! {
    seeds, "seeds";
    virtual_seconds, "seconds of virtual time";
    events, "events";
    accepted, "messages published";
    deliveries, "messages that arrived, each counted once for a client";
    duplicates, "QoS 1 and 2 messages that arrived again, and were to";
    retained_deliveries, "retained messages that arrived at a new subscription";
    shared_deliveries, "messages of shared subscriptions that arrived";
    aliased, "messages that arrived by a topic alias";
    publications_resumed, "publications that a client sent again";
    connects, "connections with CONNACK";
    resumed, "of these, sessions resumed";
    segments, "segments of bytes delivered";
    cuts_up, "connections cut at a byte towards the broker";
    cuts_down, "connections cut at a byte towards the client";
    vanished, "clients that vanished";
    takeovers, "take-overs";
    silences, "keep-alive lapses";
    goodbyes, "DISCONNECT packets";
    wills, "wills published";
    expired_sessions, "sessions that expired";
    slow_readers, "connections of slow readers";
    stalls, "times that a slow reader had taken all it could";
    late_commits, "late commits of the store";
    read_back, "times that messages of a queue were read again";
    crashes, "crashes of the broker";
    changes_restored, "changes that were restored after them";
    changes_lost, "changes that were not committed, and lost";
    expired_before, "sessions that expired before a crash";
    host_publishes, "messages of the host program";
    overflows, "messages dropped by full queues";
    expired_messages, "messages dropped because they had expired";
}
