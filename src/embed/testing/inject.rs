//! Faults: put in, counted, taken away.

use std::time::Duration;

use crate::embed::error::Error;
use crate::embed::testing::broker::TestBroker;
use crate::net::testing::Fault;

/// Names a fault that was injected into a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FaultId(pub(crate) u64);

impl TestBroker {
    /// Lets something go wrong from now on. If several faults fit a packet, the one that was injected first strikes.
    ///
    /// # Errors
    /// `Argument` if there are 10,000 faults that were not cleared; `Stopped`.
    pub fn inject(&self, fault: Fault) -> Result<FaultId, Error> {
        let number = self.running()?.bed.inject(fault).ok_or_else(|| {
            let cause = "there are 10000 already; clear some".to_owned();
            Error::Argument { argument: "fault", cause }
        })?;
        Ok(FaultId(number))
    }

    /// How often a fault has struck. 0 for one that was cleared.
    pub fn hits(&self, fault: FaultId) -> u64 {
        self.bench().ok().and_then(|bench| bench.bed.hits(fault.0)).unwrap_or(0)
    }

    /// Waits until a fault has struck so often; false if `timeout` of real time passed first, or if it was cleared.
    ///
    /// # Errors
    /// `Stopped`; `InCallback` on a thread of the broker.
    pub fn wait_for_hits(&self, fault: FaultId, hits: u64, timeout: Duration) -> Result<bool, Error> {
        self.wait(timeout, |_, bench| match bench.bed.hits(fault.0) {
            Some(count) if count < hits => None,
            known => Some(known.is_some()),
        })
        .map(|found| found == Some(true))
    }

    /// Ends a fault; false if it was cleared before. Packets that it has delayed stay so.
    pub fn clear_fault(&self, fault: FaultId) -> bool {
        self.bench().is_ok_and(|bench| bench.bed.clear(fault.0))
    }

    /// Ends all faults, and reads again from all clients.
    pub fn clear_faults(&self) {
        if let Ok(bench) = self.bench() {
            bench.bed.clear_all();
        }
    }

    /// Cuts a client's connection with a TCP reset, without DISCONNECT. When this returns, the broker has dealt with
    /// the end of the connection: the will is published or its delay runs. False if the client is not connected.
    ///
    /// # Errors
    /// `Stopped`; `InCallback` on a thread of the broker.
    pub fn cut(&self, client_id: &str) -> Result<bool, Error> {
        Ok(self.waiting()?.1.bed.cut(client_id))
    }

    /// Stops reading what a client sends, until [`TestBroker::resume_reading`]: to the client it looks as if the broker
    /// hung. Its Keep Alive runs in the broker's time. False if the client is not connected.
    ///
    /// # Errors
    /// `Stopped`.
    pub fn pause_reading(&self, client_id: &str) -> Result<bool, Error> {
        Ok(self.running()?.bed.pause(client_id, true))
    }

    /// Reads again from a client. False if it is not connected.
    ///
    /// # Errors
    /// `Stopped`.
    pub fn resume_reading(&self, client_id: &str) -> Result<bool, Error> {
        Ok(self.running()?.bed.pause(client_id, false))
    }
}
