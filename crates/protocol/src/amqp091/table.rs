//! Field tables and arrays (§4.2.5.5), with the types RabbitMQ reads and writes.

use super::error::DecodeError;
use super::reader::Reader;

/// Deepest nesting of tables and arrays that is read; a frame could hold 26,000 levels, a stack can not.
pub const DEPTH_MAX: usize = 64;

/// One field value, borrowed from its table.
#[derive(Debug, Clone, Copy, PartialEq)]
#[expect(missing_docs, reason = "the variants are the types of the specification")]
pub enum Value<'a> {
    Bool(bool),
    I8(i8),
    U8(u8),
    I16(i16),
    U16(u16),
    I32(i32),
    U32(u32),
    I64(i64),
    F32(f32),
    F64(f64),
    Decimal {
        scale: u8,
        value: u32,
    },
    LongStr(&'a [u8]),
    Array(Array<'a>),
    /// Seconds since 1970.
    Timestamp(u64),
    Table(Table<'a>),
    Bytes(&'a [u8]),
    Void,
}

/// A field table as its octets, without the length in front. Known to be well formed.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Table<'a> {
    octets: &'a [u8],
}

/// A field array as its octets, without the length in front. Known to be well formed.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Array<'a> {
    octets: &'a [u8],
}

impl<'a> Table<'a> {
    /// Takes the octets of a table (without length) if they are well formed.
    pub fn parse(octets: &'a [u8]) -> Result<Self, DecodeError> {
        check_table(octets, 0)?;
        Ok(Self { octets })
    }

    /// The octets, without the length in front.
    pub fn octets(self) -> &'a [u8] {
        self.octets
    }

    /// Whether there is no field.
    pub fn is_empty(self) -> bool {
        self.octets.is_empty()
    }

    /// Fields in the order of the wire. A name may stand more than once. A name that is not UTF-8 can be forwarded but
    /// means nothing to anybody here, so its field is left out.
    pub fn iter(self) -> impl Iterator<Item = (&'a str, Value<'a>)> {
        self.raw_fields().filter_map(|(name, value)| Some((std::str::from_utf8(name).ok()?, value)))
    }

    /// All fields in the order of the wire, names as octets.
    pub fn raw_fields(self) -> impl Iterator<Item = (&'a [u8], Value<'a>)> {
        let mut reader = Reader::new(self.octets);
        std::iter::from_fn(move || {
            if reader.is_empty() {
                return None;
            }
            let name = reader.shortstr_octets().ok()?;
            Some((name, read_value(&mut reader).ok()?))
        })
    }

    /// All fields in the order of the wire: the name, and the octets of the whole field with it.
    pub fn field_octets(self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let mut reader = Reader::new(self.octets);
        std::iter::from_fn(move || {
            let field = reader.rest();
            let name = reader.shortstr_octets().ok()?;
            read_value(&mut reader).ok()?;
            Some((name, field.get(..field.len() - reader.rest().len())?))
        })
    }

    /// The first field of this name.
    pub fn get(self, name: &str) -> Option<Value<'a>> {
        self.iter().find_map(|(field, value)| (field == name).then_some(value))
    }
}

impl<'a> Array<'a> {
    /// Takes the octets of an array (without length) if they are well formed.
    pub fn parse(octets: &'a [u8]) -> Result<Self, DecodeError> {
        check_array(octets, 0)?;
        Ok(Self { octets })
    }

    /// The octets, without the length in front.
    pub fn octets(self) -> &'a [u8] {
        self.octets
    }

    /// Values in the order of the wire.
    pub fn iter(self) -> impl Iterator<Item = Value<'a>> {
        let mut reader = Reader::new(self.octets);
        std::iter::from_fn(move || if reader.is_empty() { None } else { read_value(&mut reader).ok() })
    }
}

impl std::fmt::Debug for Table<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl std::fmt::Debug for Array<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

fn check_table(octets: &[u8], depth: usize) -> Result<(), DecodeError> {
    if depth > DEPTH_MAX {
        return Err(DecodeError::NestedTooDeep);
    }
    let mut reader = Reader::new(octets);
    while !reader.is_empty() {
        reader.shortstr_octets()?;
        check_value(&mut reader, depth)?;
    }
    Ok(())
}

fn check_array(octets: &[u8], depth: usize) -> Result<(), DecodeError> {
    if depth > DEPTH_MAX {
        return Err(DecodeError::NestedTooDeep);
    }
    let mut reader = Reader::new(octets);
    while !reader.is_empty() {
        check_value(&mut reader, depth)?;
    }
    Ok(())
}

fn check_value(reader: &mut Reader<'_>, depth: usize) -> Result<(), DecodeError> {
    match read_value(reader)? {
        Value::Table(table) => check_table(table.octets, depth + 1),
        Value::Array(array) => check_array(array.octets, depth + 1),
        _ => Ok(()),
    }
}

/// Reads one value; nested tables and arrays are taken as octets, unchecked.
#[expect(clippy::cast_possible_wrap, reason = "the wire's signed integers are two's complement")]
fn read_value<'a>(reader: &mut Reader<'a>) -> Result<Value<'a>, DecodeError> {
    Ok(match reader.u8()? {
        b't' => Value::Bool(reader.u8()? != 0),
        b'b' => Value::I8(reader.u8()? as i8),
        b'B' => Value::U8(reader.u8()?),
        b's' => Value::I16(reader.u16()? as i16),
        b'u' => Value::U16(reader.u16()?),
        b'I' => Value::I32(reader.u32()? as i32),
        b'i' => Value::U32(reader.u32()?),
        // RabbitMQ reads both letters as a signed 64-bit integer and writes the first.
        b'l' | b'L' => Value::I64(reader.u64()? as i64),
        b'f' => Value::F32(f32::from_bits(reader.u32()?)),
        b'd' => Value::F64(f64::from_bits(reader.u64()?)),
        b'D' => Value::Decimal { scale: reader.u8()?, value: reader.u32()? },
        b'S' => Value::LongStr(reader.longstr()?),
        b'A' => Value::Array(Array { octets: reader.longstr()? }),
        b'T' => Value::Timestamp(reader.u64()?),
        b'F' => Value::Table(Table { octets: reader.longstr()? }),
        b'x' => Value::Bytes(reader.longstr()?),
        b'V' => Value::Void,
        other => return Err(DecodeError::UnknownFieldType(other)),
    })
}

/// Appends the fields of a table, or the values of an array, to a buffer.
///
/// The length in front of a nested table is patched when its closure returns; the outermost octets carry none, which is
/// what [`Table::parse`] takes and method fields of type table hold.
#[derive(Debug)]
pub struct TableWriter<'b> {
    out: &'b mut Vec<u8>,
}

impl<'b> TableWriter<'b> {
    /// A writer that appends to `out`.
    pub fn new(out: &'b mut Vec<u8>) -> Self {
        Self { out }
    }

    /// Appends one field of a table. Nested tables and arrays in `value` are copied whole.
    pub fn field(&mut self, name: &str, value: Value<'_>) -> &mut Self {
        self.name(name);
        self.value(value)
    }

    /// Appends one field of a table under a name that need not be UTF-8.
    pub fn raw_field(&mut self, name: &[u8], value: Value<'_>) -> &mut Self {
        super::writer::Writer::new(self.out).shortstr_octets(name);
        self.value(value)
    }

    /// Appends fields as octets that [`Table::field_octets`] gave.
    pub fn field_octets(&mut self, octets: &[u8]) -> &mut Self {
        self.out.extend_from_slice(octets);
        self
    }

    /// Appends a nested table, written by `fill`.
    pub fn table(&mut self, name: &str, fill: impl FnOnce(&mut TableWriter<'_>)) -> &mut Self {
        self.name(name);
        self.nested(b'F', fill)
    }

    /// Appends an array, written by `fill` through [`TableWriter::value`].
    pub fn array(&mut self, name: &str, fill: impl FnOnce(&mut TableWriter<'_>)) -> &mut Self {
        self.name(name);
        self.nested(b'A', fill)
    }

    /// Appends a nested table to an array.
    pub fn table_value(&mut self, fill: impl FnOnce(&mut TableWriter<'_>)) -> &mut Self {
        self.nested(b'F', fill)
    }

    /// Appends a nested array to an array.
    pub fn array_value(&mut self, fill: impl FnOnce(&mut TableWriter<'_>)) -> &mut Self {
        self.nested(b'A', fill)
    }

    /// Appends one value of an array.
    pub fn value(&mut self, value: Value<'_>) -> &mut Self {
        let out = &mut *self.out;
        let mut fixed = |kind: u8, octets: &[u8]| {
            out.push(kind);
            out.extend_from_slice(octets);
        };
        match value {
            Value::Bool(v) => fixed(b't', &[u8::from(v)]),
            Value::I8(v) => fixed(b'b', &v.to_be_bytes()),
            Value::U8(v) => fixed(b'B', &[v]),
            Value::I16(v) => fixed(b's', &v.to_be_bytes()),
            Value::U16(v) => fixed(b'u', &v.to_be_bytes()),
            Value::I32(v) => fixed(b'I', &v.to_be_bytes()),
            Value::U32(v) => fixed(b'i', &v.to_be_bytes()),
            Value::I64(v) => fixed(b'l', &v.to_be_bytes()),
            Value::F32(v) => fixed(b'f', &v.to_be_bytes()),
            Value::F64(v) => fixed(b'd', &v.to_be_bytes()),
            Value::Timestamp(v) => fixed(b'T', &v.to_be_bytes()),
            Value::Void => fixed(b'V', &[]),
            Value::Decimal { scale, value } => {
                fixed(b'D', &[scale]);
                self.out.extend_from_slice(&value.to_be_bytes());
            }
            Value::LongStr(v) => self.counted(b'S', v),
            Value::Bytes(v) => self.counted(b'x', v),
            Value::Array(v) => self.counted(b'A', v.octets),
            Value::Table(v) => self.counted(b'F', v.octets),
        }
        self
    }

    fn name(&mut self, name: &str) {
        super::writer::Writer::new(self.out).shortstr(name);
    }

    fn counted(&mut self, kind: u8, octets: &[u8]) {
        self.out.push(kind);
        super::writer::Writer::new(self.out).longstr(octets);
    }

    fn nested(&mut self, kind: u8, fill: impl FnOnce(&mut TableWriter<'_>)) -> &mut Self {
        self.out.push(kind);
        let at = self.out.len();
        self.out.extend_from_slice(&[0; 4]);
        fill(&mut TableWriter::new(self.out));
        let len = u32::try_from(self.out.len() - at - 4).unwrap_or(u32::MAX);
        if let Some(slot) = self.out.get_mut(at..at + 4) {
            slot.copy_from_slice(&len.to_be_bytes());
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_written_is_the_table_read() {
        let mut octets = Vec::new();
        TableWriter::new(&mut octets)
            .field("yes", Value::Bool(true))
            .field("name", Value::LongStr(b"leveret"))
            .table("nested", |t| {
                t.field("deep", Value::I64(-7));
            })
            .array("list", |a| {
                a.value(Value::U16(9)).table_value(|t| {
                    t.field("in", Value::Void);
                });
            });
        let table = Table::parse(&octets).unwrap();
        assert_eq!(table.get("yes"), Some(Value::Bool(true)));
        assert_eq!(table.get("name"), Some(Value::LongStr(b"leveret")));
        let Some(Value::Table(nested)) = table.get("nested") else { panic!("{table:?}") };
        assert_eq!(nested.get("deep"), Some(Value::I64(-7)));
        let Some(Value::Array(list)) = table.get("list") else { panic!("{table:?}") };
        assert_eq!(list.iter().count(), 2);
        assert_eq!(table.iter().count(), 4);
        assert_eq!(table.get("missing"), None);
    }

    #[test]
    fn fields_can_be_copied_as_they_are() {
        let octets = b"\x01aL\0\0\0\0\0\0\0\x01\x01bt\x07\x02\xff\xffV\x01aA\0\0\0\x02B\x05";
        let table = Table::parse(octets).unwrap();
        let names: Vec<&[u8]> = table.field_octets().map(|(name, _)| name).collect();
        assert_eq!(names, [&b"a"[..], b"b", b"\xff\xff", b"a"]);
        let mut copied = Vec::new();
        let mut writer = TableWriter::new(&mut copied);
        table.field_octets().for_each(|(_, field)| {
            writer.field_octets(field);
        });
        assert_eq!(copied, octets);
    }

    #[test]
    fn malformed_tables_are_refused() {
        for (octets, error) in [
            (&b"\x01a"[..], DecodeError::Truncated),
            (b"\x01aI\0\0", DecodeError::Truncated),
            (b"\x01aU\0\0", DecodeError::UnknownFieldType(b'U')),
            (b"\x01aS\xff\xff\xff\xff", DecodeError::Truncated),
            (b"\x01aA\0\0\0\x01?", DecodeError::UnknownFieldType(b'?')),
        ] {
            assert_eq!(Table::parse(octets), Err(error), "{octets:?}");
        }
    }

    #[test]
    fn tables_nest_as_deep_as_allowed_and_no_deeper() {
        let mut octets = Vec::new();
        for depth in 0..=DEPTH_MAX + 1 {
            let parsed = Table::parse(&octets);
            assert_eq!(parsed.err(), (depth > DEPTH_MAX).then_some(DecodeError::NestedTooDeep), "{depth} levels");
            let inner = std::mem::take(&mut octets);
            TableWriter::new(&mut octets).field("t", Value::Table(Table { octets: &inner }));
        }
    }
}
