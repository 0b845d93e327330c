//! Bytes into the lines of CRI's log format: `TIME STREAM F text` for a whole line, `P` for a part of a longer one.

use memchr::memchr;

/// One stream's bytes whose line has not ended yet.
#[derive(Debug, Default)]
pub struct Partial {
    bytes: Vec<u8>,
}

/// What takes finished records: text in two pieces, and whether it is a whole line.
pub trait Sink {
    /// One record.
    fn record(&mut self, whole: bool, begin: &[u8], end: &[u8]);
}

impl Partial {
    /// Adds `chunk`; what is whole by it goes to `sink`. Lines longer than `longest` are cut.
    pub fn add(&mut self, mut chunk: &[u8], longest: usize, sink: &mut impl Sink) {
        let longest = longest.max(1);
        while !chunk.is_empty() {
            let (line, whole) = match memchr(b'\n', chunk) {
                Some(at) => (&chunk[..at], true),
                None => (chunk, false),
            };
            chunk = chunk.get(line.len() + 1..).unwrap_or_default();
            let rest = self.cut(line, longest, sink);
            if whole {
                sink.record(true, &self.bytes, rest);
                self.bytes.clear();
            } else {
                self.bytes.extend_from_slice(rest);
            }
        }
    }

    /// Parts of `longest` bytes as long as there are more; what is left of `line` then.
    fn cut<'l>(&mut self, mut line: &'l [u8], longest: usize, sink: &mut impl Sink) -> &'l [u8] {
        while self.bytes.len() + line.len() > longest {
            let (part, rest) = line.split_at(longest.saturating_sub(self.bytes.len()).min(line.len()));
            sink.record(false, &self.bytes, part);
            self.bytes.clear();
            line = rest;
        }
        line
    }

    /// The stream has ended: what is left is a line, too.
    pub fn end(&mut self, sink: &mut impl Sink) {
        if !self.bytes.is_empty() {
            sink.record(true, &std::mem::take(&mut self.bytes), &[]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Lines(Vec<String>);

    impl Sink for Lines {
        fn record(&mut self, whole: bool, begin: &[u8], end: &[u8]) {
            let text = String::from_utf8([begin, end].concat()).unwrap();
            self.0.push(format!("{}{text}", if whole { "F" } else { "P" }));
        }
    }

    fn lines(chunks: &[&str], longest: usize) -> Vec<String> {
        let (mut partial, mut lines) = (Partial::default(), Lines::default());
        for chunk in chunks {
            partial.add(chunk.as_bytes(), longest, &mut lines);
        }
        partial.end(&mut lines);
        lines.0
    }

    #[test]
    fn lines_are_put_together_from_chunks() {
        assert_eq!(lines(&["a\nb", "c\n", "\n", "d"], 9), ["Fa", "Fbc", "F", "Fd"]);
        assert_eq!(lines(&[], 9), [""; 0]);
    }

    #[test]
    fn long_lines_are_cut_and_an_exact_one_is_whole() {
        assert_eq!(lines(&["abcdefgh\n"], 3), ["Pabc", "Pdef", "Fgh"]);
        assert_eq!(lines(&["ab", "cdefgh\n"], 3), ["Pabc", "Pdef", "Fgh"]);
        assert_eq!(lines(&["abc\n", "abc", "\n"], 3), ["Fabc", "Fabc"]);
        assert_eq!(lines(&["abcd"], 3), ["Pabc", "Fd"]);
        assert_eq!(lines(&["ab\n"], 0), ["Pa", "Fb"]);
    }

    #[test]
    fn whatever_the_chunks_the_text_is_the_same() {
        let text: String = (0..200).map(|i| if i % 23 == 0 { '\n' } else { 'x' }).collect();
        let whole = lines(&[&text], 7);
        for size in 1..30 {
            let chunks: Vec<_> = text.as_bytes().chunks(size).map(|c| str::from_utf8(c).unwrap()).collect();
            assert_eq!(lines(&chunks, 7), whole, "chunks of {size}");
        }
    }
}
