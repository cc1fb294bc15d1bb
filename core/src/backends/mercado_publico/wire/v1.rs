//! The envelope and the lists of v1.

use super::{Body, FromSource};
use crate::error::{Error, Result};
use crate::procure::json::Fields;
use crate::procure::{Buyer, OrderState, PurchaseOrderRow, Supplier, TenderRow, TenderState};

/// A body of v1.
#[derive(Debug, PartialEq)]
pub(crate) enum V1<T> {
    /// A list, possibly empty.
    List {
        /// The number of rows, as the source says it.
        count: Option<i64>,
        /// The rows.
        rows: Vec<T>,
    },
    /// A failure, which v1 also sends with a successful HTTP status.
    Failure(V1Failure),
}

impl<T> V1<T> {
    /// The list's row count and rows.
    ///
    /// # Errors
    /// `response_invalid` if the body is a failure.
    pub(crate) fn into_list(self) -> Result<(Option<i64>, Vec<T>)> {
        match self {
            Self::List { count, rows } => Ok((count, rows)),
            Self::Failure(failure) => {
                let code = failure.code.map(|code| code.to_string()).unwrap_or_default();
                Err(Error::response_invalid("the body is a failure of the service")
                    .with_context("code", code))
            }
        }
    }

    /// The list's rows.
    ///
    /// # Errors
    /// As [`into_list`](Self::into_list).
    pub(crate) fn into_rows(self) -> Result<Vec<T>> {
        Ok(self.into_list()?.1)
    }
}

/// A failure as v1 writes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct V1Failure {
    /// `Codigo`.
    pub(crate) code: Option<i64>,
    /// `Mensaje`.
    pub(crate) message: String,
}

const CODES: [&str; 3] = ["CodigoExterno", "Codigo", "CodigoEmpresa"];
const NAMES: [&str; 2] = ["Nombre", "NombreEmpresa"];

/// Reads an envelope; the rows of its list are JSON.
///
/// # Errors
/// `response_invalid` for anything but a list or a failure.
pub(crate) fn envelope(body: &[u8]) -> Result<V1<&str>> {
    let fields = Fields::of_body(body)?;
    let failure = || V1Failure { code: fields.whole("Codigo"), message: message(&fields) };
    match ["Listado", "listaEmpresas"].into_iter().find(|name| fields.has(name)) {
        Some(name) if fields.raw(name).is_none_or(|list| list.starts_with('[')) => {
            Ok(V1::List { count: fields.whole("Cantidad"), rows: fields.elements(name) })
        }
        Some(_) => Err(Error::response_invalid("the list in the answer is not an array")),
        None if fields.has("Codigo") || !message(&fields).is_empty() => Ok(V1::Failure(failure())),
        None => Err(Error::response_invalid("the answer has neither a list nor a message")),
    }
}

fn message(fields: &Fields<'_>) -> String {
    fields.text("Mensaje").or_else(|| fields.text("message")).unwrap_or_default()
}

/// Reads an envelope, and each row of its list with `row`.
///
/// # Errors
/// As [`envelope`], and for a row that is no record.
pub(crate) fn read<T: FromSource>(body: &Body, row: impl Fn(&Fields<'_>) -> T) -> Result<V1<T>> {
    let (count, rows) = match envelope(&body.bytes)? {
        V1::List { count, rows } => (count, rows),
        V1::Failure(failure) => return Ok(V1::Failure(failure)),
    };
    let record = |written: &str| {
        let fields = Fields::read(written).filter(|fields| CODES.iter().any(|name| fields.has(name)));
        let fields = fields.ok_or_else(|| Error::response_invalid("a row of the list has no code"))?;
        Ok(body.record(written, &fields, row(&fields)))
    };
    Ok(V1::List { count, rows: rows.into_iter().map(record).collect::<Result<_>>()? })
}

fn first(fields: &Fields<'_>, names: &[&'static str]) -> String {
    names.iter().find_map(|name| fields.text(name)).unwrap_or_default()
}

pub(crate) fn tenders(body: &Body) -> Result<V1<TenderRow>> {
    read(body, |fields| {
        let state = fields.whole("CodigoEstado").map(TenderState::from_number).unwrap_or_default();
        TenderRow {
            closes: fields.time("FechaCierre", body.mark),
            ..TenderRow::new(first(fields, &CODES), first(fields, &NAMES), state)
        }
    })
}

pub(crate) fn orders(body: &Body) -> Result<V1<PurchaseOrderRow>> {
    read(body, |fields| {
        let state = fields.whole("CodigoEstado").map(OrderState::from_number).unwrap_or_default();
        PurchaseOrderRow::new(first(fields, &CODES), first(fields, &NAMES), state)
    })
}

pub(crate) fn buyers(body: &Body) -> Result<V1<Buyer>> {
    read(body, |fields| Buyer::new(first(fields, &CODES), first(fields, &NAMES)))
}

pub(crate) fn suppliers(body: &Body) -> Result<V1<Supplier>> {
    read(body, |fields| Supplier::new(first(fields, &CODES), first(fields, &NAMES)))
}
