//! The machinery of the table in `settings.rs`: what one row becomes.
//!
//! | file | what |
//! | --- | --- |
//! | `mod.rs` | the macro `settings!`: two structs of all settings, and the operations on each |
//! | `row.rs` | what is known of one setting |
//! | `value.rs` | the types that a setting can have |
//!
//! Nothing here names a setting. The macro only repeats for each row what `row.rs` does with
//! one; put code in `row.rs`, where it can be read and tested.

mod row;
#[cfg(test)]
mod tests;
mod value;

pub(crate) use self::row::{Change, Shown};
pub(super) use self::row::{Described, Row};
pub(super) use self::value::from_file;
pub(crate) use self::value::{Age, Value};

/// Makes [`Settings`](super::Settings) and [`Values`](super::Values) of a table. A row is
///
/// ```text
/// /// What --help says, without a full stop and without the default
/// its_name: Type = default, property: value, property: value;
/// ```
///
/// where `= default` may be missing, and the properties are fields of [`Row`].
macro_rules! settings {
    ($(
        $section:literal {
            $(
                $(#[doc = $help:literal])+
                $field:ident: $type:ty $(= $default:expr)? $(, $property:ident: $value:expr)*;
            )+
        }
    )+) => {
        /// What was said of each setting, by flag, variable or file; none where nothing was.
        #[derive(Clone, Debug, Default, serde::Deserialize)]
        #[serde(rename_all = "kebab-case", deny_unknown_fields)]
        pub(crate) struct Settings {
            $($(
                $(#[doc = $help])+
                #[serde(default, deserialize_with = "crate::config::table::from_file")]
                pub(super) $field: Option<$type>,
            )+)+
        }

        /// Each setting with its default, and within its bounds; whether they fit together
        /// is another question (`validate/`).
        #[derive(Clone, Debug)]
        pub(crate) struct Values {
            $($(
                $(#[doc = $help])+
                pub(crate) $field: $crate::config::table::held!($type $(, $default)?),
            )+)+
        }

        /// The table itself.
        struct Rows {
            $($($field: $crate::config::table::Row<$type>,)+)+
        }

        fn rows() -> Rows {
            Rows {
                $($($field: $crate::config::table::Row {
                    $($property: $value,)*
                    ..$crate::config::table::Row::new(
                        $section,
                        stringify!($field),
                        concat!($($help),+),
                        $crate::config::table::default_of!($($default)?),
                    )
                },)+)+
            }
        }

        impl clap::Args for Settings {
            fn augment_args(command: clap::Command) -> clap::Command {
                let rows = rows();
                let arguments = [$($(rows.$field.argument()),+),+];
                command.args(arguments.into_iter().flatten())
            }

            fn augment_args_for_update(command: clap::Command) -> clap::Command {
                Self::augment_args(command)
            }
        }

        impl clap::FromArgMatches for Settings {
            fn from_arg_matches(matches: &clap::ArgMatches) -> Result<Self, clap::Error> {
                let rows = rows();
                Ok(Settings { $($($field: rows.$field.given(matches),)+)+ })
            }

            fn update_from_arg_matches(
                &mut self,
                matches: &clap::ArgMatches,
            ) -> Result<(), clap::Error> {
                *self = Self::from_arg_matches(matches)?.or(std::mem::take(self));
                Ok(())
            }
        }

        impl Settings {
            /// These, and the others where these are silent.
            pub(super) fn or(self, others: Settings) -> Settings {
                Settings { $($($field: self.$field.or(others.$field),)+)+ }
            }

            /// The secrets, and the addresses of the database and of the proxy, which may hold one.
            pub(super) fn secrets(
                &mut self,
            ) -> Vec<($crate::config::table::Described, &mut Option<Secret>)> {
                let rows = rows();
                let mut found = Vec::new();
                $($(
                    if let Some(secret) = $crate::config::table::Value::secret(&mut self.$field) {
                        found.push((rows.$field.described(), secret));
                    }
                )+)+
                found
            }

            /// Judges each by itself, and fills in the defaults.
            ///
            /// # Errors
            /// The first that is out of its bounds, in a sentence that names it.
            pub(super) fn complete(&self) -> crate::StartResult<Values> {
                let rows = rows();
                Ok(Values {
                    $($($field: $crate::config::table::filled!(
                        rows.$field.checked(self.$field.clone())? $(, $default)?
                    ),)+)+
                })
            }
        }

        impl Values {
            /// Those that a reload cannot change stay as they are in `old`; the names of
            /// those that are different here.
            pub(super) fn keep_fixed(&mut self, old: &Values) -> Vec<String> {
                let rows = rows();
                let mut changed = Vec::new();
                $($(
                    if rows.$field.changed_by != $crate::config::table::Change::Reload
                        && self.$field != old.$field
                    {
                        changed.push(rows.$field.title());
                        self.$field.clone_from(&old.$field);
                    }
                )+)+
                changed
            }

            /// What an operator is shown, by name. Of secrets whether they are set.
            pub(super) fn shown(&self, config: &Config) -> Vec<(String, String)> {
                let rows = rows();
                let all = [$($(rows.$field.shown(
                    $crate::config::table::held_ref!(&self.$field $(, $default)?),
                    config,
                )),+),+];
                all.into_iter().flatten().collect()
            }
        }

        /// All rows, in words.
        pub(super) fn described() -> Vec<$crate::config::table::Described> {
            let rows = rows();
            vec![$($(rows.$field.described()),+),+]
        }
    };
}

/// The type in which [`Values`](super::Values) holds a setting.
macro_rules! held {
    ($type:ty) => { Option<$type> };
    ($type:ty, $default:expr) => { $type };
}

/// What is held, if it is.
macro_rules! held_ref {
    ($value:expr) => {
        $value.as_ref()
    };
    ($value:expr, $default:expr) => {
        Some($value)
    };
}

/// The default, if there is one.
macro_rules! default_of {
    () => {
        None
    };
    ($default:expr) => {
        Some($default)
    };
}

/// What is given, or the default.
macro_rules! filled {
    ($value:expr) => {
        $value
    };
    ($value:expr, $default:expr) => {
        $value.unwrap_or_else(|| $default)
    };
}

pub(super) use settings;
pub(crate) use {default_of, filled, held, held_ref};
