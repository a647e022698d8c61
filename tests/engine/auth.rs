//! Enhanced authentication: a toy method that asks for a word, once or twice.

use std::sync::{Arc, Mutex};

use midge::codec::auth::Auth;
use midge::codec::packet::Packet;
use midge::codec::properties::{Properties, Property, PropertyWriter};
use midge::codec::reason::ReasonCode;
use midge::engine::access::hooks::{
    AccessRequest, Answer, ConnectRequest, Decision, Host, Verdict, Wanted, defer,
};
use midge::session::link::Cause;

use crate::harness::{Client, Network, Opts, Packets, Q0, Q1, Received, V5, V311, opts};

/// Knows the methods `word`, which asks for the client identifier backwards, and `at once`, which asks for nothing
/// that CONNECT cannot bring.
#[derive(Default)]
struct Toy {
    /// What it was asked, in words.
    asked: Mutex<Vec<String>>,
    /// Whether it decides later.
    later: bool,
    decisions: Mutex<Vec<(Decision, Verdict)>>,
    /// Whether wills are asked about.
    authorizes: bool,
}

impl Host for Toy {
    fn wanted(&self) -> Wanted {
        Wanted { authenticate: true, authorize: self.authorizes, ..Wanted::default() }
    }

    fn authenticate(&self, request: &ConnectRequest<'_>) -> Answer {
        let data = String::from_utf8_lossy(request.auth_data.unwrap_or(b"-")).into_owned();
        self.asked.lock().unwrap().push(format!(
            "{} {} {} {data} {}",
            request.client_id, request.auth_step, request.reauthenticates, request.connection
        ));
        self.say(step(request))
    }

    fn authorize(&self, request: &AccessRequest<'_>) -> Answer {
        self.asked.lock().unwrap().push(format!("may {} to {}", request.client_id, request.topic));
        self.say(if request.topic == "secret" { Verdict::Deny } else { Verdict::Allow })
    }
}

fn step(request: &ConnectRequest<'_>) -> Verdict {
    let expected: String = request.client_id.chars().rev().collect();
    let asks = match request.auth_method {
        Some("word") => request.auth_step == 0,
        Some("at once") => false,
        Some("forgets the method") => return Verdict::Allow,
        None if request.username == Some("odd") => return Verdict::Continue(Vec::new()),
        None if request.username == Some("more") => return Verdict::AllowWith(b"unheard".to_vec()),
        None => return Verdict::Allow,
        _ => return Verdict::DenyWith(ReasonCode::BadAuthenticationMethod),
    };
    match request.auth_data.unwrap_or_default() {
        b"banned" => Verdict::DenyWith(ReasonCode::Banned),
        b"panic" => panic!("for the test"),
        b"long" => Verdict::Continue(vec![b'?'; 65_536]),
        b"as long as may be" => Verdict::Continue(vec![b'?'; 65_535]),
        b"last long" => Verdict::AllowWith(vec![b'!'; 65_536]),
        b"last as long as may be" => Verdict::AllowWith(vec![b'!'; 65_535]),
        b"again" => Verdict::Continue(vec![b'?'; 100]),
        data if asks => Verdict::Continue([b"the word after ", data].concat()),
        word if word == expected.as_bytes() => Verdict::AllowWith(b"welcome".to_vec()),
        _ => Verdict::Deny,
    }
}

impl Toy {
    fn say(&self, verdict: Verdict) -> Answer {
        if !self.later {
            return verdict.into();
        }
        let (decision, deferred) = defer();
        self.decisions.lock().unwrap().push((decision, verdict));
        deferred.into()
    }

    /// Decides what was asked last.
    fn decide(&self) {
        let (decision, verdict) = self.decisions.lock().unwrap().pop().unwrap();
        assert!(decision.resolve(verdict));
    }

    fn heard(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

fn hosted(toy: Toy) -> (Network, Arc<Toy>) {
    let toy = Arc::new(toy);
    (Network::hosted_by(toy.clone(), &[]), toy)
}

fn network() -> Network {
    hosted(Toy::default()).0
}

fn by(method: &str, data: &[u8]) -> Opts {
    opts("abc", V5).with(|p| _ = p.authentication_method(method).authentication_data(data))
}

fn send_auth(client: &mut Client<'_>, reason: ReasonCode, method: &str, data: &[u8]) -> bool {
    let mut properties = Vec::new();
    PropertyWriter::new(&mut properties).authentication_method(method).authentication_data(data);
    let properties = Properties::from_encoded(&properties).unwrap();
    client.send(&Packet::Auth(Auth { reason, properties }))
}

fn answer(client: &mut Client<'_>, data: &[u8]) -> bool {
    send_auth(client, ReasonCode::ContinueAuthentication, "word", data)
}

/// Expects AUTH of the method; its data.
fn expect_auth(client: &mut Client<'_>, expected: ReasonCode) -> String {
    match client.next() {
        Some(Received::Auth { reason, properties }) if reason == expected => {
            let properties = Properties::from_encoded(&properties).unwrap();
            assert_eq!(properties.authentication_method(), Some("word")); // [MQTT-4.12.0-5]
            String::from_utf8(properties.authentication_data().unwrap_or_default().to_vec()).unwrap()
        }
        other => panic!("expected AUTH: {other:?}"),
    }
}

/// Sends CONNECT by the method `word`, and takes the question.
fn asked(network: &Network) -> Client<'_> {
    let mut client = Client::open(network, V5);
    assert!(client.send_bytes(&by("word", b"hello").encode()));
    let question = expect_auth(&mut client, ReasonCode::ContinueAuthentication); // [MQTT-4.12.0-2]
    assert_eq!(question, "the word after hello");
    client
}

/// A client that has been let in by the method `word`.
fn proven(network: &Network) -> Client<'_> {
    let mut client = asked(network);
    assert!(answer(&mut client, b"cba"));
    assert!(matches!(client.next(), Some(Received::Connack { reason: ReasonCode::Success, .. })));
    client
}

#[test]
fn a_client_that_knows_the_word_is_let_in() {
    let network = network();
    let mut client = asked(&network);
    assert_eq!(network.stats().sessions, 0);
    assert!(answer(&mut client, b"cba")); // [MQTT-4.12.0-3]
    let Some(Received::Connack { reason: ReasonCode::Success, properties, .. }) = client.next() else {
        panic!("expected to be accepted");
    };
    // [MQTT-4.12.0-5]
    let told = Properties::from_encoded(&properties).unwrap();
    assert_eq!(told.authentication_method(), Some("word"));
    assert_eq!(told.authentication_data(), Some(&b"welcome"[..]));
    assert_eq!(network.stats().packets_received, 2);
    client.subscribe("t", Q1);
    network.publish("t", "x", 1, false);
    assert_eq!(client.drain(), ["x"]);
    // The time for CONNECT has stopped.
    network.advance(3600);
    assert_eq!(client.line.finished(), None);
    client.hang_up();
    assert_eq!((network.stats().sessions, network.engine.timers_running()), (0, 0));
}

#[test]
fn connect_can_bring_all_that_is_needed() {
    let network = network();
    let client = by("at once", b"cba").on(&network);
    assert_eq!(client.told().authentication_method(), Some("at once"));
    assert_eq!(by("at once", b"abc").refused_by(&network).0, Some(ReasonCode::NotAuthorized));
}

/// [MQTT-4.12.0-4]: CONNACK says why.
#[test]
fn a_client_that_does_not_know_the_word_is_refused() {
    let network = network();
    for (word, reason) in [(&b"abc"[..], ReasonCode::NotAuthorized), (b"banned", ReasonCode::Banned)] {
        let mut client = asked(&network);
        assert!(!answer(&mut client, word));
        assert_eq!(client.refusal(), (Some(reason), reason));
        client.hang_up();
    }
    let stats = network.stats();
    assert_eq!((stats.sessions, stats.connections_refused, network.engine.timers_running()), (0, 2, 0));
}

/// [MQTT-4.12.0-1]
#[test]
fn an_unknown_method_is_refused() {
    let reason = ReasonCode::BadAuthenticationMethod;
    assert_eq!(by("SCRAM", b"").refused_by(&network()), (Some(reason), reason));
    assert_eq!(by("word", b"").refused_by(&Network::new()), (Some(reason), reason));
}

/// What CONNECT says wrong is refused before anything is asked.
#[test]
fn a_connect_that_breaks_a_rule_is_not_asked() {
    let network = network();
    let will = crate::harness::LastWill::new("$SYS/x", "");
    assert_eq!(by("word", b"").will(will).refused_by(&network).0, Some(ReasonCode::NotAuthorized));
}

#[test]
fn the_method_stays_the_same() {
    let network = network();
    let mut client = asked(&network);
    assert!(!send_auth(&mut client, ReasonCode::ContinueAuthentication, "at once", b"cba"));
    assert_eq!(client.refusal().0, Some(ReasonCode::ProtocolError)); // [MQTT-4.12.0-5]
    let mut client = proven(&network);
    assert!(!send_auth(&mut client, ReasonCode::ReAuthenticate, "at once", b"cba"));
    client.expect_refused(ReasonCode::ProtocolError); // [MQTT-4.12.1-1]
}

/// [MQTT-3.1.2-30]
#[test]
fn nothing_but_auth_and_disconnect_comes_before_connack() {
    let network = network();
    let publish = Packets::default().publish(V5, "t", "x", Q0, 0).0;
    for packet in [&[0xC0, 0][..], &publish, &by("word", b"").encode(), &[0x82, 7, 0, 1, 0, 0, 1, b't', 0]] {
        let mut client = asked(&network);
        assert!(!client.send_bytes(packet));
        assert_eq!(client.refusal(), (Some(ReasonCode::ProtocolError), ReasonCode::ProtocolError));
        client.hang_up();
    }
    let mut client = asked(&network);
    assert!(!client.send_disconnect(ReasonCode::Success, None));
    client.expect_nothing();
    assert_eq!(client.line.finished(), Some(Cause::Disconnected));
    client.hang_up();
    // An end of the exchange is not the client's to say.
    for reason in [ReasonCode::Success, ReasonCode::ReAuthenticate] {
        let mut client = asked(&network);
        assert!(!send_auth(&mut client, reason, "word", b"cba"));
        assert_eq!(client.refusal().0, Some(ReasonCode::ProtocolError));
        client.hang_up();
    }
    assert_eq!((network.stats().sessions, network.engine.timers_running()), (0, 0));
}

#[test]
fn packets_behind_the_last_answer_are_taken() {
    let network = network();
    let mut client = asked(&network);
    let mut properties = Vec::new();
    PropertyWriter::new(&mut properties).authentication_method("word").authentication_data(b"cba");
    let properties = Properties::from_encoded(&properties).unwrap();
    let auth = Packet::Auth(Auth { reason: ReasonCode::ContinueAuthentication, properties });
    let packets = Packets::default().packet(V5, &auth).packet(V5, &Packet::Pingreq);
    for byte in packets.0.chunks(1) {
        assert!(client.send_bytes(byte));
    }
    assert!(matches!(client.next(), Some(Received::Connack { reason: ReasonCode::Success, .. })));
    assert_eq!(client.next(), Some(Received::Pingresp));
}

#[test]
fn an_exchange_ends_in_time_or_with_its_connection() {
    let network = network();
    let slow = asked(&network);
    asked(&network).hang_up();
    network.advance(11);
    assert_eq!(slow.line.finished(), Some(Cause::ConnectTimeout));
    slow.hang_up();
    let stats = network.stats();
    assert_eq!((stats.connections_closed, network.engine.timers_running()), (2, 0));
}

/// A line that does not take one AUTH at once is not waited for.
#[test]
fn a_client_that_reads_nothing_is_given_up() {
    let network = network();
    let mut client = asked(&network);
    client.line.allow(10);
    assert!(!answer(&mut client, b"again"));
    assert_eq!(client.line.finished(), Some(Cause::ConnectionLost));
    client.hang_up();
    assert_eq!(network.engine.timers_running(), 0);
}

/// [MQTT-3.1.2-24]
#[test]
fn an_auth_that_is_too_large_is_not_sent() {
    let network = network();
    let small = by("word", b"x").with(|p| _ = p.maximum_packet_size(60));
    let mut client = Client::open(&network, V5);
    assert!(client.send_bytes(&small.encode()));
    expect_auth(&mut client, ReasonCode::ContinueAuthentication);
    assert!(!answer(&mut client, b"again"));
    assert_eq!(client.refusal().0, Some(ReasonCode::PacketTooLarge));
}

/// [MQTT-3.1.2-24]: one that is as large as the client takes is sent.
#[test]
fn an_auth_as_large_as_the_client_takes_is_sent() {
    // Fixed header 2, reason 1, property length 1, method 3 + 4, data 3 + 100.
    for (most, passes) in [(114, true), (113, false)] {
        let network = network();
        let connect = by("word", b"again").with(|p| _ = p.maximum_packet_size(most));
        let mut client = Client::open(&network, V5);
        assert_eq!(client.send_bytes(&connect.encode()), passes, "{most}");
        match passes {
            true => {
                assert_eq!(expect_auth(&mut client, ReasonCode::ContinueAuthentication), "?".repeat(100));
            }
            false => assert_eq!(client.refusal().0, Some(ReasonCode::PacketTooLarge)),
        }
    }
}

/// [MQTT-3.15.2-1], [MQTT-4.12.0-2]: 0x18 while the exchange goes on, 0x00 when it is over.
#[test]
fn a_client_authenticates_again() {
    let network = network();
    let mut client = proven(&network);
    client.subscribe("t", Q0);
    for _ in 0..2 {
        assert!(send_auth(&mut client, ReasonCode::ReAuthenticate, "word", b"me")); // [MQTT-4.12.1-1]
        let question = expect_auth(&mut client, ReasonCode::ContinueAuthentication);
        assert_eq!(question, "the word after me");
        // Meanwhile everything goes on.
        network.publish("t", "x", 0, false);
        client.expect_message("t", "x");
        assert!(answer(&mut client, b"cba"));
        assert_eq!(expect_auth(&mut client, ReasonCode::Success), "welcome");
    }
    network.publish("t", "y", 0, false);
    client.expect_message("t", "y");
}

/// [MQTT-4.12.1-2]
#[test]
fn who_fails_to_authenticate_again_is_disconnected() {
    let network = network();
    let mut client = proven(&network);
    assert!(send_auth(&mut client, ReasonCode::ReAuthenticate, "word", b""));
    expect_auth(&mut client, ReasonCode::ContinueAuthentication);
    assert!(!answer(&mut client, b"wrong"));
    client.expect_refused(ReasonCode::NotAuthorized);
    assert_eq!(network.stats().sessions, 0);
}

#[test]
fn auth_out_of_turn_is_a_protocol_error() {
    let network = network();
    // No exchange is going on; and a client does not say that one has succeeded.
    for reason in [ReasonCode::ContinueAuthentication, ReasonCode::Success] {
        let mut client = proven(&network);
        assert!(!send_auth(&mut client, reason, "word", b"cba"));
        client.expect_refused(ReasonCode::ProtocolError);
    }
    let mut client = proven(&network);
    send_auth(&mut client, ReasonCode::ReAuthenticate, "word", b"");
    expect_auth(&mut client, ReasonCode::ContinueAuthentication);
    assert!(!send_auth(&mut client, ReasonCode::ReAuthenticate, "word", b""));
    client.expect_refused(ReasonCode::ProtocolError);
    // [MQTT-4.12.0-7]: without a method in CONNECT there is no AUTH.
    let mut client = opts("plain", V5).on(&network);
    assert!(!send_auth(&mut client, ReasonCode::ReAuthenticate, "word", b""));
    client.expect_refused(ReasonCode::ProtocolError);
    drop(opts("old", V311).on(&network));
}

/// The host sees what a client says, how far the exchange is, and whether the client is there already.
#[test]
fn the_host_is_asked_step_by_step() {
    let (network, toy) = hosted(Toy::default());
    let mut client = proven(&network);
    assert_eq!(toy.heard(), ["abc 0 false hello 1", "abc 1 false cba 1"]);
    assert!(send_auth(&mut client, ReasonCode::ReAuthenticate, "word", b"me"));
    expect_auth(&mut client, ReasonCode::ContinueAuthentication);
    assert!(answer(&mut client, b"again"));
    expect_auth(&mut client, ReasonCode::ContinueAuthentication);
    assert!(answer(&mut client, b"cba"));
    expect_auth(&mut client, ReasonCode::Success);
    assert_eq!(toy.heard(), ["abc 0 true me 1", "abc 1 true again 1", "abc 2 true cba 1"]);
}

/// AUTH has a method and data, and explains nothing, whether or not the client wants to hear it.
/// [MQTT-3.15.2-2], [MQTT-3.15.2-3], [MQTT-3.1.2-29], [MQTT-4.12.0-5]
#[test]
fn auth_has_no_reason_string_and_no_user_properties() {
    for problems in [false, true] {
        let network = network();
        let mut client = Client::open(&network, V5);
        let connect = by("word", b"hello").with(|p| _ = p.request_problem_information(problems));
        client.send_bytes(&connect.encode());
        answer(&mut client, b"cba");
        send_auth(&mut client, ReasonCode::ReAuthenticate, "word", b"me");
        answer(&mut client, b"again");
        answer(&mut client, b"cba");
        let mut reasons = Vec::new();
        while let Some(packet) = client.next() {
            let Received::Auth { reason, properties } = packet else { continue };
            reasons.push(reason);
            for property in Properties::from_encoded(&properties).unwrap().iter() {
                match property {
                    Property::AuthenticationMethod(method) => assert_eq!(method, "word"),
                    Property::AuthenticationData(_) => {}
                    other => panic!("{reason:?}: {other:?}"),
                }
            }
        }
        let goes_on = ReasonCode::ContinueAuthentication;
        assert_eq!(reasons, [goes_on, goes_on, goes_on, ReasonCode::Success]);
    }
}

/// A hook that knows passwords only lets nobody in by a method, and what is of use with a method alone is a denial
/// without [MQTT-4.12.0-6].
#[test]
fn a_hook_that_does_not_look_at_the_method_lets_nobody_in_by_it() {
    let network = network();
    let reason = ReasonCode::BadAuthenticationMethod;
    assert_eq!(by("forgets the method", b"").refused_by(&network), (Some(reason), reason));
    let reason = ReasonCode::BadUserNameOrPassword;
    assert_eq!(opts("c", V5).username("odd").refused_by(&network), (Some(reason), reason));
    let client = opts("c", V5).username("more").on(&network);
    assert_eq!(client.told().authentication_data(), None);
    assert_eq!(client.told().authentication_method(), None);
}

/// A panic, or an answer that MQTT cannot carry.
#[test]
fn a_hook_that_fails_lets_nobody_in() {
    let network = network();
    for data in [&b"panic"[..], b"long"] {
        let reason = ReasonCode::NotAuthorized;
        assert_eq!(by("word", data).refused_by(&network), (Some(reason), reason));
        let mut client = asked(&network);
        assert!(!answer(&mut client, data));
        assert_eq!(client.refusal(), (Some(reason), reason));
        client.hang_up();
        let mut client = proven(&network);
        send_auth(&mut client, ReasonCode::ReAuthenticate, "word", data);
        client.expect_refused(reason);
    }
    // DISCONNECT does not know Banned.
    let mut client = proven(&network);
    send_auth(&mut client, ReasonCode::ReAuthenticate, "word", b"banned");
    client.expect_refused(ReasonCode::NotAuthorized);
}

/// What the host says by the method is at most 65,535 bytes, and so is what the client says.
#[test]
fn authentication_data_at_the_bound_passes_both_ways_and_one_byte_more_does_not() {
    let longest = vec![b'?'; 65_535];
    for (data, len) in [(&b"as long as may be"[..], 65_535), (b"long", 65_536)] {
        let passes = len == 65_535;
        let reason = ReasonCode::NotAuthorized;
        let expected = |client: &mut Client<'_>| match passes {
            true => assert_eq!(expect_auth(client, ReasonCode::ContinueAuthentication).len(), len),
            false => assert_eq!(client.refusal(), (Some(reason), reason)),
        };
        let network = network();
        let mut client = Client::open(&network, V5);
        assert_eq!(client.send_bytes(&by("word", data).encode()), passes);
        expected(&mut client);
        let mut client = asked(&network);
        assert_eq!(answer(&mut client, data), passes);
        expected(&mut client);
        // The last word, with CONNACK and with AUTH.
        let last = [&b"last "[..], data].concat();
        let mut client = Client::open(&network, V5);
        assert_eq!(client.send_bytes(&by("word", &last).encode()), passes);
        if !passes {
            assert_eq!(client.refusal(), (Some(reason), reason));
            let mut client = proven(&network);
            assert!(!send_auth(&mut client, ReasonCode::ReAuthenticate, "word", &last));
            client.expect_refused(reason);
            continue;
        }
        let Some(Received::Connack { reason: ReasonCode::Success, properties, .. }) = client.next() else {
            panic!("expected to be accepted");
        };
        let told = Properties::from_encoded(&properties).unwrap();
        assert_eq!(told.authentication_data().map(<[u8]>::len), Some(len));
        assert!(send_auth(&mut client, ReasonCode::ReAuthenticate, "word", &last));
        assert_eq!(expect_auth(&mut client, ReasonCode::Success).len(), len);
    }
    let (network, toy) = hosted(Toy::default());
    let mut client = asked(&network);
    assert!(!answer(&mut client, &longest));
    assert_eq!(toy.heard()[1].matches('?').count(), longest.len(), "the host has not heard all of it");
}

/// Each step may be decided later; packets behind it wait.
#[test]
fn every_step_may_be_decided_later() {
    let (network, toy) = hosted(Toy { later: true, ..Toy::default() });
    let mut client = Client::open(&network, V5);
    assert!(client.send_bytes(&by("word", b"hello").encode()));
    client.expect_nothing();
    assert_eq!(client.connection.awaits_host(), Some(true));
    toy.decide();
    client.poll();
    assert_eq!(expect_auth(&mut client, ReasonCode::ContinueAuthentication), "the word after hello");
    assert!(answer(&mut client, b"cba"));
    client.send(&Packet::Pingreq);
    client.expect_nothing();
    toy.decide();
    client.poll();
    assert!(matches!(client.next(), Some(Received::Connack { reason: ReasonCode::Success, .. })));
    assert_eq!(client.next(), Some(Received::Pingresp));
    assert!(send_auth(&mut client, ReasonCode::ReAuthenticate, "word", b"me"));
    client.send(&Packet::Pingreq);
    client.expect_nothing();
    toy.decide();
    client.poll();
    assert_eq!(expect_auth(&mut client, ReasonCode::ContinueAuthentication), "the word after me");
    assert_eq!(client.next(), Some(Received::Pingresp));
    assert!(answer(&mut client, b"wrong"));
    toy.decide();
    client.poll();
    assert_eq!(client.next(), Some(Received::Disconnect(ReasonCode::NotAuthorized)));
    // Nothing was asked twice, and each packet was counted once.
    assert_eq!(toy.heard().len(), 4);
    assert_eq!(network.stats().packets_received, 6);
    client.hang_up();
    assert_eq!(network.engine.timers_running(), 0);
}

#[test]
fn silence_of_the_host_denies_in_the_middle_of_an_exchange() {
    let (network, toy) = hosted(Toy { later: true, ..Toy::default() });
    let mut client = Client::open(&network, V5);
    assert!(client.send_bytes(&by("word", b"hello").encode()));
    toy.decide();
    client.poll();
    expect_auth(&mut client, ReasonCode::ContinueAuthentication);
    assert!(answer(&mut client, b"cba"));
    network.advance(6);
    client.poll();
    assert_eq!(client.refusal().0, Some(ReasonCode::NotAuthorized));
    let (decision, verdict) = toy.decisions.lock().unwrap().pop().unwrap();
    assert!(!decision.resolve(verdict));
    client.hang_up();
    assert_eq!(network.engine.timers_running(), 0);
}

/// Who has not shown who it is is not asked about further.
#[test]
fn a_will_is_asked_about_when_its_client_is_known() {
    for later in [false, true] {
        let (network, toy) = hosted(Toy { authorizes: true, later, ..Toy::default() });
        for (topic, reason) in [("open", ReasonCode::Success), ("secret", ReasonCode::NotAuthorized)] {
            let decide = |client: &mut Client<'_>| {
                if later {
                    toy.decide();
                    client.poll();
                }
            };
            let will = crate::harness::LastWill::new(topic, "x");
            let mut client = Client::open(&network, V5);
            client.send_bytes(&by("word", b"hello").will(will.clone()).encode());
            decide(&mut client);
            expect_auth(&mut client, ReasonCode::ContinueAuthentication);
            assert_eq!(toy.heard().len(), 1);
            answer(&mut client, b"cba");
            decide(&mut client);
            decide(&mut client);
            assert!(matches!(client.next(), Some(Received::Connack { reason: told, .. }) if told == reason));
            let heard = toy.heard();
            assert_eq!((heard.len(), &*heard[1]), (2, &*format!("may abc to {topic}")));
            client.hang_up();
            // At once, too.
            let mut client = Client::open(&network, V5);
            client.send_bytes(&by("at once", b"cba").will(will).encode());
            decide(&mut client);
            decide(&mut client);
            assert!(matches!(client.next(), Some(Received::Connack { reason: told, .. }) if told == reason));
            assert_eq!(toy.heard().len(), 2);
            client.hang_up();
        }
        assert_eq!(network.engine.timers_running(), 0);
    }
}
