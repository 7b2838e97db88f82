//! Appends fields to a buffer.

/// Appends fields to a buffer; consecutive bits share octets (§4.2.5.2).
#[derive(Debug)]
pub struct Writer<'b> {
    out: &'b mut Vec<u8>,
    bit: u8,
}

impl<'b> Writer<'b> {
    /// A writer that appends to `out`.
    pub fn new(out: &'b mut Vec<u8>) -> Self {
        Self { out, bit: 0 }
    }

    pub(crate) fn bit(&mut self, value: bool) {
        if self.bit == 0 {
            self.out.push(0);
        }
        if let Some(octet) = self.out.last_mut() {
            *octet |= u8::from(value) << self.bit;
        }
        self.bit = (self.bit + 1) % 8;
    }

    /// Raw octets.
    #[inline]
    pub fn octets(&mut self, octets: &[u8]) {
        self.bit = 0;
        self.out.extend_from_slice(octets);
    }

    #[inline]
    pub(crate) fn u8(&mut self, value: u8) {
        self.octets(&[value]);
    }

    #[inline]
    pub(crate) fn u16(&mut self, value: u16) {
        self.octets(&value.to_be_bytes());
    }

    #[inline]
    pub(crate) fn u32(&mut self, value: u32) {
        self.octets(&value.to_be_bytes());
    }

    #[inline]
    pub(crate) fn u64(&mut self, value: u64) {
        self.octets(&value.to_be_bytes());
    }

    /// A short string; what does not fit its 255 octets is cut at a character (callers check names beforehand).
    #[inline]
    pub(crate) fn shortstr(&mut self, value: &str) {
        self.shortstr_octets(clip_shortstr(value).as_bytes());
    }

    /// A short string as octets; what does not fit is cut.
    #[inline]
    pub(crate) fn shortstr_octets(&mut self, value: &[u8]) {
        let value = value.get(..255).unwrap_or(value);
        #[expect(clippy::cast_possible_truncation, reason = "clipped to 255")]
        self.u8(value.len() as u8);
        self.octets(value);
    }

    #[inline]
    pub(crate) fn longstr(&mut self, value: &[u8]) {
        self.u32(u32::try_from(value.len()).unwrap_or(u32::MAX));
        self.octets(value);
    }
}

/// The longest start of `text` that fits a short string (255 octets) and ends at a character.
#[inline]
pub fn clip_shortstr(text: &str) -> &str {
    if text.len() <= 255 {
        return text;
    }
    text.get(..text.floor_char_boundary(255)).unwrap_or_default()
}
