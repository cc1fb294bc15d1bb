//! Writing zip archives.

use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};

use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};

/// Writes a zip archive, file by file.
#[derive(Debug)]
pub struct ZipWriter<W> {
    target: W,
    /// The central directory, written at the end.
    directory: Vec<u8>,
    files: u16,
}

/// A zip archive of these files.
pub fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let write = || -> io::Result<Vec<u8>> {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, bytes) in files {
            writer.add(name, *bytes)?;
        }
        Ok(writer.finish()?.into_inner())
    };
    // Writing to memory never fails.
    write().unwrap_or_default()
}

impl<W: Write + Seek> ZipWriter<W> {
    /// An empty archive.
    pub fn new(target: W) -> Self {
        Self { target, directory: Vec::new(), files: 0 }
    }

    /// Adds a file, deflated. It must be below 4 GiB.
    ///
    /// # Errors
    /// Those of reading and writing.
    pub fn add(&mut self, name: &str, mut bytes: impl Read) -> io::Result<()> {
        let at = self.target.stream_position()?;
        self.target.write_all(&local_header(name, [0; 3]))?;
        let begins = self.target.stream_position()?;
        let mut packer = DeflateEncoder::new(&mut self.target, Compression::fast());
        let mut check = Crc::new();
        let mut buffer = vec![0; 64 << 10];
        loop {
            let read = bytes.read(&mut buffer)?;
            let Some(piece) = buffer.get(..read).filter(|piece| !piece.is_empty()) else { break };
            check.update(piece);
            packer.write_all(piece)?;
        }
        let size = packer.total_in();
        packer.finish()?;
        let end = self.target.stream_position()?;
        let narrow =
            |number: u64| u32::try_from(number).map_err(|_| io::Error::other("a file of 4 GiB or more"));
        let numbers = [check.sum(), narrow(end - begins)?, narrow(size)?];
        self.target.seek(SeekFrom::Start(at))?;
        self.target.write_all(&local_header(name, numbers))?;
        self.target.seek(SeekFrom::Start(end))?;
        self.directory.extend_from_slice(b"PK\x01\x02\x14\x00");
        self.directory.extend_from_slice(&shared_fields(name, numbers));
        // No comment, first disk, no attributes.
        self.directory.extend_from_slice(&[0; 10]);
        self.directory.extend_from_slice(&narrow(at)?.to_le_bytes());
        self.directory.extend_from_slice(name.as_bytes());
        self.files += 1;
        Ok(())
    }

    /// Writes the central directory.
    ///
    /// # Errors
    /// Those of writing.
    pub fn finish(mut self) -> io::Result<W> {
        let at = self.target.stream_position()?;
        let narrow =
            |number: u64| u32::try_from(number).map_err(|_| io::Error::other("an archive of 4 GiB or more"));
        self.target.write_all(&self.directory)?;
        self.target.write_all(b"PK\x05\x06\0\0\0\0")?;
        self.target.write_all(&self.files.to_le_bytes())?;
        self.target.write_all(&self.files.to_le_bytes())?;
        self.target.write_all(&narrow(self.directory.len() as u64)?.to_le_bytes())?;
        self.target.write_all(&narrow(at)?.to_le_bytes())?;
        self.target.write_all(&[0, 0])?;
        self.target.flush()?;
        Ok(self.target)
    }
}

/// What a file's local header and its entry in the directory share: checksum, compressed size, size, name length.
fn shared_fields(name: &str, numbers: [u32; 3]) -> Vec<u8> {
    let mut bytes = vec![20, 0, 0, 0, 8, 0, 0, 0, 0x21, 0x5C];
    bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    bytes.extend_from_slice(&u16::try_from(name.len()).unwrap_or(u16::MAX).to_le_bytes());
    bytes.extend_from_slice(&[0, 0]);
    bytes
}

fn local_header(name: &str, numbers: [u32; 3]) -> Vec<u8> {
    [b"PK\x03\x04", shared_fields(name, numbers).as_slice(), name.as_bytes()].concat()
}
