//! GVariant's text format, of which annotations are made: booleans, numbers, strings, arrays, tuples,
//! with types in words (`uint64 5`) or signatures (`@as []`). No dictionaries, no variants: no property
//! of a scope that could be set has them.

use std::str::Chars;

use super::Value;

/// How deep arrays and tuples may be.
const DEPTH: u32 = 8;

/// The value that `text` is; the error says what is wrong with it.
pub(super) fn parse(text: &str) -> Result<Value, &'static str> {
    let mut parser = Parser { rest: text.chars() };
    let value = parser.value(None, DEPTH)?;
    parser.skip_space();
    match parser.rest.as_str() {
        "" => Ok(value),
        _ => Err("something follows the value"),
    }
}

struct Parser<'a> {
    rest: Chars<'a>,
}

impl<'a> Parser<'a> {
    fn value(&mut self, expected: Option<&str>, depth: u32) -> Result<Value, &'static str> {
        let depth = depth.checked_sub(1).ok_or("it is nested too deeply")?;
        self.skip_space();
        let value = match self.peek() {
            Some('\'' | '"') => Value::Text(self.string()?),
            Some('[') => return self.array(expected, depth),
            Some('(') => self.tuple(expected, depth)?,
            Some('@') => {
                self.rest.next();
                let signature = self.signature().ok_or("no such type after @")?;
                self.value(Some(signature), depth)?
            }
            _ => match self.word() {
                "" => return Err("a value is missing"),
                "true" => Value::Bool(true),
                "false" => Value::Bool(false),
                word => match type_of(word) {
                    Some(signature) => self.value(Some(signature), depth)?,
                    None => return number(word, expected.unwrap_or(default_number(word))),
                },
            },
        };
        match expected {
            Some(signature) if signature != value.signature() => Err("a value has another type than it says"),
            _ => Ok(value),
        }
    }

    /// Elements have one type: what is said of the array, or that of the first.
    fn array(&mut self, expected: Option<&str>, depth: u32) -> Result<Value, &'static str> {
        let mut of = match expected {
            Some(signature) => {
                Some(signature.strip_prefix('a').ok_or("a value has another type than it says")?.to_owned())
            }
            None => None,
        };
        let mut values = Vec::new();
        self.rest.next();
        while !self.take(']') {
            if !values.is_empty() && !self.take(',') {
                return Err("a comma or ] is missing in an array");
            }
            let value = self.value(of.as_deref(), depth)?;
            of.get_or_insert_with(|| value.signature());
            values.push(value);
        }
        let of = of.ok_or("an empty array needs its type, such as @as []")?;
        Ok(Value::Array { of, values })
    }

    fn tuple(&mut self, expected: Option<&str>, depth: u32) -> Result<Value, &'static str> {
        let mut types = match expected {
            Some(signature) => {
                Some(signature.strip_prefix('(').ok_or("a value has another type than it says")?)
            }
            None => None,
        };
        let mut values = Vec::new();
        self.rest.next();
        while !self.take(')') {
            if !values.is_empty() && !self.take(',') {
                return Err("a comma or ) is missing in a tuple");
            }
            let field = match types {
                Some(all) => {
                    let length = type_length(all).ok_or("a tuple has more values than its type")?;
                    types = Some(&all[length..]);
                    Some(&all[..length])
                }
                None => None,
            };
            values.push(self.value(field, depth)?);
        }
        if values.is_empty() { Err("a tuple is empty") } else { Ok(Value::Struct(values)) }
    }

    fn string(&mut self) -> Result<String, &'static str> {
        let quote = self.rest.next();
        let mut text = String::new();
        loop {
            match self.rest.next() {
                None => return Err("a quotation mark is missing"),
                Some('\0') => return Err("a text has a null byte"),
                character if character == quote => return Ok(text),
                Some('\\') => text.push(self.escape()?),
                Some(character) => text.push(character),
            }
        }
    }

    fn escape(&mut self) -> Result<char, &'static str> {
        Ok(match self.rest.next().ok_or("a text ends in a backslash")? {
            'a' => '\u{7}',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\u{b}',
            'u' => self.code(4).ok_or("\\u needs four hexadecimal digits")?,
            'U' => self.code(8).ok_or("\\U needs eight hexadecimal digits")?,
            other => other,
        })
    }

    /// A character by its number in hexadecimal digits.
    fn code(&mut self, digits: usize) -> Option<char> {
        let text: String = self.rest.by_ref().take(digits).collect();
        let plain = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let code = u32::from_str_radix(&text, 16).ok().filter(|_| plain)?;
        char::from_u32(code).filter(|character| *character != '\0')
    }

    /// What reaches to the next space or mark.
    fn word(&mut self) -> &'a str {
        let text = self.rest.as_str();
        let end = text.find(|c: char| c.is_whitespace() || ",[]()'\"".contains(c)).unwrap_or(text.len());
        self.rest = text[end..].chars();
        &text[..end]
    }

    /// One complete type.
    fn signature(&mut self) -> Option<&'a str> {
        const LONGEST: usize = 64;
        let text = self.rest.as_str();
        let letters = text.bytes().take(LONGEST).take_while(|byte| b"bynqiuxtdsa()".contains(byte)).count();
        let length = type_length(&text[..letters])?;
        self.rest = text[length..].chars();
        Some(&text[..length])
    }

    fn peek(&self) -> Option<char> {
        self.rest.clone().next()
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.as_str().trim_start().chars();
    }

    fn take(&mut self, mark: char) -> bool {
        self.skip_space();
        let there = self.peek() == Some(mark);
        if there {
            self.rest.next();
        }
        there
    }
}

fn type_of(word: &str) -> Option<&'static str> {
    Some(match word {
        "boolean" => "b",
        "byte" => "y",
        "int16" => "n",
        "uint16" => "q",
        "int32" => "i",
        "uint32" => "u",
        "int64" => "x",
        "uint64" => "t",
        "double" => "d",
        "string" => "s",
        _ => return None,
    })
}

/// The length of the first complete type of a signature.
fn type_length(signature: &str) -> Option<usize> {
    match signature.as_bytes().first()? {
        b'b' | b'y' | b'n' | b'q' | b'i' | b'u' | b'x' | b't' | b'd' | b's' => Some(1),
        b'a' => Some(1 + type_length(&signature[1..])?),
        b'(' => {
            let mut length = 1;
            while signature.as_bytes().get(length) != Some(&b')') {
                length += type_length(&signature[length..])?;
            }
            (length > 1).then_some(length + 1)
        }
        _ => None,
    }
}

fn default_number(word: &str) -> &'static str {
    let hexadecimal = word.trim_start_matches(['+', '-']).starts_with("0x");
    if !hexadecimal && word.contains(['.', 'e', 'E']) { "d" } else { "i" }
}

fn number(word: &str, signature: &str) -> Result<Value, &'static str> {
    const BAD: &str = "it is no number of its type: give true, false, 'text', [arrays], or a number, \
                       with its type before it where that is not int32 (uint64 5)";
    if signature == "d" {
        let number =
            word.parse::<f64>().ok().filter(|_| word.starts_with(|c: char| "+-.0123456789".contains(c)));
        return Ok(Value::Double(number.ok_or(BAD)?.to_bits()));
    }
    let integer = integer(word).ok_or(BAD)?;
    Ok(match signature {
        "y" => Value::Byte(integer.try_into().map_err(|_| BAD)?),
        "n" => Value::Int16(integer.try_into().map_err(|_| BAD)?),
        "q" => Value::Uint16(integer.try_into().map_err(|_| BAD)?),
        "i" => Value::Int32(integer.try_into().map_err(|_| BAD)?),
        "u" => Value::Uint32(integer.try_into().map_err(|_| BAD)?),
        "x" => Value::Int64(integer.try_into().map_err(|_| BAD)?),
        "t" => Value::Uint64(integer.try_into().map_err(|_| BAD)?),
        _ => return Err("a value has another type than it says"),
    })
}

/// Decimal, 0x… or octal with a leading 0, as in C.
fn integer(word: &str) -> Option<i128> {
    let (negative, digits) = match word.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, word.strip_prefix('+').unwrap_or(word)),
    };
    let (radix, digits) = match digits.strip_prefix("0x") {
        Some(digits) => (16, digits),
        None if digits.len() > 1 && digits.starts_with('0') => (8, &digits[1..]),
        None => (10, digits),
    };
    // from_str_radix would take a second sign.
    let plain = digits.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let number = i128::from_str_radix(digits, radix).ok().filter(|_| plain)?;
    Some(if negative { -number } else { number })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Value {
        let values = texts.iter().map(|text| Value::Text((*text).into())).collect();
        Value::Array { of: "s".into(), values }
    }

    #[test]
    fn values_have_the_types_that_they_say() {
        for (text, value) in [
            ("true", Value::Bool(true)),
            (" -5 ", Value::Int32(-5)),
            ("0x1F", Value::Int32(31)),
            ("010", Value::Int32(8)),
            ("byte 255", Value::Byte(255)),
            ("int16 -1", Value::Int16(-1)),
            ("uint16 7", Value::Uint16(7)),
            ("uint32 7", Value::Uint32(7)),
            ("int64 -7", Value::Int64(-7)),
            ("uint64 18446744073709551615", Value::Uint64(u64::MAX)),
            ("@t 5", Value::Uint64(5)),
            ("1.5", Value::Double(1.5_f64.to_bits())),
            ("double 2", Value::Double(2.0_f64.to_bits())),
            (r#""a'\"\n\u00e4""#, Value::Text("a'\"\nä".into())),
            ("['a.service', 'b']", texts(&["a.service", "b"])),
            ("@as []", texts(&[])),
            (
                "[uint64 1, 2]",
                Value::Array { of: "t".into(), values: vec![Value::Uint64(1), Value::Uint64(2)] },
            ),
            ("@ay [1, 0xff]", Value::bytes(&[1, 255])),
            ("[('/dev/sda', uint64 9)]", Value::pair("/dev/sda".into(), 9)),
            ("@a(st) [('/dev/sda', 9)]", Value::pair("/dev/sda".into(), 9)),
        ] {
            assert_eq!(parse(text), Ok(value), "{text}");
        }
    }

    #[test]
    fn what_is_no_value_is_refused() {
        let deep = "[".repeat(100_000);
        let long = format!("@{}s []", "a".repeat(100_000));
        let closed = format!("x{}", ")".repeat(100_000));
        for text in [
            "",
            " ",
            "x",
            "'a",
            "'a'b",
            "[1",
            "[1 2]",
            "[1, 'a']",
            "[]",
            "@as 5",
            "@ [1]",
            "@zz 5",
            "uint32 -1",
            "byte 256",
            "1 2",
            "()",
            "(1",
            "@(ss) ('a')",
            "--5",
            "0x",
            "nan",
            "uint64",
            "'\\u12'",
            "'\\u0000'",
            "9999999999",
            "@a(st) [('x', 1, 2)]",
            &deep,
            &long,
            &closed,
        ] {
            assert!(parse(text).is_err(), "{text:.20}: {:?}", parse(text));
        }
    }
}
