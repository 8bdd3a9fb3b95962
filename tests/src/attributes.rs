//! The checksum attributes that XRootD, Pelican and StoRM look for, read and written as their documentation says, in
//! Python: nothing of ours takes part.
//!
//! XRootD (`XrdCksData`, attribute `user.XrdCks.<algorithm>`): name, 16 bytes, NUL-padded; the file's time of change in
//! seconds, 64 bits; how much later the checksum was computed, 32 bits; 16 bits and 8 bits unused; length, 8 bits; value,
//! 64 bytes. Numbers are big-endian. The record counts only while the file's time of change is the recorded one.
//! StoRM (`user.storm.checksum.adler32`): eight hexadecimal digits.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::python;

/// Reads the attributes of the files named in the arguments, as a list of objects.
const READER: &str = r#"
import json, os, struct, sys, zlib
RECORD = ">16sqihBB64s"
assert struct.calcsize(RECORD) == 96
def attribute(path, name):
    try:
        return os.getxattr(path, name)
    except OSError:
        return None
answer = []
for path in sys.argv[1:]:
    raw = attribute(path, "user.XrdCks.adler32")
    record = None
    if raw is not None and len(raw) == 96:
        name, mtime, late, _, _, length, value = struct.unpack(RECORD, raw)
        record = {"name": name.rstrip(b"\0").decode(), "padded": set(name[len(name.rstrip(b"\0")):]) <= {0},
                  "value": value[:length].hex(), "rest_is_zero": not any(value[length:]),
                  "fresh": mtime == int(os.stat(path).st_mtime), "late": late}
    storm = attribute(path, "user.storm.checksum.adler32")
    own = attribute(path, "user.penstock.replica")
    with open(path, "rb") as file:
        adler32 = 1
        while piece := file.read(1 << 20):
            adler32 = zlib.adler32(piece, adler32)
    answer.append({"path": path, "xrootd": record, "xrootd_length": raw and len(raw),
                   "storm": storm and storm.decode("ascii", "replace"), "own": own and own.decode(),
                   "size": os.stat(path).st_size, "adler32": "%08x" % adler32})
print(json.dumps(answer))
"#;

/// What a foreign system finds of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The file.
    pub path: PathBuf,
    /// Its adler32 as zlib computes it now.
    pub adler32: String,
    /// Its size.
    pub size: u64,
    /// XRootD's record, when there is a well-formed one.
    pub xrootd: Option<Record>,
    /// StoRM's value.
    pub storm: Option<String>,
    /// The line of Penstock's own attribute.
    pub own: Option<String>,
}

/// XRootD's record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The value in hexadecimal digits.
    pub value: String,
    /// The recorded time of change is the file's.
    pub fresh: bool,
    /// Name, padding and age are as they must be.
    pub well_formed: bool,
}

/// Reads the attributes of files.
#[must_use]
pub fn read(files: &[PathBuf]) -> Vec<Found> {
    let answer = python::json(READER, files);
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let found = |value: &Value| Found {
        path: value["path"].as_str().unwrap_or_default().into(),
        adler32: text(&value["adler32"]).unwrap_or_default(),
        size: value["size"].as_u64().unwrap_or_default(),
        xrootd: value["xrootd"].as_object().map(|record| Record {
            value: text(&record["value"]).unwrap_or_default(),
            fresh: record["fresh"] == true,
            well_formed: record["name"] == "adler32"
                && record["padded"] == true
                && record["rest_is_zero"] == true
                && record["late"].as_i64().is_some_and(|late| late >= 0),
        }),
        storm: text(&value["storm"]),
        own: text(&value["own"]),
    };
    answer.as_array().map(|list| list.iter().map(found).collect()).unwrap_or_default()
}

impl Found {
    /// What is wrong for who knows XRootD's and StoRM's attributes only; empty when both tell the bytes' adler32.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        match &self.xrootd {
            None => problems.push("no user.XrdCks.adler32".to_owned()),
            Some(record) if !record.well_formed => problems.push(format!("malformed: {record:?}")),
            Some(record) if !record.fresh => problems.push("user.XrdCks.adler32 is stale".to_owned()),
            Some(record) if record.value != self.adler32 => {
                problems.push(format!("XRootD would take {} for {}", record.value, self.adler32));
            }
            Some(_) => {}
        }
        if self.storm.as_deref() != Some(&self.adler32) {
            problems.push(format!("StoRM would take {:?} for {}", self.storm, self.adler32));
        }
        problems
    }
}

/// What a file of another system says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// XRootD's record, right and fresh.
    XrootdValid,
    /// Right for bytes that the file had before: its time of change is another.
    XrootdStale,
    /// Fresh, of other bytes.
    XrootdWrong,
    /// XRootD's record cut off.
    XrootdMalformed,
    /// StoRM's value, right.
    StormValid,
    /// StoRM's value of other bytes.
    StormWrong,
    /// Nothing.
    Nothing,
}

/// Gives a file the attributes that the claim says.
const WRITER: &str = r#"
import os, struct, sys, time, zlib
path, claim = sys.argv[1:]
adler32 = zlib.adler32(open(path, "rb").read())
if claim.endswith("Wrong"):
    adler32 ^= 0x00010001
mtime = int(os.stat(path).st_mtime)
if claim == "XrootdStale":
    # Of other bytes, and older: who believed it would be wrong.
    adler32 ^= 0x00100010
    mtime -= 1000
record = struct.pack(">16sqihBB64s", b"adler32", mtime, 1, 0, 0, 4, struct.pack(">I", adler32))
if claim == "XrootdMalformed":
    record = record[:50]
if claim.startswith("Xrootd"):
    os.setxattr(path, "user.XrdCks.adler32", record)
if claim.startswith("Storm"):
    os.setxattr(path, "user.storm.checksum.adler32", b"%08x" % adler32)
"#;

/// Makes a file claim something of itself.
pub fn claim(file: &Path, claim: Claim) {
    let _ = python::run(WRITER, [file.as_os_str(), format!("{claim:?}").as_ref()]);
}
