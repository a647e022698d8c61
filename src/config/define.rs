//! The macro that turns one list of settings into the typed structs and the table.

/// Writes [`Settings`](crate::config::settings::Settings)' groups, `Listener`, and the static `TABLE` and `GROUPS`.
///
/// Each line is `field: Type = "default", kind, "help";`. The key of a setting is its group and its field. So every
/// field has a line in the table, and every line a field.
macro_rules! settings {
    (
        listener, $listener_about:literal {
            $( $part:ident: $part_type:ty = $part_default:literal, $part_kind:expr, $part_help:literal; )*
        }
        $(
            $group:ident: $group_type:ident, $about:literal {
                $( $field:ident: $type:ty = $default:literal, $kind:expr, $help:literal; )*
            }
        )*
    ) => {
        #[doc = $listener_about]
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Listener {
            /// The name in the keys `listener.<name>.*`, 1 to 32 of `a`-`z`, `0`-`9`, `_` and `-`.
            pub name: String,
            $( #[doc = $part_help] pub $part: $part_type, )*
        }

        impl Listener {
            /// A listener whose fields do not have the table's defaults yet.
            pub(super) fn blank(name: &str) -> Self {
                Self { name: name.to_owned(), $( $part: <$part_type as Field>::BLANK, )* }
            }
        }

        $(
            #[doc = $about]
            #[derive(Clone, Debug, PartialEq, Eq)]
            #[non_exhaustive]
            pub struct $group_type {
                $( #[doc = $help] pub $field: $type, )*
            }
        )*

        /// Every setting with its type; the field `mqtt.max_qos` is the key `mqtt.max_qos`.
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Settings {
            #[doc = $listener_about]
            pub listeners: Vec<Listener>,
            $( #[doc = $about] pub $group: $group_type, )*
        }

        impl Settings {
            /// Settings without a listener, whose fields do not have the table's defaults yet.
            pub(super) fn blank() -> Self {
                Self {
                    listeners: Vec::new(),
                    $( $group: $group_type { $( $field: <$type as Field>::BLANK, )* }, )*
                }
            }
        }

        /// The groups of settings in the order of the table, each with a description.
        pub(super) static GROUPS: &[(&str, &str)] = &[
            ("listener", $listener_about),
            $( (stringify!($group), $about), )*
        ];

        static TABLE: &[Setting] = &[
            $( Setting {
                key: concat!("listener.*.", stringify!($part)),
                kind: $part_kind,
                default: $part_default,
                help: $part_help,
                field: Access::Listener {
                    get: |listener| listener.$part.to_value(),
                    put: |listener, value| Field::from_value(value).map(|value| listener.$part = value).is_some(),
                },
            }, )*
            $( $( Setting {
                key: concat!(stringify!($group), ".", stringify!($field)),
                kind: $kind,
                default: $default,
                help: $help,
                field: Access::Broker {
                    get: |settings| settings.$group.$field.to_value(),
                    put: |settings, value| {
                        Field::from_value(value).map(|value| settings.$group.$field = value).is_some()
                    },
                },
            }, )* )*
        ];
    };
}

pub(super) use settings;
