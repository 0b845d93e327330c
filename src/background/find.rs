//! Containers by what people call them: a name, an id, or the beginning of one.

use std::io::ErrorKind;

use super::{BackgroundError, Containers, Record};

impl Containers {
    /// All, the newest first. What is removed meanwhile is left out.
    pub fn list(&self) -> Result<Vec<Record>, BackgroundError> {
        let path = self.images.root().join("containers");
        let mut records = Vec::new();
        let entries = match std::fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(records),
            Err(error) => return Err(BackgroundError::file("read", &path, error)),
        };
        for entry in entries {
            let entry = entry.map_err(|error| BackgroundError::file("read", &path, error))?;
            records.extend(Record::read(&entry.path())?);
        }
        records.sort_by(|a, b| (&b.created, &b.id).cmp(&(&a.created, &a.id)));
        Ok(records)
    }

    /// The container that `word` means. A name comes before the beginning of an id, as with docker.
    pub fn find(&self, word: &str) -> Result<Record, BackgroundError> {
        // Without a look at all others.
        if is_id(word)
            && let Some(record) = Record::read(&self.directory(word))?
        {
            return Ok(record);
        }
        choose(self.list()?, word)
    }

    /// Has a container in the background exactly this id?
    pub fn has(&self, id: &str) -> bool {
        is_id(id) && self.directory(id).join(super::record::FILE).exists()
    }

    pub(super) fn check_name(&self, name: &str) -> Result<(), BackgroundError> {
        let holder = self.list()?.into_iter().find(|record| record.name == name || record.id == name);
        holder.map_or(Ok(()), |record| Err(BackgroundError::NameTaken { name: name.into(), id: record.id }))
    }
}

fn is_id(word: &str) -> bool {
    word.len() == 64 && word.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn choose(records: Vec<Record>, word: &str) -> Result<Record, BackgroundError> {
    if let Some(named) = records.iter().find(|record| record.name == word) {
        return Ok(named.clone());
    }
    let is_beginning = |record: &Record| !word.is_empty() && record.id.starts_with(word);
    let mut found: Vec<Record> = records.into_iter().filter(is_beginning).collect();
    match (found.pop(), found.is_empty()) {
        (Some(record), true) => Ok(record),
        (None, _) => Err(BackgroundError::NotFound { word: word.chars().take(200).collect() }),
        (Some(record), false) => {
            let ids: Vec<&str> =
                found.iter().chain([&record]).filter_map(|record| record.id.get(..12)).collect();
            Err(BackgroundError::Ambiguous { word: word.into(), ids: ids.join(", ") })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Digest;

    fn record(id: &str, name: &str) -> Record {
        Record {
            schema: Record::SCHEMA,
            id: format!("{id:0<64}"),
            name: name.into(),
            image: "app".into(),
            image_id: Digest::of(b""),
            command: Vec::new(),
            created: String::new(),
            started: None,
            remove: false,
            stop_signal: 15,
            stop_timeout: None,
            network: None,
        }
    }

    #[test]
    fn names_come_before_beginnings_of_ids() {
        let all = || vec![record("abc1", "web"), record("abd2", "abc"), record("ff", "db")];
        let name = |word: &str| choose(all(), word).map(|record| record.name);
        assert_eq!(name("web").unwrap(), "web");
        assert_eq!(name("abc").unwrap(), "abc");
        assert_eq!(name("abc1").unwrap(), "web");
        assert_eq!(name("f").unwrap(), "db");
        assert!(name("nope").unwrap_err().is_not_found());
        assert!(name("").unwrap_err().is_not_found());
        let error = name("ab").unwrap_err().to_string();
        assert!(error.contains("abc100000000") && error.contains("abd200000000"), "{error}");
    }
}
