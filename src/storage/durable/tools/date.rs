//! Times of the calendar as text: `2026-11-30T20:15:00.123Z`.

use crate::time::WallTime;

const DAY_MILLIS: u64 = 86_400_000;

/// The text of a time, in UTC.
pub(super) fn format(time: WallTime) -> String {
    let (day, millis) = (time.as_millis() / DAY_MILLIS, time.as_millis() % DAY_MILLIS);
    let (year, month, day) = date(day);
    let (hour, minute) = (millis / 3_600_000, millis / 60_000 % 60);
    let (second, millis) = (millis / 1000 % 60, millis % 1000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// The time of a text that [`format`] could have written; fractions of the second may be left out.
pub(super) fn parse(text: &str) -> Option<WallTime> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let mut date = date.split('-');
    let (year, month, day) = (digits(date.next()?, 4)?, digits(date.next()?, 2)?, digits(date.next()?, 2)?);
    let (time, millis) = match time.split_once('.') {
        None => (time, 0),
        Some((time, millis)) if millis.len() == 3 => (time, digits(millis, 3)?),
        Some(_) => return None,
    };
    let mut time = time.split(':');
    let (hour, minute) = (digits(time.next()?, 2)?, digits(time.next()?, 2)?);
    let second = digits(time.next()?, 2)?;
    let rest = date.next().is_some() || time.next().is_some();
    if rest || year > 600_000_000 || month == 0 || month > 12 || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = days(year, month, day)?;
    let of_day = ((hour * 60 + minute) * 60 + second) * 1000 + millis;
    days.checked_mul(DAY_MILLIS)?.checked_add(of_day).map(WallTime::from_millis)
}

/// A number of at least `least` digits.
fn digits(text: &str, least: usize) -> Option<u64> {
    match text.len() >= least && text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => text.parse().ok(),
        false => None,
    }
}

/// The year, month and day that is `days` after 1970-01-01.
fn date(days: u64) -> (u64, u64, u64) {
    // Years are counted from March of the year 0, so that a leap day is the last day of its year.
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

/// Days from 1970-01-01 to a date; `None` if there is no such date, or it is before.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    let counted = year - u64::from(month <= 2 && year > 0);
    let (era, of_era) = (counted / 400, counted % 400);
    let from_march = (month + 9) % 12;
    let of_year = (153 * from_march + 2) / 5 + day.checked_sub(1)?;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    let days = days.checked_sub(719_468)?;
    (date(days) == (year, month, day)).then_some(days)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{format, parse};
    use crate::time::WallTime;

    #[test]
    fn a_time_is_read_back() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_001, "2000-02-28T23:59:59.001Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_200_999, "2024-03-01T00:00:00.999Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (253_402_300_800_000, "10000-01-01T00:00:00.000Z"),
            (u64::MAX, "584556019-04-03T14:25:51.615Z"),
        ] {
            assert_eq!(format(WallTime::from_millis(millis)), text);
            assert_eq!(parse(text), Some(WallTime::from_millis(millis)), "{text}");
        }
        assert_eq!(parse("2026-11-30T20:15:00Z"), parse("2026-11-30T20:15:00.000Z"));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "yesterday",
            "2026-11-30",
            "2026-11-30T20:15:00.123",
            "2026-11-30T20:15:00.12Z",
            "2026-11-31T20:15:00.123Z",
            "2023-02-29T00:00:00.000Z",
            "2026-13-01T00:00:00.000Z",
            "2026-00-01T00:00:00.000Z",
            "2026-01-00T00:00:00.000Z",
            "2026-01-01T24:00:00.000Z",
            "2026-01-01T00:60:00.000Z",
            "2026-01-01T00:00:60.000Z",
            "1969-12-31T23:59:59.999Z",
            "0000-01-01T00:00:00.000Z",
            "-2026-01-01T00:00:00.000Z",
            "584556019-04-03T14:25:51.616Z",
            "99999999999999999999-01-01T00:00:00.000Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
