//! The fields of request bodies: numbers in a range, lists with a bound, one of several words.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, SeqAccess, Unexpected, Visitor};
use serde::{Serialize, Serializer};

/// A whole number from `LEAST` to `MOST`, or null. `5.0` is the number 5: some clients know no other kind.
pub(super) fn whole<'de, D, N, const LEAST: u64, const MOST: u64>(reader: D) -> Result<Option<N>, D::Error>
where
    D: Deserializer<'de>,
    N: TryFrom<u64>,
{
    reader.deserialize_any(Whole::<N, LEAST, MOST>(PhantomData))
}

struct Whole<N, const LEAST: u64, const MOST: u64>(PhantomData<N>);

impl<N: TryFrom<u64>, const LEAST: u64, const MOST: u64> Visitor<'_> for Whole<N, LEAST, MOST> {
    type Value = Option<N>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a whole number from {LEAST} to {MOST}")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Self::Value, E> {
        let in_range = (LEAST..=MOST).contains(&number).then_some(number);
        let read = in_range.and_then(|number| N::try_from(number).ok());
        read.map(Some).ok_or_else(|| E::invalid_value(Unexpected::Unsigned(number), &self))
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Self::Value, E> {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
        match number.fract() == 0.0 && number >= 0.0 {
            true => self.visit_u64(number as u64),
            false => Err(E::invalid_value(Unexpected::Float(number), &self)),
        }
    }
}

/// A seed, or null; a number below zero asks for any seed, as clients of other servers write it.
pub(super) fn seed<'de, D: Deserializer<'de>>(reader: D) -> Result<Option<u64>, D::Error> {
    struct Seed;

    impl Visitor<'_> for Seed {
        type Value = Option<u64>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a whole number")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
            Ok(u64::try_from(number).ok())
        }

        fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
            Ok(Some(number.min(i64::MAX.cast_unsigned())))
        }

        fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Self::Value, E> {
            #[allow(clippy::cast_possible_truncation, reason = "saturates")]
            match number.fract() == 0.0 {
                true => self.visit_i64(number as i64),
                false => Err(E::invalid_value(Unexpected::Float(number), &self)),
            }
        }
    }

    reader.deserialize_any(Seed)
}

/// A number from `LEAST` to `MOST`, or null.
pub(super) fn number<'de, D, const LEAST: i32, const MOST: i32>(reader: D) -> Result<Option<f32>, D::Error>
where
    D: Deserializer<'de>,
{
    reader.deserialize_any(Number::<LEAST, MOST>)
}

struct Number<const LEAST: i32, const MOST: i32>;

impl<const LEAST: i32, const MOST: i32> Visitor<'_> for Number<LEAST, MOST> {
    type Value = Option<f32>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a number from {LEAST} to {MOST}")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Self::Value, E> {
        #[allow(clippy::cast_precision_loss)]
        self.visit_f64(number as f64)
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Self::Value, E> {
        #[allow(clippy::cast_precision_loss)]
        self.visit_f64(number as f64)
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Self::Value, E> {
        #[allow(clippy::cast_possible_truncation)]
        match (f64::from(LEAST)..=f64::from(MOST)).contains(&number) {
            true => Ok(Some(number as f32)),
            false => Err(E::invalid_value(Unexpected::Float(number), &self)),
        }
    }
}

/// A text of 1 to `MOST` characters.
pub(super) fn text<'de, 'a, D, const MOST: usize>(reader: D) -> Result<Cow<'a, str>, D::Error>
where
    D: Deserializer<'de>,
{
    let text = String::deserialize(reader)?;
    match text.chars().take(MOST + 1).count() {
        0 => Err(D::Error::custom("is empty")),
        length if length > MOST => Err(D::Error::custom(format_args!("has more than {MOST} characters"))),
        _ => Ok(text.into()),
    }
}

/// A list of `LEAST` to `MOST` items. Reading ends with the first item that is wrong or one too many. Where
/// the list may be empty, null is an empty list.
pub(super) fn list<'de, D, T, const LEAST: usize, const MOST: usize>(reader: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    reader.deserialize_any(List::<T, LEAST, MOST>(PhantomData))
}

pub(super) struct List<T, const LEAST: usize, const MOST: usize>(pub(super) PhantomData<T>);

impl<'de, T: Deserialize<'de>, const LEAST: usize, const MOST: usize> Visitor<'de> for List<T, LEAST, MOST> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of {LEAST} to {MOST} items")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Self::Value, E> {
        if LEAST == 0 { Ok(Vec::new()) } else { Err(E::invalid_type(Unexpected::Unit, &self)) }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut read = Vec::new();
        while let Some(item) = items.next_element()? {
            if read.len() == MOST {
                return Err(A::Error::invalid_length(MOST + 1, &self));
            }
            read.push(item);
        }
        if read.len() < LEAST { Err(A::Error::invalid_length(read.len(), &self)) } else { Ok(read) }
    }
}

/// A field that changes nothing about the answer: taken and left alone.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ignored;

impl Ignored {
    /// It is never written.
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
    pub(super) fn is_left_out(&self) -> bool {
        true
    }
}

impl Serialize for Ignored {
    fn serialize<S: Serializer>(&self, writer: S) -> Result<S::Ok, S::Error> {
        writer.serialize_unit()
    }
}

impl<'de> Deserialize<'de> for Ignored {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(reader).map(|_| Self)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Ignored {
    fn schema_name() -> Cow<'static, str> {
        "Ignored".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        true.into()
    }
}

/// Reads one of several words.
pub(super) fn word<'de, D: Deserializer<'de>, T: Copy>(
    reader: D,
    words: &'static [(&'static str, T)],
) -> Result<T, D::Error> {
    reader.deserialize_str(Word(words))
}

struct Word<T: 'static>(&'static [(&'static str, T)]);

impl<T: Copy> Visitor<'_> for Word<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<_> = self.0.iter().map(|(word, _)| *word).collect();
        write!(f, "one of {}", words.join(", "))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
        let found = self.0.iter().find(|(word, _)| *word == text);
        found.map(|(_, value)| *value).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }
}

/// Defines an enum of words: its JSON is the word, and an error lists them all.
macro_rules! words {
    ($(#[$attribute:meta])* $visibility:vis enum $name:ident { $($(#[$inner:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        $visibility enum $name { $($(#[$inner])* #[serde(rename = $word)] $variant,)+ }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
                $crate::wire::openai::fields::word(reader, &[$(($word, Self::$variant),)+])
            }
        }
    };
}

pub(super) use words;
