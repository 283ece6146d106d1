//! What a user tells about itself. The fields stand in the same order in packets (protocol sections 4
//! and 6) and in the log, so that there is one reader and one writer for them.

use super::{Reader, Short, Write};

/// A profile whose strings are borrowed from a packet, from the log or from the state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Profile<'a> {
    /// 1 to 64 bytes.
    pub nickname: &'a [u8],
    /// 0 to 255: a picture that only clients know.
    pub portrait: u16,
    /// 0 not said, 1 male, 2 female.
    pub gender: u8,
    /// Years, up to 150.
    pub age: u8,
    /// Up to 255 bytes; shown to friends alone.
    pub real_name: &'a [u8],
    /// A code that only clients read.
    pub country: u8,
    /// A code that only clients read.
    pub province: u8,
    /// Up to 255 bytes.
    pub city: &'a [u8],
    /// Up to 255 bytes; shown to friends alone.
    pub address: &'a [u8],
    /// Up to 255 bytes; shown to friends alone.
    pub zip_code: &'a [u8],
    /// A code that only clients read.
    pub education: u8,
    /// Up to 255 bytes.
    pub school: &'a [u8],
    /// A code that only clients read.
    pub occupation: u8,
    /// Up to 255 bytes; shown to friends alone.
    pub phone: &'a [u8],
    /// A pager's number. Up to 255 bytes; shown to friends alone.
    pub pager: &'a [u8],
    /// Up to 255 bytes; shown to friends alone.
    pub email: &'a [u8],
    /// Up to 1,024 bytes.
    pub hobbies: &'a [u8],
    /// Up to 1,024 bytes.
    pub description: &'a [u8],
}

impl<'a> Profile<'a> {
    /// The profile that has been packed; an empty one where these bytes are none.
    #[must_use]
    pub fn unpacked(packed: &'a [u8]) -> Self {
        Self::read(&mut Reader::new(packed)).unwrap_or_default()
    }

    /// The nickname and the portrait of a profile that has been packed: what friend lists show. The rest of it is not
    /// looked at, which for a long list is most of the time.
    #[must_use]
    pub fn nickname_and_portrait(packed: &'a [u8]) -> (&'a [u8], u16) {
        let mut reader = Reader::new(packed);
        let both = reader.string().and_then(|nickname| Ok((nickname, reader.u16()?)));
        both.unwrap_or_default()
    }

    /// Reads all fields, one after the other.
    pub fn read(reader: &mut Reader<'a>) -> Result<Self, Short> {
        Self::read_around(reader, |_| Ok(())).map(|(profile, ())| profile)
    }

    /// Reads all fields, with something else between portrait and gender: in `0x01` and `0x12`, the password.
    pub fn read_around<T>(
        reader: &mut Reader<'a>,
        between: impl FnOnce(&mut Reader<'a>) -> Result<T, Short>,
    ) -> Result<(Self, T), Short> {
        let nickname = reader.string()?;
        let portrait = reader.u16()?;
        let between = between(reader)?;
        let profile = Self {
            nickname,
            portrait,
            gender: reader.u8()?,
            age: reader.u8()?,
            real_name: reader.string()?,
            country: reader.u8()?,
            province: reader.u8()?,
            city: reader.string()?,
            address: reader.string()?,
            zip_code: reader.string()?,
            education: reader.u8()?,
            school: reader.string()?,
            occupation: reader.u8()?,
            phone: reader.string()?,
            pager: reader.string()?,
            email: reader.string()?,
            hobbies: reader.string()?,
            description: reader.string()?,
        };
        Ok((profile, between))
    }

    /// Writes all fields, one after the other.
    pub fn write(&self, out: &mut Vec<u8>) {
        self.write_around(out, |_| ());
    }

    /// Writes all fields, with something else between portrait and gender.
    pub fn write_around(&self, out: &mut Vec<u8>, between: impl FnOnce(&mut Vec<u8>)) {
        out.put_string(self.nickname);
        out.put_u16(self.portrait);
        between(out);
        out.put_u8(self.gender);
        out.put_u8(self.age);
        out.put_string(self.real_name);
        out.put_u8(self.country);
        out.put_u8(self.province);
        out.put_string(self.city);
        out.put_string(self.address);
        out.put_string(self.zip_code);
        out.put_u8(self.education);
        out.put_string(self.school);
        out.put_u8(self.occupation);
        out.put_string(self.phone);
        out.put_string(self.pager);
        out.put_string(self.email);
        out.put_string(self.hobbies);
        out.put_string(self.description);
    }

    /// The same profile without what only friends may see. Protocol section 4, `0x05`.
    #[must_use]
    pub const fn for_strangers(self) -> Self {
        Self {
            real_name: b"",
            address: b"",
            zip_code: b"",
            phone: b"",
            pager: b"",
            email: b"",
            ..self
        }
    }
}
