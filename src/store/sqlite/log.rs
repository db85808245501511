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
use crate::base::log as told;

use super::line::{self, Line};

/// How a block begins: tells a log of ours from any other file.
const MARK: [u8; 8] = *b"kancylog";
/// The mark, the owner, the checksum, the round, and the length of what follows.
const HEAD: usize = 40;
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

/// Gives a log that another database has left beside `database`, which has just been made, a name of its own: whoever
/// removes a database means to begin anew, and what it never had rows for stays to be looked at.
pub(super) fn put_aside(database: &Path) -> io::Result<()> {
    let path = beside(database);
    let mut head = [0; 16];
    let read = File::open(&path).and_then(|mut file| file.read_exact(&mut head));
    let [MARK, owner] = head.as_chunks().0 else { return Ok(()) };
    let mut aside = path.as_os_str().to_owned();
    aside.push(format!("-of-{:016x}", u64::from_le_bytes(*owner)));
    let aside = PathBuf::from(aside);
    if read.is_err() || aside.exists() {
        return Ok(());
    }
    told::log_put_aside(&aside);
    std::fs::rename(path, aside)
}

impl Log {
    /// Opens the log beside `database`, with what a crash left in it.
    pub(super) fn open(database: &Path, owner: u64, durable: bool) -> io::Result<Self> {
        let path = beside(database);
        let mut file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path)?;
        let mut bytes = Vec::new();
        let room = file.read_to_end(&mut bytes)?;
        whose(&bytes, owner)?;
        // That the file is there must be as durable as what it holds.
        if let Some(folder) = path.parent().filter(|_| durable && cfg!(unix)) {
            File::open(if folder.as_os_str().is_empty() { Path::new(".") } else { folder })?.sync_all()?;
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
        if durable && log.goes_on(&bytes) {
            return Err(io::Error::other(
                "it is damaged before its end: restore a copy, or move it away to go on without what it holds",
            ));
        }
        bytes.truncate(log.written);
        log.bytes = bytes;
        log.lines = log.lines().count();
        Ok(log)
    }

    /// How long the valid blocks of one round are at the start of `bytes`.
    fn valid(&self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while let Some(block) = self.block(bytes, at) {
            at += HEAD + block.content.len();
        }
        at
    }

    /// Whether there is a block of this round behind the first that is not valid. Each is synced before the next is
    /// written, so that one was not cut by a crash.
    fn goes_on(&self, bytes: &[u8]) -> bool {
        (self.written + 1..bytes.len()).any(|at| self.block(bytes, at).is_some())
    }

    /// The valid block of this round at `at`.
    fn block<'a>(&self, bytes: &'a [u8], at: usize) -> Option<Block<'a>> {
        let block = Block::read(bytes.get(at..)?)?;
        let is_ours = (block.owner, block.round) == (self.owner, self.round);
        (is_ours && block.checksum == self.checksum(at, block.content)).then_some(block)
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
        let numbers = [self.owner, self.checksum(at, content), round, content.len() as u64].map(u64::to_le_bytes);
        self.bytes[at..at + MARK.len()].copy_from_slice(&MARK);
        self.bytes[at + MARK.len()..at + HEAD].copy_from_slice(numbers.as_flattened());
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
    owner: u64,
    checksum: u64,
    round: u64,
    content: &'a [u8],
}

impl<'a> Block<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let (head, rest) = bytes.split_at_checked(HEAD)?;
        let &[MARK, owner, checksum, round, length] = head.as_chunks().0 else { return None };
        let [owner, checksum, round, length] = [owner, checksum, round, length].map(u64::from_le_bytes);
        let length = usize::try_from(length).ok().filter(|length| *length > 0)?;
        Some(Self { owner, checksum, round, content: rest.get(..length)? })
    }
}

/// Refuses what is not a log of this owner: it would be written over.
fn whose(bytes: &[u8], owner: u64) -> io::Result<()> {
    match bytes.as_chunks().0 {
        // At most room was made, and nothing came of it.
        _ if bytes.iter().take(MARK.len()).all(|byte| *byte == 0) => Ok(()),
        [MARK, other, ..] if *other == owner.to_le_bytes() => Ok(()),
        [MARK, _, ..] => {
            Err(io::Error::other("it is another database's: put it back beside that one, or move it away"))
        }
        _ => Err(io::Error::other("it is no log of a database")),
    }
}

fn round_of(bytes: &[u8]) -> u64 {
    Block::read(bytes).map_or_else(|| u64::from_le_bytes(random()), |block| block.round)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::record::UsageRecord;
    use crate::store::contract::ledger::{NOON, record};

    const OWNER: u64 = 7;

    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("kancy-log-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&folder).unwrap();
            Self(folder)
        }

        fn open(&self) -> io::Result<Log> {
            Log::open(&self.0.join("kancy.db"), OWNER, true)
        }

        /// The ids in the log when `bytes` are all that there is of it.
        fn ids(&self, bytes: &[u8]) -> io::Result<Vec<String>> {
            let file = beside(&self.0.join("kancy.db"));
            std::fs::write(&file, bytes).unwrap();
            let ids = self.open().map(|log| log.lines().map(|line| line.id().to_owned()).collect());
            assert_eq!(std::fs::read(&file).unwrap(), bytes, "who reads it writes nothing");
            ids
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            drop(std::fs::remove_dir_all(&self.0));
        }
    }

    fn append(log: &mut Log, id: &str) -> usize {
        let mut lines = Vec::new();
        line::push(&UsageRecord { outcome: None, ..record(id, NOON) }, &mut lines);
        log.append(1, &lines).unwrap();
        log.written
    }

    /// A round of three blocks over one of the same lengths and one more, and where each of the three ends.
    fn rounds(place: &Place) -> (Vec<u8>, [usize; 3]) {
        let mut log = place.open().unwrap();
        for id in ["old1", "old2", "old3", "old4"] {
            append(&mut log, id);
        }
        log.restart();
        let ends = ["new1", "new2", "new3"].map(|id| append(&mut log, id));
        let mut bytes = std::fs::read(&log.path).unwrap();
        bytes.truncate(8 * 1024);
        (bytes, ends)
    }

    #[test]
    fn a_last_block_that_is_torn_anywhere_ends_the_log_and_no_block_of_an_earlier_round_comes_back() {
        let place = Place::new("torn");
        let (bytes, [_, second, third]) = rounds(&place);
        assert_eq!(place.ids(&bytes).unwrap(), ["new1", "new2", "new3"]);
        for at in second..third {
            assert_eq!(place.ids(&bytes[..at]).unwrap(), ["new1", "new2"], "cut at {at}");
            for flip in [1, 0x80] {
                let mut torn = bytes.clone();
                torn[at] ^= flip;
                assert_eq!(place.ids(&torn).unwrap(), ["new1", "new2"], "flipped at {at}");
            }
        }
    }

    #[test]
    fn a_block_that_is_damaged_before_others_is_refused_wherever_it_is() {
        let place = Place::new("damaged");
        let (bytes, [first, second, _]) = rounds(&place);
        for at in first..second {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            let refused = place.ids(&damaged).unwrap_err();
            assert!(refused.to_string().starts_with("it is damaged"), "at {at}: {refused}");
        }
    }

    #[test]
    fn the_first_block_of_a_round_may_be_torn_over_the_round_before() {
        let place = Place::new("first");
        let mut log = place.open().unwrap();
        for id in ["old1", "old2", "old3"] {
            append(&mut log, id);
        }
        let old = std::fs::read(&log.path).unwrap()[..8 * 1024].to_vec();
        log.restart();
        let end = append(&mut log, "new1");
        let new = std::fs::read(&log.path).unwrap()[..8 * 1024].to_vec();
        for at in HEAD..end {
            let whole = new[at..end] == old[at..end];
            let torn = [&new[..at], &old[at..]].concat();
            assert_eq!(place.ids(&torn).unwrap(), if whole { vec!["new1"] } else { vec![] }, "cut at {at}");
        }
    }

    #[test]
    fn a_log_reads_the_same_in_every_version() {
        let place = Place::new("format");
        let mut log = place.open().unwrap();
        log.round = 9;
        log.append(1, b"\x03\0\0\0\x01\x05ab").unwrap();
        log.append(1, b"\x02\0\0\0\x00\x04c").unwrap();
        let bytes = std::fs::read(&log.path).unwrap();
        let checksums = [16, HEAD + 8 + 16].map(|at: usize| u64::from_le_bytes(*bytes[at..].first_chunk().unwrap()));
        assert_eq!(checksums, [17_009_351_165_991_312_527, 3_090_612_193_989_480_329]);
        assert_eq!(place.ids(&bytes).unwrap(), ["ab", "c"]);
    }
}
