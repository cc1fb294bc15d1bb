//! The lists of a request, and the cursors with which it goes on. A cursor belongs to one request, whatever its limits.

use sha2::{Digest, Sha256};

use super::filter::Filter;
use super::search::Daily;
use crate::error::{Error, Result};
use crate::procure::store::RecordKind;
use crate::procure::{Date, ListRequest, Sorting};

/// The longest range of days: ten years.
const MAX_DAYS: i32 = 3_660;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum List {
    /// The records of a day.
    Day(Date),
    /// The tenders that are open for offers.
    Open,
}

/// The lists of a request, in its order; that of today if it names no days.
///
/// # Errors
/// `invalid_request` for a range of more than [`MAX_DAYS`].
pub(super) fn lists<T: Daily>(request: &ListRequest, filter: &Filter, today: Date) -> Result<Vec<List>> {
    if is_open_list::<T>(request, filter) {
        return Ok(vec![List::Open]);
    }
    let last = request.to.unwrap_or(today).min(today);
    let first = request.from.unwrap_or(last);
    if first.days_until(last) >= MAX_DAYS {
        return Err(Error::invalid_request(format!(
            "the range from {first} to {last} has more than {MAX_DAYS} days: ask for fewer at a time"
        ))
        .with_context("field", "from"));
    }
    let days = first.through(last).map(List::Day);
    Ok(if request.sorting == Sorting::OldestFirst { days.collect() } else { days.rev().collect() })
}

/// Whether a request asks for the tenders that are open for offers, which one call lists.
fn is_open_list<T: Daily>(request: &ListRequest, filter: &Filter) -> bool {
    let open = crate::procure::TenderState::Published.to_string();
    T::KIND == RecordKind::Tender
        && request.from.is_none()
        && request.to.is_none()
        && filter.state().is_none_or(|state| state == open)
        && filter.parameters().is_empty()
}

/// A day as v1 writes it: `15012026`.
pub(super) fn v1_date(day: Date) -> String {
    format!("{:02}{:02}{:04}", day.day(), day.month(), day.year())
}

/// Identifies the request that a cursor belongs to, so that it is not used with another one.
pub(super) fn fingerprint(request: &ListRequest) -> Result<String> {
    let same = ListRequest { cursor: None, limit: None, max_calls: None, ..request.clone() };
    let json = serde_json::to_vec(&same)
        .map_err(|_| Error::invalid_request("the request cannot be written as JSON"))?;
    Ok(Sha256::digest(json).iter().take(4).map(|byte| format!("{byte:02x}")).collect())
}

/// The part of a request's cursor after its fingerprint.
///
/// # Errors
/// `invalid_request` if the cursor is of another request.
pub(super) fn own_cursor(request: &ListRequest) -> Result<Option<&str>> {
    let Some(cursor) = &request.cursor else { return Ok(None) };
    let own = cursor.strip_prefix(&fingerprint(request)?).and_then(|rest| rest.strip_prefix('/'));
    own.map(Some).ok_or_else(foreign_cursor)
}

pub(super) fn foreign_cursor() -> Error {
    Error::invalid_request("the cursor is not one that an earlier listing of this request gave")
        .with_context("field", "cursor")
}

/// Where a listing goes on: the list, and the code of the last row that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SearchCursor {
    pub(super) list: List,
    pub(super) after: Option<String>,
}

impl SearchCursor {
    pub(super) fn start_of(list: List) -> Self {
        Self { list, after: None }
    }

    pub(super) fn write(&self, request: &ListRequest) -> Result<String> {
        let after = self.after.as_deref().unwrap_or_default();
        let list = match self.list {
            List::Day(day) => day.to_string(),
            List::Open => "open".to_owned(),
        };
        Ok(format!("{}/{list}/{after}", fingerprint(request)?))
    }

    pub(super) fn read(request: &ListRequest) -> Result<Option<Self>> {
        let Some(cursor) = own_cursor(request)? else { return Ok(None) };
        let (list, after) = cursor.split_once('/').ok_or_else(foreign_cursor)?;
        let list = match list {
            "open" => List::Open,
            day => List::Day(day.parse().map_err(|_| foreign_cursor())?),
        };
        Ok(Some(Self { list, after: (!after.is_empty()).then(|| after.to_owned()) }))
    }
}

/// The rows after the one with this code. If it is not there any more, all of them: better one twice than none.
pub(super) fn rows_after<T>(mut rows: Vec<T>, after: Option<&str>, code: impl Fn(&T) -> &str) -> Vec<T> {
    if let Some(last) = after.and_then(|after| rows.iter().position(|row| code(row) == after)) {
        rows.drain(..=last);
    }
    rows
}

/// The rows of a list that fits into one answer: what its limit allows, and a cursor if that is not all.
pub(super) fn paged<T>(
    request: &ListRequest,
    rows: Vec<T>,
    code: impl Fn(&T) -> &str,
) -> Result<(Vec<T>, Option<String>)> {
    let mut rows = rows_after(rows, own_cursor(request)?, &code);
    let limit = request.limit.unwrap_or(usize::MAX);
    let is_all = rows.len() <= limit;
    rows.truncate(limit);
    let next = match rows.last() {
        Some(last) if !is_all => Some(format!("{}/{}", fingerprint(request)?, code(last))),
        _ => None,
    };
    Ok((rows, next))
}
