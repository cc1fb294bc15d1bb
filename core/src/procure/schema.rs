//! JSON Schemas of the types whose JSON form is a text.

use std::borrow::Cow;

use super::tables::{
    AwardAct, Dispatch, Estimation, OrderPayment, OrderState, OrderType, PaymentTerm, QuickPurchaseState,
    TenderState, TenderType, TimeUnit,
};
use super::{Currency, Date, Decimal, Month, Raw, Source, Timestamp};

macro_rules! texts {
    ($($name:ident: $description:literal $(, $format:literal)?;)+) => {
        $(impl schemars::JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": "string",
                    "description": $description,
                    $("format": $format,)?
                })
            }
        })+
    };
}

texts! {
    Date: "A calendar day.", "date";
    Month: "A calendar month: `2026-06`.";
    Timestamp: "A moment, with the offset that Santiago has then.", "date-time";
    Decimal: "An exact decimal number.", "decimal";
    Currency: "The code of a currency or unit of account: `CLP`, `CLF`, `UTM`, `USD`, `EUR`, or what the source said.";
    Source: "Where a record is from: `v1`, `compra_agil_v2`, `ocds`, `bulk`, `scripted`.";
    TenderState: "The state of a tender: the source's name, or a number that ayni does not know.";
    OrderState: "The state of a purchase order: the source's name, or a number that ayni does not know.";
    QuickPurchaseState: "The state of a quick purchase: the source's name, or a number that ayni does not know.";
    TenderType: "Which kind of tender: the letters of its code.";
    OrderType: "By which mechanism: the letters of an order's code.";
    Estimation: "What an estimated amount is.";
    TimeUnit: "The unit of a contract's duration.";
    PaymentTerm: "When a buyer pays.";
    AwardAct: "By which act a tender was decided.";
    Dispatch: "How an order is delivered.";
    OrderPayment: "When an order is paid.";
}

impl schemars::JsonSchema for Raw {
    fn schema_name() -> Cow<'static, str> {
        "Raw".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "description": "A record exactly as its source wrote it: any JSON." })
    }
}
