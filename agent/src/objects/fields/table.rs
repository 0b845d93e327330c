//! The table of supported fields, read once.

use std::collections::HashMap;
use std::sync::OnceLock;

/// A field that Kubernetes has and a manifest may have, or not.
#[derive(Debug)]
pub(super) struct Field {
    /// As in a manifest.
    pub name: &'static str,
    /// The fields that its value may have. None: all.
    pub of: Option<&'static [Field]>,
    /// Why it is not taken: "" or ": reason". None: it is.
    pub refused: Option<&'static str>,
}

/// All types by their names in supported.txt.
#[derive(Debug)]
pub(super) struct Table {
    types: HashMap<&'static str, &'static [Field]>,
}

impl Table {
    /// The table of this program.
    pub(super) fn get() -> &'static Self {
        static TABLE: OnceLock<Table> = OnceLock::new();
        TABLE.get_or_init(|| Self::read(include_str!("supported.txt")))
    }

    /// The fields of a type. A kind without a paragraph of its own has none.
    pub(super) fn fields(&self, of: &str) -> Option<&'static [Field]> {
        Some(self.types.get(of).copied().unwrap_or_default())
    }

    fn read(text: &'static str) -> Self {
        let mut paragraphs: Vec<(&'static str, Vec<&'static str>)> = Vec::new();
        for line in text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
            match (line.strip_prefix("  "), paragraphs.last_mut()) {
                (Some(fields), Some((_, lines))) => lines.push(fields),
                _ => paragraphs.push((line.trim(), Vec::new())),
            }
        }
        // No type is below itself: a type is complete as soon as those of its fields are.
        let mut table = Self { types: HashMap::new() };
        loop {
            let before = table.types.len();
            for (name, lines) in &paragraphs {
                if !table.types.contains_key(name)
                    && let Some(fields) = table.paragraph(lines)
                {
                    // Once in the program's life.
                    table.types.insert(name, Vec::leak(fields));
                }
            }
            if table.types.len() == before {
                debug_assert_eq!(before, paragraphs.len(), "types that are not there or below themselves");
                return table;
            }
        }
    }

    /// None: a type is not known yet.
    fn paragraph(&self, lines: &[&'static str]) -> Option<Vec<Field>> {
        let mut fields = Vec::new();
        for line in lines {
            match line.split_once('!') {
                Some((name, why)) if !why.is_empty() && !why.contains('!') => {
                    let why: &'static str = String::leak(format!(": {why}"));
                    fields.push(Field { name, of: None, refused: Some(why) });
                }
                _ => {
                    for word in line.split_whitespace() {
                        fields.push(match (word.split_once(':'), word.strip_suffix('!')) {
                            (Some((name, of)), _) => {
                                Field { name, of: Some(self.types.get(of)?), refused: None }
                            }
                            (None, Some(name)) => Field { name, of: None, refused: Some("") },
                            (None, None) => Field { name: word, of: None, refused: None },
                        });
                    }
                }
            }
        }
        Some(fields)
    }
}
