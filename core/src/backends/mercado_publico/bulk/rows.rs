//! The rows of a month.

use std::fmt;
use std::io::Read;
use std::marker::PhantomData;
use std::sync::Arc;

use super::archive::{Archive, ArchiveLimits, PackedFile};
use super::cells::Cells;
use super::columns::{Columns, UnknownColumns};
use super::sealed::ReadRow;
use super::table::{CsvReader, is_markup};
use crate::error::{Error, Result};
use crate::procure::setters;
use crate::procure::{Origin, Raw, Source, Timestamp};

/// A row of one of the sets: [`OrderLine`](super::OrderLine), [`TenderOffer`](super::TenderOffer),
/// [`QuoteLine`](super::QuoteLine).
#[allow(private_bounds, reason = "nobody else can implement it")]
pub trait BulkRow: ReadRow {}

/// Options for reading rows.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReadOptions {
    /// The time as of which the file is valid.
    pub as_of: Timestamp,
    /// What to do with unknown columns.
    pub unknown_columns: UnknownColumns,
    /// Whether each row keeps its text, as a JSON object with the file's column names.
    pub raw: bool,
    /// Whether personal data is kept.
    pub personal_data: bool,
    /// The longest row, in bytes.
    pub most_row_bytes: usize,
    /// The limits of an archive.
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
    setters! {
        /// Sets the time as of which the file is valid.
        with_as_of: as_of = Timestamp;
        /// Sets what to do with unknown columns.
        with_unknown_columns: unknown_columns = UnknownColumns;
        /// Sets whether each row keeps its text.
        with_raw: raw = bool;
        /// Sets whether personal data is kept.
        with_personal_data: personal_data = bool;
        /// Sets the longest row, in bytes.
        with_most_row_bytes: most_row_bytes = usize;
        /// Sets the limits of an archive.
        with_limits: limits = ArchiveLimits;
    }
}

/// How much has been read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadProgress {
    /// The name of the current file.
    pub file: String,
    /// The rows read so far, in all files.
    pub rows: u64,
    /// The bytes read so far, in all files.
    pub bytes: u64,
    /// The bytes of all files, if known.
    pub of_bytes: Option<u64>,
}

type FileReader = Box<dyn Read + Send>;

/// The rows of a month, in order. After an error there are no more.
pub struct Rows<T> {
    options: ReadOptions,
    archive: Option<(Archive, std::vec::IntoIter<PackedFile>)>,
    file: Option<(CsvReader<FileReader>, Option<Arc<Columns>>)>,
    progress: ReadProgress,
    /// The rows and bytes of the files before this one.
    previous_files: (u64, u64),
    is_done: bool,
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
            return Err(Error::response_invalid("the archive contains no CSV file"));
        }
        let of_bytes = Some(files.iter().map(|file| file.bytes).sum());
        let progress = ReadProgress { of_bytes, ..ReadProgress::default() };
        Ok(Self { archive: Some((archive, files.into_iter())), progress, ..Self::empty(options) })
    }

    /// The rows of an archive on disk.
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
        let reader = CsvReader::new(Box::new(bytes) as FileReader, options.most_row_bytes);
        let progress = ReadProgress { file: name.into(), ..ReadProgress::default() };
        Ok(Self { file: Some((reader, None)), progress, ..Self::empty(options) })
    }

    fn empty(options: ReadOptions) -> Self {
        Self {
            options,
            archive: None,
            file: None,
            progress: ReadProgress::default(),
            previous_files: (0, 0),
            is_done: false,
            row: PhantomData,
        }
    }

    /// How much has been read.
    pub fn progress(&self) -> &ReadProgress {
        &self.progress
    }

    fn read(&mut self) -> Result<Option<T>> {
        loop {
            if self.file.is_none() && !self.open_next()? {
                return Ok(None);
            }
            if let Some(row) = self.read_file()? {
                return Ok(Some(row));
            }
            self.previous_files = (self.progress.rows, self.progress.bytes);
            self.file = None;
        }
    }

    fn open_next(&mut self) -> Result<bool> {
        let Some((archive, files)) = &mut self.archive else { return Ok(false) };
        let Some(file) = files.next() else { return Ok(false) };
        let bytes = Box::new(archive.unpack(&file)?) as FileReader;
        self.progress.file = file.name;
        self.file = Some((CsvReader::new(bytes, self.options.most_row_bytes), None));
        Ok(true)
    }

    /// An invalid row may come from a damaged archive. Reads on to find out, and returns that error if so.
    fn underlying_error(&mut self, error: Error) -> Error {
        match &mut self.file {
            Some((reader, _)) if self.archive.is_some() => reader.drain().err().unwrap_or(error),
            _ => error,
        }
    }

    fn read_file(&mut self) -> Result<Option<T>> {
        let Some((reader, columns)) = &mut self.file else { return Ok(None) };
        let columns = match columns {
            Some(columns) => &*columns,
            None => &*columns.insert(read_header::<T>(reader, &self.options)?),
        };
        let number = reader.rows() + 1;
        let Some(row) = reader.next()? else {
            self.progress.bytes = self.previous_files.1 + reader.bytes();
            return Ok(None);
        };
        columns.check(row, number)?;
        let raw = if self.options.raw { columns.to_json(row).into() } else { bytes::Bytes::new() };
        let origin = Origin::new(Source::BULK, self.options.as_of, Raw::of_parsed(raw));
        let read = T::read(&mut Cells::new(row, columns), origin);
        // The header does not count as a row.
        self.progress.rows = self.previous_files.0 + reader.rows() - 1;
        self.progress.bytes = self.previous_files.1 + reader.bytes();
        Ok(Some(read))
    }
}

fn read_header<T: BulkRow>(
    reader: &mut CsvReader<FileReader>,
    options: &ReadOptions,
) -> Result<Arc<Columns>> {
    let empty = || Error::response_invalid("the file is empty");
    let header = reader.next()?.ok_or_else(empty)?;
    if is_markup(header.bytes(0)) {
        return Err(Error::response_invalid("the service sent an HTML page instead of a file"));
    }
    Columns::read(T::COLUMNS, T::PERSONAL, header, options)
}

impl<T: BulkRow> Iterator for Rows<T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        if self.is_done {
            return None;
        }
        let outcome = self.read().map_err(|error| self.underlying_error(error));
        self.is_done = !matches!(outcome, Ok(Some(_)));
        let named = |error: Error| match self.progress.file.as_str() {
            "" => error,
            file => error.with_context("file", file.to_owned()),
        };
        outcome.map_err(named).transpose()
    }
}

impl<T> fmt::Debug for Rows<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows")
            .field("place", &self.progress)
            .field("is_over", &self.is_done)
            .finish_non_exhaustive()
    }
}
