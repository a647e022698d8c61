//! Texts of clients, cut to what a page can show: a client identifier or a topic may have 64 KiB.

use std::borrow::Cow;

/// The end of a text that was cut.
const MARK: &str = "\u{2026}";

/// The text, or its beginning and a mark, at most `most` bytes in all.
pub(super) fn shortened(text: &str, most: usize) -> Cow<'_, str> {
    if text.len() <= most {
        return Cow::Borrowed(text);
    }
    let room = most.saturating_sub(MARK.len());
    let end = (0..=room).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    let (beginning, _) = text.split_at_checked(end).unwrap_or_default();
    Cow::Owned(format!("{beginning}{MARK}"))
}

#[cfg(test)]
mod tests {
    use super::shortened;

    #[test]
    fn a_long_text_ends_with_a_mark_between_two_characters() {
        assert_eq!(shortened("abcdef", 6), "abcdef");
        assert_eq!(shortened("abcdefg", 6), "abc\u{2026}");
        assert_eq!(shortened("aüüü", 6), "aü\u{2026}");
        assert_eq!(shortened("üüü!", 6), "ü\u{2026}");
        assert_eq!(shortened("", 0), "");
    }
}
