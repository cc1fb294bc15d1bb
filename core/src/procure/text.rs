//! The types whose JSON form is a text.

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Serialize, Serializer};

use super::{Date, Decimal, Month, OrderCode, QuickPurchaseCode, Rut, TenderCode, Timestamp};

/// Implements serde with `Display` and `FromStr`.
macro_rules! serde_as_text {
    ($($name:ty)+) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(|error: crate::error::Error| D::Error::custom(error.message()))
            }
        }
    )+};
}

serde_as_text! { Date Decimal Month OrderCode QuickPurchaseCode Rut TenderCode Timestamp }
