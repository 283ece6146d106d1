//! Passwords, in a type that cannot print itself and that is wiped when it is dropped.

use std::fmt;

use zeroize::Zeroizing;

/// A password as it stands in a packet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Secret<'a>(&'a [u8]);

impl<'a> Secret<'a> {
    /// Takes the bytes for a password.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The bytes, for hashing, checking and encoding alone.
    #[must_use]
    pub const fn expose(self) -> &'a [u8] {
        self.0
    }

    /// A copy that outlives the packet.
    #[must_use]
    pub fn to_owned(self) -> SecretBuf {
        SecretBuf(Zeroizing::new(self.0.to_vec()))
    }
}

/// A password that waits to be hashed or compared.
#[derive(Clone)]
pub struct SecretBuf(Zeroizing<Vec<u8>>);

impl SecretBuf {
    /// The password as a packet carries it.
    #[must_use]
    pub fn as_secret(&self) -> Secret<'_> {
        Secret(&self.0)
    }
}

impl fmt::Debug for Secret<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl fmt::Debug for SecretBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretBuf(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_does_not_print_itself() {
        let secret = Secret::new(b"hunter22");
        assert!(!format!("{secret:?} {:?}", secret.to_owned()).contains("hunter"));
    }
}
