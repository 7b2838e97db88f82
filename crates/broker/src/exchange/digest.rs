//! Numbers out of names, the same in every run and on every machine: where messages go depends on them, and a restart must
//! not change that.

use crate::entropy;
use crate::value::{Term, Value};

/// The digest of a sequence of fields (FNV-1a with a final mix). It is not meant to resist who chooses the fields: they
/// could just as well choose where their messages go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Digest(u64);

impl Digest {
    pub(super) const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    /// Takes in a field. Where it ends counts, so that `a, bc` and `ab, c` differ.
    pub(super) fn field(self, octets: &[u8]) -> Self {
        let end = (octets.len() as u64).to_le_bytes();
        octets
            .iter()
            .chain(&end)
            .fold(self, |Self(state), octet| Self((state ^ u64::from(*octet)).wrapping_mul(0x0000_0100_0000_01b3)))
    }

    /// Takes in the value of a header. An integer counts as what it is, however wide; text is no number.
    pub(super) fn value(self, value: &Value) -> Self {
        match (value, value.as_integer()) {
            (Value::LongStr(text), _) => self.field(text),
            (_, Some(integer)) => self.field(b"integer").field(&integer.to_le_bytes()),
            _ => self.field(value.type_name().as_bytes()).field(Term(value).to_string().as_bytes()),
        }
    }

    pub(super) const fn finish(self) -> u64 {
        entropy::mix(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_never_changes() {
        for (fields, digest) in [
            (&[][..], 0xf52a_15e9_a9b5_e89b_u64),
            (&[""], 0x813f_0174_a236_7c13),
            (&["key"], 0xa53e_c066_cecd_9eae),
            (&["a", "bc"], 0xade5_d413_24c7_4c4a),
            (&["ab", "c"], 0xa5b1_eaaa_a6c9_e9f3),
        ] {
            let found = fields.iter().fold(Digest::new(), |digest, field| digest.field(field.as_bytes())).finish();
            assert_eq!(found, digest, "{fields:?}: {found:#x}");
        }
    }

    #[test]
    fn values_count_by_their_type_but_not_by_their_width() {
        let digest = |value| Digest::new().value(&value).finish();
        assert_eq!(digest(Value::I8(5)), digest(Value::U64(5)));
        assert_eq!(digest(Value::text("5")), Digest::new().field(b"5").finish());
        let values =
            [Value::I32(5), Value::text("5"), Value::F64(5.0), Value::Timestamp(5), Value::Bool(true), Value::Void];
        for (index, one) in values.iter().enumerate() {
            for (other, two) in values.iter().enumerate() {
                assert_eq!(digest(one.clone()) == digest(two.clone()), index == other, "{one:?} {two:?}");
            }
        }
    }
}
