//! Whole numbers in JSON, including 5.0.

use serde::de::{Deserialize, Deserializer, Error};
use serde_json::Value;

/// A number within the range of its type.
pub(super) fn whole<'de, D: Deserializer<'de>, T: TryFrom<u64>>(deserializer: D) -> Result<T, D::Error> {
    let value = Value::deserialize(deserializer)?;
    number(&value).ok_or_else(|| D::Error::custom(format!("{value} is not a whole number in range")))
}

/// The same, or null.
pub(super) fn whole_or_null<'de, D: Deserializer<'de>, T: TryFrom<u64>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(None),
        value => match number(&value) {
            Some(number) => Ok(Some(number)),
            None => Err(D::Error::custom(format!("{value} is not a whole number in range"))),
        },
    }
}

fn number<T: TryFrom<u64>>(value: &Value) -> Option<T> {
    let is_whole = |number: &f64| number.fract() == 0.0 && (0.0..9.0e15).contains(number);
    let number = value.as_u64().or_else(|| value.as_f64().filter(is_whole).map(|number| number as u64))?;
    T::try_from(number).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::number;

    #[test]
    fn whole_numbers_are_taken_however_they_are_written() {
        for value in [json!(5), json!(5.0)] {
            assert_eq!(number::<u8>(&value), Some(5));
        }
        for value in [json!(-1), json!(0.5), json!(256), json!(1e300), json!("5"), json!(null), json!(true)] {
            assert_eq!(number::<u8>(&value), None, "{value}");
        }
    }
}
