//! nftables: tables of the family inet, their chains, maps and rules, as atomic batches of netlink messages.
//! `linux/netfilter/nf_tables.h`; numbers are in the network's byte order there.

use rustix::io::Errno;

use super::connection::Connection;
use super::message::{Attributes, Request};
use crate::sys::{During, Failure};

const SUBSYSTEM: u16 = 10 << 8;
const NEW_TABLE: u16 = SUBSYSTEM;
const DELETE_TABLE: u16 = SUBSYSTEM | 2;
const NEW_CHAIN: u16 = SUBSYSTEM | 3;
const GET_CHAIN: u16 = SUBSYSTEM | 4;
const NEW_RULE: u16 = SUBSYSTEM | 6;
const NEW_SET: u16 = SUBSYSTEM | 9;
const NEW_ELEMENTS: u16 = SUBSYSTEM | 12;
const DELETE_ELEMENTS: u16 = SUBSYSTEM | 14;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;
/// Attributes that all messages have at the same place.
const TABLE: u16 = 1;
const DATA_VALUE: u16 = 1;
const LIST_ELEMENT: u16 = 1;

/// A netlink socket for rules of the network namespace that it was made in.
#[derive(Debug)]
pub struct Rules(Connection);

/// What one transaction does to one table.
#[derive(Debug)]
pub struct Batch {
    table: String,
    requests: Vec<(&'static str, Request)>,
}

/// Where a chain that packets come through is hooked in.
#[derive(Clone, Copy, Debug)]
pub struct Hook {
    /// `filter`, `nat` or `route`.
    pub kind: &'static str,
    /// NF_INET_*.
    pub number: u32,
    /// Lower is earlier.
    pub priority: i32,
}

/// A map's types, as nft(8) numbers them (six bits a part), and their sizes: each part is padded to four bytes.
#[derive(Clone, Copy, Debug)]
pub struct Map {
    /// Its name.
    pub name: &'static str,
    /// Type and bytes of a key.
    pub key: (u32, u32),
    /// Type and bytes of a value.
    pub value: (u32, u32),
}

/// An element of a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    /// The map's name.
    pub map: &'static str,
    /// The key's bytes.
    pub key: Vec<u8>,
    /// The value's bytes.
    pub value: Vec<u8>,
}

/// What of a packet's checksums changes with its bytes.
#[derive(Clone, Copy, Debug)]
pub enum Checksum {
    /// That of the transport header, by its pseudo-header: with an IPv6 address.
    Pseudo,
    /// The one that is so many bytes behind the transport header's beginning.
    At(u32),
}

/// A step of a rule. Registers are those of four bytes, NFT_REG32_00 being 8.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub enum Expression<'a> {
    /// NFT_META_*.
    Meta { key: u32, to: u32 },
    /// Of the packet's network (1) or transport (2) header.
    Payload { base: u32, offset: u32, length: u32, to: u32 },
    /// The other way: a register's bytes into the packet, whose checksum follows.
    Write { base: u32, offset: u32, length: u32, from: u32, checksum: Checksum },
    /// These bytes.
    Value { value: &'a [u8], to: u32 },
    /// Of the connection: NFT_CT_*.
    Connection { key: u32, to: u32 },
    /// The type of the destination's route, RTN_*.
    DestinationType { to: u32 },
    /// Bits of a register.
    And { register: u32, mask: &'a [u8] },
    /// Goes on if it is so.
    Equal { register: u32, value: &'a [u8] },
    /// Goes on if it is not so.
    NotEqual { register: u32, value: &'a [u8] },
    /// Goes on if the key is there, with its value.
    Lookup { map: &'a str, key: u32, to: u32 },
    /// To an address and a port in registers; the family is NFPROTO_*.
    Dnat { family: u32, address: u32, port: u32 },
    /// From an address of the device that the packet leaves by.
    Masquerade,
    /// To another chain, and back.
    Jump { chain: &'a str },
    /// Back to the chain that jumped here.
    Return,
    /// No further.
    Drop,
}

impl Rules {
    /// Opens one.
    pub fn open() -> Result<Self, Errno> {
        Connection::netfilter().map(Self)
    }

    /// The number of rules of a chain, and its comment; None where the chain or its table is not there.
    pub fn chain(&self, table: &str, chain: &str) -> Result<Option<(u32, String)>, Errno> {
        const NAME: u16 = 3;
        const USE: u16 = 6;
        const USER_DATA: u16 = 12;
        let request = Request::new(GET_CHAIN, 0).fixed(&family(INET)).text(TABLE, table).text(NAME, chain);
        let mut found = (0, String::new());
        let asked = self.0.exchange(request, |kind, body| {
            if kind != NEW_CHAIN {
                return;
            }
            for (kind, value) in Attributes(body.get(4..).unwrap_or_default()) {
                match (kind, value) {
                    (USE, &[a, b, c, d]) => found.0 = u32::from_be_bytes([a, b, c, d]),
                    // Type and length before it, a zero behind it.
                    (USER_DATA, &[_, _, ref text @ .., 0]) => found.1 = String::from_utf8_lossy(text).into(),
                    _ => {}
                }
            }
        });
        match asked {
            Ok(()) => Ok(Some(found)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Does all of it, or nothing.
    pub fn commit(&self, batch: Batch) -> Result<(), Failure> {
        let (names, requests): (Vec<_>, Vec<_>) = batch.requests.into_iter().unzip();
        if names.is_empty() {
            return Ok(());
        }
        let of = |kind| Request::silent(kind, 0).fixed(&[0, 0, 0, 10]);
        let all = [of(BATCH_BEGIN)].into_iter().chain(requests).chain([of(BATCH_END)]);
        let (mut failed, mut done) = (None, false);
        // The first is the batch's beginning.
        let sent = self.0.all(all, names.len(), |number, result| match result {
            Ok(()) => done = true,
            Err(error) => {
                let name = number.checked_sub(1).and_then(|number| names.get(number));
                failed.get_or_insert((name.copied().unwrap_or("nftables"), error));
            }
        });
        sent.during("nftables")?;
        match failed {
            Some((name, error)) => Err(error).during(name),
            None if done => Ok(()),
            None => Err(Errno::PROTO).during("nftables"),
        }
    }
}

const INET: u8 = 1;

/// `struct nfgenmsg`.
fn family(family: u8) -> [u8; 4] {
    [family, 0, 0, 0]
}

impl Batch {
    /// About the table of this name.
    pub fn new(table: &str) -> Self {
        Self { table: table.into(), requests: Vec::new() }
    }

    fn push(&mut self, name: &'static str, kind: u16, flags: u16, rest: impl FnOnce(Request) -> Request) {
        let request = Request::silent(kind, flags).fixed(&family(INET)).text(TABLE, &self.table);
        self.requests.push((name, rest(request)));
    }

    /// The table, where it is not there.
    pub fn table(&mut self) {
        self.push("make a table", NEW_TABLE, CREATE, |r| r);
    }

    /// The table goes, and all that is in it.
    pub fn delete_table(&mut self) {
        self.push("remove a table", DELETE_TABLE, 0, |r| r);
    }

    /// A chain; without a hook it is jumped to. nft(8) shows the comment.
    pub fn chain(&mut self, name: &str, hook: Option<Hook>, comment: &str) {
        const NAME: u16 = 3;
        const HOOK: u16 = 4;
        const TYPE: u16 = 7;
        const USER_DATA: u16 = 12;
        // The kernel says no more than that something is not there where it lacks the module.
        let operation = match &hook {
            Some(hook) if hook.kind == "nat" => "make a NAT chain (the kernel's module nft_chain_nat)",
            _ => "make a chain",
        };
        self.push(operation, NEW_CHAIN, CREATE, |mut r| {
            r = r.text(NAME, name);
            if let Some(hook) = hook {
                r = r.nest(HOOK, |r| r.big_endian(1, hook.number).big_endian(2, hook.priority as u32));
                r = r.text(TYPE, hook.kind);
            }
            match comment.is_empty() {
                true => r,
                false => r.bytes(USER_DATA, &user_comment(comment)),
            }
        });
    }

    /// A map.
    pub fn map(&mut self, map: &Map) {
        const IS_MAP: u32 = 8;
        let number = self.requests.len() as u32;
        self.push("make a map", NEW_SET, CREATE, |r| {
            r.text(2, map.name)
                .big_endian(3, IS_MAP)
                .big_endian(4, map.key.0)
                .big_endian(5, map.key.1)
                .big_endian(6, map.value.0)
                .big_endian(7, map.value.1)
                .big_endian(10, number)
        });
    }

    /// A rule, behind the others of its chain.
    pub fn rule(&mut self, chain: &str, expressions: &[Expression<'_>]) {
        self.push("add a rule", NEW_RULE, CREATE | APPEND, |r| {
            r.text(2, chain).nest(4, |r| expressions.iter().fold(r, |r, expression| expression.write(r)))
        });
    }

    /// Elements of maps. One that is there already with this value is fine.
    pub fn add(&mut self, elements: &[Element], comment: &str) {
        for element in elements {
            self.push("add an element", NEW_ELEMENTS, CREATE, |r| {
                r.text(2, element.map).nest(3, |r| {
                    r.nest(LIST_ELEMENT, |r| {
                        r.nest(1, |r| r.bytes(DATA_VALUE, &element.key))
                            .nest(2, |r| r.bytes(DATA_VALUE, &element.value))
                            .bytes(6, &user_comment(comment))
                    })
                })
            });
        }
    }

    /// Elements that are there; ENOENT for one that is not.
    pub fn delete(&mut self, elements: &[Element]) {
        for element in elements {
            self.push("remove an element", DELETE_ELEMENTS, 0, |r| {
                let key = |r: Request| r.nest(1, |r| r.bytes(DATA_VALUE, &element.key));
                r.text(2, element.map).nest(3, |r| r.nest(LIST_ELEMENT, key))
            });
        }
    }

    /// What it would do, as bytes: two that are the same do the same.
    pub fn bytes(&self) -> Vec<u8> {
        self.requests.iter().flat_map(|(_, request)| request.clone().finish()).collect()
    }
}

/// A comment as nft(8) keeps it: type 0, length, text, a zero.
fn user_comment(text: &str) -> Vec<u8> {
    let text = text.as_bytes().get(..127).unwrap_or(text.as_bytes());
    [&[0, text.len() as u8 + 1], text, &[0]].concat()
}

impl Expression<'_> {
    fn write(&self, list: Request) -> Request {
        let value = |r: Request, kind, bytes: &[u8]| r.nest(kind, |r| r.bytes(DATA_VALUE, bytes));
        let compare = |r: Request, register: u32, operator: u32, bytes: &[u8]| {
            value(r.big_endian(1, register).big_endian(2, operator), 3, bytes)
        };
        let expression = |name: &str, data: &dyn Fn(Request) -> Request| {
            list.nest(LIST_ELEMENT, |r| r.text(1, name).nest(2, data))
        };
        match *self {
            Self::Meta { key, to } => expression("meta", &|r| r.big_endian(1, to).big_endian(2, key)),
            Self::Payload { base, offset, length, to } => expression("payload", &|r| {
                r.big_endian(1, to).big_endian(2, base).big_endian(3, offset).big_endian(4, length)
            }),
            Self::Write { base, offset, length, from, checksum } => expression("payload", &|r| {
                let r = r.big_endian(5, from).big_endian(2, base).big_endian(3, offset).big_endian(4, length);
                match checksum {
                    Checksum::Pseudo => r.big_endian(6, 0).big_endian(7, 0).big_endian(8, 1),
                    Checksum::At(offset) => r.big_endian(6, 1).big_endian(7, offset),
                }
            }),
            Self::Value { value: bytes, to } => {
                expression("immediate", &|r| value(r.big_endian(1, to), 2, bytes))
            }
            Self::Connection { key, to } => expression("ct", &|r| r.big_endian(1, to).big_endian(2, key)),
            Self::DestinationType { to } => {
                const ADDRESS_TYPE: u32 = 3;
                const DESTINATION: u32 = 2;
                let data =
                    |r: Request| r.big_endian(1, to).big_endian(2, ADDRESS_TYPE).big_endian(3, DESTINATION);
                expression("fib", &data)
            }
            Self::And { register, mask } => expression("bitwise", &|r| {
                let r = r.big_endian(1, register).big_endian(2, register).big_endian(3, mask.len() as u32);
                value(value(r, 4, mask), 5, &vec![0; mask.len()])
            }),
            Self::Equal { register, value } => expression("cmp", &|r| compare(r, register, 0, value)),
            Self::NotEqual { register, value } => expression("cmp", &|r| compare(r, register, 1, value)),
            Self::Lookup { map, key, to } => {
                expression("lookup", &|r| r.text(1, map).big_endian(2, key).big_endian(3, to))
            }
            Self::Dnat { family, address, port } => expression("nat", &|r| {
                const DNAT: u32 = 1;
                r.big_endian(1, DNAT).big_endian(2, family).big_endian(3, address).big_endian(5, port)
            }),
            Self::Masquerade => expression("masq", &|r| r),
            Self::Jump { chain } => {
                const JUMP: i32 = -3;
                expression("immediate", &|r| verdict(r, |r| r.big_endian(1, JUMP as u32).text(2, chain)))
            }
            Self::Return => {
                const RETURN: i32 = -5;
                expression("immediate", &|r| verdict(r, |r| r.big_endian(1, RETURN as u32)))
            }
            Self::Drop => expression("immediate", &|r| verdict(r, |r| r.big_endian(1, 0))),
        }
    }
}

/// An immediate value for the verdict's register.
fn verdict(request: Request, inside: impl FnOnce(Request) -> Request) -> Request {
    request.big_endian(1, 0).nest(2, |r| r.nest(2, inside))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_is_laid_out_as_the_kernel_reads_it() {
        let mut batch = Batch::new("t");
        batch.add(&[Element { map: "m", key: vec![6, 0, 0, 0], value: vec![7] }], "c");
        let bytes = batch.bytes();
        assert_eq!(&bytes[4..8], [12, 10, 1, 4], "NFT_MSG_NEWSETELEM, REQUEST | CREATE");
        assert_eq!(&bytes[16..20], [1, 0, 0, 0], "NFPROTO_INET");
        let attributes: Vec<_> = Attributes(&bytes[20..]).collect();
        assert_eq!(attributes[..2], [(1, b"t\0".as_slice()), (2, b"m\0")]);
        let element = Attributes(attributes[2].1).next().unwrap();
        let parts: Vec<_> = Attributes(element.1).collect();
        assert_eq!(Attributes(parts[0].1).next(), Some((1, [6, 0, 0, 0].as_slice())));
        assert_eq!(parts[2], (6, [0, 2, b'c', 0].as_slice()));
    }

    #[test]
    fn a_rule_is_a_list_of_named_expressions() {
        let mut batch = Batch::new("t");
        batch.rule("c", &[Expression::Meta { key: 6, to: 8 }, Expression::Jump { chain: "d" }]);
        let bytes = batch.bytes();
        let (kind, list) = Attributes(&bytes[20..]).nth(2).unwrap();
        let names: Vec<_> = Attributes(list).map(|(_, one)| Attributes(one).next().unwrap().1).collect();
        assert_eq!((kind, names), (4, vec![b"meta\0".as_slice(), b"immediate\0"]));
    }
}
