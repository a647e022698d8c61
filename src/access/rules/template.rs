//! A level of a rule's topic filter in which `%u` or `%c` stands for a name of the client.

use crate::access::rules::decision::{Client, Name};

/// The text of a level, cut at its placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template {
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(Box<str>),
    Name(Name),
}

impl Template {
    /// The template of a level; `None` if it has no placeholder.
    pub(super) fn of(level: &str) -> Option<Template> {
        let mut pieces = Vec::new();
        let mut rest = level;
        while let Some((at, name)) = first_placeholder(rest) {
            let (before, after) = (rest.get(..at)?, rest.get(at + 2..)?);
            if !before.is_empty() {
                pieces.push(Piece::Text(before.into()));
            }
            pieces.push(Piece::Name(name));
            rest = after;
        }
        if pieces.is_empty() {
            return None;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.into()));
        }
        Some(Template { pieces })
    }

    /// The names that it uses.
    pub(super) fn names(&self) -> impl Iterator<Item = Name> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Name(name) => Some(*name),
            Piece::Text(_) => None,
        })
    }

    /// The name that it begins with.
    pub(super) fn first_name(&self) -> Option<Name> {
        match self.pieces.first() {
            Some(Piece::Name(name)) => Some(*name),
            _ => None,
        }
    }

    /// Whether a level is this text with the names of the client. Never for an anonymous client if it uses the User
    /// Name.
    pub(super) fn matches(&self, client: Client<'_>, level: &str) -> bool {
        let mut rest = level;
        for piece in &self.pieces {
            let Some(after) = piece.text(client).and_then(|text| rest.strip_prefix(text)) else {
                return false;
            };
            rest = after;
        }
        rest.is_empty()
    }

    /// The level for a client; `None` for an anonymous one if it uses the User Name.
    pub(super) fn text(&self, client: Client<'_>) -> Option<String> {
        self.pieces.iter().map(|piece| piece.text(client)).collect()
    }
}

impl Piece {
    fn text<'t>(&'t self, client: Client<'t>) -> Option<&'t str> {
        match self {
            Piece::Text(text) => Some(text),
            Piece::Name(Name::User) => client.user,
            Piece::Name(Name::ClientId) => Some(client.client_id),
        }
    }
}

/// The first placeholder of a text.
fn first_placeholder(text: &str) -> Option<(usize, Name)> {
    text.as_bytes().windows(2).enumerate().find_map(|(at, pair)| match pair {
        b"%u" => Some((at, Name::User)),
        b"%c" => Some((at, Name::ClientId)),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::Template;
    use crate::access::rules::decision::Client;

    #[test]
    fn a_level_with_placeholders_is_compared_piece_by_piece() {
        let client = Client { user: Some("u%c"), client_id: "id" };
        for (level, text) in
            [("%u", "u%c"), ("a%cb", "aidb"), ("%c%u%c", "idu%cid"), ("%%c", "%id"), ("é%u%", "éu%c%")]
        {
            let template = Template::of(level).unwrap();
            assert_eq!(template.text(client).as_deref(), Some(text), "{level}");
            assert!(template.matches(client, text), "{level}");
            assert!(!template.matches(client, &format!("{text}x")), "{level}");
            assert!(
                !template.matches(client, text.strip_suffix(text.chars().last().unwrap()).unwrap()),
                "{level}"
            );
        }
        for level in ["", "%", "%x", "u%", "c", "% u"] {
            assert_eq!(Template::of(level), None, "{level}");
        }
        let anonymous = Client { user: None, client_id: "id" };
        let template = Template::of("a%u").unwrap();
        assert!(!template.matches(anonymous, "a") && template.text(anonymous).is_none());
    }
}
