//! The macros that turn one list of statistics into structs, atomics and the table.

/// Writes `Counts`, `Counters`, `Gauge`, `Snapshot` and the table.
///
/// Each line is `field, topic, "help";`, with the topic below `$SYS/broker/`, or `-` for none. A line of `gauges`
/// begins with the variant of `Gauge`. A line of `dropped` uses the topic of its reason. A line of `derived` has a
/// function of the snapshot instead of a field.
macro_rules! stats {
    (
        counters { $( $counter:ident, $counter_topic:tt, $counter_help:literal; )* }
        dropped { $( $reason:ident, $dropped:ident; )* }
        gauges { $( $variant:ident, $gauge:ident, $gauge_topic:tt, $gauge_help:literal; )* }
        derived { $( $kind:ident, $derived:ident, $derived_topic:tt, $derived_help:literal, $get:expr; )* }
    ) => {
        /// The counts of one turn of the broker, before they are added to [`Counters`].
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counts {
            $( #[doc = $counter_help] pub $counter: u64, )*
            $(
                #[doc = concat!("Messages dropped for the reason [`DropReason::", stringify!($reason), "`].")]
                pub $dropped: u64,
            )*
        }

        impl Counts {
            /// Counts `n` messages dropped for `reason`, one for each receiver that did not get one.
            pub fn drop(&mut self, reason: DropReason, n: u64) {
                match reason {
                    $( DropReason::$reason => self.$dropped += n, )*
                }
            }

            /// Messages dropped for `reason`.
            pub fn dropped(&self, reason: DropReason) -> u64 {
                match reason {
                    $( DropReason::$reason => self.$dropped, )*
                }
            }
        }

        /// A statistic that rises and falls.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Gauge {
            $( #[doc = $gauge_help] $variant, )*
        }

        impl Gauge {
            /// Every gauge, in the order of the table.
            pub const ALL: &[Gauge] = &[$( Gauge::$variant ),*];
        }

        /// The statistics of one broker, shared by its threads. Reads and writes are not synchronized with each other.
        #[derive(Debug, Default)]
        pub struct Counters {
            $( $counter: AtomicU64, )*
            $( $dropped: AtomicU64, )*
            $( $gauge: AtomicI64, )*
            clients_maximum: AtomicU64,
        }

        impl Counters {
            /// Adds the counts of a turn. Fields that are 0 cost no write to shared memory.
            pub fn add(&self, counts: &Counts) {
                $( add(&self.$counter, counts.$counter); )*
                $( add(&self.$dropped, counts.$dropped); )*
            }

            /// The current values. Each is exact; they are read one after the other.
            pub fn snapshot(&self) -> Snapshot {
                Snapshot {
                    $( $counter: self.$counter.load(Relaxed), )*
                    $( $dropped: self.$dropped.load(Relaxed), )*
                    $( $gauge: u64::try_from(self.$gauge.load(Relaxed)).unwrap_or(0), )*
                    clients_maximum: self.clients_maximum.load(Relaxed),
                }
            }

            fn cell(&self, gauge: Gauge) -> &AtomicI64 {
                match gauge {
                    $( Gauge::$variant => &self.$gauge, )*
                }
            }
        }

        /// The values of all statistics at one moment.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Snapshot {
            $( #[doc = $counter_help] pub $counter: u64, )*
            $(
                #[doc = concat!("Messages dropped for the reason [`DropReason::", stringify!($reason), "`].")]
                pub $dropped: u64,
            )*
            $( #[doc = $gauge_help] pub $gauge: u64, )*
            /// Largest number of clients connected at the same time.
            pub clients_maximum: u64,
        }

        impl Snapshot {
            /// Messages dropped for any reason, one for each receiver that did not get one.
            pub fn messages_dropped(&self) -> u64 {
                0 $( + self.$dropped )*
            }

            /// Messages dropped for `reason`.
            pub fn dropped(&self, reason: DropReason) -> u64 {
                match reason {
                    $( DropReason::$reason => self.$dropped, )*
                }
            }
        }

        static TABLE: &[Stat] = &[
            $( Stat {
                name: stringify!($counter),
                kind: StatKind::Counter,
                sys_topic: sys_topic!($counter_topic),
                help: $counter_help,
                get: |snapshot| snapshot.$counter,
            }, )*
            $( Stat {
                name: stringify!($derived),
                kind: StatKind::$kind,
                sys_topic: sys_topic!($derived_topic),
                help: $derived_help,
                get: $get,
            }, )*
            $( Stat {
                name: stringify!($dropped),
                kind: StatKind::Counter,
                sys_topic: Some(DropReason::$reason.sys_topic()),
                help: DropReason::$reason.explanation(),
                get: |snapshot| snapshot.$dropped,
            }, )*
            $( Stat {
                name: stringify!($gauge),
                kind: StatKind::Gauge,
                sys_topic: sys_topic!($gauge_topic),
                help: $gauge_help,
                get: |snapshot| snapshot.$gauge,
            }, )*
        ];
    };
}

/// The topic of a line of the table.
macro_rules! sys_topic {
    (-) => {
        None
    };
    ($topic:literal) => {
        Some(concat!("$SYS/broker/", $topic))
    };
}

/// Writes `DropReason` from lines of `Variant, "name", "explanation";`.
macro_rules! drop_reasons {
    ( $( $variant:ident, $name:literal, $explanation:literal; )* ) => {
        /// Why a message did not reach a receiver, or found none.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum DropReason {
            $( #[doc = $explanation] $variant, )*
        }

        impl DropReason {
            /// Every reason, in the order of the table.
            pub const ALL: &[DropReason] = &[$( DropReason::$variant ),*];

            /// The name, in snake case: `no_subscriber`.
            pub const fn name(self) -> &'static str {
                match self {
                    $( DropReason::$variant => $name, )*
                }
            }

            /// An explanation for people in one sentence, with the name before the colon.
            pub const fn explanation(self) -> &'static str {
                match self {
                    $( DropReason::$variant => $explanation, )*
                }
            }

            /// The topic below `$SYS` that the number of these drops is published to.
            pub const fn sys_topic(self) -> &'static str {
                match self {
                    $( DropReason::$variant => concat!("$SYS/broker/publish/messages/dropped/", $name), )*
                }
            }
        }
    };
}

pub(super) use {drop_reasons, stats, sys_topic};
