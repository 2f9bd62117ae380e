//! One line of tmpfiles.d as values. Pure.

use super::acl::AclRequest;
use super::attributes::AttributeChange;
use crate::fault::Place;

/// What a line does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `f`: a file, written when it is made; `f+` empties it first.
    File,
    /// `F`: the old name of `f+`.
    Truncate,
    /// `w`: writes to files that exist.
    Write,
    /// `d`: a folder.
    Folder,
    /// `D`: a folder whose content `--remove` removes.
    EmptiedFolder,
    /// `e`: folders that exist get mode, owner and age.
    Existing,
    /// `v`, `q`, `Q`: a subvolume; a folder where there are none.
    Subvolume(char),
    /// `p`: a named pipe.
    Pipe,
    /// `L`: a symbolic link.
    Link,
    /// `c`: a character device.
    Character,
    /// `b`: a block device.
    Block,
    /// `C`: a copy of a file or tree.
    Copy,
    /// `x`: cleaning passes this by, with all that is in it.
    Ignore,
    /// `X`: the same without what is in it.
    IgnoreOnly,
    /// `r`: removed, if it is a file or an empty folder.
    Remove,
    /// `R`: removed with all that is in it.
    RemoveTree,
    /// `z`, `m`: mode and owner.
    Adjust,
    /// `Z`: the same for all that is in it.
    AdjustTree,
    /// `t`: extended attributes.
    Xattrs,
    /// `T`: the same for all that is in it.
    XattrsTree,
    /// `h`: file attributes.
    Attributes,
    /// `H`: the same for all that is in it.
    AttributesTree,
    /// `a`: access control lists.
    Acl,
    /// `A`: the same for all that is in it.
    AclTree,
}

impl Kind {
    /// The kind that a letter stands for.
    pub fn of(letter: char) -> Option<Self> {
        Some(match letter {
            'f' => Self::File,
            'F' => Self::Truncate,
            'w' => Self::Write,
            'd' => Self::Folder,
            'D' => Self::EmptiedFolder,
            'e' => Self::Existing,
            'v' | 'q' | 'Q' => Self::Subvolume(letter),
            'p' => Self::Pipe,
            'L' => Self::Link,
            'c' => Self::Character,
            'b' => Self::Block,
            'C' => Self::Copy,
            'x' => Self::Ignore,
            'X' => Self::IgnoreOnly,
            'r' => Self::Remove,
            'R' => Self::RemoveTree,
            'z' | 'm' => Self::Adjust,
            'Z' => Self::AdjustTree,
            't' => Self::Xattrs,
            'T' => Self::XattrsTree,
            'h' => Self::Attributes,
            'H' => Self::AttributesTree,
            'a' => Self::Acl,
            'A' => Self::AclTree,
            _ => return None,
        })
    }

    /// Its letter.
    pub fn letter(self) -> char {
        match self {
            Self::File => 'f',
            Self::Truncate => 'F',
            Self::Write => 'w',
            Self::Folder => 'd',
            Self::EmptiedFolder => 'D',
            Self::Existing => 'e',
            Self::Subvolume(letter) => letter,
            Self::Pipe => 'p',
            Self::Link => 'L',
            Self::Character => 'c',
            Self::Block => 'b',
            Self::Copy => 'C',
            Self::Ignore => 'x',
            Self::IgnoreOnly => 'X',
            Self::Remove => 'r',
            Self::RemoveTree => 'R',
            Self::Adjust => 'z',
            Self::AdjustTree => 'Z',
            Self::Xattrs => 't',
            Self::XattrsTree => 'T',
            Self::Attributes => 'h',
            Self::AttributesTree => 'H',
            Self::Acl => 'a',
            Self::AclTree => 'A',
        }
    }

    /// Whether the path is a pattern for what exists.
    pub fn takes_pattern(self) -> bool {
        !self.is_made()
    }

    /// Whether the line makes its path.
    pub fn is_made(self) -> bool {
        matches!(
            self,
            Self::File
                | Self::Truncate
                | Self::Folder
                | Self::EmptiedFolder
                | Self::Subvolume(_)
                | Self::Pipe
                | Self::Link
                | Self::Character
                | Self::Block
                | Self::Copy
        )
    }

    /// Whether it is a folder that the line makes.
    pub fn is_folder(self) -> bool {
        matches!(self, Self::Folder | Self::EmptiedFolder | Self::Subvolume(_))
    }

    /// Whether `--purge` removes what the line made.
    pub fn is_purged(self) -> bool {
        self.is_made() || matches!(self, Self::Write | Self::Existing)
    }

    /// Whether the path is the line's own, so that a second line for it must say the same.
    pub fn owns_path(self) -> bool {
        self.is_purged() || matches!(self, Self::Ignore | Self::IgnoreOnly | Self::Remove | Self::RemoveTree)
    }
}

/// A user or group of what is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// The number.
    pub id: u32,
    /// Only what is made anew gets it (`:`).
    pub only_new: bool,
}

/// Permission bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mode {
    /// The bits.
    pub bits: u32,
    /// Whether the line names them; otherwise they count only for what is made anew.
    pub is_set: bool,
    /// Bits of a class that the file has for nobody are left out (`~`).
    pub is_masked: bool,
    /// Only what is made anew gets them (`:`).
    pub only_new: bool,
}

/// Which times of a file are compared with its age.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// The last access.
    pub access: bool,
    /// The birth.
    pub birth: bool,
    /// The last change of the inode.
    pub change: bool,
    /// The last change of the content.
    pub modification: bool,
}

impl Times {
    /// All four.
    pub const ALL: Self = Self { access: true, birth: true, change: true, modification: true };
    /// Removing files changes the inode of their folder, so its change does not count.
    pub const OF_FOLDERS: Self = Self { change: false, ..Self::ALL };
    /// None.
    pub const NONE: Self = Self { access: false, birth: false, change: false, modification: false };
}

/// How old something must be to be cleaned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Age {
    /// The age.
    pub microseconds: u64,
    /// What lies directly in the folder stays (`~`).
    pub keeps_first_level: bool,
    /// Times of files.
    pub of_files: Times,
    /// Times of folders.
    pub of_folders: Times,
}

/// What a line carries besides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    /// Nothing.
    None,
    /// Bytes to write.
    Bytes(Vec<u8>),
    /// The target of a link or the source of a copy.
    Path(String),
    /// Major and minor number of a device.
    Device(u32, u32),
    /// Names and values of extended attributes.
    Xattrs(Vec<(String, String)>),
    /// Changes of file attributes.
    Attributes(AttributeChange),
    /// Access control lists.
    Acl(AclRequest),
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Where it stands.
    pub place: Place,
    /// What it does.
    pub kind: Kind,
    /// The path, plain and absolute.
    pub path: String,
    /// `+`: append, replace, or add to what is there.
    pub is_forced: bool,
    /// `-`: a failure to make it is no failure of the command.
    pub may_fail: bool,
    /// `=`: what is there and of another kind is removed.
    pub replaces: bool,
    /// `$`: `--purge` removes it.
    pub is_purged: bool,
    /// Permission bits.
    pub mode: Mode,
    /// User.
    pub user: Option<Owner>,
    /// Group.
    pub group: Option<Owner>,
    /// When it is cleaned.
    pub age: Option<Age>,
    /// The argument.
    pub data: Data,
}

impl Item {
    /// Whether another line for the same path asks for the same.
    pub(crate) fn agrees(&self, other: &Self) -> bool {
        if !self.kind.owns_path() || !other.kind.owns_path() {
            return true;
        }
        self.data == other.data
            && self.user == other.user
            && self.group == other.group
            && self.mode == other.mode
            && self.age == other.age
    }
}
