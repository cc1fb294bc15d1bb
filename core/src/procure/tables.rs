//! The source's code tables, as open enums: an unknown number or name is kept.
//!
//! Where two official texts contradict each other (the labels of payment terms above 4 and of award acts above 2), only
//! what both agree on has a name here.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Result};

/// In lower case and without accents, spaces and punctuation: `Recepción Conforme` becomes `recepcionconforme`.
pub(crate) fn folded(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).filter_map(fold_letter).collect()
}

/// A letter without its accent; `None` for other characters than letters and digits.
pub(crate) fn fold_letter(letter: char) -> Option<char> {
    let mut base = None;
    unicode_normalization::char::decompose_canonical(letter, |part| {
        base.get_or_insert(part);
    });
    base.filter(|base| base.is_alphanumeric())
}

/// Writes a value as the text that `Display` gives, and reads it with `From`.
macro_rules! as_text {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Ok(Self::from(String::deserialize(deserializer)?.as_str()))
            }
        }
    };
}

macro_rules! numbered {
    ($($(#[doc = $doc:literal])+ $name:ident {
        $($(#[doc = $variant_doc:literal])+ $variant:ident = [$($number:literal),*], $text:literal $(| $alias:literal)*;)+
    })+) => {
        $($(#[doc = $doc])+
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[doc = $variant_doc])+ $variant,)+
            /// An unknown number.
            Unknown(i64),
            /// An unknown name, as the source wrote it.
            Named(String),
        }

        impl $name {
            /// The value for the source's number.
            pub fn from_number(number: i64) -> Self {
                match number {
                    $($($number => Self::$variant,)*)+
                    other => Self::Unknown(other),
                }
            }

            /// All numbers that the source uses for it; empty if it has only a name.
            pub fn numbers(&self) -> &'static [i64] {
                match self {
                    $(Self::$variant => &[$($number),*],)+
                    Self::Unknown(_) | Self::Named(_) => &[],
                }
            }

            /// Reads a name or number that has to be known.
            ///
            /// # Errors
            /// `invalid_request` that lists the names.
            pub fn parse_known(text: &str) -> Result<Self> {
                match Self::from(text) {
                    Self::Unknown(_) | Self::Named(_) => Err(Error::invalid_request(format!(
                        "'{}' is unknown; valid: {}",
                        text.chars().take(64).collect::<String>(),
                        [$($text),+].join(", ")
                    ))),
                    known => Ok(known),
                }
            }

            /// The name that the source's queries use; `None` for an unknown number.
            pub fn name(&self) -> Option<&str> {
                match self {
                    $(Self::$variant => Some($text),)+
                    Self::Unknown(_) => None,
                    Self::Named(name) => Some(name),
                }
            }
        }

        /// Reads a name, ignoring case and accents, or a number.
        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                let text = text.trim();
                if let Ok(number) = text.parse() {
                    return Self::from_number(number);
                }
                match folded(text).as_str() {
                    $($text $(| $alias)* => Self::$variant,)+
                    _ => Self::Named(text.to_owned()),
                }
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::Named(String::new())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    Self::Unknown(number) => write!(f, "{number}"),
                    known => f.write_str(known.name().unwrap_or_default()),
                }
            }
        }

        as_text! { $name })+
    };
}

numbered! {
    /// The state of a tender.
    TenderState {
        /// Open for offers.
        Published = [5], "publicada" | "active";
        /// Closed for offers, not decided yet.
        Closed = [6], "cerrada";
        /// No offer was accepted.
        Deserted = [7], "desierta" | "unsuccessful";
        /// Awarded.
        Awarded = [8], "adjudicada" | "complete";
        /// Cancelled. The sources disagree on its number: 18 on the current official page, 15 elsewhere.
        Revoked = [18, 15], "revocada" | "cancelled";
        /// Suspended. The sources disagree on its number: 19 on the current official page, 16 elsewhere.
        Suspended = [19, 16], "suspendida" | "pending";
    }

    /// The state of a purchase order.
    OrderState {
        /// Sent to the supplier.
        Sent = [4], "enviadaproveedor" | "enviadaaproveedor";
        /// In process.
        InProcess = [5], "enproceso";
        /// The supplier has accepted it.
        Accepted = [6], "aceptada";
        /// Cancelled.
        Cancelled = [9], "cancelada";
        /// Received as ordered.
        Received = [12], "recepcionconforme";
        /// Receipt is pending.
        PendingReceipt = [13], "pendienterecepcion" | "pendientederecepcion" | "pendienterecepcionar";
        /// Partly received. The misspelt name is the official one.
        PartlyReceived = [14], "recepcionaceptadacialmente" | "recepcionadaparcialmente";
        /// Not all was received. The misspelt name is the official one.
        ReceiptIncomplete = [15], "recepecionconformeincompleta" | "recepcionconformeincompleta";
    }

    /// The state of a quick purchase. Only the number 2 is known.
    QuickPurchaseState {
        /// Open for offers.
        Published = [2], "publicada";
        /// Closed for offers.
        Closed = [], "cerrada";
        /// No offer was accepted.
        Deserted = [], "desierta";
        /// Cancelled.
        Cancelled = [], "cancelada";
        /// A supplier was chosen.
        SupplierChosen = [], "proveedorseleccionado";
        /// The purchase order was issued.
        OrderIssued = [], "ocemitida";
    }

    /// A region of Chile, with its number in the service's guide. Names may be short or official, numbers also Roman.
    Region {
        /// I.
        Tarapaca = [1], "tarapaca" | "regiondetarapaca" | "i";
        /// II.
        Antofagasta = [2], "antofagasta" | "regiondeantofagasta" | "ii";
        /// III.
        Atacama = [3], "atacama" | "regiondeatacama" | "iii";
        /// IV.
        Coquimbo = [4], "coquimbo" | "regiondecoquimbo" | "iv";
        /// V.
        Valparaiso = [5], "valparaiso" | "regiondevalparaiso" | "v";
        /// VI.
        OHiggins = [6], "ohiggins" | "regiondeohiggins" | "libertadorgeneralbernardoohiggins"
            | "regiondellibertadorgeneralbernardoohiggins" | "libertadorbernardoohiggins"
            | "regiondellibertadorbernardoohiggins" | "vi";
        /// VII.
        Maule = [7], "maule" | "regiondelmaule" | "delmaule" | "vii";
        /// VIII.
        Biobio = [8], "biobio" | "regiondelbiobio" | "regiondebiobio" | "delbiobio" | "viii";
        /// IX.
        Araucania = [9], "araucania" | "regiondelaaraucania" | "laaraucania" | "delaaraucania" | "ix";
        /// X.
        LosLagos = [10], "loslagos" | "regiondeloslagos" | "deloslagos" | "x";
        /// XI.
        Aysen = [11], "aysen" | "aisen" | "regiondeaysen" | "aysendelgeneralcarlosibanezdelcampo"
            | "regiondeaysendelgeneralcarlosibanezdelcampo" | "regionaysendelgeneralcarlosibanezdelcampo" | "xi";
        /// XII.
        Magallanes = [12], "magallanes" | "regiondemagallanes" | "magallanesyantarticachilena"
            | "magallanesydelaantartica" | "magallanesydelaantarticachilena"
            | "regiondemagallanesydelaantartica" | "regiondemagallanesydelaantarticachilena" | "xii";
        /// XIII.
        Metropolitana = [13], "metropolitana" | "regionmetropolitana" | "metropolitanadesantiago"
            | "regionmetropolitanadesantiago" | "santiago" | "rm" | "xiii";
        /// XIV.
        LosRios = [14], "losrios" | "regiondelosrios" | "delosrios" | "xiv";
        /// XV.
        AricaYParinacota = [15], "aricayparinacota" | "regiondearicayparinacota" | "arica" | "xv";
        /// XVI.
        Nuble = [16], "nuble" | "regiondenuble" | "regiondelnuble" | "delnuble" | "xvi";
    }

    /// The basis of a tender's estimated amount.
    Estimation {
        /// The available budget.
        Budget = [1], "presupuestodisponible";
        /// A reference price.
        ReferencePrice = [2], "precioreferencial";
        /// It cannot be estimated.
        NotPossible = [3], "noesposibleestimar";
    }

    /// A unit of time.
    TimeUnit {
        /// Hours.
        Hours = [1], "horas";
        /// Days.
        Days = [2], "dias";
        /// Weeks.
        Weeks = [3], "semanas";
        /// Months.
        Months = [4], "meses";
        /// Years.
        Years = [5], "anos";
    }

    /// The payment term of a tender (`Modalidad`). Two official texts contradict each other above 4, so those are only
    /// numbers.
    PaymentTerm {
        /// After 30 days.
        Days30 = [1], "pagoa30dias";
        /// After 30, 60 and 90 days.
        Days306090 = [2], "pagoa306090dias";
        /// On the same day.
        SameDay = [3], "pagoaldia";
        /// Yearly.
        Yearly = [4], "pagoanual";
    }

    /// The kind of act that awarded a tender. Two official texts contradict each other above 2.
    AwardAct {
        /// An authorisation.
        Authorisation = [1], "autorizacion";
        /// A resolution.
        Resolution = [2], "resolucion";
    }

    /// The way of delivery of an order.
    Dispatch {
        /// To an address.
        ToAddress = [7], "despacharadirecciondeenvio";
        /// According to an attached schedule.
        AttachedSchedule = [9], "despacharsegunprogramaadjuntado";
        /// Other.
        Other = [12], "otraformadedespacho";
        /// Collected by the buyer.
        PickUp = [14], "retiramosdesubodega";
        /// By air.
        AirCourier = [20], "despachoporcourieroencomiendaaerea";
        /// By land.
        LandCourier = [21], "despachoporcourieroencomiendaterrestre";
        /// To be agreed.
        ToAgree = [22], "aconvenir";
    }

    /// The payment term of an order.
    OrderPayment {
        /// After 15 days.
        Days15 = [1], "15dias";
        /// After 30 days.
        Days30 = [2], "30dias";
        /// Other.
        Other = [39], "otraformadepago";
        /// After 50 days.
        Days50 = [46], "50dias";
        /// After 60 days.
        Days60 = [47], "60dias";
        /// After 45 days.
        Days45 = [48], "45dias";
        /// After more than 30 days.
        MoreThan30Days = [49], "masde30dias";
    }
}

macro_rules! lettered {
    ($($(#[doc = $doc:literal])+ $name:ident { $($(#[doc = $variant_doc:literal])+ $variant:ident = $text:literal;)+ })+) => {
        $($(#[doc = $doc])+
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[doc = $variant_doc])+ $variant,)+
            /// Unknown letters.
            Other(String),
        }

        impl $name {
            /// The letters.
            pub fn as_str(&self) -> &str {
                match self { $(Self::$variant => $text,)+ Self::Other(text) => text }
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                match text.trim() { $($text => Self::$variant,)+ other => Self::Other(other.to_owned()) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        as_text! { $name })+
    };
}

lettered! {
    /// The type of a tender. The UTM figures are thresholds of the procedure, not amounts of the tender.
    TenderType {
        /// Public, below 100 UTM.
        L1 = "L1";
        /// Public, from 100 to below 1,000 UTM.
        Le = "LE";
        /// Public, from 1,000 to below 2,000 UTM.
        Lp = "LP";
        /// Public, from 2,000 to below 5,000 UTM.
        Lq = "LQ";
        /// Public, from 5,000 UTM.
        Lr = "LR";
        /// Public, specialised personal services.
        Ls = "LS";
        /// Private, below 100 UTM.
        E2 = "E2";
        /// Private, from 100 to below 1,000 UTM.
        Co = "CO";
        /// Private, from 1,000 to below 2,000 UTM.
        B2 = "B2";
        /// Private, from 2,000 to below 5,000 UTM.
        H2 = "H2";
        /// Private, above 5,000 UTM.
        I2 = "I2";
    }

    /// The mechanism of a purchase order.
    OrderType {
        /// Issued automatically.
        Oc = "OC";
        /// Direct award.
        D1 = "D1";
        /// Direct award.
        C1 = "C1";
        /// Direct award.
        F3 = "F3";
        /// Direct award.
        G1 = "G1";
        /// Below 3 UTM.
        R1 = "R1";
        /// Direct order.
        Ca = "CA";
        /// Not issued automatically.
        Se = "SE";
        /// Framework agreement.
        Cm = "CM";
        /// Direct award.
        Fg = "FG";
        /// No longer used.
        Tl = "TL";
        /// Micro-purchase.
        Mc = "MC";
        /// Quick purchase (Compra Ágil).
        Ag = "AG";
        /// Coordinated purchase.
        Cc = "CC";
    }
}

impl OrderType {
    /// The value for the source's number.
    pub fn from_number(number: i64) -> Self {
        const NUMBERED: [OrderType; 14] = [
            OrderType::Oc,
            OrderType::D1,
            OrderType::C1,
            OrderType::F3,
            OrderType::G1,
            OrderType::R1,
            OrderType::Ca,
            OrderType::Se,
            OrderType::Cm,
            OrderType::Fg,
            OrderType::Tl,
            OrderType::Mc,
            OrderType::Ag,
            OrderType::Cc,
        ];
        let known = usize::try_from(number).ok().and_then(|number| NUMBERED.get(number.checked_sub(1)?));
        known.cloned().unwrap_or_else(|| Self::Other(number.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_disputed_numbers_mean_the_same_state() {
        for (one, other, state) in [(15, 18, TenderState::Revoked), (16, 19, TenderState::Suspended)] {
            assert_eq!(TenderState::from_number(one), state);
            assert_eq!(TenderState::from_number(other), state);
        }
    }

    #[test]
    fn what_is_unknown_is_kept() {
        assert_eq!(TenderState::from_number(17), TenderState::Unknown(17));
        assert_eq!(TenderState::from("17"), TenderState::Unknown(17));
        assert_eq!(TenderState::from("En Estudio"), TenderState::Named("En Estudio".to_owned()));
        assert_eq!(serde_json::to_string(&OrderState::from_number(99)).ok().as_deref(), Some("\"99\""));
        assert_eq!(OrderType::from_number(15), OrderType::Other("15".to_owned()));
    }

    #[test]
    fn names_are_read_as_queries_answers_and_people_spell_them() {
        for (text, state) in [
            ("Recepción Conforme", OrderState::Received),
            ("recepecionconformeincompleta", OrderState::ReceiptIncomplete),
            ("Recepción Conforme Incompleta", OrderState::ReceiptIncomplete),
            ("Enviada a proveedor", OrderState::Sent),
            (" 12 ", OrderState::Received),
        ] {
            assert_eq!(OrderState::from(text), state, "{text}");
        }
        assert_eq!(QuickPurchaseState::from("proveedor_seleccionado"), QuickPurchaseState::SupplierChosen);
    }

    #[test]
    fn regions_are_known_by_name_number_and_accent_and_nonsense_lists_them() {
        for (text, region) in [
            ("13", Region::Metropolitana),
            ("RM", Region::Metropolitana),
            ("Región Metropolitana de Santiago ", Region::Metropolitana),
            ("Región del Libertador General Bernardo O´Higgins", Region::OHiggins),
            ("BIO-BIO", Region::Biobio),
            ("Biobío", Region::Biobio),
            ("Región de Ñuble", Region::Nuble),
            ("Región Aysén del General Carlos Ibáñez del Campo", Region::Aysen),
        ] {
            assert_eq!(Region::parse_known(text).expect("known"), region, "{text}");
        }
        for number in 1..=16 {
            assert!(Region::parse_known(&number.to_string()).is_ok(), "{number}");
        }
        for text in ["99", "a", "Cordillera", ""] {
            let error = Region::parse_known(text).expect_err(text);
            assert!(error.message().contains("valid: tarapaca, antofagasta"), "{error}");
        }
    }

    #[test]
    fn every_state_reads_back_from_its_json() {
        for number in 0..30 {
            let state = TenderState::from_number(number);
            let json = serde_json::to_string(&state).expect("json");
            assert_eq!(serde_json::from_str::<TenderState>(&json).expect("a state"), state);
        }
    }
}
