//! JSON of which empty parts are left out, and whose numbers keep all their digits.

use serde::ser::{Error, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::procure::{Decimal, Timestamp};

#[derive(Clone, Debug)]
pub(super) enum Node {
    Nothing,
    Text(String),
    Number(Decimal),
    List(Vec<Self>),
    Object(Vec<(&'static str, Self)>),
}

impl Node {
    fn is_empty(&self) -> bool {
        match self {
            Self::Nothing => true,
            Self::Text(_) | Self::Number(_) => false,
            Self::List(elements) => elements.is_empty(),
            Self::Object(members) => members.iter().all(|(_, member)| member.is_empty()),
        }
    }
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Nothing => serializer.serialize_unit(),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Number(number) => {
                RawValue::from_string(number.to_string()).map_err(S::Error::custom)?.serialize(serializer)
            }
            Self::List(elements) => serializer.collect_seq(elements),
            Self::Object(members) => {
                let members = members.iter().filter(|(_, member)| !member.is_empty());
                serializer.collect_map(members.map(|(name, member)| (name, member)))
            }
        }
    }
}

impl<T: Into<Self>> From<Option<T>> for Node {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Nothing, Into::into)
    }
}

impl<T: Into<Self>> FromIterator<T> for Node {
    fn from_iter<I: IntoIterator<Item = T>>(elements: I) -> Self {
        Self::List(elements.into_iter().map(Into::into).collect())
    }
}

macro_rules! nodes {
    ($($kind:ty: $value:ident => $node:expr;)+) => {
        $(impl From<$kind> for Node {
            fn from($value: $kind) -> Self {
                $node
            }
        })+
    };
}

nodes! {
    &str: text => Self::Text(text.to_owned());
    &String: text => Self::Text(text.clone());
    String: text => Self::Text(text);
    Timestamp: time => Self::Text(time.to_string());
    Decimal: number => Self::Number(number);
    usize: count => Self::Number(Decimal::new(count as i128, 0));
}

/// An object, as pairs of names and values.
macro_rules! object {
    ($($name:literal: $value:expr),+ $(,)?) => {
        $crate::procure::export::ocds::node::Node::Object(vec![$(($name, ($value).into())),+])
    };
}
pub(super) use object;
