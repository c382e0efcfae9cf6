//! Vectors in files: lines `field = value`, where a value is hexadecimal or, for errors, text; `#` begins a comment.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// One file, from which a check takes every field.
pub(crate) struct Vector {
    name: String,
    fields: BTreeMap<String, String>,
}

/// What is done with the files whose names begin so.
pub(crate) type Check = (&'static str, fn(&mut Vector));

/// Checks every file of a directory. A file whose name begins with none of the prefixes is a failure, and so are a
/// field that no check takes and a prefix that no file has: else a misspelt name would be a vector that tests nothing.
pub(crate) fn check_all(directory: &str, checks: &[Check]) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(directory);
    let mut unmet: BTreeSet<_> = checks.iter().map(|(prefix, _)| prefix).collect();
    for entry in fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        let mut vector = Vector::read(&path);
        let (prefix, check) = checks
            .iter()
            .find(|(prefix, _)| vector.name.starts_with(prefix))
            .unwrap_or_else(|| panic!("{}: no check for a vector of this name", path.display()));
        check(&mut vector);
        assert!(vector.fields.is_empty(), "{}: fields that are not checked: {:?}", vector.name, vector.fields.keys());
        unmet.remove(prefix);
    }
    assert!(unmet.is_empty(), "{}: no vectors named {unmet:?}", directory.display());
}

impl Vector {
    fn read(path: &Path) -> Self {
        let name = path.file_name().unwrap().to_str().unwrap().strip_suffix(".txt").expect("a name in .txt").to_owned();
        let text = fs::read_to_string(path).unwrap();
        let mut fields = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (field, value) = line.split_once(" =").unwrap_or_else(|| panic!("{name}: not a field: {line}"));
            let again = fields.insert(field.to_owned(), value.trim_start().to_owned());
            assert!(again.is_none(), "{name}: {field} stands there twice");
        }
        Self { name, fields }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn text(&mut self, field: &str) -> String {
        self.fields.remove(field).unwrap_or_else(|| panic!("{}: no field {field}", self.name))
    }

    pub(crate) fn bytes(&mut self, field: &str) -> Vec<u8> {
        let text = self.text(field);
        hex::decode(&text).unwrap_or_else(|error| panic!("{}: {field} is not hexadecimal: {error}", self.name))
    }

    pub(crate) fn array<const N: usize>(&mut self, field: &str) -> [u8; N] {
        let bytes = self.bytes(field);
        bytes.try_into().unwrap_or_else(|bytes: Vec<u8>| panic!("{}: {field} has {} bytes", self.name, bytes.len()))
    }

    pub(crate) fn byte(&mut self, field: &str) -> u8 {
        let [byte] = self.array(field);
        byte
    }

    pub(crate) fn number(&mut self, field: &str) -> u32 {
        u32::from_be_bytes(self.array(field))
    }
}
