//! The known name that is nearest to a misspelt one.

use strsim::levenshtein;

/// The candidate nearest to `key`, if it is near enough: a few wrong letters, or a wrong or missing group.
pub(super) fn nearest(key: &str, candidates: impl IntoIterator<Item = String>) -> Option<String> {
    const LONGEST: usize = 80;
    if key.len() > LONGEST {
        return None;
    }
    let key = key.to_ascii_lowercase().replace('-', "_");
    candidates
        .into_iter()
        .filter_map(|candidate| Some((score(&key, &candidate)?, candidate)))
        .min_by_key(|(score, _)| *score)
        .map(|(_, candidate)| candidate)
}

/// The distance of the two, or `None` if they are too different.
fn score(key: &str, candidate: &str) -> Option<usize> {
    let whole = levenshtein(key, candidate);
    if whole <= tolerance(candidate) {
        return Some(whole);
    }
    let (field, candidate_field) = (last_part(key), last_part(candidate));
    let part = levenshtein(field, candidate_field);
    (part <= tolerance(candidate_field) / 2).then_some(1 + part + tolerance(candidate))
}

fn tolerance(text: &str) -> usize {
    (text.len() / 4).clamp(1, 4)
}

fn last_part(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or(key)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    const KEYS: [&str; 4] = ["mqtt.receive_maximum", "mqtt.max_qos", "session.max_expiry", "mqtt.retain"];

    fn suggestion(key: &str) -> Option<String> {
        nearest(key, KEYS.map(str::to_owned))
    }

    #[test]
    fn a_misspelt_key_finds_its_neighbour() {
        assert_eq!(suggestion("mqtt.recieve_maximum").as_deref(), Some("mqtt.receive_maximum"));
        assert_eq!(suggestion("MQTT.Max-QoS").as_deref(), Some("mqtt.max_qos"));
    }

    #[test]
    fn a_few_letters_may_be_wrong_and_no_more() {
        assert_eq!(suggestion("mqt.mux_qas").as_deref(), Some("mqtt.max_qos"));
        assert_eq!(suggestion("mqt.mux_qax"), None);
    }

    #[test]
    fn of_two_groups_the_one_with_the_name_itself_is_meant() {
        let candidates = ["second.aaaa_bbbc", "first_.aaaa_bbbb"].map(str::to_owned);
        assert_eq!(nearest("x.aaaa_bbbb", candidates).as_deref(), Some("first_.aaaa_bbbb"));
    }

    #[test]
    fn a_wrong_or_missing_group_is_put_right() {
        assert_eq!(suggestion("max_qos").as_deref(), Some("mqtt.max_qos"));
        assert_eq!(suggestion("mqtt.max_expiry").as_deref(), Some("session.max_expiry"));
    }

    #[test]
    fn a_strange_key_finds_nothing() {
        assert_eq!(suggestion("tls.certificate"), None);
        assert_eq!(suggestion(""), None);
        assert_eq!(suggestion(&"mqtt.max_qos".repeat(20)), None);
    }
}
