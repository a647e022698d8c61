//! Who may do what: the broker's own authorities.

pub mod rules;
