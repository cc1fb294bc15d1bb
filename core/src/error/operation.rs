//! The operations of all capabilities.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! operations {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal, $genai:literal;)+) => {
        /// One operation of one capability.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[non_exhaustive]
        pub enum Operation {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Operation {
            /// Every operation.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The operation's name in errors, logs and metrics.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// The operation's name in OpenTelemetry's GenAI conventions (`gen_ai.operation.name`).
            pub const fn gen_ai_name(self) -> &'static str {
                match self { $(Self::$name => $genai,)+ }
            }
        }
    };
}

operations! {
    /// Vectors for texts or images.
    Embed = "embed", "embeddings";
    /// A whole chat answer.
    Chat = "chat", "chat";
    /// A streamed chat answer.
    ChatStream = "chat_stream", "chat";
    /// Images from a prompt.
    GenerateImage = "generate_image", "generate_content";
    /// Images from images and a prompt.
    RefineImage = "refine_image", "generate_content";
    /// Tenders of a day or a search.
    ListTenders = "list_tenders", "execute_tool";
    /// One tender in full.
    GetTender = "get_tender", "execute_tool";
    /// Purchase orders of a day or a search.
    ListPurchaseOrders = "list_purchase_orders", "execute_tool";
    /// One purchase order in full.
    GetPurchaseOrder = "get_purchase_order", "execute_tool";
    /// Quick purchases (Compra Ágil) of a search.
    ListQuickPurchases = "list_quick_purchases", "execute_tool";
    /// What a listing costs.
    PlanListing = "plan_listing", "execute_tool";
    /// One quick purchase in full.
    GetQuickPurchase = "get_quick_purchase", "execute_tool";
    /// Public buyers.
    ListBuyers = "list_buyers", "execute_tool";
    /// Suppliers by tax number.
    ListSuppliers = "list_suppliers", "execute_tool";
    /// What a currency was worth on a day.
    GetRate = "get_rate", "execute_tool";
    /// The models a vendor offers.
    ListModels = "list_models", "list_models";
    /// Whether a backend is up, and in what state.
    Health = "health", "health";
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
