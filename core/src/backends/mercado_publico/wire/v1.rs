//! The envelope and the lists of v1.

use serde::Deserialize;

use super::Body;
use crate::error::{Error, Result};
use crate::procure::json::fields::{Text, WholeNumber, is_tidy, tidied};
use crate::procure::json::walk::Walker;
use crate::procure::{
    Buyer, OrderState, Origin, PurchaseOrderRow, Raw, Supplier, TenderRow, TenderState, Timestamp,
};

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

/// Reads an envelope, and each row of its list with `row`.
///
/// # Errors
/// `response_invalid` with the byte at which it is wrong.
pub(crate) fn read<'a, T>(
    body: &'a [u8],
    mut row: impl FnMut(&mut Walker<'a>) -> Result<T>,
) -> Result<V1<T>> {
    let (mut count, mut rows, mut failure) = (None, None, None::<V1Failure>);
    let mut walker = Walker::new(body)?;
    walker.members(|walker, name| match name {
        "Listado" | "listaEmpresas" | "ListaEmpresas" | "listado" => {
            let capacity = count.and_then(|count: i64| usize::try_from(count).ok()).unwrap_or(0);
            let list = rows.insert(Vec::with_capacity(capacity.min(1 << 16)));
            walker.elements(|walker| {
                list.push(row(walker)?);
                Ok(())
            })
        }
        "Cantidad" | "cantidad" => {
            count = walker.value::<WholeNumber>()?.0;
            Ok(())
        }
        "Codigo" | "codigo" => {
            failure.get_or_insert_default().code = walker.value::<WholeNumber>()?.0;
            Ok(())
        }
        "Mensaje" | "mensaje" | "message" => {
            failure.get_or_insert_default().message = walker.value::<Text<'_>>()?.0.trim().to_owned();
            Ok(())
        }
        _ => walker.skip(),
    })?;
    walker.end()?;
    match (rows, failure) {
        (Some(rows), _) => Ok(V1::List { count, rows }),
        (None, Some(failure)) => Ok(V1::Failure(failure)),
        (None, None) => Err(Error::response_invalid("the answer has neither a list nor a message")),
    }
}

/// The failure that a body reports. `None` for other bodies, and for those that cannot be read.
#[cfg(test)]
pub(crate) fn failure_in(body: &[u8]) -> Option<V1Failure> {
    match read(body, Walker::skip) {
        Ok(V1::Failure(failure)) => Some(failure),
        _ => None,
    }
}

/// What a row of any list has.
#[derive(Deserialize)]
struct WireRow<'a> {
    #[serde(rename = "CodigoExterno", alias = "Codigo", alias = "CodigoEmpresa", borrow)]
    code: Text<'a>,
    #[serde(rename = "Nombre", alias = "NombreEmpresa", borrow, default)]
    name: Text<'a>,
    #[serde(rename = "CodigoEstado", default)]
    state: WholeNumber,
    #[serde(rename = "FechaCierre", borrow, default)]
    closes: Text<'a>,
}

fn owned(text: Text<'_>) -> String {
    match text.0 {
        std::borrow::Cow::Owned(text) if is_tidy(&text) => text,
        text => tidied(&text),
    }
}

fn list<T>(body: &Body, build: impl Fn(WireRow<'_>, Origin) -> T) -> Result<V1<T>> {
    read(&body.bytes, |walker| {
        let (row, place) = walker.spanned::<WireRow<'_>>()?;
        Ok(build(row, body.origin(Raw::of_parsed(body.bytes.slice(place)))))
    })
}

pub(crate) fn tenders(body: &Body) -> Result<V1<TenderRow>> {
    list(body, |row, origin| TenderRow {
        closes: Timestamp::read_optional(&row.closes.0, body.mark),
        code: owned(row.code),
        name: owned(row.name),
        state: row.state.0.map(TenderState::from_number).unwrap_or_default(),
        origin,
    })
}

pub(crate) fn orders(body: &Body) -> Result<V1<PurchaseOrderRow>> {
    list(body, |row, origin| PurchaseOrderRow {
        code: owned(row.code),
        name: owned(row.name),
        state: row.state.0.map(OrderState::from_number).unwrap_or_default(),
        origin,
    })
}

pub(crate) fn buyers(body: &Body) -> Result<V1<Buyer>> {
    list(body, |row, origin| Buyer { origin: Some(origin), ..Buyer::new(owned(row.code), owned(row.name)) })
}

pub(crate) fn suppliers(body: &Body) -> Result<V1<Supplier>> {
    list(body, |row, origin| Supplier {
        origin: Some(origin),
        ..Supplier::new(owned(row.code), owned(row.name))
    })
}
