//! What a disk may hold after a power cut: everything that was synced, and any part of the rest.
//!
//! Used by `cuts.rs`. Of a file, each write and each change of its length that no sync has
//! covered is lost, there, or, if it is a write, there in part: some of its sectors of 512
//! bytes. Of a directory, the changes of names that no sync of it has covered are there up to
//! one of them, and lost from there on: file systems with a journal keep their order. That a
//! file was synced does not save its name. What SQLite maps into memory (`-shm`) is nonsense.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::recorder::{Record, Recording};

/// The unit that is written whole or not.
const SECTOR: usize = 512;

/// Numbers at random, the same for the same seed (SplitMix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    /// True in so many of a hundred cases.
    fn percent(&mut self, share: u64) -> bool {
        self.next() % 100 < share
    }
}

#[derive(Clone)]
enum Change {
    Bytes(usize, std::ops::Range<usize>),
    Length(usize),
}

#[derive(Clone)]
enum Naming {
    Named(PathBuf, usize),
    Linked(PathBuf, PathBuf),
    Renamed(PathBuf, PathBuf),
    Removed(PathBuf),
    Directory(PathBuf),
}

impl Naming {
    /// The directory that must be synced for it.
    fn directory(&self) -> &Path {
        let (Naming::Named(path, _)
        | Naming::Linked(_, path)
        | Naming::Renamed(_, path)
        | Naming::Removed(path)
        | Naming::Directory(path)) = self;
        path.parent().unwrap()
    }
}

#[derive(Clone, Default)]
struct File {
    synced: Vec<u8>,
    /// Since the last sync, with the record's place.
    changes: Vec<(usize, Change)>,
}

#[derive(Clone, Default)]
struct Names {
    files: BTreeMap<PathBuf, usize>,
    directories: BTreeSet<PathBuf>,
}

impl Names {
    fn apply(&mut self, naming: &Naming) {
        match naming {
            Naming::Named(path, file) => drop(self.files.insert(path.clone(), *file)),
            Naming::Linked(from, to) => {
                if let Some(file) = self.files.get(from) {
                    self.files.insert(to.clone(), *file);
                }
            }
            Naming::Renamed(from, to) => {
                if let Some(file) = self.files.remove(from) {
                    self.files.insert(to.clone(), file);
                }
            }
            Naming::Removed(path) => drop(self.files.remove(path)),
            Naming::Directory(path) => drop(self.directories.insert(path.clone())),
        }
    }
}

/// The disk at a moment of a recording.
pub(crate) struct Disk<'r> {
    recording: &'r Recording,
    /// Files, the end of whose name is this, are on a disk that only claims to have synced them.
    lies_about: Option<&'static str>,
    at: usize,
    files: Vec<File>,
    names: Names,
    naming: Vec<(usize, Naming)>,
    /// Syncs under way: their number, where they began, what they are of.
    syncing: Vec<(u64, usize, Of)>,
}

#[derive(Clone)]
enum Of {
    File(usize),
    Names(PathBuf),
}

impl<'r> Disk<'r> {
    pub(crate) fn new(recording: &'r Recording, lies_about: Option<&'static str>) -> Self {
        let mut files = vec![File::default(); recording.names.len()];
        let mut names = Names::default();
        names.directories.insert(PathBuf::new());
        for (number, (name, bytes)) in recording.before.iter().enumerate() {
            files[number].synced.clone_from(bytes);
            names.files.insert(name.clone(), number);
        }
        Disk {
            recording,
            lies_about,
            at: 0,
            files,
            names,
            naming: Vec::new(),
            syncing: Vec::new(),
        }
    }

    /// Goes on to the moment before this record.
    pub(crate) fn advance(&mut self, to: usize) {
        assert!(to >= self.at);
        for index in self.at..to {
            self.take(index);
        }
        self.at = to;
    }

    fn take(&mut self, index: usize) {
        let name = |naming| (index, naming);
        match &self.recording.records[index] {
            Record::Created(path, file) => {
                self.naming.push(name(Naming::Named(path.clone(), *file)));
            }
            Record::Linked(a, b) => {
                self.naming.push(name(Naming::Linked(a.clone(), b.clone())));
            }
            Record::Renamed(a, b) => {
                self.naming
                    .push(name(Naming::Renamed(a.clone(), b.clone())));
            }
            Record::Removed(path) => self.naming.push(name(Naming::Removed(path.clone()))),
            Record::MadeDirectory(path) => {
                self.naming.push(name(Naming::Directory(path.clone())));
            }
            Record::Written { file, at, bytes } => {
                let change = Change::Bytes(*at, bytes.clone());
                self.files[*file].changes.push((index, change));
            }
            Record::Resized(file, size) => {
                self.files[*file]
                    .changes
                    .push((index, Change::Length(*size)));
            }
            Record::Syncing(file, number) => {
                let name = self.recording.names[*file].to_string_lossy().into_owned();
                if self.lies_about.is_none_or(|lie| !name.ends_with(lie)) {
                    self.syncing.push((*number, index, Of::File(*file)));
                }
            }
            Record::SyncingNames(path, number) => {
                self.syncing.push((*number, index, Of::Names(path.clone())));
            }
            Record::Synced(number) => {
                if let Some(place) = self.syncing.iter().position(|(n, _, _)| n == number) {
                    let (_, begun, of) = self.syncing.swap_remove(place);
                    self.synced(begun, &of);
                }
            }
            Record::Mark(_) | Record::Other => {}
        }
    }

    /// A sync that began at this record has succeeded: what was done before it is kept.
    fn synced(&mut self, begun: usize, of: &Of) {
        match of {
            Of::File(file) => {
                let file = &mut self.files[*file];
                let later = file.changes.partition_point(|(index, _)| *index < begun);
                for (_, change) in file.changes.drain(..later) {
                    apply(&mut file.synced, &change, &self.recording.log);
                }
            }
            Of::Names(directory) => {
                for (index, naming) in std::mem::take(&mut self.naming) {
                    if index < begun && naming.directory() == directory {
                        self.names.apply(&naming);
                    } else {
                        self.naming.push((index, naming));
                    }
                }
            }
        }
    }

    /// Writes what a disk may hold if the power fails now into an empty directory.
    pub(crate) fn image(&self, to: &Path, random: &mut Random) {
        // Sometimes nearly all is there, sometimes nearly nothing.
        let share = [0, 10, 50, 90, 100][random.below(5)];
        let names_share = [0, 50, 100][random.below(3)];
        let mut names = self.names.clone();
        let mut ended: BTreeSet<&Path> = BTreeSet::new();
        for (_, naming) in &self.naming {
            let directory = naming.directory();
            if !ended.contains(directory) && random.percent(names_share) {
                names.apply(naming);
            } else {
                ended.insert(directory);
            }
        }
        for directory in &names.directories {
            fs::create_dir_all(to.join(directory)).unwrap();
        }
        let mut linked: BTreeMap<usize, PathBuf> = BTreeMap::new();
        for (path, number) in &names.files {
            if !names.directories.contains(path.parent().unwrap()) {
                continue;
            }
            let target = to.join(path);
            if let Some(first) = linked.get(number) {
                fs::hard_link(first, &target).unwrap();
                continue;
            }
            let bytes = if path.to_string_lossy().ends_with("-shm") {
                vec![0xa5; random.below(3) * 32768]
            } else {
                self.contents(*number, share, random)
            };
            fs::write(&target, bytes).unwrap();
            linked.insert(*number, target);
        }
    }

    fn contents(&self, number: usize, share: u64, random: &mut Random) -> Vec<u8> {
        let file = &self.files[number];
        let mut bytes = file.synced.clone();
        for (_, change) in &file.changes {
            match change {
                // Torn, now and then.
                Change::Bytes(at, range) if share < 100 && random.percent(30) => {
                    let mut from = range.start;
                    let mut at = *at;
                    while from < range.end {
                        let end = (at / SECTOR + 1) * SECTOR;
                        let length = (end - at).min(range.end - from);
                        if random.percent(50) {
                            let part = Change::Bytes(at, from..from + length);
                            apply(&mut bytes, &part, &self.recording.log);
                        }
                        from += length;
                        at += length;
                    }
                }
                change if random.percent(share) => {
                    apply(&mut bytes, change, &self.recording.log);
                }
                _ => {}
            }
        }
        bytes
    }
}

fn apply(bytes: &mut Vec<u8>, change: &Change, log: &[u8]) {
    match change {
        Change::Bytes(at, range) => {
            let end = at + range.len();
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[*at..end].copy_from_slice(&log[range.clone()]);
        }
        Change::Length(size) => bytes.resize(*size, 0),
    }
}
