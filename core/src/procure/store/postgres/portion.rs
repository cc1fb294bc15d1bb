//! Lines as columns, and back.

use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use super::batch::{check, signed};
use super::pool::Value;
use super::{bytes, column, owned, parsed, unsigned};
use crate::error::Result;
use crate::procure::store::StoredLine;
use crate::procure::{Currency, Date, Decimal, Money};

/// The table of an edition.
pub(super) const TABLE: &str = r#"
    position BIGINT PRIMARY KEY,
    code TEXT COLLATE "C" NOT NULL, line_id BIGINT, day TEXT, state TEXT NOT NULL, buyer TEXT,
    supplier TEXT COLLATE "C", supplier_name TEXT, product TEXT COLLATE "C", name TEXT NOT NULL, description TEXT,
    quantity TEXT, unit TEXT, unit_price TEXT, unit_currency TEXT, total TEXT, total_currency TEXT,
    chosen BOOLEAN, body BYTEA
"#;

/// Its columns, in the order of [`Portion`].
pub(super) const COLUMNS: &str = "position, code, line_id, day, state, buyer, supplier, supplier_name, product, \
     name, description, quantity, unit, unit_price, unit_currency, total, total_currency, chosen, body";

/// How many lines one round trip takes.
const MOST: usize = 4_000;

/// One column of some lines.
type Column<'a> = (Box<dyn ToSql + Sync + Send + 'a>, Type);

/// Some lines, column by column.
pub(super) struct Portion<'a>(Vec<Column<'a>>);

/// Lines by as many as one round trip takes; of none, one portion of none.
pub(super) fn portions(lines: &[StoredLine]) -> impl Iterator<Item = &[StoredLine]> {
    let (first, rest) = lines.split_at(lines.len().min(MOST));
    std::iter::once(first).chain(rest.chunks(MOST))
}

fn texts<'a, T: AsRef<str> + ToSql + Sync + Send + 'a>(
    lines: &'a [StoredLine],
    of: impl Fn(&'a StoredLine) -> Option<T>,
) -> Result<Column<'a>> {
    let column: Vec<Option<T>> = lines.iter().map(of).collect();
    column.iter().flatten().try_for_each(|text| check(text.as_ref()))?;
    Ok((Box::new(column), Type::TEXT_ARRAY))
}

fn money(of: Option<&Money>) -> Option<String> {
    of.map(|money| money.amount.to_string())
}

fn currency(of: Option<&Money>) -> Option<&str> {
    of.map(|money| money.currency.as_str())
}

impl<'a> Portion<'a> {
    /// # Errors
    /// `invalid_request` for a text or place that PostgreSQL does not keep.
    pub(super) fn of(lines: &'a [StoredLine]) -> Result<Self> {
        let positions: Vec<i64> = lines.iter().map(|line| signed(line.position)).collect::<Result<_>>()?;
        let line_ids: Vec<Option<i64>> = lines.iter().map(|line| line.line_id).collect();
        let chosen: Vec<Option<bool>> = lines.iter().map(|line| line.chosen).collect();
        let bodies: Vec<Option<&[u8]>> =
            lines.iter().map(|line| (!line.body.is_empty()).then_some(&*line.body)).collect();
        Ok(Self(vec![
            (Box::new(positions), Type::INT8_ARRAY),
            texts(lines, |line| Some(line.code.as_str()))?,
            (Box::new(line_ids), Type::INT8_ARRAY),
            texts(lines, |line| line.day.map(|day| day.to_string()))?,
            texts(lines, |line| Some(line.state.as_str()))?,
            texts(lines, |line| line.buyer.as_deref())?,
            texts(lines, |line| line.supplier.as_deref())?,
            texts(lines, |line| line.supplier_name.as_deref())?,
            texts(lines, |line| line.product.as_deref())?,
            texts(lines, |line| Some(line.name.as_str()))?,
            texts(lines, |line| line.description.as_deref())?,
            texts(lines, |line| line.quantity.map(|quantity| quantity.to_string()))?,
            texts(lines, |line| line.unit.as_deref())?,
            texts(lines, |line| money(line.unit_price.as_ref()))?,
            texts(lines, |line| currency(line.unit_price.as_ref()))?,
            texts(lines, |line| money(line.total.as_ref()))?,
            texts(lines, |line| currency(line.total.as_ref()))?,
            (Box::new(chosen), Type::BOOL_ARRAY),
            (Box::new(bodies), Type::BYTEA_ARRAY),
        ]))
    }

    /// Behind `edition`, the values of a statement.
    pub(super) fn values<'s>(&'s self, edition: &'s i64) -> Vec<Value<'s>> {
        let columns = self.0.iter().map(|(column, of)| (&**column as &(dyn ToSql + Sync), of.clone()));
        std::iter::once((edition as &(dyn ToSql + Sync), Type::INT8)).chain(columns).collect()
    }
}

fn stored_money(row: &Row, amount: &str, currency: &str) -> Result<Option<Money>> {
    let amount = parsed::<Decimal>(row, amount)?;
    let currency: Option<String> = column(row, currency, Some)?;
    Ok(amount.zip(currency).map(|(amount, currency)| Money::new(amount, Currency::from(currency.as_str()))))
}

pub(super) fn stored_line(row: &Row) -> Result<StoredLine> {
    let has_body = column(row, "body", |body: Option<&[u8]>| Some(body.is_some()))?;
    Ok(StoredLine {
        position: unsigned(row, "position")?,
        code: owned(row, "code")?,
        line_id: column(row, "line_id", Some)?,
        day: parsed::<Date>(row, "day")?,
        state: owned(row, "state")?,
        buyer: column(row, "buyer", Some)?,
        supplier: column(row, "supplier", Some)?,
        supplier_name: column(row, "supplier_name", Some)?,
        product: column(row, "product", Some)?,
        name: owned(row, "name")?,
        description: column(row, "description", Some)?,
        quantity: parsed::<Decimal>(row, "quantity")?,
        unit: column(row, "unit", Some)?,
        unit_price: stored_money(row, "unit_price", "unit_currency")?,
        total: stored_money(row, "total", "total_currency")?,
        chosen: column(row, "chosen", Some)?,
        body: if has_body { bytes(row, "body")? } else { bytes::Bytes::new() },
    })
}
