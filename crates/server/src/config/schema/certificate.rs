//! A certificate of the broker itself: two settings that belong together.

use std::path::PathBuf;

use super::{At, Place, Remark};

/// The files of a certificate and its key, as far as they are known.
#[derive(Default)]
pub(super) struct Certificate {
    chain: Option<PathBuf>,
    key: Option<PathBuf>,
    place: Place,
}

impl Certificate {
    pub(super) fn set_certificate(&mut self, at: &At<'_>, path: PathBuf) {
        self.chain = Some(path);
        self.place = at.place;
    }

    pub(super) fn set_key(&mut self, at: &At<'_>, path: PathBuf) {
        self.key = Some(path);
        self.place = at.place;
    }

    /// The files of the certificate and of its key, which may be the same. A key without a certificate is a mistake.
    pub(super) fn finish(self, prefix: &str, mistakes: &mut Vec<Remark>) -> Option<(PathBuf, PathBuf)> {
        match (self.chain, self.key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (Some(certificate), None) => Some((certificate.clone(), certificate)),
            (None, Some(_)) => {
                mistakes.push(Remark::new(self.place, format!("{prefix}.keyfile needs {prefix}.certfile")));
                None
            }
            (None, None) => None,
        }
    }
}
