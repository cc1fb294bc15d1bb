//! Rows of a month, one after another.

use std::fmt;
use std::io::Read;
use std::marker::PhantomData;
use std::sync::Arc;

use super::archive::{Archive, ArchiveLimits, PackedFile};
use super::cells::Cells;
use super::columns::{Columns, UnknownColumns};
use super::sealed::Reads;
use super::table::{Table, is_markup};
use crate::error::{Error, Result};
use crate::procure::{Origin, Raw, Source, Timestamp};

/// A row of one of the sets: [`OrderLine`](super::OrderLine), [`TenderOffer`](super::TenderOffer),
/// [`QuoteLine`](super::QuoteLine).
#[allow(private_bounds, reason = "nobody else can implement it")]
pub trait BulkRow: Reads {}

/// How rows are read.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReadOptions {
    /// As of when the file holds.
    pub as_of: Timestamp,
    /// What to do with columns that ayni does not know.
    pub unknown_columns: UnknownColumns,
    /// Whether each row keeps its own text, as a JSON object of the file's names and texts.
    pub raw: bool,
    /// Whether what says something of a person is kept.
    pub personal_data: bool,
    /// The most bytes of a row.
    pub most_row_bytes: usize,
    /// What an archive may be at most.
    pub limits: ArchiveLimits,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            as_of: Timestamp::of_system_time(std::time::SystemTime::now()),
            unknown_columns: UnknownColumns::Refuse,
            raw: true,
            personal_data: true,
            most_row_bytes: 8 << 20,
            limits: ArchiveLimits::default(),
        }
    }
}

impl ReadOptions {
    /// Says as of when the file holds.
    pub fn with_as_of(mut self, as_of: Timestamp) -> Self {
        self.as_of = as_of;
        self
    }

    /// Says what to do with columns that ayni does not know.
    pub fn with_unknown_columns(mut self, unknown: UnknownColumns) -> Self {
        self.unknown_columns = unknown;
        self
    }

    /// Says whether each row keeps its own text.
    pub fn with_raw(mut self, raw: bool) -> Self {
        self.raw = raw;
        self
    }

    /// Says whether what says something of a person is kept.
    pub fn with_personal_data(mut self, kept: bool) -> Self {
        self.personal_data = kept;
        self
    }

    /// Sets the most bytes of a row.
    pub fn with_most_row_bytes(mut self, bytes: usize) -> Self {
        self.most_row_bytes = bytes;
        self
    }

    /// Sets what an archive may be at most.
    pub fn with_limits(mut self, limits: ArchiveLimits) -> Self {
        self.limits = limits;
        self
    }
}

/// How far the reading has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Place {
    /// The file that is being read.
    pub file: String,
    /// The rows read so far, in all files.
    pub rows: u64,
    /// The bytes read so far, in all files.
    pub bytes: u64,
    /// The bytes of all files, where known.
    pub of_bytes: Option<u64>,
}

type Bytes = Box<dyn Read + Send>;

/// The rows of a month, one after another. After an error there are no more.
pub struct Rows<T> {
    options: ReadOptions,
    archive: Option<(Archive, std::vec::IntoIter<PackedFile>)>,
    file: Option<(Table<Bytes>, Option<Arc<Columns>>)>,
    place: Place,
    /// The rows and bytes of the files before this one.
    before: (u64, u64),
    is_over: bool,
    row: PhantomData<fn() -> T>,
}

impl<T: BulkRow> Rows<T> {
    /// The rows of every CSV file of an archive, in the archive's order.
    ///
    /// # Errors
    /// `response_invalid` if the archive holds none.
    pub fn archive(archive: Archive, options: ReadOptions) -> Result<Self> {
        let is_table = |file: &&PackedFile| file.name.to_ascii_lowercase().ends_with(".csv");
        let files: Vec<PackedFile> = archive.files().iter().filter(is_table).cloned().collect();
        if files.is_empty() {
            return Err(Error::response_invalid("the archive holds no CSV file"));
        }
        let of_bytes = Some(files.iter().map(|file| file.bytes).sum());
        let place = Place { of_bytes, ..Place::default() };
        Ok(Self { archive: Some((archive, files.into_iter())), place, ..Self::empty(options) })
    }

    /// The rows of an archive on the disk.
    ///
    /// # Errors
    /// As [`Archive::open`] and [`archive`](Self::archive).
    pub fn open(path: impl AsRef<std::path::Path>, options: ReadOptions) -> Result<Self> {
        Self::archive(Archive::open(path, options.limits)?, options)
    }

    /// The rows of a CSV file.
    ///
    /// # Errors
    /// None so far.
    pub fn csv(
        name: impl Into<String>,
        bytes: impl Read + Send + 'static,
        options: ReadOptions,
    ) -> Result<Self> {
        let table = Table::new(Box::new(bytes) as Bytes, options.most_row_bytes);
        let place = Place { file: name.into(), ..Place::default() };
        Ok(Self { file: Some((table, None)), place, ..Self::empty(options) })
    }

    fn empty(options: ReadOptions) -> Self {
        Self {
            options,
            archive: None,
            file: None,
            place: Place::default(),
            before: (0, 0),
            is_over: false,
            row: PhantomData,
        }
    }

    /// How far the reading has come.
    pub fn place(&self) -> &Place {
        &self.place
    }

    fn read(&mut self) -> Result<Option<T>> {
        loop {
            if self.file.is_none() && !self.open_next()? {
                return Ok(None);
            }
            if let Some(row) = self.read_file()? {
                return Ok(Some(row));
            }
            self.before = (self.place.rows, self.place.bytes);
            self.file = None;
        }
    }

    fn open_next(&mut self) -> Result<bool> {
        let Some((archive, files)) = &mut self.archive else { return Ok(false) };
        let Some(file) = files.next() else { return Ok(false) };
        let bytes = Box::new(archive.unpack(&file)?) as Bytes;
        self.place.file = file.name;
        self.file = Some((Table::new(bytes, self.options.most_row_bytes), None));
        Ok(true)
    }

    /// A row that is none may be what a damaged archive unpacks to: then that is what is wrong.
    fn cause(&mut self, error: Error) -> Error {
        match &mut self.file {
            Some((table, _)) if self.archive.is_some() => table.drain().err().unwrap_or(error),
            _ => error,
        }
    }

    fn read_file(&mut self) -> Result<Option<T>> {
        let Some((table, columns)) = &mut self.file else { return Ok(None) };
        let columns = match columns {
            Some(columns) => columns,
            None => columns.insert(read_header::<T>(table, &self.options)?),
        };
        let number = table.rows() + 1;
        let Some(row) = table.next()? else {
            self.place.bytes = self.before.1 + table.bytes();
            return Ok(None);
        };
        columns.check(row, number)?;
        let raw = if self.options.raw { columns.to_json(row).into() } else { bytes::Bytes::new() };
        let origin = Origin::new(Source::BULK, self.options.as_of, Raw::of_parsed(raw));
        let read = T::read(&mut Cells::new(row, columns), origin);
        // The header is no row of the file's contents.
        self.place.rows = self.before.0 + table.rows() - 1;
        self.place.bytes = self.before.1 + table.bytes();
        Ok(Some(read))
    }
}

fn read_header<T: BulkRow>(table: &mut Table<Bytes>, options: &ReadOptions) -> Result<Arc<Columns>> {
    let empty = || Error::response_invalid("the file is empty");
    let header = table.next()?.ok_or_else(empty)?;
    if is_markup(header.bytes(0)) {
        return Err(Error::response_invalid("a page of markup came instead of a file"));
    }
    Columns::read::<T::Column>(header, options.unknown_columns, options.personal_data)
}

impl<T: BulkRow> Iterator for Rows<T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        if self.is_over {
            return None;
        }
        let outcome = self.read().map_err(|error| self.cause(error));
        self.is_over = !matches!(outcome, Ok(Some(_)));
        let named = |error: Error| match self.place.file.as_str() {
            "" => error,
            file => error.with_context("file", file.to_owned()),
        };
        outcome.map_err(named).transpose()
    }
}

impl<T> fmt::Debug for Rows<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows")
            .field("place", &self.place)
            .field("is_over", &self.is_over)
            .finish_non_exhaustive()
    }
}
