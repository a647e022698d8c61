//! The host's hooks as a sink of events.

use std::sync::Arc;

use crate::engine::access::hooks::Host;
use crate::engine::observe::mask::EventMask;
use crate::engine::observe::sink::EventSink;
use crate::session::event::Event;
use crate::time::Time;

/// The host's hooks as a sink, with the mask that the host had when the engine was made.
pub(crate) struct HostSink {
    host: Arc<dyn Host>,
    mask: EventMask,
}

impl HostSink {
    pub(crate) fn new(host: Arc<dyn Host>) -> HostSink {
        HostSink { mask: EventMask::of_host(host.wanted()), host }
    }
}

impl EventSink for HostSink {
    fn mask(&self) -> EventMask {
        self.mask
    }

    fn event(&self, _now: Time, event: &Event) {
        self.host.tell(event);
    }
}
