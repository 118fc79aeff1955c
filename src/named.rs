//! Enums whose values have names on a command line and in files.

/// Implements `ALL`, `name`, `Display`, `FromStr`, serde and clap's values for an enum without fields. The error for an
/// unknown name is about the setting `$key`.
macro_rules! named {
    ($type:ident, $key:literal: $($variant:ident = $name:literal),+ $(,)?) => {
        impl $type {
            /// All values, in the order of their declaration.
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$variant),+];

            /// The name on a command line and in files.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }

        impl std::str::FromStr for $type {
            type Err = crate::error::Error;

            fn from_str(text: &str) -> crate::error::Result<Self> {
                let found = Self::ALL.into_iter().find(|value| value.name() == text);
                found.ok_or_else(|| crate::error::Error::setting($key, $crate::named::unknown(&[$($name),+], text)))
            }
        }

        /// The names, for completions in a shell and for errors of the command.
        #[cfg(feature = "cli")]
        impl clap::ValueEnum for $type {
            fn value_variants<'a>() -> &'a [Self] {
                &Self::ALL
            }

            fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
                Some(clap::builder::PossibleValue::new(self.name()))
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.name())
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <String as serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

pub(crate) use named;

/// The message for a `text` that is not among `names`.
pub(crate) fn unknown(names: &[&str], text: &str) -> String {
    let (last, others) = names.split_last().expect("an enum has a value");
    let expected =
        if others.is_empty() { (*last).to_owned() } else { format!("{} or {last}", others.join(", ")) };
    format!("expected {expected}, got {text:?}")
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        assert_eq!(
            super::unknown(&["none", "batch", "group"], "layer"),
            "expected none, batch or group, got \"layer\""
        );
        assert_eq!(super::unknown(&["one"], "two"), "expected one, got \"two\"");
    }
}
