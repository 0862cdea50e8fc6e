//! What a settings struct is made of, and the macro that declares one.

use super::Environment;

/// A type that a variable's text can be turned into.
pub trait Setting: Sized {
    /// The form expected, as it ends the sentence "expected ...".
    const EXPECTED: &'static str;
    /// Whether the value must never be shown. Such a variable may also be given as `NAME_FILE`.
    const SECRET: bool = false;

    /// Turns text, which is never empty, into a value.
    ///
    /// # Errors
    /// What is wrong with the text, without repeating it.
    fn parse(text: &str) -> Result<Self, String>;

    /// The value as `check-config` shows it. A secret must not be in it.
    fn show(&self) -> String;

    /// The value of a variable that is not set and has no default.
    fn absent() -> Option<Self> {
        None
    }
}

impl<T: Setting> Setting for Option<T> {
    const EXPECTED: &'static str = T::EXPECTED;
    const SECRET: bool = T::SECRET;

    fn parse(text: &str) -> Result<Self, String> {
        T::parse(text).map(Some)
    }

    fn show(&self) -> String {
        self.as_ref().map_or_else(String::new, T::show)
    }

    fn absent() -> Option<Self> {
        Some(None)
    }
}

/// One environment variable, as it is documented.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// The full name, for example `DATABASE_POOL_SIZE`.
    pub name: String,
    /// The default as it would be written; empty when there is none.
    pub default: &'static str,
    /// What it is for.
    pub meaning: String,
    /// The form expected.
    pub expected: &'static str,
    /// Whether its value is never shown, and may be given as `NAME_FILE`.
    pub secret: bool,
}

/// A settings struct: the variables under one prefix. Declared with [`settings!`](crate::settings!).
pub trait Section: Sized {
    /// What the names of its variables start with.
    const PREFIX: &'static str;

    /// Its variables, in the order in which they are declared.
    fn variables() -> Vec<Variable>;

    /// Reads the struct. What is wrong is kept in `environment` until
    /// [`Environment::finish`]; the field holds its default until then.
    fn read(environment: &mut Environment) -> Self;
}

/// Declares a settings struct: prefix, then for each variable its meaning (the doc comment), name,
/// type and default as it would be written in the environment (`""` for none).
#[macro_export]
macro_rules! settings {
    (
        $(#[doc = $about:literal])*
        pub struct $Name:ident($prefix:literal) {
            $( $(#[doc = $meaning:literal])* $field:ident: $Type:ty = $default:literal, )*
        }
    ) => {
        $(#[doc = $about])*
        #[derive(Clone, Debug)]
        pub struct $Name {
            $( $(#[doc = $meaning])* pub $field: $Type, )*
        }

        const _: () = {
            #[derive(serde::Deserialize)]
            struct Raw { $( $field: Option<String>, )* }

            impl $crate::settings::Section for $Name {
                const PREFIX: &'static str = $prefix;

                fn variables() -> Vec<$crate::settings::Variable> {
                    vec![ $( $crate::settings::Variable {
                        name: concat!($prefix, stringify!($field)).to_uppercase(),
                        default: $default,
                        meaning: [$($meaning),*].map(str::trim).join(" "),
                        expected: <$Type as $crate::settings::Setting>::EXPECTED,
                        secret: <$Type as $crate::settings::Setting>::SECRET,
                    }, )* ]
                }

                fn read(environment: &mut $crate::settings::Environment) -> Self {
                    let variables = Self::variables();
                    let raw: Raw = environment.raw(Self::PREFIX, &variables);
                    let mut variables = variables.iter();
                    Self { $( $field: environment.convert(&mut variables, raw.$field), )* }
                }
            }
        };
    };
}
