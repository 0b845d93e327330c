//! A property's value: the D-Bus types that systemd's properties have.

use rustbus::params::{Array, Base, Container, Param, Variant};
use rustbus::signature::{Error, Type};

/// A value with its type.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Value {
    Bool(bool),
    Byte(u8),
    Int16(i16),
    Uint16(u16),
    Int32(i32),
    Uint32(u32),
    Int64(i64),
    Uint64(u64),
    /// The bits of a floating-point number.
    Double(u64),
    Text(String),
    /// Values that all have the signature `of`.
    Array {
        of: String,
        values: Vec<Value>,
    },
    Struct(Vec<Value>),
}

impl Value {
    /// `a(st)`: pairs of a path and a number.
    pub fn pair(path: String, number: u64) -> Self {
        let pair = Self::Struct(vec![Self::Text(path), Self::Uint64(number)]);
        Self::Array { of: "(st)".into(), values: vec![pair] }
    }

    /// `ay`.
    pub fn bytes(bytes: &[u8]) -> Self {
        Self::Array { of: "y".into(), values: bytes.iter().copied().map(Self::Byte).collect() }
    }

    /// Its type as D-Bus writes it.
    pub fn signature(&self) -> String {
        match self {
            Self::Bool(_) => "b".into(),
            Self::Byte(_) => "y".into(),
            Self::Int16(_) => "n".into(),
            Self::Uint16(_) => "q".into(),
            Self::Int32(_) => "i".into(),
            Self::Uint32(_) => "u".into(),
            Self::Int64(_) => "x".into(),
            Self::Uint64(_) => "t".into(),
            Self::Double(_) => "d".into(),
            Self::Text(_) => "s".into(),
            Self::Array { of, .. } => format!("a{of}"),
            Self::Struct(fields) => format!("({})", fields.iter().map(Self::signature).collect::<String>()),
        }
    }

    pub(super) fn param(&self) -> Result<Param<'static, 'static>, Error> {
        let all = |values: &[Self]| values.iter().map(Self::param).collect::<Result<Vec<_>, _>>();
        Ok(Param::Base(match self {
            Self::Bool(value) => Base::Boolean(*value),
            Self::Byte(value) => Base::Byte(*value),
            Self::Int16(value) => Base::Int16(*value),
            Self::Uint16(value) => Base::Uint16(*value),
            Self::Int32(value) => Base::Int32(*value),
            Self::Uint32(value) => Base::Uint32(*value),
            Self::Int64(value) => Base::Int64(*value),
            Self::Uint64(value) => Base::Uint64(*value),
            Self::Double(bits) => Base::Double(*bits),
            Self::Text(value) => Base::String(value.clone()),
            Self::Array { of, values } => {
                let array = Array { element_sig: single(of)?, values: all(values)? };
                return Ok(Param::Container(Container::Array(array)));
            }
            Self::Struct(fields) => return Ok(Param::Container(Container::Struct(all(fields)?))),
        }))
    }

    /// The value in a variant, as properties are sent.
    pub(super) fn variant(&self) -> Result<Param<'static, 'static>, Error> {
        let variant = Variant { sig: single(&self.signature())?, value: self.param()? };
        Ok(Param::Container(Container::Variant(Box::new(variant))))
    }
}

/// The one type of a signature.
pub(super) fn single(signature: &str) -> Result<Type, Error> {
    let mut all = Type::parse_description(signature)?;
    match all.len() {
        1 => Ok(all.remove(0)),
        _ => Err(Error::InvalidSignature),
    }
}
