//! What is durable and has no row yet: a file beside the database to which each commit adds one block.
//!
//! A commit of SQLite writes a dozen pages in two system calls each; a block is one write into a place that the file has
//! already. When enough has come together it gets its rows in one transaction, and the file is written from its start
//! again. Reading it twice changes nothing, so nothing needs to tell whether its rows had been made before a crash.

use std::fs::{File, OpenOptions};
use std::hash::Hasher;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::base::hash::QuickHasher;
use crate::base::id::random;

use super::line::{self, Line};

/// How a block begins: tells a log of ours from any other file.
const MARK: [u8; 8] = *b"kancylog";
/// The mark, the checksum, the round, and the length of what follows.
const HEAD: usize = 32;
/// By so many bytes the file grows: enough for all lines of a usual round.
const STEP: usize = 512 * 1024;

pub(super) struct Log {
    file: File,
    path: PathBuf,
    /// Whose log it is: the number that its database was given when it was made.
    owner: u64,
    durable: bool,
    /// Tells the blocks since the last start of the file from those before it.
    round: u64,
    /// The blocks of this round, as the file has them.
    bytes: Vec<u8>,
    /// How much of them is written.
    written: usize,
    /// Where the file's cursor is not.
    is_astray: bool,
    /// The length of the file, all of which was written once.
    room: usize,
    lines: usize,
    /// How many of the lines are not written.
    unwritten: usize,
}

/// Where the log of the database at `path` is.
pub(super) fn beside(path: &Path) -> PathBuf {
    let mut beside = path.as_os_str().to_owned();
    beside.push("-log");
    PathBuf::from(beside)
}

impl Log {
    /// Opens the log beside `database`, with what a crash left in it.
    pub(super) fn open(database: &Path, owner: u64, durable: bool) -> io::Result<Self> {
        let path = beside(database);
        let mut file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path)?;
        let mut bytes = Vec::new();
        let room = file.read_to_end(&mut bytes)?;
        // Zeros were made room of, and nothing came of it.
        if room > 0 && bytes.first_chunk().is_none_or(|start| ![MARK, [0; 8]].contains(start)) {
            return Err(io::Error::other("it is no log of a database"));
        }
        if room == 0 {
            // That the file is there must be as durable as what it holds.
            if let Some(folder) = path.parent().filter(|_| durable && cfg!(unix)) {
                File::open(if folder.as_os_str().is_empty() { Path::new(".") } else { folder })?.sync_all()?;
            }
        }
        let mut log = Self {
            file,
            path,
            owner,
            durable,
            round: round_of(&bytes),
            bytes: Vec::new(),
            written: 0,
            is_astray: true,
            room,
            lines: 0,
            unwritten: 0,
        };
        log.written = log.valid(&bytes);
        bytes.truncate(log.written);
        log.bytes = bytes;
        log.lines = log.lines().count();
        Ok(log)
    }

    /// How long the valid blocks of one round are at the start of `bytes`.
    fn valid(&self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while let Some(block) = bytes.get(at..).and_then(Block::read)
            && block.round == self.round
            && block.checksum == self.checksum(at, block.content)
        {
            at += HEAD + block.content.len();
        }
        at
    }

    /// The lines of this round, written or not.
    pub(super) fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        let mut rest = &*self.bytes;
        let blocks = std::iter::from_fn(move || {
            let block = Block::read(rest)?;
            rest = &rest[HEAD + block.content.len()..];
            Some(block.content)
        });
        blocks.flat_map(line::lines)
    }

    /// How many lines there are in this round.
    pub(super) fn len(&self) -> usize {
        self.lines
    }

    /// How many of them are in this process alone.
    pub(super) fn unwritten(&self) -> usize {
        self.unwritten
    }

    /// Writes a block of so many `lines`. What cannot be written is kept, and tried again with the next.
    pub(super) fn append(&mut self, count: usize, lines: &[u8]) -> io::Result<()> {
        if self.written == self.bytes.len() {
            if lines.is_empty() {
                return Ok(());
            }
            self.bytes.extend([0; HEAD]);
        }
        self.bytes.extend_from_slice(lines);
        self.lines += count;
        self.unwritten += count;
        let (at, round) = (self.written, self.round);
        let content = &self.bytes[at + HEAD..];
        let numbers = [self.checksum(at, content), round, content.len() as u64].map(u64::to_le_bytes);
        let head = [MARK, numbers[0], numbers[1], numbers[2]];
        self.bytes[at..at + HEAD].copy_from_slice(head.as_flattened());
        let is_astray = std::mem::replace(&mut self.is_astray, true);
        if self.bytes.len() > self.room {
            self.grow()?;
            self.file.seek(SeekFrom::Start(at as u64))?;
        } else if is_astray {
            self.file.seek(SeekFrom::Start(at as u64))?;
        }
        self.file.write_all(&self.bytes[at..])?;
        if self.durable {
            self.file.sync_data()?;
        }
        (self.written, self.unwritten, self.is_astray) = (self.bytes.len(), 0, false);
        Ok(())
    }

    /// Makes room: a block that lengthens the file would take more than its own write.
    fn grow(&mut self) -> io::Result<()> {
        let room = self.bytes.len().next_multiple_of(STEP);
        self.file.seek(SeekFrom::Start(self.room as u64))?;
        self.file.write_all(&vec![0; room - self.room])?;
        self.room = room;
        Ok(())
    }

    /// Every line has its row: the next block is the first.
    pub(super) fn restart(&mut self) {
        self.round = u64::from_le_bytes(random());
        self.bytes.clear();
        self.bytes.shrink_to(STEP);
        (self.written, self.lines, self.unwritten, self.is_astray) = (0, 0, 0, true);
    }

    /// Removes the file, where nothing is left in it.
    pub(super) fn close(self) {
        if self.bytes.is_empty() {
            // One that stays is read once more, which changes nothing.
            drop(std::fs::remove_file(self.path));
        }
    }

    /// Lets every write fail, or none.
    #[cfg(test)]
    pub(super) fn refuse(&mut self, refuse: bool) {
        self.file = OpenOptions::new().read(true).write(!refuse).open(&self.path).unwrap();
    }

    fn checksum(&self, at: usize, content: &[u8]) -> u64 {
        let mut hasher = QuickHasher::default();
        [self.owner, self.round, at as u64].into_iter().for_each(|word| hasher.write_u64(word));
        hasher.write(content);
        hasher.finish()
    }
}

struct Block<'a> {
    checksum: u64,
    round: u64,
    content: &'a [u8],
}

impl<'a> Block<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let (head, rest) = bytes.split_at_checked(HEAD)?;
        let &[MARK, checksum, round, length] = head.as_chunks().0 else { return None };
        let length = usize::try_from(u64::from_le_bytes(length)).ok().filter(|length| *length > 0)?;
        let content = rest.get(..length)?;
        Some(Self { checksum: u64::from_le_bytes(checksum), round: u64::from_le_bytes(round), content })
    }
}

fn round_of(bytes: &[u8]) -> u64 {
    Block::read(bytes).map_or_else(|| u64::from_le_bytes(random()), |block| block.round)
}
