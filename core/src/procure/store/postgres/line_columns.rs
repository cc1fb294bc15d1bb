//! Lines as arrays, one per column.

use tokio_postgres::types::{ToSql, Type};

use super::batch::{check, signed};
use super::pool::SqlValue;
use crate::error::Result;
use crate::procure::Money;
use crate::procure::store::StoredLine;

/// The columns of an edition's table, as `CREATE TABLE` takes them.
pub(super) const TABLE: &str = r#"
    position BIGINT PRIMARY KEY,
    code TEXT COLLATE "C" NOT NULL, line_id BIGINT, day TEXT, state TEXT NOT NULL, buyer TEXT,
    supplier TEXT COLLATE "C", supplier_name TEXT, product TEXT COLLATE "C", name TEXT NOT NULL, description TEXT,
    quantity TEXT, unit TEXT, unit_price TEXT, unit_currency TEXT, total TEXT, total_currency TEXT,
    chosen BOOLEAN, body BYTEA
"#;

/// The most lines of one statement.
const LINES_PER_STATEMENT: usize = 4_000;

type SqlArray<'a> = (Box<dyn ToSql + Sync + Send + 'a>, Type);

pub(super) struct LineColumns<'a>(Vec<SqlArray<'a>>);

/// Splits lines into as many as one statement takes. No lines are one empty chunk.
pub(super) fn chunks(lines: &[StoredLine]) -> impl Iterator<Item = &[StoredLine]> {
    let (first, rest) = lines.split_at(lines.len().min(LINES_PER_STATEMENT));
    std::iter::once(first).chain(rest.chunks(LINES_PER_STATEMENT))
}

fn text_array<'a, T: AsRef<str> + ToSql + Sync + Send + 'a>(
    lines: &'a [StoredLine],
    of: impl Fn(&'a StoredLine) -> Option<T>,
) -> Result<SqlArray<'a>> {
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

impl<'a> LineColumns<'a> {
    /// The columns of these lines.
    ///
    /// # Errors
    /// `invalid_request` for a text or position that PostgreSQL cannot store.
    pub(super) fn of(lines: &'a [StoredLine]) -> Result<Self> {
        let positions: Vec<i64> = lines.iter().map(|line| signed(line.position)).collect::<Result<_>>()?;
        let line_ids: Vec<Option<i64>> = lines.iter().map(|line| line.line_id).collect();
        let chosen: Vec<Option<bool>> = lines.iter().map(|line| line.chosen).collect();
        let bodies: Vec<Option<&[u8]>> =
            lines.iter().map(|line| (!line.body.is_empty()).then_some(&*line.body)).collect();
        Ok(Self(vec![
            (Box::new(positions), Type::INT8_ARRAY),
            text_array(lines, |line| Some(line.code.as_str()))?,
            (Box::new(line_ids), Type::INT8_ARRAY),
            text_array(lines, |line| line.day.map(|day| day.to_string()))?,
            text_array(lines, |line| Some(line.state.as_str()))?,
            text_array(lines, |line| line.buyer.as_deref())?,
            text_array(lines, |line| line.supplier.as_deref())?,
            text_array(lines, |line| line.supplier_name.as_deref())?,
            text_array(lines, |line| line.product.as_deref())?,
            text_array(lines, |line| Some(line.name.as_str()))?,
            text_array(lines, |line| line.description.as_deref())?,
            text_array(lines, |line| line.quantity.map(|quantity| quantity.to_string()))?,
            text_array(lines, |line| line.unit.as_deref())?,
            text_array(lines, |line| money(line.unit_price.as_ref()))?,
            text_array(lines, |line| currency(line.unit_price.as_ref()))?,
            text_array(lines, |line| money(line.total.as_ref()))?,
            text_array(lines, |line| currency(line.total.as_ref()))?,
            (Box::new(chosen), Type::BOOL_ARRAY),
            (Box::new(bodies), Type::BYTEA_ARRAY),
        ]))
    }

    /// The values of a statement: `edition`, then the columns.
    pub(super) fn values<'s>(&'s self, edition: &'s i64) -> Vec<SqlValue<'s>> {
        let columns = self.0.iter().map(|(column, of)| (&**column as &(dyn ToSql + Sync), of.clone()));
        std::iter::once((edition as &(dyn ToSql + Sync), Type::INT8)).chain(columns).collect()
    }
}
