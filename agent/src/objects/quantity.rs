//! Amounts as in resources: `100m`, `64Mi`, `1e3`.

use std::fmt;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

const BINARY: [(&str, u32); 6] = [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("Pi", 50), ("Ei", 60)];
const DECIMAL: [(&str, i32); 10] =
    [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];
/// More digits than any amount has; keeps the arithmetic within i128.
const MOST_DIGITS: usize = 24;

/// How an amount was written, which sums of it keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Format {
    Decimal,
    Binary,
}

/// In thousandths, rounded up as Kubernetes does. None: it is not a quantity, or does not fit.
pub fn milli(quantity: &Quantity) -> Option<i128> {
    parse(&quantity.0).map(|(milli, _)| milli)
}

/// In whole units (bytes, CPUs), rounded up.
pub fn whole(quantity: &Quantity) -> Option<i64> {
    let milli = milli(quantity)?;
    i64::try_from(milli.div_euclid(1000) + i128::from(milli.rem_euclid(1000) != 0)).ok()
}

/// Thousandths, rounded up, and how they were written.
pub fn parse(text: &str) -> Option<(i128, Format)> {
    let (negative, unsigned) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let fraction = fraction.trim_end_matches('0');
    if fraction.contains('.') || number.trim_matches('.').is_empty() {
        return None;
    }
    let digits = format!("{}{fraction}", whole.trim_start_matches('0'));
    if digits.len() > MOST_DIGITS {
        return None;
    }
    let digits: i128 = if digits.is_empty() { 0 } else { digits.parse().ok()? };
    let fraction = u32::try_from(fraction.len()).ok()?;
    let (numerator, power, format) = match BINARY.iter().find(|(name, _)| *name == suffix) {
        Some((_, bits)) => (digits.checked_mul(1_i128.checked_shl(*bits)?)?, 0, Format::Binary),
        None => (digits, decimal_power(suffix)?, Format::Decimal),
    };
    // Thousandths: 3 powers of ten more than units, and one less for each digit of the fraction.
    let power = power + 3 - i32::try_from(fraction).ok()?;
    let milli = scale(numerator, power, negative)?;
    Some((if negative { -milli } else { milli }, format))
}

fn decimal_power(suffix: &str) -> Option<i32> {
    if let Some((_, power)) = DECIMAL.iter().find(|(name, _)| *name == suffix) {
        return Some(*power);
    }
    let exponent = suffix.strip_prefix(['e', 'E'])?;
    let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    exponent.parse().ok().filter(|power: &i32| power.abs() < 100)
}

/// Times a power of ten; away from zero, but that what is negative is rounded up, too.
fn scale(number: i128, power: i32, negative: bool) -> Option<i128> {
    let factor = 10_i128.checked_pow(power.unsigned_abs());
    if power >= 0 {
        return if number == 0 { Some(0) } else { number.checked_mul(factor?) };
    }
    let Some(factor) = factor else { return Some(i128::from(number != 0 && !negative)) };
    let up = i128::from(number % factor != 0 && !negative);
    Some(number / factor + up)
}

/// An amount of thousandths, as Kubernetes writes it.
pub fn of_milli(milli: i128, format: Format) -> Quantity {
    if milli % 1000 != 0 {
        return Quantity(format!("{milli}m"));
    }
    let whole = milli / 1000;
    let binary = |(name, bits): &(&str, u32)| {
        let unit = 1_i128 << bits;
        (whole != 0 && whole % unit == 0).then(|| format!("{}{name}", whole / unit))
    };
    let decimal = |(name, power): &(&str, i32)| {
        let unit = 10_i128.pow(power.unsigned_abs());
        (*power > 0 && whole != 0 && whole % unit == 0).then(|| format!("{}{name}", whole / unit))
    };
    let text = match format {
        Format::Binary => BINARY.iter().rev().find_map(binary),
        Format::Decimal => DECIMAL.iter().rev().find_map(decimal),
    };
    Quantity(text.unwrap_or_else(|| whole.to_string()))
}

/// A sum of amounts that is written as the first of them that was given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    milli: i128,
    format: Option<Format>,
}

impl Sum {
    /// Adds an amount; what is none adds nothing.
    pub fn add(&mut self, quantity: &Quantity) {
        if let Some((milli, format)) = parse(&quantity.0) {
            self.milli = self.milli.saturating_add(milli);
            self.format = self.format.or(Some(format));
        }
    }

    /// Adds a number of things.
    pub fn count(&mut self, number: usize) {
        self.milli = self.milli.saturating_add(number as i128 * 1000);
    }

    /// In thousandths.
    pub fn milli(self) -> i128 {
        self.milli
    }

    /// As a quantity.
    pub fn quantity(self) -> Quantity {
        of_milli(self.milli, self.format.unwrap_or(Format::Decimal))
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.quantity().0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(text: &str) -> Option<i128> {
        milli(&Quantity(text.into()))
    }

    #[test]
    fn amounts_are_thousandths_rounded_up() {
        for (text, expected) in [
            ("1", 1000),
            ("100m", 100),
            ("0.5", 500),
            (".5", 500),
            ("5.", 5000),
            ("1e3", 1_000_000),
            ("1E3", 1_000_000),
            ("1E", 1_000_000_000_000_000_000_000),
            ("64Mi", 67_108_864_000),
            ("1.5Gi", 1_610_612_736_000),
            ("0.1Ki", 102_400),
            ("1n", 1),
            ("-1n", 0),
            ("-1500u", -1),
            ("1500u", 2),
            ("-1", -1000),
            ("+2k", 2_000_000),
            ("0", 0),
            ("1e-9", 1),
            ("0e99", 0),
        ] {
            assert_eq!(of(text), Some(expected), "{text}");
        }
        assert_eq!(whole(&Quantity("100m".into())), Some(1));
        assert_eq!(whole(&Quantity("8Ei".into())), None);
    }

    #[test]
    fn what_is_no_amount_is_none() {
        for text in [
            "", " ", "1 ", "Mi", "1mi", "1KB", "1..2", "1.2.3", "e3", "1e", "1e+", "--1", "0x10", "1e1000",
            ".",
        ] {
            assert_eq!(of(text), None, "{text}");
        }
        assert_eq!(of(&"9".repeat(200)), None);
    }

    #[test]
    fn sums_are_written_as_their_first() {
        let sum = |amounts: &[&str]| {
            let mut sum = Sum::default();
            amounts.iter().for_each(|amount| sum.add(&Quantity((*amount).into())));
            sum.to_string()
        };
        assert_eq!(sum(&["64Mi", "64Mi"]), "128Mi");
        assert_eq!(sum(&["1Gi", "1Mi"]), "1025Mi");
        assert_eq!(sum(&["500m", "1"]), "1500m");
        assert_eq!(sum(&["500m", "500m"]), "1");
        assert_eq!(sum(&["1000"]), "1k");
        assert_eq!(sum(&[]), "0");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,40}") {
            let _ = of(&text);
        }

        #[test]
        fn what_is_written_is_read(milli in -1_000_000_000_000_i128..1_000_000_000_000, binary: bool) {
            let format = if binary { Format::Binary } else { Format::Decimal };
            prop_assert_eq!(parse(&of_milli(milli, format).0).map(|(milli, _)| milli), Some(milli));
        }
    }
}
