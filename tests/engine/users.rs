//! A session belongs to the user whose client has begun it.

use std::sync::{Arc, Mutex};

use midge::codec::reason::ReasonCode;
use midge::codec::version::Version;
use midge::engine::access::hooks::{Answer, ConnectRequest, Decision, Host, Verdict, Wanted, defer};
use midge::session::link::Cause;
use midge::storage::Store;

use crate::harness::{ALL, Client, Commit, LateStore, Network, Q1, V5, V31, V311, opts};

/// Lets in who has the password `right`, at once or, `later`, when it is told to.
#[derive(Default)]
struct Gate {
    later: bool,
    undecided: Mutex<Vec<Decision>>,
}

impl Host for Gate {
    fn wanted(&self) -> Wanted {
        Wanted { authenticate: true, ..Wanted::default() }
    }

    fn authenticate(&self, request: &ConnectRequest<'_>) -> Answer {
        if request.password.is_some_and(|password| password != b"right") {
            return Verdict::Deny.into();
        }
        if self.later {
            let (decision, deferred) = defer();
            self.undecided.lock().unwrap().push(decision);
            return deferred.into();
        }
        Answer::ALLOW
    }
}

fn guarded(settings: &[(&str, &str)]) -> Network {
    Network::hosted_by(Arc::new(Gate::default()), settings)
}

fn user(version: Version, name: &str) -> crate::harness::Opts {
    opts("shared", version).persistent().username(name).password(b"right")
}

/// What a client is told whose Client Identifier is another user's.
const REFUSED: (Option<ReasonCode>, ReasonCode) =
    (Some(ReasonCode::ClientIdentifierNotValid), ReasonCode::ClientIdentifierNotValid);

/// Alice's session, which waits for her with a message.
fn left_by_alice(network: &Network, version: Version) {
    let mut alice = user(version, "alice").on(network);
    alice.subscribe("t", Q1);
    alice.hang_up();
    network.publish("t", "for alice", 1, false);
}

#[test]
fn a_session_is_not_another_users() {
    for version in ALL {
        let network = guarded(&[]);
        left_by_alice(&network, version);
        for other in ["bob", "", "Alice"] {
            assert_eq!(user(version, other).refused_by(&network), REFUSED, "{other:?}");
            // Nor may the session be ended by another one.
            let clean = opts("shared", version).username(other).password(b"right");
            assert_eq!(clean.refused_by(&network), REFUSED, "{other:?}");
        }
        assert_eq!(opts("shared", version).persistent().refused_by(&network), REFUSED, "without a name");
        let (mut alice, present) = user(version, "alice").join(&network);
        assert_eq!(present, version != V31);
        assert_eq!(alice.drain(), ["for alice"]);
    }
}

#[test]
fn a_connection_is_not_taken_over_by_another_user() {
    for version in ALL {
        let network = guarded(&[]);
        let mut alice = user(version, "alice").on(&network);
        assert_eq!(user(version, "bob").refused_by(&network), REFUSED);
        assert_eq!(alice.line.finished(), None);
        alice.subscribe("t", Q1);
        let mut again = user(version, "alice").on(&network);
        assert_eq!(alice.line.finished(), Some(Cause::SessionTakenOver));
        network.publish("t", "x", 1, false);
        assert_eq!(again.drain(), ["x"]);
        assert_eq!(network.stats().takeovers, 1);
    }
}

/// The host answers later: the session is bound all the same.
#[test]
fn a_session_is_bound_to_a_user_whom_the_host_lets_in_later() {
    let gate = Arc::new(Gate { later: true, ..Gate::default() });
    let network = Network::hosted_by(Arc::clone(&gate) as Arc<dyn Host>, &[]);
    let allow = |client: &mut Client<'_>| {
        let decision = gate.undecided.lock().unwrap().pop().unwrap();
        assert!(decision.resolve(Verdict::Allow));
        client.poll();
    };
    let mut alice = Client::open(&network, V5);
    alice.send_bytes(&user(V5, "alice").encode());
    allow(&mut alice);
    assert_eq!(network.engine.clients().len(), 1);
    let mut bob = Client::open(&network, V5);
    bob.send_bytes(&user(V5, "bob").encode());
    allow(&mut bob);
    assert_eq!(bob.refusal(), REFUSED);
    assert_eq!(alice.line.finished(), None);
}

/// The setting gives the newcomer a session of its own, and nothing of the old one.
#[test]
fn another_user_may_start_clean() {
    for version in ALL {
        let network = guarded(&[("session.other_user", "start_clean")]);
        left_by_alice(&network, version);
        let (mut bob, present) = user(version, "bob").join(&network);
        assert!(!present);
        network.publish("t", "for alice, too", 1, false);
        bob.expect_nothing();
        // Now it is bob's, and his connection is taken over.
        let (mut alice, present) = user(version, "alice").join(&network);
        assert!(!present);
        assert_eq!(bob.line.finished(), Some(Cause::SessionTakenOver));
        alice.expect_nothing();
    }
}

/// A client without a user name that the host lets in has a session of its own, too.
#[test]
fn a_session_without_a_user_name_is_no_users() {
    for version in ALL {
        let network = guarded(&[]);
        opts("shared", version).persistent().on(&network).hang_up();
        assert_eq!(user(version, "bob").refused_by(&network), REFUSED);
        opts("shared", version).persistent().on(&network).hang_up();
    }
}

/// Where nobody asks for passwords, a user name says nothing.
#[test]
fn without_an_authority_sessions_are_the_client_identifiers() {
    for version in [V311, V5] {
        let network = Network::new();
        left_by_alice(&network, version);
        let (mut bob, present) = user(version, "bob").join(&network);
        assert!(present);
        assert_eq!(bob.drain(), ["for alice"]);
    }
}

/// After a crash, whether the session has begun or was resumed last; one from before there was an authority is its next user's.
#[test]
fn a_restored_session_is_its_users() {
    for resumed in [false, true] {
        let store = Arc::new(LateStore::new(false));
        let network = Network::with_store(&[], Arc::clone(&store) as Arc<dyn Store>)
            .and(|engine| engine.with_host(Arc::new(Gate::default())));
        left_by_alice(&network, V5);
        if resumed {
            user(V5, "alice").on(&network).hang_up();
        }
        let (network, store) = network.after_crash(&store, store.len(), 1);
        let network = network.and(|engine| engine.with_host(Arc::new(Gate::default())));
        assert_eq!(user(V5, "bob").refused_by(&network), REFUSED);
        let (mut alice, present) = user(V5, "alice").join(&network);
        assert!(present);
        assert_eq!(alice.drain(), ["for alice"]);
        drop((alice, store));
    }
    let store = Arc::new(LateStore::new(false));
    let network = Network::with_store(&[], Arc::clone(&store) as Arc<dyn Store>);
    left_by_alice(&network, V5);
    let (network, _store) = network.after_crash(&store, store.len(), 1);
    let network = network.and(|engine| engine.with_host(Arc::new(Gate::default())));
    user(V5, "bob").on(&network).hang_up();
    assert_eq!(user(V5, "alice").refused_by(&network), REFUSED);
}
