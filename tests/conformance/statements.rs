//! The list of statements.

/// Whom a statement binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binds {
    Server,
    /// The sender or the receiver of a packet, whoever that is.
    Both,
    Client,
}

/// One normative statement.
#[derive(Clone, Debug)]
pub struct Statement {
    /// `MQTT-...` of MQTT 5.0, `MQTT3-...` of MQTT 3.1.1, `MQTT31-...` of MQTT 3.1 (numbers of our own).
    pub id: &'static str,
    pub binds: Binds,
    /// What it says, in words of our own.
    pub says: &'static str,
    /// Why nothing here can break it, if so.
    pub exempt: Option<&'static str>,
}

impl Statement {
    /// Whether it needs a line that obeys it and a test.
    pub fn needs_test(&self) -> bool {
        self.binds != Binds::Client && self.exempt.is_none()
    }
}

/// All statements, in the order of the specifications.
pub fn all() -> Vec<Statement> {
    include_str!("statements.txt")
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(parse)
        .collect()
}

fn parse(line: &'static str) -> Statement {
    let fields: Vec<&str> = line.split('|').map(str::trim).collect();
    let [id, binds, says, exempt] = fields[..] else { panic!("four fields: {line}") };
    let binds = match binds {
        "server" => Binds::Server,
        "both" => Binds::Both,
        "client" => Binds::Client,
        other => panic!("{id} binds {other}"),
    };
    Statement { id, binds, says, exempt: (!exempt.is_empty()).then_some(exempt) }
}
