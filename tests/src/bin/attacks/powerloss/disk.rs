//! What a disk holds when the power fails: everything that was synced, and of the rest whatever happened to arrive.
//!
//! Of a file's data and size, what was written before the beginning of an fsync or fdatasync of it that has ended is
//! durable. Each later block has any of the states that it has had since: a block that was written three times may hold
//! its content before, after the first, the second or the third write, whatever other blocks hold. A block is a sector, a
//! page or more, as devices and file systems differ. The size has any of its later states too.
//!
//! Names (files created, renamed, removed) are durable when their directory is synced. Of the others, those up to any
//! moment have arrived, in their order, as journalling file systems keep it; syncing a file does not make its name durable.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use fastrand::Rng;

use super::journal::Record;

/// How much of what was not synced is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    /// Everything: data and names.
    All,
    /// All data; every name has arrived. A file that was renamed before it was synced is empty then.
    Data,
    /// All names; every write has arrived.
    Names,
    /// Anything.
    Some,
    /// Nothing: as if the process had been killed.
    None,
}

/// A directory on a disk, and what is on its way there.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    /// The first is the directory itself.
    nodes: Vec<Node>,
    /// The nodes by the numbers that they have in the journal.
    inodes: BTreeMap<u64, NodeId>,
    /// The names as the process sees them.
    live: Names,
    /// All changes of names, in their order.
    changes: Vec<NameChange>,
    /// Syncs that have begun, by ticket: the node, and how many changes there were by then.
    syncs: BTreeMap<u64, (NodeId, usize)>,
}

type NodeId = usize;
type Names = BTreeMap<(NodeId, OsString), NodeId>;

const ROOT: NodeId = 0;

#[derive(Clone, Debug)]
enum Node {
    File(File),
    Dir { mode: u32 },
}

#[derive(Clone, Debug, Default)]
struct File {
    mode: u32,
    durable: Vec<u8>,
    /// How many changes are durable by now.
    synced: usize,
    pending: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Truncate { len: usize },
}

#[derive(Clone, Debug)]
struct NameChange {
    dir: NodeId,
    durable: bool,
    what: NameWhat,
}

#[derive(Clone, Debug)]
enum NameWhat {
    Add { name: OsString, node: NodeId },
    Remove { name: OsString },
    Rename { from: OsString, to: OsString },
}

/// A directory's content by path: each file's mode and bytes, `None` for a directory.
pub(super) type Content = BTreeMap<PathBuf, (u32, Option<Vec<u8>>)>;

impl Disk {
    /// What is in a directory, all of it durable.
    pub(super) fn read(dir: &Path) -> Result<Self> {
        let metadata = fs::metadata(dir)?;
        let mut disk = Self {
            nodes: vec![Node::Dir { mode: metadata.mode() }],
            inodes: BTreeMap::from([(metadata.ino(), ROOT)]),
            live: Names::new(),
            changes: Vec::new(),
            syncs: BTreeMap::new(),
        };
        disk.read_dir(dir, ROOT)?;
        for change in &mut disk.changes {
            change.durable = true;
        }
        Ok(disk)
    }

    fn read_dir(&mut self, path: &Path, dir: NodeId) -> Result<()> {
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            let mode = metadata.mode();
            let node = match metadata.is_dir() {
                true => Node::Dir { mode },
                false => Node::File(File { mode, durable: fs::read(entry.path())?, ..File::default() }),
            };
            let node = self.add_node(node, metadata.ino());
            self.change_name(dir, NameWhat::Add { name: entry.file_name(), node })?;
            if metadata.is_dir() {
                self.read_dir(&entry.path(), node)?;
            }
        }
        Ok(())
    }

    /// Plays one record.
    pub(super) fn apply(&mut self, record: &Record) -> Result<()> {
        match record {
            Record::Opened { inode, path, mode, created: true } => {
                let file = Node::File(File { mode: *mode, ..File::default() });
                self.add(path, file, *inode)?;
            }
            Record::Opened { inode, path, created: false, .. } => {
                let node = self.find(path)?;
                self.inodes.insert(*inode, node);
            }
            Record::MadeDir { inode, path, mode } => self.add(path, Node::Dir { mode: *mode }, *inode)?,
            Record::Wrote { inode, offset, bytes } => {
                self.file(*inode)?.pending.push(Change::Write { offset: *offset, bytes: bytes.clone() });
            }
            Record::Truncated { inode, len } => self.file(*inode)?.pending.push(Change::Truncate { len: *len }),
            Record::Renamed { from, to } => {
                let ((dir, from), (to_dir, to)) = (self.place(from)?, self.place(to)?);
                if dir != to_dir {
                    bail!("a rename from one directory to another, which this model does not know");
                }
                self.change_name(dir, NameWhat::Rename { from, to })?;
            }
            Record::Unlinked { path } | Record::RemovedDir { path } => {
                let (dir, name) = self.place(path)?;
                self.change_name(dir, NameWhat::Remove { name })?;
            }
            Record::SyncBegan { inode, ticket } => {
                let node = self.node(*inode)?;
                let until = match self.nodes.get(node) {
                    Some(Node::File(file)) => file.synced + file.pending.len(),
                    Some(Node::Dir { .. }) | None => self.changes.len(),
                };
                self.syncs.insert(*ticket, (node, until));
            }
            Record::SyncEnded { ticket } => {
                let (node, until) = self.syncs.remove(ticket).context("a sync ended that never began")?;
                self.sync(node, until);
            }
            Record::RangeSynced | Record::Said { .. } => {}
        }
        Ok(())
    }

    fn sync(&mut self, node: NodeId, until: usize) {
        match self.nodes.get_mut(node) {
            Some(Node::File(file)) => file.sync(until),
            Some(Node::Dir { .. }) | None => {
                let of_dir = self.changes.iter_mut().take(until).filter(|change| change.dir == node);
                of_dir.for_each(|change| change.durable = true);
            }
        }
    }

    fn add_node(&mut self, node: Node, inode: u64) -> NodeId {
        self.nodes.push(node);
        let id = self.nodes.len() - 1;
        self.inodes.insert(inode, id);
        id
    }

    fn add(&mut self, path: &Path, node: Node, inode: u64) -> Result<()> {
        let (dir, name) = self.place(path)?;
        let node = self.add_node(node, inode);
        self.change_name(dir, NameWhat::Add { name, node })
    }

    fn change_name(&mut self, dir: NodeId, what: NameWhat) -> Result<()> {
        if !apply_name(&mut self.live, dir, &what) {
            bail!("a name is not there: {what:?}");
        }
        self.changes.push(NameChange { dir, durable: false, what });
        Ok(())
    }

    fn node(&self, inode: u64) -> Result<NodeId> {
        self.inodes.get(&inode).copied().with_context(|| format!("inode {inode} was never opened"))
    }

    fn file(&mut self, inode: u64) -> Result<&mut File> {
        let node = self.node(inode)?;
        match self.nodes.get_mut(node) {
            Some(Node::File(file)) => Ok(file),
            Some(Node::Dir { .. }) | None => bail!("inode {inode} is no file"),
        }
    }

    /// The node that the process sees under this path.
    fn find(&self, path: &Path) -> Result<NodeId> {
        path.iter().try_fold(ROOT, |dir, name| {
            self.live.get(&(dir, name.to_owned())).copied().with_context(|| format!("there is no {}", path.display()))
        })
    }

    fn place(&self, path: &Path) -> Result<(NodeId, OsString)> {
        let name = path.file_name().context("a path without a name")?;
        Ok((self.find(path.parent().unwrap_or(Path::new("")))?, name.to_owned()))
    }

    /// What the process sees.
    pub(super) fn live(&self) -> Content {
        self.content(&self.live, |file| file.after(file.pending.len(), |_| file.pending.len()))
    }

    /// What is on the disk after a loss of power, and how many written bytes are not.
    pub(super) fn after(&self, loss: Loss, rng: &mut Rng) -> (Content, u64) {
        let pending_names = self.changes.iter().filter(|change| !change.durable).count();
        let mut arrived = match loss {
            Loss::All | Loss::Names => 0,
            Loss::Data | Loss::None => pending_names,
            Loss::Some => rng.usize(0..=pending_names),
        };
        let mut names = Names::new();
        for change in &self.changes {
            let is_there = change.durable || arrived > 0;
            arrived = arrived.saturating_sub(usize::from(!change.durable));
            // What is about a name that never arrived has nothing to be about.
            let _applied = is_there && apply_name(&mut names, change.dir, &change.what);
        }
        let mut dropped = 0;
        let content = self.content(&names, |file| match loss {
            Loss::All | Loss::Data => {
                dropped += file.pending_bytes();
                file.durable.clone()
            }
            Loss::Names | Loss::None => file.after(file.pending.len(), |_| file.pending.len()),
            Loss::Some => {
                let (bytes, lost) = file.after_some(rng);
                dropped += lost;
                bytes
            }
        });
        (content, dropped)
    }

    fn content(&self, names: &Names, mut bytes_of: impl FnMut(&File) -> Vec<u8>) -> Content {
        let mut content = Content::new();
        let mut dirs = vec![(ROOT, PathBuf::new())];
        while let Some((dir, path)) = dirs.pop() {
            let of_dir = names.range((dir, OsString::new())..).take_while(|((of, _), _)| *of == dir);
            for ((_, name), node) in of_dir {
                let path = path.join(name);
                match self.nodes.get(*node) {
                    Some(Node::File(file)) => drop(content.insert(path, (file.mode, Some(bytes_of(file))))),
                    Some(Node::Dir { mode }) => {
                        content.insert(path.clone(), (*mode, None));
                        dirs.push((*node, path));
                    }
                    None => {}
                }
            }
        }
        content
    }
}

/// Returns whether what it is about was there.
fn apply_name(names: &mut Names, dir: NodeId, what: &NameWhat) -> bool {
    match what {
        NameWhat::Add { name, node } => {
            names.insert((dir, name.clone()), *node);
            true
        }
        NameWhat::Remove { name } => names.remove(&(dir, name.clone())).is_some(),
        NameWhat::Rename { from, to } => match names.remove(&(dir, from.clone())) {
            Some(node) => {
                names.insert((dir, to.clone()), node);
                true
            }
            None => false,
        },
    }
}

/// What arrives together: a sector, a page, a part of a file, a file.
const BLOCKS: [usize; 4] = [512, 4_096, 65_536, usize::MAX];

impl File {
    /// Makes the changes before this one durable.
    fn sync(&mut self, until: usize) {
        let count = until.saturating_sub(self.synced).min(self.pending.len());
        let rest = self.pending.split_off(count);
        self.durable = self.after(count, |_| count);
        self.pending = rest;
        self.synced += count;
    }

    fn pending_bytes(&self) -> u64 {
        let bytes = self.pending.iter().map(|change| match change {
            Change::Write { bytes, .. } => bytes.len() as u64,
            Change::Truncate { .. } => 0,
        });
        bytes.sum()
    }

    /// The file with some of what is pending, and how many bytes of it are lost.
    fn after_some(&self, rng: &mut Rng) -> (Vec<u8>, u64) {
        let block = rng.choice(BLOCKS).unwrap_or(usize::MAX);
        let all = self.pending.len();
        // Whole and missing blocks are as frequent as those in between.
        let mut moment = || match rng.u8(0..3) {
            0 => 0,
            1 => all,
            _ => rng.usize(0..=all),
        };
        let size = moment();
        let mut moments = BTreeMap::new();
        let mut moment_of = |offset: usize| *moments.entry(offset / block).or_insert_with(&mut moment);
        let mut lost = 0;
        for (number, change) in self.pending.iter().enumerate() {
            if let Change::Write { offset, bytes } = change {
                let parts = parts(*offset, bytes, block).filter(|(at, _)| moment_of(*at) <= number);
                lost += parts.map(|(_, part)| part.len() as u64).sum::<u64>();
            }
        }
        let bytes = self.after_in_blocks(size, block, moment_of);
        (bytes, lost)
    }

    fn after(&self, size: usize, moment_of: impl FnMut(usize) -> usize) -> Vec<u8> {
        self.after_in_blocks(size, usize::MAX, moment_of)
    }

    /// The file with the size that it had after so many pending changes, and each block as it was after so many.
    fn after_in_blocks(&self, size: usize, block: usize, mut moment_of: impl FnMut(usize) -> usize) -> Vec<u8> {
        let len = self.pending.iter().take(size).fold(self.durable.len(), |len, change| match change {
            Change::Write { offset, bytes } => len.max(offset + bytes.len()),
            Change::Truncate { len } => *len,
        });
        let mut file = self.durable.clone();
        for (number, change) in self.pending.iter().enumerate() {
            match change {
                Change::Write { offset, bytes } => {
                    for (at, part) in parts(*offset, bytes, block).filter(|(at, _)| number < moment_of(*at)) {
                        let end = at + part.len();
                        file.resize(file.len().max(end), 0);
                        if let Some(there) = file.get_mut(at..end) {
                            there.copy_from_slice(part);
                        }
                    }
                }
                Change::Truncate { len } => {
                    // What is cut off is zero, should the file grow again.
                    let mut at = *len;
                    while at < file.len() {
                        let end = end_of_block(at, block).min(file.len());
                        if number < moment_of(at)
                            && let Some(gone) = file.get_mut(at..end)
                        {
                            gone.fill(0);
                        }
                        at = end;
                    }
                }
            }
        }
        file.resize(len, 0);
        file
    }
}

/// What a write is to each block, with its offset in the file.
fn parts(offset: usize, bytes: &[u8], block: usize) -> impl Iterator<Item = (usize, &[u8])> {
    let (mut at, mut rest) = (offset, bytes);
    std::iter::from_fn(move || {
        let in_block = (end_of_block(at, block) - at).min(rest.len());
        let (part, behind) = rest.split_at_checked(in_block).filter(|(part, _)| !part.is_empty())?;
        let from = at;
        (at, rest) = (at + in_block, behind);
        Some((from, part))
    })
}

fn end_of_block(at: usize, block: usize) -> usize {
    (at / block + 1).saturating_mul(block)
}

/// Makes a directory with this content. It must not be there.
pub(super) fn write(content: &Content, dir: &Path) -> Result<()> {
    fs::create_dir(dir)?;
    for (path, (mode, bytes)) in content {
        let path = dir.join(path);
        let mode = mode & 0o7777;
        match bytes {
            None => DirBuilder::new().mode(mode).create(&path)?,
            Some(bytes) => {
                OpenOptions::new().write(true).create_new(true).mode(mode).open(&path)?.write_all(bytes)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
